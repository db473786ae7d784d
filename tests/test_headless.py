"""headless.py: the size of the first picture, and a stream played out to its last frame."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from stream import headless
from stream.clock import MonotonicClock
from stream.config import StreamConfig
from stream.device import open_device
from stream.errors import ConfigError
from stream.feed import Feed
from stream.headless import first_size, pause, play_out
from stream.live import LiveStream
from stream.parts import StreamParts
from stream.pipeline import Pipeline
from stream.stats import FrameCounts
from stream.wiring import stream_parts
from tests.media import Media, media  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


def parts_of(path: Path, **settings: Any) -> StreamParts:
    clock = MonotonicClock()
    config = StreamConfig(source=str(path), models=False, loop=False, **settings)
    return stream_parts(config, open_device("cpu", clock), clock)


async def test_first_size_is_the_working_size(media: Media) -> None:
    assert await first_size(parts_of(media("gop10.mp4")), MonotonicClock()) == (180, 320)
    assert await first_size(parts_of(media("gop10.mp4"), size=(160, 88)), MonotonicClock()) == (88, 160)


async def test_clip_that_cannot_be_decoded_has_no_first_size(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video at all\n" * 100)
    with pytest.raises(ConfigError, match=r"notes\.mp4"):
        await first_size(parts_of(tmp_path / "notes.mp4"), MonotonicClock())


async def test_pause_ends_when_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headless, "WATCH_S", 600)  # what it would take otherwise
    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(10):
        await pause(stop)


@dataclass
class FakeBroadcast:
    """Gives one viewer's feed, and remembers that it was added."""

    viewers: list[Feed] = field(default_factory=list)

    def make_feed(self, codec: str) -> Feed:
        return Feed(codec, lambda: None)

    def add_viewer(self, feed: Feed) -> None:
        self.viewers.append(feed)


@dataclass
class FakeStream:
    counts: FrameCounts = field(default_factory=FrameCounts)
    broadcast: FakeBroadcast = field(default_factory=FakeBroadcast)


class FakePipeline:
    ticks = 0

    async def run(self) -> None:
        while True:
            self.ticks += 1
            await asyncio.sleep(0.25)


async def play(stream: FakeStream, stop: asyncio.Event, has_ended: Any, told: list[int] | None = None) -> FakePipeline:
    pipeline = FakePipeline()
    tell = (lambda: None) if told is None else (lambda: told.append(stream.counts.captured))
    async with asyncio.timeout(10):
        await play_out(cast(LiveStream, stream), cast(Pipeline, pipeline), stop, has_ended, tell)
    return pipeline


async def test_frame_that_came_just_before_the_end_is_waited_for() -> None:
    """The source says that it has ended before the loop has counted its last frame."""
    stream, loop = FakeStream(), asyncio.get_running_loop()

    def arrive() -> None:
        stream.counts.captured += 1
        loop.call_later(0.3, settle)

    def settle() -> None:
        stream.counts.shown += 1

    def has_ended() -> bool:
        if not stream.counts.captured:
            loop.call_soon_threadsafe(arrive)
        return True

    told: list[int] = []
    await play(stream, asyncio.Event(), has_ended, told)
    assert stream.counts.shown == 1
    assert told[-1] == 1  # and the progress knows of it
    assert len(stream.broadcast.viewers) == 1


async def test_playing_goes_on_until_the_source_has_ended() -> None:
    looks = iter([False] * 8 + [True] * 100)
    pipeline = await play(FakeStream(), asyncio.Event(), lambda: next(looks))
    assert pipeline.ticks >= 1
    assert 92 <= sum(1 for _ in looks) <= 100


async def test_stop_ends_it_although_frames_are_inside() -> None:
    stream, stop = FakeStream(FrameCounts(captured=5)), asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, stop.set)
    await play(stream, stop, lambda: False)
    assert stream.counts.in_flight == 5


async def test_clip_plays_out_to_its_last_frame(media: Media) -> None:
    clock = MonotonicClock()
    device = open_device("cpu", clock)
    pipeline = Pipeline(device, clock)
    stream = LiveStream(parts_of(media("short.mp4")), pipeline, device, clock)
    stream.set_size(180, 320)
    await stream.warm_up()
    stream.start()
    async with asyncio.timeout(60):
        await play_out(stream, pipeline, asyncio.Event(), lambda: stream.source_status().state.value == "finished")
    assert stream.counts.captured == 15
    assert stream.counts.in_flight == 0
    await stream.stop()
    device.close()
