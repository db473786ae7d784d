"""A recording through the pipeline of a live stream, encoder included: in its own time, at full speed, or virtually.

`virtual` takes arrivals and costs from the side file and runs on a virtual clock: the same decisions on every machine.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from stream.clock import MonotonicClock, ms_to_ns
from stream.config import StreamConfig
from stream.costs import CostBook
from stream.device import open_device
from stream.errors import ConfigError
from stream.headless import ENDED, first_size, play_out
from stream.lag import hand_over_often
from stream.live import LiveStream
from stream.pipeline import Pipeline
from stream.policies import policy
from stream.recording import Recording, arrivals
from stream.run import Arrival, Run, RunInfo, StageInfo, check_frames
from stream.sound import check_sound, in_order
from stream.source import SourceState
from stream.tape import side_path
from stream.view import StageKind
from stream.virtual import Script, play
from stream.wiring import Play, stream_parts

log = logging.getLogger(__name__)


class Pace(StrEnum):
    """What time a replay goes by."""

    RECORDED = "recorded"  # packets come when they came
    REALTIME = "realtime"  # packets come by their timestamps, as from a camera
    MAX = "max"  # as fast as the pipeline takes them: every model on every frame, at its best; nothing is dropped
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
    """Raise ConfigError when the pace needs what the recording does not have, or the account would be too long."""
    run, clip = wish.recording.run, wish.recording.clip
    if run is not None and wish.pace in (Pace.RECORDED, Pace.VIRTUAL):
        check_sound(run, side_path(clip).name)
    if wish.pace in (Pace.RECORDED, Pace.VIRTUAL) and run is None:
        raise ConfigError(f"{clip}: --pace {wish.pace} needs its side file; take --pace realtime")
    if wish.pace is Pace.VIRTUAL and run is not None and not run.arrivals:
        raise ConfigError(
            f"{clip}: its side file tells of no frame; was it ended before the models were warm? Take --pace realtime"
        )
    check_frames(wish.recording.packets * wish.loops, "take a lower --loop, or a shorter clip")


def replay(wish: Wish, tell: Tell) -> Run:
    """Play the recording to its end and return the account. Blocks; owns an event loop for the real paces."""
    check_wish(wish)
    if wish.pace is Pace.VIRTUAL:
        return replay_virtual(wish, tell)
    hand_over_often()
    with asyncio.Runner() as runner:
        return runner.run(_replay_live(wish, tell))


def replay_virtual(wish: Wish, tell: Tell) -> Run:
    """Play recorded arrivals and costs on a virtual clock. No asyncio, no models, no decoding."""
    run = wish.recording.run
    assert run is not None
    looped, period = _looped(in_order(run.arrivals), wish.loops)
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
    height, width = await first_size(parts, clock)
    scheduler = policy("newest", device.capacity) if wish.pace is Pace.MAX else None  # every stage on every frame
    pipeline = Pipeline(device, clock, scheduler=scheduler)
    stream = LiveStream(parts, pipeline, device, clock)
    stream.set_size(height, width)
    total = wish.recording.packets * wish.loops
    try:
        await stream.warm_up()
        if stream.broadcast is None or stream.problem:
            raise ConfigError(stream.problem or "the models could not be started")
        stream.start()

        def has_ended() -> bool:
            return stream.source_status().state in ENDED

        def on_progress() -> None:
            tell(min(stream.counts.captured, total), total)

        await play_out(stream, pipeline, asyncio.Event(), has_ended, on_progress)
        if (status := stream.source_status()).state is SourceState.ERROR:
            log.warning("the clip was not played to its end: %s", status.message)
        tell(total, total)
    finally:
        await stream.stop()
        device.close()
    return account


def recorded_size(run: Run) -> str | None:
    """Return the working size "WxH" of a recording; None where it changed or no frame came."""
    sizes = {(arrival.width, arrival.height) for arrival in run.arrivals}
    return "{}x{}".format(*sizes.pop()) if len(sizes) == 1 else None


def recorded_models(run: Run | None) -> tuple[list[str], str | None]:
    """Return the models a recording was made with: for recognition, and for generation (None without one)."""
    stages = [] if run is None else [stage for stage in run.info.stages if stage.model]
    recognize = [stage.model for stage in stages if stage.kind == StageKind.RECOGNIZE.value]
    generate = [stage.model for stage in stages if stage.kind == StageKind.GENERATE.value]
    return recognize, generate[0] if generate else None
