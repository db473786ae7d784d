"""Recorded or synthetic costs under another policy, budget, device or number of streams, and the best possible.

Everything runs in virtual time, so an answer is exact for its input and the same on every machine.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stream.clairvoyant import Job, Optimum, optimum
from stream.clock import ms_to_ns, ns_to_ms
from stream.costs import TAIL, CostBook
from stream.errors import ConfigError
from stream.policies import policy
from stream.run import Arrival, Cost, Run, StageInfo, check_frames
from stream.scheduler import GRACE_NS
from stream.sound import check_sound, in_order
from stream.stats import quantile
from stream.summary import summarize
from stream.synthetic import synthetic_run
from stream.tape import side_path
from stream.virtual import Script, play, stage_of

log = logging.getLogger(__name__)

MAX_STREAMS = 256
COST_SHIFT = 7  # frames from one stream's costs to the next one's, so that copies do not all cost the same at once
CHANGES_PER_S = 1.0  # as often as a steady ladder may change its variant: the optimum is held to it too


@dataclass(frozen=True, slots=True)
class Setting:
    """Under what to run: None and 1 leave things as they were recorded."""

    budget_ms: float | None = None
    device_speed: float = 1.0
    streams: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """What a policy made of it, over all streams. Shares 0..1, ages from capture to sent."""

    policy: str
    captured: int
    shown: int
    fps: float
    on_time_share: float
    age_p50_ms: float
    age_p95_ms: float
    utility: float
    busy_share: float  # of the busiest lane's time
    changes: int
    reused_share: float  # of the frames shown, with an earlier result
    runs: tuple[Run, ...]


def load_run(name: str) -> Run:
    """Return the run of `synthetic:...`, of a recording, or of its side file. Raises ConfigError."""
    if name.startswith("synthetic:"):
        return synthetic_run(name)
    from stream.recording import open_recording

    recording = open_recording(Path(name), require_side=True)
    for note in recording.notes:
        log.warning("%s", note)
    run = recording.run
    assert run is not None
    check_sound(run, side_path(recording.clip).name)
    if not run.arrivals:
        raise ConfigError(f"{name}: its side file tells of no frame; was it ended before the models were warm?")
    if not run.info.stages:
        raise ConfigError(f"{name}: it was recorded without models, so there is nothing to schedule")
    return replace(run, arrivals=in_order(run.arrivals))


def simulate(run: Run, name: str, setting: Setting, tell: Callable[[float], None] | None = None) -> Result:
    """Return what the policy `name` makes of the run. Raises ConfigError for an unknown policy or setting."""
    scripts = make_scripts(run, setting)
    runs = play(scripts, policy(name, run.info.capacity), tell)
    return _result(name, runs)


def make_scripts(run: Run, setting: Setting) -> list[Script]:
    """Return what each stream does: copies of the run, each a part of a frame interval and some frames further on."""
    if not 1 <= setting.streams <= MAX_STREAMS:
        raise ConfigError(f"--streams {setting.streams}: it must be 1 to {MAX_STREAMS}")
    check_frames(len(run.arrivals) * setting.streams, "take fewer --streams or a shorter run")
    if not setting.device_speed > 0:
        raise ConfigError(f"--device-speed {setting.device_speed:g}: it must be above 0; 2 is twice as fast")
    budget_ns = run.info.budget_ns if setting.budget_ms is None else ms_to_ns(setting.budget_ms)
    interval_ns, period = _interval_ns(run), run.arrivals[-1].seq + 1
    scripts = []
    for index in range(setting.streams):
        name = run.info.stream if setting.streams == 1 else f"{run.info.stream}-{index + 1}"
        info = replace(run.info, stream=name, budget_ns=budget_ns, pace="virtual")
        shift_ns = index * interval_ns // setting.streams
        book = CostBook(run, setting.device_speed, period, index * COST_SHIFT)
        scripts.append(Script(info, [_later(arrival, shift_ns) for arrival in run.arrivals], book))
    return scripts


def _later(arrival: Arrival, shift_ns: int) -> Arrival:
    return replace(arrival, captured_ns=arrival.captured_ns + shift_ns, queued_ns=arrival.queued_ns + shift_ns)


def best_possible(run: Run, setting: Setting, *, is_steady: bool = False) -> Optimum | None:
    """Return the most utility any policy could have had, all arrivals and costs known in advance.

    With `is_steady`, of those that keep what Livelens promises beside the deadline: a frame starts within one interval
    and 20 ms, and a variant changes once a second at most. Over the dearest of
    the stages that every frame waits for; an upper bound where there are several of them, or several streams. None when
    no stage is needed on every frame. The value is per captured frame.
    """
    scripts = make_scripts(run, setting)
    stage = _bottleneck(run)
    if stage is None:
        return None
    jobs = [_job(script, stage, arrival) for script in scripts for arrival in script.arrivals]
    span_s = (max(job.queued_ns for job in jobs) - min(job.queued_ns for job in jobs)) / 1e9
    has_one_ladder = is_steady and len(scripts) == 1
    if is_steady:
        jobs = [replace(job, latest_ns=job.queued_ns + _interval_ns(run) + GRACE_NS) for job in jobs]
    found = optimum(jobs, changes=round(span_s * CHANGES_PER_S) if has_one_ladder else None)
    is_whole = len(scripts) == 1 and sum(not one.max_age_ns for one in run.info.stages) == 1
    return replace(found, value=found.value / len(jobs), is_exact=found.is_exact and is_whole)


def _job(script: Script, stage: StageInfo, arrival: Arrival) -> Job:
    made = stage_of(stage)
    tail_ns = sum(script.costs.tail(arrival.seq))
    options = tuple(
        (script.costs.job(made, rung, arrival.seq)[0], one.quality) for rung, one in enumerate(stage.ladder)
    )
    return Job(arrival.queued_ns, arrival.captured_ns + script.info.budget_ns - tail_ns, options)


def _bottleneck(run: Run) -> StageInfo | None:
    """Return the dearest of the stages that every frame waits for."""
    took: dict[str, int] = {}
    for cost in run.costs:
        took[cost.stage] = took.get(cost.stage, 0) + cost.finished_ns - cost.started_ns
    must = [stage for stage in run.info.stages if not stage.max_age_ns]
    return max(must, key=lambda stage: (took.get(stage.name, 0), stage.name), default=None)


def _interval_ns(run: Run) -> int:
    first, last = run.arrivals[0], run.arrivals[-1]
    return (last.captured_ns - first.captured_ns) // max(1, len(run.arrivals) - 1)


def _result(name: str, runs: Sequence[Run]) -> Result:
    summaries = [summarize(run) for run in runs]
    ages = sorted(
        ns_to_ms(outcome.stamps_ns["sent"] - outcome.stamps_ns["captured"])
        for run in runs
        for outcome in run.outcomes
        if outcome.is_shown
    )
    captured = sum(one["frames"]["captured"] for one in summaries)
    shown = sum(one["frames"]["shown"] for one in summaries)
    on_time = sum(one["frames"]["on_time"] for one in summaries)
    return Result(
        policy=name,
        captured=captured,
        shown=shown,
        fps=round(sum(one["fps"]["shown"] for one in summaries), 2),
        on_time_share=on_time / shown if shown else 0.0,
        age_p50_ms=quantile(ages, 0.5) if ages else 0.0,
        age_p95_ms=quantile(ages, 0.95) if ages else 0.0,
        utility=sum(one["utility"] * one["frames"]["captured"] for one in summaries) / captured if captured else 0.0,
        busy_share=_busy_share([cost for run in runs for cost in run.costs if cost.stage != TAIL]),
        changes=sum(len(run.ladder) for run in runs),
        reused_share=sum(one["frames"]["reused"] for one in summaries) / shown if shown else 0.0,
        runs=tuple(runs),
    )


def _busy_share(costs: Sequence[Cost]) -> float:
    """Return the share of its time, from its first job to the end of its last, that the busiest lane worked."""
    shares = []
    for lane in {cost.lane for cost in costs}:
        jobs = [cost for cost in costs if cost.lane == lane]
        span_ns = max(job.finished_ns for job in jobs) - min(job.started_ns for job in jobs)
        shares.append(sum((job.finished_ns - job.started_ns) / job.batch for job in jobs) / span_ns if span_ns else 0.0)
    return max(shares, default=0.0)
