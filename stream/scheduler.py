"""Which waiting frame runs now, with which stages and variants, and which is given up. Pure: no clock, no await.

Asked whenever a lane of the device becomes free or a frame arrives (pull, not push), so it always
sees the newest frame of each stream. Earliest deadline first across streams; a frame that cannot
finish in time is given up before it wastes the device, because plain EDF collapses under overload
(Liu and Layland 1973 hold only up to full load; Locke 1986 on shedding beyond it). Beyond full load
the streams take turns by weight (start-time fair queueing, Goyal, Vin and Cheng 1996).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from operator import attrgetter
from typing import Protocol

from stream.budget import Forecast

DOUBT = 1.3  # a chance is counted from 16 costs: the next frame must promise so much more (simulated, 12 seeds)
HEADROOM = 0.8  # share of the device that every-frame recognition may fill; the rest is encoder and system


class DropReason(StrEnum):
    """Why a frame was never shown."""

    SUPERSEDED = "superseded"  # a newer frame of its stream came before it could start
    NO_TIME = "no_time"  # its predicted finish was past its deadline
    WARMING = "warming"  # the models were not ready
    REFUSED = "refused"  # the stream was not admitted: the device cannot serve it
    ENCODER_BUSY = "encoder_busy"  # a newer frame came before the encoder took it
    ENCODER_ERROR = "encoder_error"  # it could not be encoded
    STOPPED = "stopped"  # the stream was stopped while it was on its way


class StageKind(StrEnum):
    """What a stage does to a frame."""

    RECOGNIZE = "recognize"
    GENERATE = "generate"


class Action(StrEnum):
    """What is done about one stage of one frame."""

    RUN = "run"  # the frame waits for it
    REFRESH = "refresh"  # runs for later frames; this one is shown with the earlier result
    REUSE = "reuse"  # shown with the earlier result
    SKIP = "skip"  # shown without


@dataclass(frozen=True, slots=True)
class Choice:
    """An action and why, in words a person understands.

    rung   index of the variant in the stage's ladder, for RUN and REFRESH
    batch  jobs of one decision with the same batch (not "") run as one
    """

    action: Action
    reason: str
    rung: int = 0
    batch: str = ""


@dataclass(frozen=True, slots=True)
class RungView:
    """One variant of a stage: its quality 0..1 and live forecasts; `batches` by the number of pictures at once."""

    variant: str
    quality: float
    forecast: Forecast
    batches: Mapping[int, Forecast] | None = None

    def batch_ns(self, count: int) -> int:
        """Return what `count` pictures at once will take; while that was never seen, one by one beyond what was.

        A single sample is no reason against a batch: the first job of a size often compiles something.
        """
        one_ns = self.forecast.predicted_ns
        if count < 2 or not self.batches:
            return one_ns * count
        found = self.batches.get(count)
        if found is None or not found.prior_ns:
            return self.batch_ns(count - 1) + one_ns
        return min(found.predicted_ns, self.batch_ns(count - 1) + one_ns) if found.jobs == 1 else found.predicted_ns


@dataclass(frozen=True, slots=True)
class StageView:
    """What the scheduler knows of one stage at this moment.

    rungs           the ladder, best variant first; `level` is the one the ladder control allows for now
    threads         how many of the device's threads it occupies while running
    max_age_ns      how old a reused result may be; 0 when results may not be reused
    result_age_ns   age of the newest result, against this frame's capture; None when there is none
    needs           names of stages of the same frame that must finish first
    unavailable     why it must be left out now, in words; "" while it may run
    batch_key       stages with the same key (not "") may run as one job, of at most `max_batch` pictures
    """

    name: str
    kind: StageKind
    lane: str
    rungs: tuple[RungView, ...]
    level: int = 0
    threads: int = 1
    max_age_ns: int = 0
    result_age_ns: int | None = None
    needs: frozenset[str] = frozenset()
    unavailable: str = ""
    batch_key: str = ""
    max_batch: int = 1

    @property
    def predicted_ns(self) -> int:
        """Cost to expect at the present level."""
        return self.rungs[self.level].forecast.predicted_ns

    @property
    def is_must(self) -> bool:
        """Whether every frame that is taken waits for it."""
        return not self.max_age_ns and not self.unavailable

    @property
    def can_reuse(self) -> bool:
        """Whether the newest result is young enough to be shown with this frame."""
        return self.result_age_ns is not None and self.result_age_ns <= self.max_age_ns


@dataclass(frozen=True, slots=True)
class Waiting:
    """The frame of one stream that is next.

    due_ns       deadline of the first frame that arrived since the stream was last served. Below full load it
                 orders the streams: a frame that replaces another inherits its turn, or a stream whose frames
                 come just after its neighbour's would be superseded again and again
    turn         start tag of fair queueing; above full load it orders the streams
    urgent_at_ns from when on the stream is below its minimum rate, and goes first
    share        of the device that this stream may plan with, 0..1
    interval_ns  time between frames of its source; 0 when unknown
    tail         time to expect after the last stage: drawing and encoding
    """

    stream: str
    seq: int
    captured_ns: int
    deadline_ns: int
    due_ns: int
    interval_ns: int
    tail: Forecast
    stages: tuple[StageView, ...]
    share: float = 1.0
    turn: float = 0.0
    urgent_at_ns: float = math.inf
    must_lanes: frozenset[str] = field(init=False)  # lanes of the stages that every frame waits for
    by_deadline: tuple[int, str] = field(init=False)  # sort keys, made once: a decision sorts many frames
    by_turn: tuple[float, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "must_lanes", frozenset([stage.lane for stage in self.stages if stage.is_must]))
        object.__setattr__(self, "by_deadline", (self.due_ns, self.stream))
        object.__setattr__(self, "by_turn", (self.turn, self.stream))


@dataclass(frozen=True, slots=True)
class Plan:
    """Take the frame now, with a choice for each stage by name. `models_ns` is the time its models should take."""

    stream: str
    seq: int
    choices: Mapping[str, Choice]
    models_ns: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """Give the frame up."""

    stream: str
    seq: int
    reason: DropReason


class Scheduler(Protocol):
    """Decides over waiting frames. See stream/policies.py for the plain ones that ours is compared with.

    has_ladder    whether ladder control may lower the level of its stages
    inbox_bound   frames of a stream that may wait; the newest push the oldest out
    """

    has_ladder: bool
    inbox_bound: int

    def decide(
        self, now_ns: int, waiting: Iterable[Waiting], busy_lanes: frozenset[str], *, is_overloaded: bool = False
    ) -> list[Plan | Drop]:
        """Return what to do now; a frame not mentioned goes on waiting. Same input, same answer."""
        ...


_BY_DEADLINE, _BY_TURN = attrgetter("by_deadline"), attrgetter("by_turn")


class DeadlineScheduler:
    """Earliest deadline first, newest frame wins, no frame started that cannot finish in time.

    `capacity` is how many threads the device runs at once.
    """

    has_ladder = True
    inbox_bound = 1

    def __init__(self, capacity: int = 1) -> None:
        self._capacity = capacity

    def decide(
        self, now_ns: int, waiting: Iterable[Waiting], busy_lanes: frozenset[str], *, is_overloaded: bool = False
    ) -> list[Plan | Drop]:
        """Return what to do now; a frame not mentioned goes on waiting. Same input, same answer."""
        ready = [frame for frame in waiting if busy_lanes.isdisjoint(frame.must_lanes)]
        if not ready:
            return []
        ready.sort(key=_BY_TURN if is_overloaded else _BY_DEADLINE)
        if any([frame.urgent_at_ns <= now_ns for frame in ready]):
            ready.sort(key=lambda frame: frame.urgent_at_ns > now_ns)  # stable: the order within each part stays
        return _Round(now_ns, set(busy_lanes), self._capacity).decide(ready)


@dataclass(slots=True)
class _Started:
    """A frame of this round: how long its end may still be put off, and by how much it puts off that of others."""

    spare_ns: int
    growth_ns: int = 0


@dataclass(slots=True)
class _Batch:
    """A batch being gathered: who joins must leave the deadline of every member standing."""

    variant: str
    ready_ns: int  # time until what its pictures need is there
    cost_ns: int  # of all its pictures at once
    room: int  # pictures that may still join
    members: list[_Started]


class _Round:
    """One decision over the frames whose lanes were free at its beginning: lanes fill up as frames are taken."""

    def __init__(self, now_ns: int, busy: set[str], capacity: int) -> None:
        self._now_ns = now_ns
        self._busy = busy
        self._capacity = capacity
        self._batches: dict[tuple[str, str], _Batch] = {}  # (lane, batch key) -> the batch begun in this round

    def decide(self, ordered: Iterable[Waiting]) -> list[Plan | Drop]:
        """Start what fits first; a frame that does not is tried or dropped only when nothing else takes its lanes.

        A stream below its minimum rate is tried in its turn all the same, or those in time would keep it waiting.
        """
        decisions: list[Plan | Drop] = []
        doubtful: list[tuple[Waiting, Outlook]] = []
        for frame in ordered:
            if not self._may_start(frame):
                continue
            found = outlook(self._now_ns, frame)
            is_tried = found is Outlook.LATE and self._now_ns >= frame.urgent_at_ns
            if found is not Outlook.IN_TIME and not is_tried:
                doubtful.append((frame, found))
            elif (plan := self._plan(frame)) is not None:
                decisions.append(plan)
        for frame, found in doubtful:
            if found is Outlook.HOPELESS:
                decisions.append(Drop(frame.stream, frame.seq, DropReason.NO_TIME))
            elif self._busy.isdisjoint(frame.must_lanes) and (plan := self._plan(frame)) is not None:
                decisions.append(plan)
        return decisions

    def _may_start(self, frame: Waiting) -> bool:
        """Whether each stage that the frame waits for has a free lane, or a batch there that it may join."""
        if self._busy.isdisjoint(frame.must_lanes):
            return True
        if not self._batches:
            return False
        busy = [stage for stage in frame.stages if stage.lane in self._busy and stage.is_must]
        found = [self._batches.get((stage.lane, stage.batch_key)) for stage in busy]
        return all(batch is not None and batch.room > 0 for batch in found)

    def _plan(self, frame: Waiting) -> Plan | None:
        """Return the plan that starts the frame now; None when a stage it must run has to be waited for."""
        rungs = fitting_rungs(self._now_ns, frame)
        models_ns = must_run_ns(frame.stages, rungs)
        started = _Started(frame.deadline_ns - frame.tail.predicted_ns - models_ns - self._now_ns)
        affordable = affordable_stages(frame, self._capacity)
        choices: dict[str, Choice] = {}
        for stage in frame.stages:
            if stage.is_must:
                rung = rungs.get(stage.name, stage.level)
                choice = self._choose_must(stage, rung, started, ready_ns=_ready_ns(frame, stage, rung, models_ns))
            else:
                choice = self._choose(stage, has_room=stage.name in affordable)
            if choice is None:
                return None
            choices[stage.name] = choice
        beside: dict[int, _Started] = {}  # by id: the frames that share a batch with this one
        for stage in frame.stages:
            choice = choices[stage.name]
            if choice.action in (Action.RUN, Action.REFRESH):
                self._busy.add(stage.lane)
            if choice.batch and stage.max_batch > 1:
                batch = self._batch(stage, choice, _ready_ns(frame, stage, choice.rung, models_ns))
                beside |= {id(member): member for member in batch.members}
                batch.members.append(started)
        for member in beside.values():
            member.spare_ns -= started.growth_ns
        return Plan(frame.stream, frame.seq, choices, models_ns)

    def _choose(self, stage: StageView, *, has_room: bool) -> Choice:
        if stage.unavailable:
            return Choice(Action.SKIP, stage.unavailable)
        if stage.lane in self._busy:
            return _stand_in(stage, "busy with an earlier frame")
        if has_room:
            return Choice(Action.RUN, "fits every frame", stage.level)
        return _when_short_of_room(stage)

    def _choose_must(self, stage: StageView, rung: int, started: _Started, *, ready_ns: int) -> Choice | None:
        why = "needed on every frame" if rung == stage.level else "lighter: it must make its deadline"
        if stage.lane not in self._busy:
            return Choice(Action.RUN, why, rung, stage.batch_key)
        batch = self._batches.get((stage.lane, stage.batch_key))
        if batch is not None and self._joins(stage.rungs[rung], batch, started, ready_ns):
            return Choice(Action.RUN, "in one batch with another stream", rung, stage.batch_key)
        return None

    def _joins(self, rung: RungView, batch: _Batch, started: _Started, ready_ns: int) -> bool:
        """Whether one more picture pays and leaves every deadline standing; if so, note what it costs in time."""
        if batch.room < 1 or batch.variant != rung.variant:
            return False
        cost_ns, own_ns = rung.batch_ns(len(batch.members) + 1), rung.forecast.predicted_ns
        least_ns = min(member.spare_ns for member in batch.members)
        more_ns = cost_ns - batch.cost_ns
        if more_ns > own_ns or more_ns > least_ns:
            batch.room = 0  # it would be no better for the frames behind this one
            return False
        growth_ns = started.growth_ns + more_ns + max(0, ready_ns - batch.ready_ns)
        spare_ns = started.spare_ns - (cost_ns - own_ns) - max(0, batch.ready_ns - ready_ns)
        if growth_ns > least_ns or spare_ns < 0:
            return False
        started.growth_ns, started.spare_ns = growth_ns, spare_ns
        return True

    def _batch(self, stage: StageView, choice: Choice, ready_ns: int) -> _Batch:
        """Return the batch that one more picture joins, or begins."""
        rung, key = stage.rungs[choice.rung], (stage.lane, choice.batch)
        if (batch := self._batches.get(key)) is None:
            batch = self._batches[key] = _Batch(rung.variant, ready_ns, 0, stage.max_batch, [])
        batch.cost_ns = rung.batch_ns(len(batch.members) + 1)
        batch.ready_ns = max(batch.ready_ns, ready_ns)
        batch.room -= 1
        return batch


def _ready_ns(frame: Waiting, stage: StageView, rung: int, models_ns: int) -> int:
    """Return how long a stage has to wait, at most, for others of its frame: those it needs, or share a lane with."""
    is_first = not stage.needs and all(one is stage or one.lane != stage.lane for one in frame.stages)
    return 0 if is_first else models_ns - stage.rungs[rung].forecast.predicted_ns


class Outlook(Enum):
    """What becomes of a frame that is started now, at its lightest if need be."""

    IN_TIME = "in time"  # its predicted finish is within its deadline
    LATE = "late"  # it may be late, and is still the best its stream can have
    HOPELESS = "hopeless"  # a fresh frame is worth more than this one


def outlook(now_ns: int, frame: Waiting) -> Outlook:
    """Return whether a frame is worth starting.

    When even a fresh frame could not be in time, late frames are all the stream can have: best effort. The same
    when nothing was served for a whole budget: the prediction must be wrong, and only a run can correct it.
    """
    rungs = lightest(frame.stages)
    needed_ns = must_run_ns(frame.stages, rungs) + frame.tail.predicted_ns
    if now_ns + needed_ns <= frame.deadline_ns:
        return Outlook.IN_TIME
    if now_ns > frame.due_ns or frame.captured_ns + needed_ns > frame.deadline_ns:
        return Outlook.LATE
    return Outlook.LATE if _pays_more_than_the_next(now_ns, frame, rungs, needed_ns) else Outlook.HOPELESS


def _pays_more_than_the_next(now_ns: int, frame: Waiting, rungs: Mapping[str, int], needed_ns: int) -> bool:
    """Whether frames on time per second are more when this one is tried than when the device waits for the next.

    The prediction is a high quantile: a frame that does not fit it may still be in time, as recent costs tell.
    """
    must = [stage.rungs[rungs.get(stage.name, stage.level)].forecast for stage in frame.stages if stage.is_must]
    if not must or not frame.interval_ns:
        return False
    dearest = max(must, key=lambda forecast: forecast.predicted_ns)
    others_ns = needed_ns - dearest.predicted_ns
    now_chance = dearest.chance(frame.deadline_ns - now_ns - others_ns)
    next_chance = dearest.chance(frame.deadline_ns - frame.captured_ns - others_ns)
    wait_ns = max(0, frame.captured_ns + frame.interval_ns - now_ns)
    now_worth, next_worth = now_chance * (dearest.typical_ns + wait_ns), next_chance * dearest.typical_ns
    return now_chance > 0 and now_worth * DOUBT >= next_worth


def lightest(stages: Iterable[StageView]) -> dict[str, int]:
    """Return the last rung of each stage that has a ladder."""
    return {stage.name: len(stage.rungs) - 1 for stage in stages if len(stage.rungs) > 1}


def fitting_rungs(now_ns: int, frame: Waiting) -> dict[str, int]:
    """Return a rung for each stage with a ladder: the best allowed by its level with which the frame is in time.

    While the whole remaining path does not fit, the dearest of the stages that every frame waits for goes one
    lighter; when nothing fits, all are at their lightest.
    """
    rungs = {stage.name: stage.level for stage in frame.stages if len(stage.rungs) > 1}
    movable = [stage for stage in frame.stages if stage.name in rungs and stage.is_must]
    left_ns = frame.deadline_ns - now_ns - frame.tail.predicted_ns
    while movable and must_run_ns(frame.stages, rungs) > left_ns:
        dearest = max(movable, key=lambda stage: stage.rungs[rungs[stage.name]].forecast.predicted_ns)
        rungs[dearest.name] += 1
        if rungs[dearest.name] >= len(dearest.rungs) - 1:
            rungs[dearest.name] = len(dearest.rungs) - 1
            movable.remove(dearest)
    return rungs


def must_run_ns(stages: Iterable[StageView], rungs: Mapping[str, int] | None = None) -> int:
    """Return the predicted time of the longest chain of stages that every frame waits for, at their levels or `rungs`.

    Lanes work beside each other; stages of one lane, and stages that need each other, add up. Stages whose
    results may be reused never hold a frame up.
    """
    lane_free_ns: dict[str, int] = {}
    finish_ns: dict[str, int] = {}
    for stage in stages:
        if not stage.is_must:
            continue
        rung = stage.level if rungs is None else rungs.get(stage.name, stage.level)
        start_ns = max([lane_free_ns.get(stage.lane, 0), *(finish_ns.get(need, 0) for need in stage.needs)])
        finish_ns[stage.name] = lane_free_ns[stage.lane] = start_ns + stage.rungs[rung].forecast.predicted_ns
    return max(finish_ns.values(), default=0)


def affordable_stages(frame: Waiting, capacity: int) -> frozenset[str]:
    """Return the reusable stages that can run on every frame without starving the rest, cheapest first.

    While the frame interval is unknown, all of them.
    """
    reusable = [s for s in frame.stages if s.max_age_ns]
    if not reusable or frame.interval_ns == 0:
        return frozenset(s.name for s in reusable)
    room_ns = HEADROOM * capacity * frame.share * frame.interval_ns - frame.tail.predicted_ns
    room_ns -= sum(s.predicted_ns * s.threads for s in frame.stages if not s.max_age_ns)
    affordable = set()
    for stage in sorted(reusable, key=lambda s: (s.predicted_ns * s.threads, s.name)):
        room_ns -= stage.predicted_ns * stage.threads
        if room_ns >= 0 and stage.predicted_ns <= frame.interval_ns:
            affordable.add(stage.name)
    return frozenset(affordable)


def _when_short_of_room(stage: StageView) -> Choice:
    """Refresh only when the result has passed half of its life: enough to keep it valid, and no more."""
    if stage.result_age_ns is not None and stage.result_age_ns * 2 <= stage.max_age_ns:
        return Choice(Action.REUSE, "no room on every frame; result is young")
    return Choice(Action.REFRESH, "no room on every frame; result is ageing", stage.level)


def _stand_in(stage: StageView, why: str) -> Choice:
    if stage.can_reuse:
        return Choice(Action.REUSE, why)
    return Choice(Action.SKIP, f"{why}; no result young enough")
