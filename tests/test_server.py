import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from models.judge import Judgement
from stream.access import Access
from stream.clock import MonotonicClock
from stream.config import StreamConfig
from stream.device import CpuDevice
from stream.errors import ModelError
from stream.lag import LoopLag
from stream.live import LiveStream
from stream.pipeline import Pipeline
from stream.server import Server
from stream.shadow import Judge, Shadow, StageDrift
from stream.source import SourceState
from stream.wiring import stream_parts
from tests.test_webrtc import Player


def make_clip(path: Path) -> Path:
    """Write half a second of video."""
    path.parent.mkdir()
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=0.5"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


class Site:
    """A server over real streams of the test pattern, without models, and a client."""

    def __init__(self, access: Access | None = None) -> None:
        self.clock = MonotonicClock()
        self.device = CpuDevice(self.clock)
        self.pipeline = Pipeline(self.device, self.clock)
        self.streams: dict[str, LiveStream] = {}
        self.server = Server(self.streams, LoopLag(self.clock), "CPU", self.clock, access)
        self.client = TestClient(TestServer(self.server.app()))

    async def add(
        self,
        name: str = "s",
        source: str = "test:320x180@30",
        *,
        is_warm: bool = True,
        load_stages: Any = (),
        loop: bool = True,
    ) -> LiveStream:
        config = StreamConfig(name=name, source=source, models=False, loop=loop)
        parts = replace(stream_parts(config, self.device, self.clock), load_stages=load_stages)
        stream = LiveStream(parts, self.pipeline, self.device, self.clock)
        self.streams[name] = stream
        stream.start()
        if is_warm:
            async with asyncio.timeout(20):
                await stream.warm_up()
        return stream

    async def show(self, stream: LiveStream, count: int) -> None:
        """Watch a stream until `count` frames have been shown."""
        assert stream.broadcast is not None
        feed = stream.broadcast.make_feed("H264")
        stream.broadcast.add_viewer(feed)
        async with asyncio.timeout(20):
            while stream.counts.shown < count:
                await feed.next()

    async def close(self) -> None:
        await self.server.sessions.close_all()
        await asyncio.gather(*(stream.stop() for stream in self.streams.values()))
        await self.client.close()
        self.device.close()

    async def post_offer(self, name: str, offer: str, content_type: str = "application/sdp") -> ClientResponse:
        return await self.client.post(f"/whep/{name}", data=offer, headers={"Content-Type": content_type})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.client.start_server()
    yield made
    await made.close()


async def test_a_player_gets_a_picture_and_leaves_by_its_location(site: Site) -> None:
    await site.add()
    player = Player()
    answer = await site.post_offer("s", await player.offer())
    assert answer.status == 201
    assert answer.content_type == "application/sdp"
    location = answer.headers["Location"]
    assert location.startswith("/whep/s/") and len(location.rsplit("/", 1)[1]) >= 22  # 128 bits
    pictures = await player.play(await answer.text(), 5)
    assert pictures[-1].shape == (180, 320, 3)
    assert (await site.client.delete(location)).status == 200
    assert (await site.client.delete(location)).status == 404
    await player.connection.close()


@pytest.mark.parametrize(
    ("name", "body", "content_type", "status"),
    [
        ("nobody", "v=0", "application/sdp", 404),
        ("s", "v=0", "application/json", 415),
        ("s", "hello", "application/sdp", 400),
        ("s", b"\xff\xfe", "application/sdp", 400),
        ("s", "v=0\r\n" + "a" * 70_000, "application/sdp", 413),
    ],
)
async def test_a_wrong_request_gets_its_status_and_one_line(site: Site, name, body, content_type, status) -> None:
    await site.add()
    answer = await site.post_offer(name, body, content_type)
    assert answer.status == status
    if status != 413:
        assert "\n" not in (await answer.json())["error"]


async def test_a_browser_stream_without_a_publisher_answers_409(site: Site) -> None:
    await site.add("cam", "browser", is_warm=False)
    answer = await site.post_offer("cam", "v=0")
    assert answer.status == 409
    assert "Retry-After" in answer.headers
    assert "waiting for somebody to send video" in (await answer.json())["error"]
    assert (await site.client.get("/readyz")).status == 200  # nothing is warming


async def test_not_ready_until_the_models_are_warm(site: Site) -> None:
    stream = await site.add(is_warm=False)
    ready = await site.client.get("/readyz")
    assert (ready.status, await ready.json()) == (503, {"ready": False, "waiting_for": ["s"], "problems": {}})
    assert (await site.post_offer("s", "v=0")).status == 503
    assert (await site.client.get("/healthz")).status == 200
    await stream.warm_up()
    assert (await site.client.get("/readyz")).status == 200


async def test_a_model_that_cannot_be_loaded_is_left_out_and_named(site: Site) -> None:
    def load() -> Any:
        raise ModelError("weights are missing; run make setup")

    await site.add(load_stages=[load])
    listed = json.loads(await (await site.client.get("/api/streams")).text())["streams"][0]
    assert (listed["ready"], listed["problem"]) == (True, "weights are missing; run make setup")
    ready = await site.client.get("/readyz")
    assert ready.status == 503
    assert (await ready.json())["problems"] == {"s": "weights are missing; run make setup"}


async def test_the_api_accounts_for_every_frame(site: Site) -> None:
    stream = await site.add()
    await site.show(stream, 20)
    found = (await (await site.client.get("/api/streams")).json())["streams"][0]
    frames = found["frames"]
    assert frames["captured"] == frames["shown"] + sum(frames["dropped"].values()) + frames["in_flight"]
    assert frames["on_time"] + frames["late"] == frames["shown"]
    assert found["source"]["state"] == "running"
    assert (found["width"], found["height"]) == (320, 180)
    assert 20 < found["fps"]["captured"] < 40
    assert set(found["latency_ms"]["capture_to_send"]) == {"p50", "p95", "p99", "max"}


async def test_metrics_are_prometheus_text(site: Site) -> None:
    stream = await site.add()
    await site.show(stream, 5)
    text = await (await site.client.get("/metrics")).text()
    for line in (
        'livelens_frames_captured_total{stream="s"}',
        'livelens_frames_shown_total{deadline="met",stream="s"}',
        'livelens_frames_dropped_total{reason="warming",stream="s"}',
        'livelens_source_state{state="running",stream="s"} 1.0',
        'livelens_capture_to_send_seconds{quantile="0.95",stream="s"}',
        'livelens_step_seconds_count{step="wait",stream="s"}',
        "livelens_loop_lag_seconds_count",
        'livelens_pool_takes_total{found="hit",stream="s"}',
        'livelens_pool_outstanding{stream="s"}',
        'livelens_pool_bytes{stream="s"}',
    ):
        assert line in text


async def test_metrics_and_status_have_the_drift_of_a_shadow_check(site: Site) -> None:
    stream = await site.add()
    shadow = Shadow("s", {"style": cast(Judge, None), "boxes": cast(Judge, None)}, 1, site.clock, str, int)
    shadow.drifts["style"] = StageDrift(Judgement("PSNR", 51.2, "dB", ""), "openvino bf16", 0, frames=7, below=2)
    stream.shadow = shadow
    text = await (await site.client.get("/metrics")).text()
    for line in (
        'livelens_shadow_agreement{measure="PSNR",stage="style",stream="s"} 51.2',
        'livelens_shadow_frames_total{stage="style",stream="s"} 7.0',
        'livelens_shadow_frames_below_total{stage="style",stream="s"} 2.0',
        'livelens_shadow_frames_total{stage="boxes",stream="s"} 0.0',
    ):
        assert line in text
    assert 'livelens_shadow_agreement{measure="",stage="boxes"' not in text
    found = (await (await site.client.get("/api/streams")).json())["streams"][0]["shadow"]
    assert [(one["name"], one["value"], one["frames"]) for one in found["stages"]] == [
        ("style", 51.2, 7),
        ("boxes", None, 0),
    ]
    stream.shadow = None  # nothing to close


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "192.168.1.5", ""])
async def test_another_name_for_loopback_is_refused(site: Site, host: str) -> None:
    """DNS rebinding: a page of evil.example, whose name points here, must not read the camera."""
    await site.add()
    assert (await site.client.get("/api/streams", headers={"Host": host})).status in (400, 403)
    for good in ("localhost:1", "127.0.0.1", "[::1]:8080"):
        assert (await site.client.get("/healthz", headers={"Host": good})).status == 200


async def test_another_sites_page_cannot_join(site: Site) -> None:
    await site.add()
    answer = await site.client.post(
        "/whep/s", data="v=0", headers={"Content-Type": "application/sdp", "Origin": "https://evil.example"}
    )
    assert answer.status == 403


async def test_a_recording_that_has_ended_answers_409_and_tells_no_path(site: Site, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "private" / "short.mp4")
    stream = await site.add("done", str(clip), loop=False)
    async with asyncio.timeout(20):
        while stream.source_status().state is not SourceState.FINISHED:
            await asyncio.sleep(0.05)
    answer = await site.post_offer("done", "v=0")
    assert answer.status == 409
    said = (await answer.text()) + await (await site.client.get("/api/streams")).text()
    assert "short.mp4" in said and "private" not in said


async def test_the_page_is_served_with_a_strict_policy(site: Site) -> None:
    answer = await site.client.get("/")
    assert answer.status == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert (await site.client.get("/page/app.js")).status == 200
    assert (await site.client.get("/page/../server.py")).status in (403, 404)


async def test_stopping_ends_every_thread_of_a_stream(site: Site) -> None:
    import threading

    before = threading.active_count()
    stream = await site.add("brief")
    await stream.stop()
    del site.streams["brief"]
    async with asyncio.timeout(10):
        while threading.active_count() > before:
            await asyncio.sleep(0.05)
    assert stream.counts.in_flight == 0


async def test_a_source_that_cannot_work_does_not_hold_back_the_others(site: Site, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(b"no video at all")
    dead = await site.add("dead", str(cut), is_warm=False)
    async with asyncio.timeout(20):
        while dead.source_status().state is not SourceState.ERROR:
            await asyncio.sleep(0.05)
    assert (await site.client.get("/readyz")).status == 503  # nothing else is there
    await site.add("good")
    ready = await site.client.get("/readyz")
    assert ready.status == 200
    assert "cut.mp4" in (await ready.json())["problems"]["dead"]
