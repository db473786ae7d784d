"""Server-sent events of a running stream, read by a real HTTP client."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError, web

from stream.events import MAX_LISTENERS
from tests.test_server import Site, site

__all__ = ["site"]  # the fixture


async def read_frames(response: Any, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            line = (await response.content.readline()).decode().strip()
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
    return found


async def test_a_program_is_told_of_each_frame_in_order_without_a_viewer(site: Site) -> None:
    await site.add()
    async with site.client.get("/api/streams/s/events") as response:
        assert response.content_type == "text/event-stream"
        frames = await read_frames(response, 5)
    seqs = [frame["seq"] for frame in frames]
    assert seqs == list(range(seqs[0], seqs[0] + 5))
    assert frames[0]["rtp"] is None  # nobody watches, so nothing is encoded
    assert frames[0]["size"] == [320, 180]


async def test_a_program_that_leaves_is_forgotten(site: Site) -> None:
    stream = await site.add()
    assert stream.broadcast is not None
    async with site.client.get("/api/streams/s/events") as response:
        await read_frames(response, 1)
        assert len(stream.broadcast._listeners) == 1
    async with asyncio.timeout(20):
        while stream.broadcast._listeners:
            await asyncio.sleep(0.01)


async def test_writing_to_a_program_that_went_away_is_no_error(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # aiohttp's test server cancels the handler of a lost connection; a real one lets it find out by writing.
    async def gone(*_: object) -> None:
        raise ClientConnectionResetError("Cannot write to closing transport")

    stream = await site.add()
    monkeypatch.setattr(web.StreamResponse, "write", gone)
    async with asyncio.timeout(20), site.client.get("/api/streams/s/events") as response:
        await response.read()
    assert stream.broadcast is not None and not stream.broadcast._listeners
    assert [line for line in caplog.messages if "Error handling" in line] == []


async def test_programs_are_limited_and_unknown_streams_told(site: Site) -> None:
    await site.add()
    assert (await site.client.get("/api/streams/nobody/events")).status == 404
    site.server._event_streams._count = MAX_LISTENERS
    refused = await site.client.get("/api/streams/s/events")
    assert refused.status == 503 and "limit" in (await refused.json())["error"]


async def test_events_end_with_the_stream(site: Site) -> None:
    await site.add()
    async with site.client.get("/api/streams/s/events") as response:
        await read_frames(response, 1)
        await site.streams.pop("s").stop()
        async with asyncio.timeout(5):
            while await response.content.readline():
                pass


async def test_a_program_that_does_not_read_keeps_no_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket takes no more: the write waits, and is given up."""
    monkeypatch.setattr("stream.events.WRITE_S", 0.05)

    async def never(self: web.StreamResponse, data: bytes) -> None:
        await asyncio.sleep(60)

    stream = await site.add()
    monkeypatch.setattr("aiohttp.web.StreamResponse.write", never)
    async with site.client.get("/api/streams/s/events"):
        async with asyncio.timeout(20):
            while site.server._event_streams._count or stream.broadcast is None or stream.broadcast._listeners:
                await asyncio.sleep(0.01)
