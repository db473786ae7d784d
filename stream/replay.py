"""A recording through the pipeline of a live stream, encoder included: in its own time, at full speed, or virtually.

`virtual` takes arrivals and costs from the side file and runs on a virtual clock: the same decisions on every machine.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from stream.clock import MonotonicClock, ms_to_ns
from stream.config import StreamConfig
from stream.costs import CostBook
from stream.device import open_device, run_aside
from stream.errors import ConfigError
from stream.feed import Feed
from stream.frame import Frame
from stream.live import LiveStream, StreamParts
from stream.mailbox import Closed
from stream.pipeline import Pipeline
from stream.policies import policy
from stream.recording import Recording, arrivals
from stream.run import Arrival, Run, RunInfo, StageInfo
from stream.scheduler import StageKind
from stream.source import SourceState
from stream.virtual import Script, play
from stream.wiring import Play, stream_parts

FIRST_FRAME_S = 20.0  # to decode one picture of a file; longer means it cannot be read
DRAIN_S = 10.0  # for the frames still inside when the recording has ended; a model that hangs is left behind
TICK_S = 0.25  # as the server ticks
WATCH_S = 0.05  # how often progress is told


class Pace(StrEnum):
    """What time a replay goes by."""

    RECORDED = "recorded"  # packets come when they came
    REALTIME = "realtime"  # packets come by their timestamps, as from a camera
    MAX = "max"  # as fast as the pipeline takes them; nothing is superseded
    VIRTUAL = "virtual"  # recorded arrivals and costs on a virtual clock


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be replayed, and how; `config` has models, budget and working size, and its source is ignored."""

    recording: Recording
    pace: Pace
    config: StreamConfig
    loops: int = 1
    device: str = "auto"


Tell = Callable[[int, int], None]  # (frames done, frames in all)


def check_wish(wish: Wish) -> None:
    """Raise ConfigError when the pace needs what the recording does not have."""
    run, clip = wish.recording.run, wish.recording.clip
    if wish.pace in (Pace.RECORDED, Pace.VIRTUAL) and run is None:
        raise ConfigError(f"{clip}: --pace {wish.pace} needs its side file; take --pace realtime")
    if wish.pace is Pace.VIRTUAL and run is not None and not run.arrivals:
        raise ConfigError(
            f"{clip}: its side file tells of no frame; was it ended before the models were warm? Take --pace realtime"
        )


def replay(wish: Wish, tell: Tell) -> Run:
    """Play the recording to its end and return the account. Blocks; owns an event loop for the real paces."""
    check_wish(wish)
    if wish.pace is Pace.VIRTUAL:
        return replay_virtual(wish, tell)
    with asyncio.Runner() as runner:
        return runner.run(_replay_live(wish, tell))


def replay_virtual(wish: Wish, tell: Tell) -> Run:
    """Play recorded arrivals and costs on a virtual clock. No asyncio, no models, no decoding."""
    run = wish.recording.run
    assert run is not None
    looped, period = _looped(run.arrivals, wish.loops)
    info = replace(
        run.info,
        budget_ns=ms_to_ns(wish.config.budget_ms),
        stages=tuple(_floored(stage, wish.config.min_quality) for stage in run.info.stages),
        pace=wish.pace.value,
        clip=wish.recording.clip.name,
    )
    script = Script(info, looped, CostBook(run, period=period))
    total = len(looped)
    [account] = play([script], policy("livelens", info.capacity), lambda share: tell(round(share * total), total))
    tell(total, total)
    return account


def _floored(stage: StageInfo, min_quality: float) -> StageInfo:
    return replace(stage, ladder=stage.ladder[:1] + tuple(r for r in stage.ladder[1:] if r.quality >= min_quality))


def _looped(recorded: list[Arrival], loops: int) -> tuple[list[Arrival], int]:
    """Return the arrivals `loops` times over, a frame interval apart, and the seqs of one round; 0 for one round."""
    if loops == 1:
        return recorded, 0
    first, last = recorded[0], recorded[-1]
    seqs = last.seq + 1
    span_ns = last.captured_ns - first.captured_ns
    interval_ns = span_ns // max(1, len(recorded) - 1)
    ticks = last.pts - first.pts + max(1, (last.pts - first.pts) // max(1, len(recorded) - 1))
    again = [
        replace(
            one,
            seq=one.seq + turn * seqs,
            pts=one.pts + turn * ticks,
            captured_ns=one.captured_ns + turn * (span_ns + interval_ns),
            queued_ns=one.queued_ns + turn * (span_ns + interval_ns),
        )
        for turn in range(loops)
        for one in recorded
    ]
    return again, seqs


async def _replay_live(wish: Wish, tell: Tell) -> Run:
    clock = MonotonicClock()
    device = open_device(wish.device, clock)
    account = Run(RunInfo("", "", "", "", 0, 0, ()))
    schedule = arrivals(wish.recording.run) if wish.pace is Pace.RECORDED and wish.recording.run else None
    play_as = Play(wish.pace.value, schedule, wish.pace is not Pace.MAX, account)
    config = wish.config.model_copy(update={"source": str(wish.recording.clip), "loop": wish.loops})
    parts = stream_parts(config, device, clock, play_as)
    height, width = await _first_size(parts, clock)
    pipeline = Pipeline(device, clock)
    stream = LiveStream(parts, pipeline, device, clock)
    stream.set_size(height, width)
    try:
        await stream.warm_up()
        if stream.broadcast is None or stream.problem:
            raise ConfigError(stream.problem or "the models could not be started")
        await _play_out(stream, pipeline, wish.recording.packets * wish.loops, tell)
    finally:
        await stream.stop()
        device.close()
    return account


async def _first_size(parts: StreamParts, clock: MonotonicClock) -> tuple[int, int]:
    """Return (height, width) at which the first frame comes, by reading it. Raises ConfigError when none does."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[tuple[int, int]] = loop.create_future()

    def take(frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        loop.call_soon_threadsafe(_set_once, first, (height, width))

    source = parts.open_source(take)
    source.start()
    try:
        async with asyncio.timeout(FIRST_FRAME_S):
            while not first.done() and source.status().state is not SourceState.ERROR:
                await asyncio.wait([first], timeout=WATCH_S)
    except TimeoutError:
        pass
    finally:
        await run_aside(clock, source.stop)
    if not first.done():
        raise ConfigError(source.status().message or "no picture could be read")
    return first.result()


def _set_once(future: "asyncio.Future[tuple[int, int]]", value: tuple[int, int]) -> None:
    if not future.done():
        future.set_result(value)


async def _play_out(stream: LiveStream, pipeline: Pipeline, total: int, tell: Tell) -> None:
    """Play to the end with a viewer that takes everything, then let the last frames out."""
    assert stream.broadcast is not None
    feed = stream.broadcast.make_feed("H264")
    stream.broadcast.add_viewer(feed)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_take_all(feed)), group.create_task(_tick(pipeline))]
        stream.start()
        while stream.source_status().state not in (SourceState.FINISHED, SourceState.ERROR):
            tell(min(stream.counts.captured, total), total)
            await asyncio.sleep(WATCH_S)
        for _ in range(round(DRAIN_S / WATCH_S)):
            if not stream.counts.in_flight:
                break
            await asyncio.sleep(WATCH_S)
        tell(total, total)
        for task in tasks:
            task.cancel()


async def _take_all(feed: Feed) -> None:
    """Stand in for a viewer: take packets until the stream ends."""
    with suppress(Closed):
        while True:
            await feed.next()


async def _tick(pipeline: Pipeline) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        pipeline.tick()


def recorded_models(run: Run | None) -> tuple[list[str], str | None]:
    """Return the models a recording was made with: for recognition, and for generation (None without one)."""
    stages = [] if run is None else [stage for stage in run.info.stages if stage.model]
    recognize = [stage.model for stage in stages if stage.kind == StageKind.RECOGNIZE.value]
    generate = [stage.model for stage in stages if stage.kind == StageKind.GENERATE.value]
    return recognize, generate[0] if generate else None
