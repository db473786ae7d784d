"""One run in numbers: the JSON of `livelens replay --json`; docs/replay-json.md has every field and its unit.

Pure: a Run goes in, plain dicts and lists come out. Times are relative to the first arrival.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from stream.cause import slack_ns
from stream.clock import NS_PER_S, ns_to_ms
from stream.run import Cost, LadderChange, Outcome, Run, StageInfo
from stream.stats import Distribution, quantile
from stream.trace import Step, Trace

SCHEMA_VERSION = 1
MAX_MISSES = 200  # late frames listed; enough to find a pattern, few enough to read
MAX_SAMPLES = 20_000  # values per list: 11 minutes at 30 fps, about 140 kB
# One letter per frame in "outcomes".
ON_TIME, LATE, DROPPED, UNSETTLED = "o", "l", "d", "u"
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_STEPS = {step.name.lower(): step for step in Step}
T = TypeVar("T")


def summarize(
    run: Run,
    memory_mb: float | None = None,
    machine_probe_ms: float | None = None,
    other_load: float | None = None,
    expected_frames: int | None = None,
) -> dict[str, Any]:
    """Return the run as JSON-ready data.

    memory_mb         highest resident memory of the process; None when not measured
    machine_probe_ms  `stream.machine.speed_probe()` at the time of the run; None when not measured
    other_load        share of all cores that other programs took meanwhile, 0..1; None when not known
    expected_frames   that the clip has to give; None when nobody knows, as of a live stream
    """
    outcomes, start_ns = settled(run), first_arrival_ns(run)
    span_s = (_last_ns(run, start_ns) - start_ns) / NS_PER_S
    return {
        "schema_version": SCHEMA_VERSION,
        **_about(run),
        "duration_s": round(span_s, 3),
        "memory_mb": memory_mb,
        "machine_probe_ms": machine_probe_ms,
        "other_load": other_load,
        "is_complete": None if expected_frames is None else len(_seqs(run)) >= expected_frames,
        "frames": (frames := {**_frames(run, outcomes), "expected": expected_frames}),
        "fps": {name: _per_second(frames[name], span_s) for name in ("shown", "captured")},
        "ips": {name: _per_second(sum(runs.values()), span_s) for name, runs in _variants(run).items()},
        "latency_ms": _latencies(outcomes),
        "slack_ms": _slacks(outcomes),
        "variants": _variants(run),
        "decisions": _decisions(outcomes),
        "ladder": [_change(change, start_ns) for change in run.ladder],
        "causes": _ranked(outcome.cause for outcome in outcomes if outcome.cause),
        **_misses(outcomes),
        "reused_age_ms": _reused_ages(outcomes),
        "utility": _utility(run, outcomes, frames["captured"]),
        "decisions_sha256": decisions_sha256(run),
        **_samples(run, outcomes, start_ns),
    }


def decisions_sha256(run: Run) -> str:
    """Return a digest of everything that was decided; equal for two runs exactly when the decisions are.

    It covers, in order of seq: the drop reason, and per stage in order of name action, variant, reason and age.
    """
    digest = hashlib.sha256()
    for outcome in settled(run):
        stages = [
            [name, one.action, one.variant, one.reason, one.age_ns] for name, one in sorted(outcome.decisions.items())
        ]
        digest.update(json.dumps([outcome.seq, outcome.dropped, stages], separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def settled(run: Run) -> list[Outcome]:
    """Return how each frame ended, in order of seq; the last word counts when a frame has two."""
    return [outcome for _, outcome in sorted({outcome.seq: outcome for outcome in run.outcomes}.items())]


def first_arrival_ns(run: Run) -> int:
    """Return when the first frame arrived, which is 0 in everything a person reads."""
    arrived = (arrival.captured_ns for arrival in run.arrivals)
    known = (ns for outcome in run.outcomes if (ns := outcome.stamps_ns.get("captured")) is not None)
    return min(arrived, default=min(known, default=0))


def steps_ms(outcome: Outcome) -> dict[str, float]:
    """Return {step: milliseconds since the stamp before}, names from STEP_NAMES; steps without a stamp are absent."""
    if "captured" not in outcome.stamps_ns:
        return {}
    trace = Trace(outcome.stamps_ns["captured"])
    trace.stamps_ns |= {_STEPS[name]: ns for name, ns in outcome.stamps_ns.items() if name in _STEPS}
    return trace.step_ms()


def sent_after_ns(outcome: Outcome) -> int | None:
    """Return capture to send of a shown frame; None when nobody was there to send it to."""
    stamps = outcome.stamps_ns
    return stamps["sent"] - stamps["captured"] if outcome.is_shown and {"sent", "captured"} <= stamps.keys() else None


def is_reused(outcome: Outcome) -> bool:
    """Return whether a stage's result shown with the frame is of an earlier one."""
    return outcome.is_shown and any((one.age_ns or 0) > 0 for one in outcome.decisions.values())


def is_skipped(outcome: Outcome) -> bool:
    """Return whether the frame was shown without a stage."""
    return outcome.is_shown and any(one.action == "skip" for one in outcome.decisions.values())


def thinned(values: Sequence[T], limit: int = MAX_SAMPLES) -> list[T]:
    """Return at most `limit` of the values, evenly spaced, in order."""
    count = len(values)
    return list(values) if count <= limit else [values[place * count // limit] for place in range(limit)]


def _about(run: Run) -> dict[str, Any]:
    info = run.info
    return {
        "clip": info.clip,
        "stream": info.stream,
        "pace": info.pace,
        "device": info.device_text,
        "versions": dict(info.versions),
        "created": info.created,
        "budget_ms": ns_to_ms(info.budget_ns),
        "is_cut_short": run.is_cut_short,
    }


def _last_ns(run: Run, start_ns: int) -> int:
    """Return when the last thing of the run happened."""
    ends = [start_ns]
    ends += [arrival.queued_ns for arrival in run.arrivals]
    ends += [cost.finished_ns for cost in run.costs]
    ends += [outcome.at_ns for outcome in run.outcomes]
    return max(ends)


def _seqs(run: Run) -> list[int]:
    """Return every frame that is known, in order."""
    return sorted({arrival.seq for arrival in run.arrivals} | {outcome.seq for outcome in run.outcomes})


def _frames(run: Run, outcomes: list[Outcome]) -> dict[str, Any]:
    """Count the frames: captured = on_time + late + all dropped + unsettled, and shown = on_time + late."""
    shown = [outcome for outcome in outcomes if outcome.is_shown]
    captured, on_time = len(_seqs(run)), sum(outcome.is_on_time for outcome in shown)
    return {
        "captured": captured,
        "shown": len(shown),
        "on_time": on_time,
        "late": len(shown) - on_time,
        "reused": sum(map(is_reused, shown)),
        "skipped": sum(map(is_skipped, shown)),
        "dropped": _ranked(outcome.dropped for outcome in outcomes if outcome.dropped),
        "unsettled": captured - len(outcomes),
    }


def _per_second(count: int, span_s: float) -> float:
    return round(count / span_s, 2) if span_s > 0 else 0.0


def _ranked(names: Iterable[str]) -> dict[str, int]:
    """Count the names, the most frequent first; equal ones by name, so that the same run gives the same text."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _distribution(values_ms: Iterable[float]) -> dict[str, float]:
    """Return p50, p95, p99 (nearest rank) and max; empty without values."""
    ordered = sorted(values_ms)
    if not ordered:
        return {}
    return {name: round(quantile(ordered, q), 2) for name, q in QUANTILES.items()} | {"max": round(ordered[-1], 2)}


def _latencies(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Return the distributions of the whole way and of each step, over the frames shown."""
    whole = _distribution(ns_to_ms(ns) for outcome in outcomes if (ns := sent_after_ns(outcome)) is not None)
    steps: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for name, value_ms in steps_ms(outcome).items() if outcome.is_shown else ():
            steps[name].append(value_ms)
    return {"capture_to_send": whole} | {name: _distribution(values) for name, values in steps.items()}


def _slacks(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Return the time to spare at the end of each step: to the deadline, less what was still planned then."""
    slacks: dict[str, Distribution] = {}
    for outcome in outcomes:
        stamps = {_STEPS[name]: ns for name, ns in outcome.stamps_ns.items() if name in _STEPS}
        for name, value_ns in (
            slack_ns(stamps, outcome.deadline_ns, outcome.planned_ns).items() if outcome.is_shown else ()
        ):
            slacks.setdefault(name, Distribution(len(outcomes))).add(ns_to_ms(value_ns))
    return {name: slack.lows() for name, slack in slacks.items()}


def _variants(run: Run) -> dict[str, dict[str, int]]:
    """Count the inferences that worked per stage and variant; a batch counts once per frame of this stream in it."""
    counts: dict[str, Counter[str]] = {stage.name: Counter() for stage in run.info.stages}
    for cost in _worked(run):
        counts.setdefault(cost.stage, Counter())[cost.variant] += len(cost.seqs)
    return {name: dict(count) for name, count in counts.items()}


def _decisions(outcomes: list[Outcome]) -> dict[str, list[dict[str, Any]]]:
    """Count what was done about each stage of the frames shown and why, the most frequent first."""
    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for outcome in outcomes:
        for name, one in outcome.decisions.items() if outcome.is_shown else ():
            counts[name][one.action, one.reason] += 1
    return {
        name: [
            {"action": action, "reason": reason, "frames": frames}
            for (action, reason), frames in sorted(count.items(), key=lambda item: (-item[1], item[0]))
        ]
        for name, count in sorted(counts.items())
    }


def _worked(run: Run) -> Iterator[Cost]:
    return (cost for cost in run.costs if cost.error is None)


def _change(change: LadderChange, start_ns: int) -> dict[str, Any]:
    return {
        "at_ms": round(ns_to_ms(change.at_ns - start_ns), 2),
        "stage": change.stage,
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
    }


def _misses(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the late frames, the worst first."""
    late = [outcome for outcome in outcomes if outcome.is_shown and not outcome.is_on_time]
    worst = sorted(late, key=lambda outcome: (-outcome.late_ns, outcome.seq))[:MAX_MISSES]
    rows = [{"seq": one.seq, "late_ms": round(ns_to_ms(one.late_ns), 2), "cause": one.cause} for one in worst]
    return {"misses": rows, "misses_total": len(late)}


def _reused_ages(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Return the distribution of ages per stage, over frames shown with an earlier result of it."""
    ages: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for name, one in outcome.decisions.items() if outcome.is_shown else ():
            if one.age_ns:
                ages[name].append(ns_to_ms(one.age_ns))
    return {name: _distribution(ages[name]) for name in sorted(ages)}


def _utility(run: Run, outcomes: list[Outcome], captured: int) -> float:
    """Return the mean quality that reached the viewer in time, 0..1: a frame dropped, late or unsettled gives 0."""
    needed = [stage for stage in run.info.stages if stage.kind == "generate" or stage.max_age_ns == 0]
    total = sum(_quality(outcome, needed) for outcome in outcomes if outcome.is_on_time)
    return round(total / captured, 4) if captured else 0.0


def _quality(outcome: Outcome, needed: list[StageInfo]) -> float:
    """Return the product of what ran. A needed stage that was left out gives 0, or skipping would be best."""
    product = 1.0
    for stage in needed:
        decision = outcome.decisions.get(stage.name)
        if decision is None or decision.action == "skip":
            return 0.0
        if decision.action == "run":
            product *= {rung.variant: rung.quality for rung in stage.ladder}.get(decision.variant, 1.0)
    return product


def _samples(run: Run, outcomes: list[Outcome], start_ns: int) -> dict[str, Any]:
    """Return the single values, evenly thinned to MAX_SAMPLES: what a comparison resamples."""
    ages = [round(ns_to_ms(ns), 2) for outcome in outcomes if (ns := sent_after_ns(outcome)) is not None]
    shown = sorted(outcome.stamps_ns.get("sent", outcome.at_ns) for outcome in outcomes if outcome.is_shown)
    letters = {
        outcome.seq: DROPPED if outcome.dropped else ON_TIME if outcome.is_on_time else LATE for outcome in outcomes
    }
    frames = [letters.get(seq, UNSETTLED) for seq in _seqs(run)]
    return {
        "samples_ms": thinned(ages),
        "shown_at_ms": [round(ns_to_ms(ns - start_ns), 2) for ns in thinned(shown)],
        "outcomes": "".join(thinned(frames)),
        "samples_thinned": len(frames) > MAX_SAMPLES,
    }
