"""Whether a run that was read from a file can have happened: whole numbers, times in order, no gap without end. Pure.

A side file may have been edited, or damaged in a digit. Played in virtual time it would then fail somewhere deep
inside, or never end; at every pace its header says what to play with.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from stream.clock import NS_PER_S
from stream.errors import ConfigError
from stream.run import Arrival, Cost, LadderChange, Outcome, PacketArrival, Run, RungInfo, RunInfo, StageInfo

LONGEST_NS = 31 * 24 * 3600 * NS_PER_S  # of a run: what comes later is a damaged digit
LARGEST_PX = 1 << 14  # of a picture's side
LARGEST = 1 << 62  # of a number without a bound of its own
MOST_THREADS = 1 << 12
MOST_STAGES, MOST_RUNGS = 64, 32
MOST_BATCH = 64  # pictures in one job of a stage; what a job costs is kept for each number of them
KINDS = ("recognize", "generate")
PACES = ("live", "recorded", "realtime", "max", "virtual")
TAIL_STEPS = ("taken", "composed", "encoded", "sent")


def check_sound(run: Run, name: str) -> None:
    """Raise ConfigError that names the first record that cannot be true; `name` is the file's."""
    try:
        wrong = _first_wrong(run)
    except (TypeError, AttributeError, ValueError, OverflowError):  # a text where a list belongs, and the like
        wrong = "a value of the wrong type"
    if wrong:
        raise ConfigError(
            f"{name}: is damaged: {wrong}; take a whole copy, or move it away and play the clip with --pace realtime"
        )


def in_order(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Return arrivals in order of seq. A file may have a frame before the one it replaced: that was counted later."""
    return sorted(arrivals, key=lambda arrival: arrival.seq)


def _first_wrong(run: Run) -> str | None:
    if not _is_info_sound(run.info):
        return "its header"
    found = (
        _wrong(run.packets, _is_packet_sound, lambda packet: packet.arrived_ns, "a packet's arrival"),
        _wrong(in_order(run.arrivals), _is_arrival_sound, lambda arrival: arrival.queued_ns, "an arrival"),
        _wrong(run.costs, _is_cost_sound, lambda cost: cost.started_ns, "a cost", is_ordered=False),
        _wrong(run.ladder, _is_change_sound, lambda change: change.at_ns, "a change of a variant", is_ordered=False),
        _wrong(run.outcomes, _is_outcome_sound, lambda outcome: outcome.at_ns, "an outcome", is_ordered=False),
    )
    if wrong := next((text for text in found if text), None):
        return wrong
    seqs = {arrival.seq for arrival in run.arrivals}
    return None if len(seqs) == len(run.arrivals) else "a frame that came twice"


def _wrong(
    records: "Iterable[object]",
    is_sound: Callable[..., bool],
    at_ns: Callable[..., int],
    what: str,
    *,
    is_ordered: bool = True,
) -> str | None:
    """Return which record cannot be: one with wrong values, out of order, or too far from the first."""
    first_ns = last_ns = None
    for number, record in enumerate(records, 1):
        if not is_sound(record):
            return f"{what}, the {number}. of its kind"
        now_ns = at_ns(record)
        first_ns = now_ns if first_ns is None else first_ns
        is_late = is_ordered and last_ns is not None and now_ns < last_ns
        if is_late or abs(now_ns - first_ns) > LONGEST_NS:
            return f"the time of {what}, the {number}. of its kind"
        last_ns = now_ns
    return None


def _is_info_sound(info: RunInfo) -> bool:
    return (
        isinstance(info.versions, Mapping)
        and _is_text(info.stream, info.clip, info.device, info.device_text, info.created, *info.versions.values())
        and info.pace in PACES
        and _is_count(info.capacity, MOST_THREADS)
        and _is_span(info.budget_ns)
        and _is_span(info.tail_ns)
        and info.budget_ns > 0
        and _is_number(info.weight, info.min_fps)
        and 0 < info.weight < 1e6
        and 0 <= info.min_fps < 1e6
        and len(info.stages) <= MOST_STAGES
        and all(map(_is_stage_sound, info.stages))
        and len(names := {stage.name for stage in info.stages}) == len(info.stages)
        and all(names.issuperset(stage.needs) for stage in info.stages)
    )


def _is_stage_sound(stage: StageInfo) -> bool:
    return (
        _is_text(stage.name, stage.lane, stage.model, stage.batch_key, *stage.needs)
        and stage.kind in KINDS
        and _is_count(stage.threads, MOST_THREADS)
        and _is_count(stage.max_batch, MOST_BATCH)
        and _is_span(stage.max_age_ns)
        and _is_count(len(stage.ladder), MOST_RUNGS)
        and all(map(_is_rung_sound, stage.ladder))
    )


def _is_rung_sound(rung: RungInfo) -> bool:
    is_typed = _is_text(rung.variant) and _is_number(rung.quality)
    return is_typed and 0 <= rung.quality <= 1 and _is_span(rung.prior_ns)


def _is_packet_sound(packet: PacketArrival) -> bool:
    return _is_int(packet.arrived_ns)


def _is_arrival_sound(one: Arrival) -> bool:
    return (
        _is_int(one.seq, one.pts, one.captured_ns, one.queued_ns, one.height, one.width)
        and 0 <= one.seq <= LARGEST
        and max(abs(one.pts), abs(one.captured_ns)) <= LARGEST
        and _is_span(one.queued_ns - one.captured_ns)
        and min(one.height, one.width) > 0
        and max(one.height, one.width) <= LARGEST_PX
    )


def _is_cost_sound(cost: Cost) -> bool:
    return (
        _is_text(cost.stage, cost.variant, cost.lane)
        and (cost.error is None or _is_text(cost.error))
        and _is_int(cost.batch, cost.started_ns, cost.finished_ns, *cost.seqs)
        and 0 < cost.batch <= LARGEST
        and _is_span(cost.finished_ns - cost.started_ns)
    )


def _is_change_sound(change: LadderChange) -> bool:
    return _is_int(change.at_ns) and _is_text(change.stage, change.before, change.after, change.reason)


def _is_outcome_sound(outcome: Outcome) -> bool:
    stamps = [outcome.stamps_ns[step] for step in TAIL_STEPS if step in outcome.stamps_ns]
    return (
        _is_int(outcome.seq, outcome.at_ns, outcome.deadline_ns, outcome.late_ns, *outcome.stamps_ns.values())
        and _is_text(outcome.dropped, outcome.cause)
        and all(_is_span(b - a) for a, b in pairwise(stamps))
    )


def _is_int(*values: object) -> bool:
    return all(type(value) is int for value in values)


def _is_number(*values: object) -> bool:
    return all(type(value) in (int, float) for value in values)


def _is_count(value: int, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _is_text(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_span(value: int) -> bool:
    return type(value) is int and 0 <= value <= LONGEST_NS
