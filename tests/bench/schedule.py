"""Scheduling under overload, in virtual time: ours against fifo, newest-only and plain EDF, and the best possible.

Exact and the same on every machine, but for the last rows, which time the scheduler itself.
"""

import gc
import math
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import NormalDist

from stream.budget import Forecast
from stream.clock import ns_to_ms
from stream.costs import CostBook
from stream.policies import policy
from stream.run import Cost, Run, RungInfo, StageInfo
from stream.scheduler import GRACE_NS, DeadlineScheduler
from stream.simulate import CHANGES_PER_S, Result, Setting, best_possible, simulate
from stream.stats import quantile
from stream.synthetic import DECODE_NS, DEFAULTS, TAIL_NS, synthetic_run
from stream.view import Drop, Plan, RungView, StageKind, StageView, Waiting
from stream.virtual import Script, play
from tests.bench.nonclairvoyant import Process, best_utility
from tests.bench.rows import Row

KINDS = ("constant", "bursty", "lognormal", "step")
BASELINES = ("fifo", "newest", "edf")
INTERVAL_MS = 1000 / 30
GRACE_MS = ns_to_ms(GRACE_NS)
ON_TIME = {"lognormal": 0.97}  # of heavy tails; 0.99 of the others
UNFORESEEN = {  # what the optimum knows and no scheduler can
    "lognormal": "; each frame's cost is drawn on its own: the optimum picks the cheap frames",
    "bursty": "; the optimum knows when a burst begins and ends",
}
SEEDS = 6
BURST_SEEDS = 30  # a trace has some 40 bursts: six of them are luck
QUANTILES = 400  # of a lognormal cost
BURST_LOADS = (0.6, 2.2)  # outside and in a burst, as in stream/synthetic.py
BURST_CHAIN = ((1 - 1 / 45, 1 / 45), (1 / 15, 1 - 1 / 15))  # bursts of 15 frames on the mean, 45 between them
STREAMS, WEIGHTS = 8, (1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0)
DECISIONS = 20_000
MS = 1_000_000


def measure(is_quick: bool) -> list[Row]:
    """Return every row; a minute or two."""
    seconds = 10 if is_quick else 40
    rows = []
    for ladder in (1, 4):
        for kind in KINDS:
            for overload in (2, 4):
                rows += _trace_rows(kind, overload, ladder, seconds)
    rows += _light_rows(seconds)
    rows += _fairness_rows(seconds)
    rows += _waiting_rows(seconds)
    rows += _decision_rows()
    return [*rows, _replay_row(seconds)]


# One trace


@dataclass(frozen=True, slots=True)
class _Trace:
    """A trace, its name, and what every policy made of it."""

    name: str
    kind: str
    run: Run
    setting: Setting
    results: dict[str, Result]

    @property
    def ours(self) -> Result:
        return self.results["livelens"]


def _trace_rows(kind: str, overload: int, ladder: int, seconds: int) -> list[Row]:
    trace = _run_all(kind, overload, ladder, seconds)
    rate = [_rate_row(trace)] if ladder == 1 else []
    return [_on_time_row(trace), *rate, _age_row(trace), *_utility_rows(trace)]


def _run_all(kind: str, overload: int, ladder: int, seconds: int) -> _Trace:
    run = synthetic_run(f"synthetic:{kind},overload={overload},ladder={ladder},seconds={seconds}")
    best = sorted(_cost_ms(cost) for cost in run.costs if cost.variant == "v0")
    setting = Setting(budget_ms=quantile(best, 0.99) + INTERVAL_MS + GRACE_MS)
    results = {name: simulate(run, name, setting) for name in (*BASELINES, "livelens")}
    name = f"{kind} {overload}x, {ladder} variant{'s' if ladder > 1 else ''}"
    return _Trace(name, kind, run, setting, results)


def _on_time_row(trace: _Trace) -> Row:
    aim = ON_TIME.get(trace.kind, 0.99)
    value = trace.ours.on_time_share
    others = ", ".join(f"{name} {trace.results[name].on_time_share:.1%}" for name in BASELINES)
    what = f"{trace.name}: shown frames on time"
    note = f"budget {trace.setting.budget_ms:.0f} ms; {others}"
    return Row(what, round(100 * value, 2), "%", f">= {aim:.0%}", value >= aim, note=note)


def _rate_row(trace: _Trace) -> Row:
    """Return how much of its time the device works: its rate by its back-to-back rate."""
    value = trace.ours.busy_share
    what = f"{trace.name}: rate / back-to-back rate"
    return Row(what, round(value, 3), "", ">= 0.97", value >= 0.97, note=f"{trace.ours.fps:.1f} fps shown")


def _age_row(trace: _Trace) -> Row:
    ran = sorted(_cost_ms(cost) for run in trace.ours.runs for cost in run.costs)
    limit = quantile(ran, 0.95) + INTERVAL_MS + GRACE_MS
    value = trace.ours.age_p95_ms
    others = ", ".join(f"{name} {trace.results[name].age_p95_ms:.0f}" for name in BASELINES)
    aim = f"<= {limit:.0f} ms (one model time + one interval + 20 ms)"
    return Row(f"{trace.name}: age p95", round(value, 1), "ms", aim, value <= limit, note=f"ms: {others}")


def _utility_rows(trace: _Trace) -> list[Row]:
    held = best_possible(trace.run, trace.setting, is_steady=True)
    free = best_possible(trace.run, trace.setting)
    assert held is not None and free is not None
    ours, base = trace.ours.utility, max(trace.results[name].utility for name in BASELINES)
    share = ours / held.value
    note = f"utility {ours:.3f}; {ours / free.value:.3f} of the best that may let frames age and variants flicker"
    note += UNFORESEEN.get(trace.kind, "")
    over = f"best of fifo, newest and edf: {base:.3f}; {trace.ours.changes} changes of variant"
    ratio = ours / base
    if trace.kind == "lognormal":
        ratio = _mean_ratio(trace)
        over += f"; the mean of {SEEDS} seeds, as single frames make 3 % of a seed"
    rows = [
        Row(f"{trace.name}: utility / best possible", round(share, 3), "", ">= 0.95", share >= 0.95, note=note),
        Row(f"{trace.name}: utility / best baseline", round(ratio, 3), "", ">= 1", round(ratio, 3) >= 1, note=over),
    ]
    return [*rows, _online_row(trace)] if trace.kind in UNFORESEEN else rows


def _mean_ratio(trace: _Trace) -> float:
    """Return our utility by the best baseline's, over several seeds."""
    ours = base = 0.0
    for seed in range(1, SEEDS + 1):
        run = synthetic_run(f"{trace.run.info.device_text},seed={seed}")
        ours += simulate(run, "livelens", trace.setting).utility
        base += max(simulate(run, name, trace.setting).utility for name in BASELINES)
    return ours / base


def _online_row(trace: _Trace) -> Row:
    """Return our utility by the most that any policy can expect which learns a cost only by running the job.

    Bursts begin and end at random here, as often as on the trace: a policy could learn the half second there.
    """
    name = trace.run.info.device_text
    seeds = BURST_SEEDS if trace.kind == "bursty" else SEEDS
    runs = [synthetic_run(f"{name},seed={seed}") for seed in range(1, seeds + 1)]
    if trace.kind == "bursty":
        runs = [_with_random_bursts(run, seed) for seed, run in enumerate(runs)]
    ours = sum(simulate(run, "livelens", trace.setting).utility for run in runs) / seeds
    bound = best_utility(_process(trace), CHANGES_PER_S * INTERVAL_MS / 1000)
    note = f"utility {ours:.3f} of {bound:.3f}, mean of {seeds} seeds; knowing how costs are drawn, not which"
    note += "; bursts begin and end at random here" if trace.kind == "bursty" else ""
    what = f"{trace.name}: utility / best possible without knowing costs in advance"
    return Row(what, round(ours / bound, 3), "", ">= 0.95", ours >= 0.95 * bound, note=note)


def _process(trace: _Trace) -> Process:
    """Return what such a policy knows of the trace."""
    ladder = trace.run.info.stages[0].ladder
    interval_ns, budget_ns = round(INTERVAL_MS * MS), round((trace.setting.budget_ms or 0) * MS)
    if trace.kind == "lognormal":
        sigma = DEFAULTS["sigma"]
        normal = [NormalDist().inv_cdf((index + 0.5) / QUANTILES) for index in range(QUANTILES)]
        loads = [math.exp(sigma * one - sigma * sigma / 2) for one in normal]
        costs = (tuple({round(rung.prior_ns * load): 1 / QUANTILES for load in loads} for rung in ladder),)
        chain: tuple[tuple[float, ...], ...] = ((1.0,),)
    else:
        costs = tuple(tuple({round(rung.prior_ns * load): 1.0} for rung in ladder) for load in BURST_LOADS)
        chain = BURST_CHAIN
    qualities = tuple(rung.quality for rung in ladder)
    return Process(interval_ns, interval_ns + GRACE_NS, budget_ns - DECODE_NS - TAIL_NS, qualities, costs, chain)


def _with_random_bursts(run: Run, seed: int) -> Run:
    """Return the run with bursts that begin and end by chance, of the same mean length and distance."""
    draw, found, is_high, seq = random.Random(seed), Run(run.info), False, -1
    prior_ns = {rung.variant: rung.prior_ns for rung in run.info.stages[0].ladder}
    for arrival in run.arrivals:
        found.add(arrival)
    for cost in run.costs:
        if cost.variant and cost.seqs[0] != seq:
            seq = cost.seqs[0]
            is_high = draw.random() < BURST_CHAIN[is_high][1]
        took_ns = round(prior_ns.get(cost.variant, 0) * BURST_LOADS[is_high])
        found.add(replace(cost, finished_ns=took_ns) if cost.variant else cost)
    return found


def _cost_ms(cost: Cost) -> float:
    return ns_to_ms(cost.finished_ns - cost.started_ns)


# Below full load


def _light_rows(seconds: int) -> list[Row]:
    """Return how light loads fare, without an aim: a queue that is mostly empty wins some bursts, and ages frames."""
    rows = []
    for kind in ("constant", "bursty", "lognormal"):
        for overload in (0.5, 1):
            run = synthetic_run(f"synthetic:{kind},overload={overload},ladder=4,seconds={seconds}")
            found = {name: simulate(run, name, Setting()) for name in (*BASELINES, "livelens")}
            best = max(BASELINES, key=lambda name: found[name].utility)
            ours, other = found["livelens"], found[best]
            note = f"{best}: {other.utility:.3f} at age p95 {other.age_p95_ms:.0f} ms"
            note += f"; ours: {ours.utility:.3f} at {ours.age_p95_ms:.0f} ms"
            what = f"{kind} {overload:g}x, 4 variants: utility / best baseline"
            rows.append(Row(what, round(ours.utility / other.utility, 3), "", note=note))
    return rows


# Several streams


def _fairness_rows(seconds: int) -> list[Row]:
    rows = []
    for name, weights in (("equal weights", (1.0,) * STREAMS), ("weights 1 to 4", WEIGHTS)):
        runs = _many(seconds, weights)
        served = [sum(map(_cost_ms, run.costs)) / weight for run, weight in zip(runs, weights, strict=True)]
        mean = sum(served) / len(served)
        worst = max(abs(one / mean - 1) for one in served)
        shown = [outcome for run in runs for outcome in run.outcomes if outcome.is_shown]
        on_time = sum(outcome.is_on_time for outcome in shown) / len(shown)
        what = f"{STREAMS} streams on one device at 4x, {name}"
        rows.append(Row(f"{what}: furthest from its share", round(100 * worst, 2), "%", "<= 10 %", worst <= 0.1))
        rows.append(Row(f"{what}: shown frames on time", round(100 * on_time, 2), "%", ">= 99 %", on_time >= 0.99))
    return rows


def _many(seconds: int, weights: Iterable[float]) -> list[Run]:
    """Run streams whose models together ask for four times what the device has."""
    base = synthetic_run(f"synthetic:lognormal,sigma=0.2,overload={4 / STREAMS},seconds={seconds},budget=250")
    scripts = []
    for index, weight in enumerate(weights):
        info = replace(base.info, stream=f"s{index}", weight=weight)
        shift_ns = round(index * INTERVAL_MS * MS / STREAMS)
        arrivals = [
            replace(one, captured_ns=one.captured_ns + shift_ns, queued_ns=one.queued_ns + shift_ns)
            for one in base.arrivals
        ]
        scripts.append(Script(info, arrivals, CostBook(base, period=len(arrivals), offset=7 * index)))
    return play(scripts, policy("livelens", base.info.capacity))


# Waiting for a frame that is about to come


class _Patient(DeadlineScheduler):
    """Leaves a free device idle when the stream's next frame should come within `patience_ns`."""

    def __init__(self, patience_ns: int) -> None:
        super().__init__()
        self._patience_ns = patience_ns

    def decide(
        self, now_ns: int, waiting: Iterable[Waiting], busy_lanes: frozenset[str], *, is_overloaded: bool = False
    ) -> list[Plan | Drop]:
        """Decide over the frames that are not about to be replaced."""
        ready = [f for f in waiting if not 0 < f.captured_ns + f.interval_ns - now_ns < self._patience_ns]
        return super().decide(now_ns, ready, busy_lanes, is_overloaded=is_overloaded)


def _waiting_rows(seconds: int) -> list[Row]:
    """Return what waiting for an imminent newer frame would bring: the reason why it is not done."""
    rows = []
    for kind in ("constant", "lognormal"):
        run = synthetic_run(f"synthetic:{kind},overload=2.3,seconds={seconds},jitter=0.2,budget=200")
        script = Script(run.info, run.arrivals, CostBook(run))
        found = [play([script], scheduler)[0] for scheduler in (DeadlineScheduler(), _Patient(5 * MS))]
        (rate, age), (patient_rate, patient_age) = (_rate_and_age(one, seconds) for one in found)
        note = f"age p95 {patient_age:.0f} ms against {age:.0f}, {patient_rate:.2f} fps against {rate:.2f}; not done"
        what = f"{kind} 2.3x: rate when waiting up to 5 ms for a newer frame / not waiting"
        rows.append(Row(what, round(patient_rate / rate, 3), "", note=note))
    return rows


def _rate_and_age(run: Run, seconds: int) -> tuple[float, float]:
    ages = sorted(ns_to_ms(o.stamps_ns["sent"] - o.stamps_ns["captured"]) for o in run.outcomes if o.is_shown)
    return len(ages) / seconds, quantile(ages, 0.95)


# The scheduler's own time


def _decision_rows() -> list[Row]:
    frames = [_view(index) for index in range(64)]
    scheduler = DeadlineScheduler(2)
    rows = []
    for name, busy, is_overloaded in (
        ("a lane falls free", frozenset[str](), False),
        ("a lane falls free, beyond full load", frozenset[str](), True),
        ("every lane is busy", frozenset({"generate"}), True),
    ):
        took = _times_us(scheduler, frames, busy, is_overloaded=is_overloaded)
        p99 = quantile(took, 0.99)
        what = f"one decision, 64 streams of 4 variants, {name}: p99"
        rows.append(Row(what, round(p99, 1), "us", "<= 50 us", p99 <= 50, note=f"p50 {quantile(took, 0.5):.1f} us"))
    return rows


def _view(index: int) -> Waiting:
    ladder = tuple(RungView(f"v{n}", 1 - n / 10, Forecast(round(cost * MS))) for n, cost in enumerate((20, 11, 6, 3)))
    stage = StageView("paint", StageKind.GENERATE, "generate", ladder)
    captured_ns = index * 500_000
    deadline_ns = captured_ns + 150 * MS
    return Waiting(
        f"s{index}", 0, captured_ns, deadline_ns, deadline_ns, 33 * MS, Forecast(4 * MS), (stage,), 1 / 64, turn=index
    )


def _times_us(
    scheduler: DeadlineScheduler, frames: list[Waiting], busy: frozenset[str], *, is_overloaded: bool
) -> list[float]:
    """Return the sorted times of many decisions; the garbage collector is off, as its pauses are not the decision's."""
    took = []
    gc.disable()
    for _ in range(DECISIONS):
        started = time.perf_counter_ns()
        scheduler.decide(40 * MS, frames, busy, is_overloaded=is_overloaded)
        took.append((time.perf_counter_ns() - started) / 1000)
    gc.enable()
    return sorted(took)


def _replay_row(seconds: int) -> Row:
    run = _three_stages(seconds)
    script = Script(run.info, run.arrivals, CostBook(run))
    started = time.perf_counter()
    play([script], policy("livelens", 2))
    took = time.perf_counter() - started
    speed = seconds / took
    per_frame_us = took / len(run.arrivals) * 1e6
    note = f"{seconds} s of 30 fps through mask, boxes and style: {per_frame_us:.0f} us a frame"
    return Row("virtual replay / real time", round(speed), "x", ">= 200", speed >= 200, note=note)


def _three_stages(seconds: int) -> Run:
    """Return a run of the default picture: a mask and a style on every frame, boxes where there is room."""
    stages = (
        StageInfo("mask", "recognize", "recognize mask", 1, 0, (), (RungInfo("bf16", 1.0, 4 * MS),)),
        StageInfo("boxes", "recognize", "recognize boxes", 1, 300 * MS, (), (RungInfo("bf16", 1.0, 14 * MS),)),
        StageInfo("style", "generate", "generate", 2, 0, (), (RungInfo("bf16", 1.0, 23 * MS),)),
    )
    made = synthetic_run(f"synthetic:lognormal,sigma=0.1,overload=0.7,seconds={seconds}")
    run = Run(replace(made.info, stages=stages, capacity=2))
    for arrival, cost in zip(made.arrivals, (one for one in made.costs if one.stage == "paint"), strict=True):
        run.add(arrival)
        scale = (cost.finished_ns - cost.started_ns) / (23 * MS)
        for stage in stages:
            took_ns = round(stage.ladder[0].prior_ns * scale)
            run.add(Cost(stage.name, "bf16", (arrival.seq,), 1, stage.lane, 0, took_ns))
    return run
