"""Runs as a trace for https://ui.perfetto.dev: Chrome Trace Event JSON, times in microseconds from the first arrival.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
Slices ("X") of one track must nest or lie apart, and pipelined frames do neither; so a track that is busy gets a second
one beside it, and waiting, which any number of frames do at once, is asynchronous ("b" and "e", matched by id).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from stream.clock import ns_to_ms
from stream.run import Cost, Outcome, Run
from stream.summary import first_arrival_ns, settled
from stream.trace import STEP_NAMES, Step

Event: TypeAlias = dict[str, Any]

# Which track a step's work stands on. "models" has none: the jobs themselves are on the lanes.
STEP_TRACKS = {
    "decode": "source",
    "hand_over": "hand-over",
    "compose": "encoder",
    "encode": "encoder",
    "send": "network",
}
WAITS = ("queue", "wait")
ENDS = ("ladder", "drops")  # tracks of what has no length
SLACK = "slack ms"


class _Tracks:
    """The tracks of one process. A slice that would overlap the last one of its track goes to a further track."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._free_at_ns: dict[str, list[int]] = {}  # per track and its further ones: when its last slice ends
        self._ids: dict[str, int] = {}

    def place(self, name: str, start_ns: int, end_ns: int) -> int:
        """Return the tid for a slice of `name`; slices come in order of their start."""
        free_at_ns = self._free_at_ns.setdefault(name, [])
        for number, at_ns in enumerate(free_at_ns):
            if at_ns <= start_ns:
                free_at_ns[number] = end_ns
                return self.tid(name, number)
        free_at_ns.append(end_ns)
        return self.tid(name, len(free_at_ns) - 1)

    def tid(self, name: str, number: int = 0) -> int:
        full = f"{name} ({number + 1})" if number else name
        return self._ids.setdefault(full, len(self._ids) + 1)

    def metadata(self) -> Iterator[Event]:
        for name, tid in self._ids.items():
            for kind, value in (("thread_name", {"name": name}), ("thread_sort_index", {"sort_index": _rank(name)})):
                yield {"ph": "M", "name": kind, "pid": self._process, "tid": tid, "args": value}


def trace_json(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the trace of runs that share a clock, a process for each stream; ready for json.dump."""
    start_ns = min((first_arrival_ns(run) for run in runs if run.arrivals or run.outcomes), default=0)
    events = [event for process, run in enumerate(runs, 1) for event in _process(run, process, start_ns)]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _process(run: Run, process: int, start_ns: int) -> list[Event]:
    tracks = _Tracks(process)
    for name in (
        "source",
        *dict.fromkeys(f"lane {stage.lane}" for stage in run.info.stages),
        "encoder",
        "network",
        *ENDS,
    ):
        tracks.tid(name)
    outcomes = settled(run)
    slices = list(_slices(run, outcomes, tracks))
    events = [
        *slices,
        *_flows(slices),
        *_waits(outcomes),
        *_drops(outcomes, tracks),
        *_ladder(run, tracks),
        *_slack(outcomes),
    ]
    head = {
        "ph": "M",
        "name": "process_name",
        "pid": process,
        "tid": 0,
        "args": {"name": f"livelens {run.info.stream}"},
    }
    timed = sorted((_timed(event, process, start_ns) for event in events), key=lambda event: float(event["ts"]))
    return [head, *tracks.metadata(), *timed]


def _timed(event: Event, process: int, start_ns: int) -> Event:
    """Return the event with its process, and with times in microseconds from `start_ns` instead of ns of the clock."""
    changed: Event = {"pid": process, "tid": 0} | event | {"ts": (event["ts"] - start_ns) / 1000}
    if "dur" in event:
        changed["dur"] = event["dur"] / 1000
    if "id" in event:  # ids of two processes must not meet
        changed["id"] = f"{process}.{event['id']}"
    changed.pop("seqs", None)
    return changed


def _slices(run: Run, outcomes: Iterable[Outcome], tracks: _Tracks) -> Iterator[Event]:
    """Yield every slice in order of its start; "seqs" are the frames in it."""
    found = [one for outcome in outcomes for one in _steps(outcome) if one["track"]]
    found += [_job(cost) for cost in run.costs if cost.finished_ns >= cost.started_ns]
    for one in sorted(found, key=lambda one: (one["ts"], -one["dur"])):
        track = one.pop("track")
        yield one | {"ph": "X", "tid": tracks.place(track, one["ts"], one["ts"] + one["dur"])}


def _steps(outcome: Outcome) -> Iterator[Event]:
    """Yield what the frame went through, each from the stamp before; a step that ran backwards is left out."""
    stamps = outcome.stamps_ns
    before_ns = stamps.get(Step.CAPTURED.name.lower())
    for step, name in STEP_NAMES.items():
        at_ns = stamps.get(step.name.lower())
        if at_ns is None:
            continue
        if before_ns is not None and at_ns >= before_ns:
            words = {"seq": outcome.seq} | ({"dropped": outcome.dropped} if outcome.dropped else {})
            yield {
                "name": f"{name} {outcome.seq}",
                "cat": name,
                "track": STEP_TRACKS.get(name, ""),
                "ts": before_ns,
                "dur": at_ns - before_ns,
                "seqs": (outcome.seq,),
                "args": words,
            }
        before_ns = at_ns


def _job(cost: Cost) -> Event:
    words = {"stage": cost.stage, "variant": cost.variant, "frames": list(cost.seqs), "batch": cost.batch}
    return {
        "name": f"{cost.stage} {cost.variant}".strip(),
        "cat": "job",
        "track": f"lane {cost.lane}",
        "ts": cost.started_ns,
        "dur": cost.finished_ns - cost.started_ns,
        "seqs": cost.seqs,
        "args": words | ({"error": cost.error} if cost.error is not None else {}),
    }


def _flows(slices: Iterable[Event]) -> Iterator[Event]:
    """Yield the arrows that follow each frame from slice to slice: one start, steps, one end."""
    ways: dict[int, list[Event]] = defaultdict(list)
    for one in slices:
        for seq in one["seqs"]:
            ways[seq].append(one)
    for seq, way in ways.items():
        last = len(way) - 1
        for place, one in enumerate(way) if last else ():
            phase = "s" if place == 0 else "f" if place == last else "t"
            flow = {
                "ph": phase,
                "name": "frame",
                "cat": "frame",
                "id": f"frame {seq}",
                "tid": one["tid"],
                "ts": one["ts"],
            }
            yield flow | ({"bp": "e"} if phase != "s" else {})  # bind to the slice around, not to the next one


def _waits(outcomes: Iterable[Outcome]) -> Iterator[Event]:
    for outcome in outcomes:
        for one in _steps(outcome):
            if one["cat"] in WAITS:
                shared = {"name": one["cat"], "cat": "wait", "id": f"{one['cat']} {outcome.seq}"}
                yield shared | {"ph": "b", "ts": one["ts"], "args": one["args"]}
                yield shared | {"ph": "e", "ts": one["ts"] + one["dur"]}


def _drops(outcomes: Iterable[Outcome], tracks: _Tracks) -> Iterator[Event]:
    for outcome in outcomes:
        if outcome.dropped:
            words = {"seq": outcome.seq, "reason": outcome.dropped, "cause": outcome.cause}
            yield _instant(f"dropped: {outcome.dropped}", tracks.tid("drops"), outcome.at_ns, words)


def _ladder(run: Run, tracks: _Tracks) -> Iterator[Event]:
    for change in run.ladder:
        words = {"before": change.before, "after": change.after, "reason": change.reason}
        yield _instant(f"{change.stage}: {change.before} to {change.after}", tracks.tid("ladder"), change.at_ns, words)


def _instant(name: str, tid: int, at_ns: int, words: dict[str, Any]) -> Event:
    return {"ph": "i", "name": name, "s": "t", "tid": tid, "ts": at_ns, "args": words}


def _slack(outcomes: Iterable[Outcome]) -> Iterator[Event]:
    """Yield deadline - sent of each frame shown; below 0 is late."""
    for outcome in outcomes:
        sent_ns = outcome.stamps_ns.get("sent")
        if outcome.is_shown and sent_ns is not None:
            slack_ms = round(ns_to_ms(outcome.deadline_ns - sent_ns), 3)
            yield {"ph": "C", "name": SLACK, "ts": sent_ns, "args": {"ms": slack_ms}}


def _rank(name: str) -> int:
    """Return where a track stands: in the order of a frame's way, what happened now and then last."""
    order = ("source", "lane", "hand-over", "encoder", "network", *ENDS)
    return next((place for place, start in enumerate(order) if name.startswith(start)), len(order))
