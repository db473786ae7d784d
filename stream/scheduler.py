"""Which waiting frame runs now, with which stages and variants, and which is given up. Pure: no clock, no await.

Asked whenever a lane of the device becomes free or a frame arrives (pull, not push), so it always
sees the newest frame of each stream, and the one before it. Earliest deadline first across streams; a frame that cannot
finish in time is given up before it wastes the device, because plain EDF collapses under overload
(Liu and Layland 1973 hold only up to full load; Locke 1986 on shedding beyond it). Beyond full load
the streams take turns by weight (start-time fair queueing, Goyal, Vin and Cheng 1996).
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from operator import attrgetter
from typing import Protocol

from stream.batching import Batches, Started
from stream.view import Action, Choice, Drop, DropReason, Plan, StageView, Waiting, lightest, must_run_ns

GRACE_NS = 20_000_000  # age that is promised beyond one model time and one frame interval
DOUBT = 1.3  # a chance is counted from 16 costs: the next frame must promise so much more (simulated, 12 seeds)
HEADROOM = 0.8  # share of the device that every-frame recognition may fill; the rest is encoder and system


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
    """Earliest deadline first, newest frame wins unless it leaves a gap, no frame started that cannot finish in time.

    `capacity` is how many threads the device runs at once.
    """

    has_ladder = True
    inbox_bound = 2

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


class _Round:
    """One decision over the frames whose lanes were free at its beginning: lanes fill up as frames are taken."""

    def __init__(self, now_ns: int, busy: set[str], capacity: int) -> None:
        self._now_ns = now_ns
        self._busy = busy
        self._capacity = capacity
        self._batches = Batches()

    def decide(self, ordered: Sequence[Waiting]) -> list[Plan | Drop]:
        """Start what fits first; a frame that does not is tried or dropped only when nothing else takes its lanes.

        A stream below its minimum rate is tried in its turn all the same, or those in time would keep it waiting.
        """
        decisions: list[Plan | Drop] = []
        is_alone = len(ordered) == 1
        doubtful: list[tuple[Waiting, Outlook]] = []
        for frame in ordered:
            if not self._busy.isdisjoint(frame.must_lanes) and not self._may_join(frame):
                continue
            if frame.newer is not None and not (is_alone and fills_a_gap(self._now_ns, frame, frame.newer)):
                frame = frame.newer
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

    def _may_join(self, frame: Waiting) -> bool:
        """Whether each stage that the frame waits for, and whose lane is taken, has a batch there that it may join."""
        if not self._batches.have_begun:
            return False
        busy = [stage for stage in frame.stages if stage.lane in self._busy and stage.is_must]
        return self._batches.have_room(busy)

    def _plan(self, frame: Waiting) -> Plan | None:
        """Return the plan that starts the frame now; None when a stage it must run has to be waited for."""
        rungs = fitting_rungs(self._now_ns, frame)
        models_ns = must_run_ns(frame.stages, rungs)
        started = Started(frame.deadline_ns - frame.tail.predicted_ns - models_ns - self._now_ns)
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
        for stage in frame.stages:
            choice = choices[stage.name]
            if choice.action in (Action.RUN, Action.REFRESH):
                self._busy.add(stage.lane)
            if choice.batch and stage.max_batch > 1:
                self._batches.add(stage, choice, started, _ready_ns(frame, stage, choice.rung, models_ns))
        started.settle()
        return Plan(frame.stream, frame.seq, choices, models_ns)

    def _choose(self, stage: StageView, *, has_room: bool) -> Choice:
        if stage.unavailable:
            return Choice(Action.SKIP, stage.unavailable)
        if stage.lane in self._busy:
            return _stand_in(stage, "busy with an earlier frame")
        if has_room:
            return Choice(Action.RUN, "fits every frame", stage.level)
        return _when_short_of_room(stage)

    def _choose_must(self, stage: StageView, rung: int, started: Started, *, ready_ns: int) -> Choice | None:
        why = "needed on every frame" if rung == stage.level else "lighter: it must make its deadline"
        if stage.lane not in self._busy:
            return Choice(Action.RUN, why, rung, stage.batch_key)
        if self._batches.may_join(stage, rung, started, ready_ns):
            return Choice(Action.RUN, "in one batch with another stream", rung, stage.batch_key)
        return None


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


def fills_a_gap(now_ns: int, frame: Waiting, newer: Waiting) -> bool:
    """Whether a frame goes before a newer one of its stream, for then both are served.

    When the newer one might be done before the next one comes, as recent costs tell, the device would stand idle. The
    older one has to be in time at its level, and no older at its start than is promised. Without another's chance to
    fill a gap nothing is gained by it, and frames would only be older: under a steady overload the newest is taken.
    """
    if now_ns > frame.captured_ns + frame.interval_ns + GRACE_NS:
        return False
    if now_ns + must_run_ns(frame.stages) + frame.tail.predicted_ns > frame.deadline_ns:
        return False
    left_ns = newer.captured_ns + newer.interval_ns - now_ns
    chances = [stage.rungs[stage.level].forecast.chance(left_ns) for stage in newer.stages if stage.is_must]
    return min(chances, default=0.0) > 0


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
