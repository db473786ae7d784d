"""A live stream without a server: one viewer that takes everything, so that frames are drawn, encoded and sent."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from stream.clock import Clock
from stream.device import run_aside
from stream.errors import ConfigError
from stream.feed import Feed
from stream.frame import Frame
from stream.live import LiveStream
from stream.mailbox import Closed
from stream.parts import StreamParts
from stream.pipeline import Pipeline
from stream.source import SourceState

FIRST_FRAME_S = 20.0  # to get one picture of a recording; longer means it cannot be read
DRAIN_S = 10.0  # for the frames still inside when the source has ended; a model that hangs is left behind
WATCH_S = 0.05  # how often the source is looked at, and progress told
ENDED = (SourceState.FINISHED, SourceState.ERROR)  # of a recording, which is not tried again


async def first_size(parts: StreamParts, clock: Clock) -> tuple[int, int]:
    """Return (height, width) at which the first frame comes, by reading it. Raises ConfigError when none does."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[tuple[int, int]] = loop.create_future()

    def take(frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        loop.call_soon_threadsafe(_set_once, first, (height, width))

    source = parts.open_source(take)
    source.start()
    for _ in range(round(FIRST_FRAME_S / WATCH_S)):
        await asyncio.wait([first], timeout=WATCH_S)
        if first.done() or source.status().state is SourceState.ERROR:
            break
    await run_aside(clock, source.stop)
    if not first.done():
        raise ConfigError(source.status().message or "no picture could be read")
    return first.result()


async def play_out(
    stream: LiveStream,
    pipeline: Pipeline,
    stop: asyncio.Event,
    has_ended: Callable[[], bool],
    on_progress: Callable[[], None] = lambda: None,
) -> None:
    """Play a warm stream until its source has ended or `stop` is set, then let the last frames out."""
    assert stream.broadcast is not None
    feed = stream.broadcast.make_feed("H264")
    stream.broadcast.add_viewer(feed)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_take_all(feed)), group.create_task(pipeline.run())]
        while not has_ended() and not stop.is_set():
            on_progress()
            await pause(stop)
        for _ in range(round(DRAIN_S / WATCH_S) if not stop.is_set() else 1):
            await asyncio.sleep(WATCH_S)  # first, for frames that came just before the end are not yet counted
            on_progress()
            if not stream.counts.in_flight:
                break
        for task in tasks:
            task.cancel()


async def pause(stop: asyncio.Event) -> None:
    """Return after a moment, or at once when `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), WATCH_S)


def _set_once(future: "asyncio.Future[tuple[int, int]]", value: tuple[int, int]) -> None:
    if not future.done():
        future.set_result(value)


async def _take_all(feed: Feed) -> None:
    with suppress(Closed):
        while True:
            await feed.next()
