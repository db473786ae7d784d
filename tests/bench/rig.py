"""A live stream in this process with a source of ready-made frames, so that only the pipeline is measured."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from fractions import Fraction

import av
import numpy as np

from stream.address import sample_clip
from stream.clock import NS_PER_S, Clock, MonotonicClock, ms_to_ns
from stream.device import open_device
from stream.errors import ConfigError
from stream.frame import Frame, Picture
from stream.lag import LoopLag
from stream.live import LiveStream
from stream.mailbox import Closed
from stream.parts import StreamParts
from stream.pipeline import Pipeline
from stream.source import SourceCounters, SourceState, SourceStatus, parse_source
from stream.trace import Step, Trace
from stream.warming import LoadedStage

TICKS = Fraction(1, 90_000)


def clip_pictures(count: int, size: tuple[int, int]) -> list[Picture]:
    """Return `count` pictures spread over the sample clip, at (width, height)."""
    with av.open(sample_clip().target) as container:
        every = [frame.to_ndarray(width=size[0], height=size[1], format="rgb24") for frame in container.decode(video=0)]
    return [np.ascontiguousarray(every[index * len(every) // count]) for index in range(count)]


class ReadySource:
    """Gives the same few pictures in turn, `fps` a second: no demuxing, no decoding."""

    def __init__(self, emit: Callable[[Frame], None], clock: Clock, pictures: Sequence[Picture], fps: float) -> None:
        self.spec = parse_source("test:")
        self._emit, self._clock, self._pictures, self._fps = emit, clock, pictures, fps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ready source", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        self._stop.set()
        self._thread.join(timeout_s)

    def status(self) -> SourceStatus:
        height, width = self._pictures[0].shape[:2]
        return SourceStatus(SourceState.RUNNING, None, "", width, height, self._fps, "ready", SourceCounters(), 0)

    def _run(self) -> None:
        start_ns, seq = self._clock.now_ns(), 0
        while self._clock.wait_until(start_ns + round(seq * NS_PER_S / self._fps), self._stop):
            now_ns = self._clock.now_ns()
            picture = self._pictures[seq % len(self._pictures)]
            frame = Frame("bench", seq, seq * 3000, TICKS, now_ns, picture, picture.shape[:2], Trace(now_ns))
            frame.trace.stamp(Step.DECODED, now_ns)
            self._emit(frame)
            seq += 1


class Rig:
    """One stream, its pipeline, and the loop's lag."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        fps: float,
        loaders: Sequence[Callable[[], LoadedStage]],
        budget_ms: float = 150,
        device: str = "cpu",
    ) -> None:
        self.clock = MonotonicClock()
        self.device = open_device(device, self.clock)
        self.pipeline = Pipeline(self.device, self.clock)
        self.lag = LoopLag(self.clock)
        open_it = lambda emit: ReadySource(emit, self.clock, pictures, fps)  # noqa: E731
        parts = StreamParts("bench", ms_to_ns(budget_ms), loaders, open_it)  # type: ignore[arg-type]
        self.stream = LiveStream(parts, self.pipeline, self.device, self.clock)


@asynccontextmanager
async def running(rig: Rig, codec: str | None = None, h264: str = "") -> AsyncIterator[Rig]:
    """Run a rig; with `codec` one viewer takes its packets, so that frames are drawn and encoded, by `h264` if said."""
    rig.stream.start()
    await rig.stream.warm_up()
    if rig.stream.problem or rig.stream.broadcast is None:
        raise ConfigError(f"the bench could not start: {rig.stream.problem}")
    rig.stream.broadcast.h264 = h264
    tasks = [asyncio.create_task(rig.lag.run())]
    if codec:
        tasks.append(asyncio.create_task(_watch(rig, codec)))
    try:
        yield rig
    finally:
        for task in tasks:
            task.cancel()
        await rig.stream.stop()
        rig.device.close()


async def _watch(rig: Rig, codec: str) -> None:
    assert rig.stream.broadcast is not None
    feed = rig.stream.broadcast.make_feed(codec)
    rig.stream.broadcast.add_viewer(feed)
    with suppress(Closed):
        while True:
            await feed.next()
