"""One stream inside the pipeline: its mailbox, its stages and their levels, the frames in flight, and its account.

All of it runs on the event loop except `Inflow.put`, which sources call from their threads.
"""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stream.account import Account
from stream.budget import CostKey, CostModel, Forecast
from stream.frame import Frame
from stream.ladder import Room
from stream.mailbox import Closed, Mailbox, Policy
from stream.run import Decision, LadderChange, RunLog
from stream.stage import Stage, StageState, Variant
from stream.stats import FrameCounts, Rate
from stream.trace import Step
from stream.turns import Turns
from stream.view import Choice, DropReason, Plan, RungView, StageKind, StageView, Waiting, must_run_ns

log = logging.getLogger(__name__)

DOWNSTREAM = 2  # frames that offline work lets wait for the encoder, or be in it
MAX_TICKETS = 8  # frames of one stream between the mailbox and the output; more wait, and are superseded
INTERVALS = 8  # arrival intervals whose median is the source's frame interval
EVENTS = 20  # ladder changes remembered for the page


@dataclass(frozen=True, slots=True)
class Terms:
    """What a stream is promised and how it is run.

    weight    its part of the device beside other streams when there is too little for all
    min_fps   frames a second it gets before any other stream gets more than its own minimum
    waits     `put` blocks instead of replacing, and nothing is pushed out of the encoder: offline work at full speed
    log       takes the account of the run; None when nobody wants it
    """

    weight: float = 1.0
    min_fps: float = 1.0
    waits: bool = False
    log: RunLog | None = None


NO_TERMS = Terms()


@dataclass(slots=True)
class Ticket:
    """A frame that was taken: its plan, and the stages it still waits for."""

    frame: Frame
    choices: Mapping[str, Choice]
    joining: set[str]
    to_start: set[str]


class Host(Protocol):
    """What a stream needs of the pipeline it is in. `turn` is the start tag of the frame served last."""

    costs: CostModel
    turn: float
    device_name: str
    has_ladder: bool

    def now_ns(self) -> int: ...

    def lane(self, kind: StageKind, stage: str) -> str: ...

    def is_stuck(self, lane: str) -> bool: ...

    def dispatch(self) -> None: ...

    def post(self, callback: Callable[..., None], *arguments: Any) -> None: ...


class Inflow:
    """One stream's way through the pipeline. Made by `Pipeline.attach`."""

    def __init__(
        self,
        host: Host,
        name: str,
        stages: list[Stage],
        budget_ns: int,
        output: Callable[[Frame], None],
        counts: FrameCounts,
        terms: Terms,
        inbox_bound: int = 1,
    ) -> None:
        self.name = name
        self.budget_ns = budget_ns
        self.downstream_ns = 0  # of the budget, what passes after the last packet: measured by viewers
        self.stages = {stage.name: StageState(stage) for stage in stages}
        self.account = Account(counts, terms.log)
        self.terms = terms
        self.share = 1.0  # of the device that it may plan with; set by Pipeline.balance
        self.captured_rate = Rate()
        self.inbox: Mailbox[Frame] = Mailbox(1, Policy.WAIT) if terms.waits else Mailbox(inbox_bound, Policy.NEWEST)
        self.tickets: deque[Ticket] = deque()  # in order of seq
        self.ladder_events: deque[LadderChange] = deque(maxlen=EVENTS)  # oldest first
        self.tail: Forecast = host.costs.forecast(CostKey("tail", name, 0, 0, ""))
        self._wait: Forecast = host.costs.forecast(CostKey("wait", name, 0, 0, ""))  # from capture to start
        self.on_size: Callable[[int, int], None] = _unheard  # called with (height, width) when frames change size
        self.on_result: Callable[[str, str, Frame, object], None] = _unwatched  # (stage, variant, frame, what it gave)
        self._host = host
        self._output = output
        self._downstream = 0  # frames handed on and not settled
        self._arrivals_ns: deque[int] = deque(maxlen=INTERVALS + 1)
        self._interval_ns = 0
        self._newest_seq = -1  # of the frames accounted for; -1 before the first
        self._early: set[int] = set()  # seqs accounted for before the loop was told of them
        self._turns = Turns(terms.weight, terms.min_fps)
        self._size: tuple[int, int] = (0, 0)  # (height, width) of the newest frame
        self._rungs: dict[tuple[str, int, int], tuple[RungView, ...]] = {}  # of the present size only
        self._view: Waiting | None = None  # None when it must be made anew

    # From the source

    def put(self, frame: Frame, now_ns: int) -> None:
        """Hand a frame over. Any thread; never blocks unless `Terms.waits`; ignored once the stream is detached."""
        frame.deadline_ns = frame.captured_ns + self.budget_ns - self.downstream_ns
        frame.trace.stamp(Step.QUEUED, now_ns)
        try:
            replaced = self.inbox.put(frame)
        except Closed:
            log.debug("%s: frame %d came after the end", self.name, frame.seq)
        else:
            self._host.post(self._arrived, frame, replaced)

    def _arrived(self, frame: Frame, replaced: Frame | None) -> None:
        if frame.seq in self._early:
            self._early.remove(frame.seq)
        else:
            self._note_arrival(frame)
        if replaced is not None:
            self.drop(replaced, DropReason.SUPERSEDED, newer=frame)
        self._view = None
        self._control_ladders()
        self._host.dispatch()

    def _note_early(self, frame: Frame) -> None:
        """Account for a frame found in the mailbox before the loop was told of it."""
        if frame.seq > self._newest_seq:
            self._early.add(frame.seq)
            self._note_arrival(frame)

    def _note_arrival(self, frame: Frame) -> None:
        is_newest = frame.seq > self._newest_seq
        self._newest_seq = max(self._newest_seq, frame.seq)
        self.captured_rate.add(frame.captured_ns)
        self._note_interval(frame.captured_ns)
        self.account.arrived(frame)
        virtual = self._host.turn
        self._turns.arrived(frame.captured_ns, frame.deadline_ns, self._interval_ns, virtual, is_newest=is_newest)

    def _note_interval(self, captured_ns: int) -> None:
        self._arrivals_ns.append(captured_ns)
        gaps = sorted(b - a for a, b in itertools.pairwise(sorted(self._arrivals_ns)))
        self._interval_ns = gaps[len(gaps) // 2] if gaps else 0

    # For the scheduler

    def waiting(self) -> Waiting | None:
        """Return what the scheduler needs to know of the next frame; None when none waits or none may be taken."""
        frame, newer = self.inbox.peek_two()
        if newer is not None and frame is not None and newer.image.shape != frame.image.shape:
            newer = None  # planned with other costs, when it is the first
        if frame is None or len(self.tickets) >= MAX_TICKETS:
            return None
        if self.terms.waits and (self.tickets or self._downstream >= DOWNSTREAM):
            return None
        if self._view is None or self._view.seq != frame.seq or (newer is not None and self._view.newer is None):
            self._note_early(frame)
            if newer is not None:
                self._note_early(newer)
            self._view = self._make_view(frame, newer)
        return self._view

    def changed(self) -> None:
        """Have the scheduler's view made anew: a result came, a breaker or a lane changed."""
        self._view = None

    def _make_view(self, frame: Frame, newer: Frame | None = None, alike: tuple[StageView, ...] = ()) -> Waiting:
        """Return the view of a frame, with that of a newer one behind it; `alike` are the stages of the one before."""
        height, width = frame.image.shape[:2]
        if (height, width) != self._size:
            self._size = (height, width)
            self._rungs.clear()
            self.on_size(height, width)
        if alike:  # only what may be reused depends on the frame: by the age of its results
            pairs = zip(self.stages.values(), alike, strict=True)
            stages = tuple([self._stage_view(state, frame) if had.max_age_ns else had for state, had in pairs])
        else:
            stages = tuple([self._stage_view(state, frame) for state in self.stages.values()])
        return Waiting(
            stream=self.name,
            seq=frame.seq,
            captured_ns=frame.captured_ns,
            deadline_ns=frame.deadline_ns,
            due_ns=frame.deadline_ns if self._turns.due_ns is None else self._turns.due_ns,
            interval_ns=self._interval_ns,
            tail=self.tail,
            stages=stages,
            share=self.share,
            turn=self._turns.turn,
            urgent_at_ns=self._turns.urgent_at_ns,
            newer=None if newer is None else self._make_view(newer, alike=stages),
        )

    def _stage_view(self, state: StageState, frame: Frame) -> StageView:
        stage, (height, width) = state.stage, frame.image.shape[:2]
        lane = self._host.lane(stage.kind, stage.name)
        unavailable = state.preparing
        if not state.breaker.is_closed(self._host.now_ns()):
            unavailable = "left out after errors"
        if self._host.is_stuck(lane):
            unavailable = "does not answer"
        return StageView(
            name=stage.name,
            kind=stage.kind,
            lane=lane,
            rungs=self.rungs(state, height, width),
            level=state.control.level,
            threads=stage.threads,
            max_age_ns=stage.max_age_ns,
            result_age_ns=state.age_ns(frame.captured_ns),
            needs=stage.needs,
            unavailable=unavailable,
            batch_key=f"{stage.batch_key} {width}x{height}" if stage.batch_key else "",
            max_batch=stage.max_batch,
        )

    def rungs(self, state: StageState, height: int, width: int) -> tuple[RungView, ...]:
        """Return the variants of a stage that are compiled, with their live forecasts for a picture size."""
        key = (state.stage.name, height, width)
        found = self._rungs.get(key)
        if found is None or len(found) != state.ready:
            ladder = state.stage.ladder[: state.ready]
            found = self._rungs[key] = tuple(self._rung_view(state.stage, one, height, width) for one in ladder)
        return found

    def known_rungs(self, state: StageState) -> tuple[RungView, ...]:
        """Return the compiled variants at the newest frame's size; none before the first frame."""
        return () if self._size == (0, 0) else self.rungs(state, *self._size)

    def _rung_view(self, stage: Stage, variant: Variant, height: int, width: int) -> RungView:
        costs = self._host.costs
        key = CostKey(stage.cost_name or stage.name, variant.name, height, width, self._host.device_name)
        counts = range(2, stage.max_batch + 1)
        batches = {count: costs.forecast(replace(key, batch=count)) for count in counts} or None
        return RungView(variant.name, variant.quality, costs.forecast(key), batches)

    # Levels

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the newest frame; zeros before the first."""
        return self._size

    @property
    def interval_ns(self) -> int:
        """The source's frame interval; 0 before it is known."""
        return self._interval_ns

    def demand(self, *, at_best: bool = False) -> dict[str, float]:
        """Return the share of each lane's time that every-frame stages ask for: at the present level, or the best."""
        asked: dict[str, float] = {}
        for state in self.stages.values():
            rungs = self.known_rungs(state)
            if rungs and self._interval_ns and not state.stage.max_age_ns:
                lane = self._host.lane(state.stage.kind, state.stage.name)
                rung = rungs[0 if at_best else min(state.control.level, len(rungs) - 1)]
                asked[lane] = asked.get(lane, 0.0) + rung.forecast.typical_ns / self._interval_ns
        return asked

    def _control_ladders(self) -> None:
        """Give each stage with a ladder the level that suits the load of now."""
        view = self.waiting() if self._host.has_ladder and any(s.ready > 1 for s in self.stages.values()) else None
        if view is None:
            return
        for stage in view.stages:
            state = self.stages[stage.name]
            if state.ready < 2:
                continue
            ladder = state.stage.ladder
            costs = [rung.forecast for rung in stage.rungs]
            step = state.control.update(self._host.now_ns(), costs, self._room(view, stage))
            if step is not None:
                self._note_change(stage.name, ladder[step.before].name, ladder[step.after].name, step.reason)

    def ran_out_of_memory(self, state: StageState, least: int) -> None:
        """Leave the variants before `least` alone for a while."""
        reason = "memory ran out with the better one"
        if (step := state.control.rule_out(self._host.now_ns(), least, reason)) is not None:
            ladder = state.stage.ladder
            self._note_change(state.stage.name, ladder[step.before].name, ladder[step.after].name, step.reason)

    def _room(self, view: Waiting, stage: StageView) -> Room:
        if stage.max_age_ns:  # it may be refreshed as seldom as its results live
            every_ns = max(view.interval_ns, stage.max_age_ns // 2)
            return Room(round(every_ns * view.share), stage.max_age_ns)
        beside = [s for s in view.stages if s.is_must and s.lane == stage.lane and s.name != stage.name]
        period_ns = round(view.interval_ns * view.share) - sum(s.predicted_ns for s in beside)
        others_ns = max(0, must_run_ns(view.stages) - stage.predicted_ns)
        spare_ns = self.budget_ns - self.downstream_ns - self._wait.predicted_ns - others_ns - view.tail.predicted_ns
        return Room(max(1, period_ns) if view.interval_ns else 0, spare_ns)

    def _note_change(self, stage: str, before: str, after: str, reason: str) -> None:
        self._view = None
        change = LadderChange(self._host.now_ns(), stage, before, after, reason)
        self.ladder_events.append(change)
        if self.terms.log is not None:
            self.terms.log.add(change)
        log.info("%s: %s goes from %s to %s: %s", self.name, stage, before, after, reason)

    # Frames in flight

    def take(self, seq: int) -> Frame | None:
        """Take the frame decided on, or a newer one of its size; what is older is superseded.

        One of another size waits to be decided on: then None.
        """
        passed: list[Frame] = []
        while (older := self.inbox.take_if(lambda frame: frame.seq < seq)) is not None:
            passed.append(older)
        frame = self.inbox.take_if(lambda frame: frame.image.shape[:2] == self._size)
        for older in passed:
            self._note_early(older)
            self.drop(older, DropReason.SUPERSEDED, newer=frame)
        return frame

    def give_up(self, seq: int, reason: DropReason) -> None:
        """Drop the frame decided on, if it still waits, and what is older."""
        while (frame := self.inbox.take_if(lambda frame: frame.seq <= seq)) is not None:
            self._view = None
            self.drop(frame, reason if frame.seq == seq else DropReason.SUPERSEDED)

    def taken(self, frame: Frame, plan: Plan, now_ns: int) -> float:
        """Account for a frame the scheduler took; return its start tag."""
        cost_ns = sum(
            self._predicted_ns(name, choice.rung)
            for name, choice in plan.choices.items()
            if choice.action in ("run", "refresh")
        )
        turn = self._turns.taken(cost_ns, now_ns)
        self._view = None
        frame.trace.stamp(Step.STARTED, now_ns)
        frame.trace.planned_ns = {"models": plan.models_ns, "tail": self.tail.predicted_ns}
        for name, choice in plan.choices.items():
            variant = self.stages[name].stage.ladder[choice.rung].name
            frame.trace.decisions[name] = Decision(choice.action.value, variant, choice.reason)
        self._wait.add(now_ns - frame.captured_ns)
        return turn

    def charge(self, spent_ns: float) -> None:
        """Add to what the stream was served: what a job took beyond its prediction (less than 0: short of it)."""
        self._turns.charge(spent_ns, self._host.turn)
        if self._turns.due_ns is not None:
            self._view = None

    def _predicted_ns(self, stage: str, rung: int) -> int:
        state = self.stages[stage]
        rungs = self.rungs(state, *self._size)
        return rungs[min(rung, len(rungs) - 1)].forecast.predicted_ns

    def emit_finished(self, now_ns: int) -> None:
        """Hand on finished frames, in order; a finished frame waits for the ones before it."""
        while self.tickets and not self.tickets[0].joining:
            frame = self.tickets.popleft().frame
            self.fill_in(frame)
            self._count_stages(frame)
            frame.trace.stamp(Step.FINISHED, now_ns)
            self._downstream += 1
            self._output(frame)

    def fill_in(self, frame: Frame) -> None:
        """Give the frame the newest results that are young enough, where its own are missing."""
        for name, state in self.stages.items():
            age_ns = state.age_ns(frame.captured_ns)
            is_young = age_ns is not None and age_ns <= state.stage.max_age_ns
            if name not in frame.results and state.latest is not None and is_young:
                frame.results[name] = state.latest.results
                frame.result_age_ns[name] = age_ns or 0

    def _count_stages(self, frame: Frame) -> None:
        """Count for each stage whether the frame is shown with an earlier result, or without one."""
        for name, state in self.stages.items():
            state.skips += self._is_without(frame, name)
            state.reuses += frame.result_age_ns.get(name, 0) > 0

    def _is_without(self, frame: Frame, stage: str) -> bool:
        """Whether a frame is shown without a stage: it neither ran for it nor lent it an earlier result."""
        is_generator = self.stages[stage].stage.kind is StageKind.GENERATE
        return frame.generated is None if is_generator else stage not in frame.results

    # The account

    def observe_tail(self, tail_ns: int) -> None:
        """Learn how long a frame took from its last stage to its packets."""
        self.tail.add(tail_ns)

    def sent(self, frame: Frame, sent_ns: int) -> None:
        """Account for a frame that has left for every viewer."""
        self._downstream -= 1
        has_skipped = any(self._is_without(frame, name) for name in self.stages)
        self.account.sent(frame, sent_ns, self._interval_ns, has_skipped=has_skipped)
        if self.terms.waits:
            self._host.dispatch()

    def drop(self, frame: Frame, reason: DropReason, newer: Frame | None = None) -> None:
        """Account for a frame that will never be shown; `newer` is the one that took its place."""
        self._downstream -= reason in (DropReason.ENCODER_BUSY, DropReason.ENCODER_ERROR)
        gap_ns = None if newer is None else newer.captured_ns - frame.captured_ns
        self.account.dropped(
            frame, reason, self._host.now_ns(), self._interval_ns, gap_ns, is_own_busy=bool(self.tickets)
        )
        if self.terms.waits:
            self._host.dispatch()

    def close(self) -> None:
        """Take no more, and drop what is inside."""
        self.inbox.close()
        left = self.inbox.drain()
        for frame in left:
            self._note_early(frame)
        left = [ticket.frame for ticket in self.tickets] + left
        self.tickets.clear()
        for frame in left:
            self.drop(frame, DropReason.STOPPED)


def _unheard(height: int, width: int) -> None:
    """Nobody asked to be told of sizes: models take every size as it comes."""


def _unwatched(stage: str, variant: str, frame: Frame, found: object) -> None:
    """Nobody asked to be told of results."""
