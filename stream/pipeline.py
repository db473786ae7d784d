"""From a stream's mailbox through its stages to its output: the shell around the scheduler.

Driven by events only: a frame arrives, or a lane finishes; each time the scheduler is asked. All of
it runs on the event loop except `PipelineStream.put`, which sources call from their threads.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from stream.budget import CostKey, CostModel
from stream.clock import NS_PER_S, Clock
from stream.device import Completed, Device
from stream.frame import Frame
from stream.mailbox import Closed, Mailbox
from stream.results import Results
from stream.scheduler import Action, Choice, DeadlineScheduler, Drop, DropReason, Plan, StageKind, StageView, Waiting
from stream.stage import Stage, StageState
from stream.stats import FrameCounts, Rate
from stream.trace import Step

log = logging.getLogger(__name__)

MAX_TICKETS = 8  # frames of one stream between the mailbox and the output; more wait, and are superseded
STUCK_AFTER_NS = 5 * NS_PER_S  # a lane silent for this long counts as stuck, and video goes on without it
INTERVALS = 8  # arrival intervals whose median is the source's frame interval


@dataclass(slots=True)
class _Ticket:
    """A frame that was taken: its plan, and the stages it still waits for."""

    frame: Frame
    choices: Mapping[str, Choice]
    joining: set[str]
    to_start: set[str]


@dataclass(slots=True)
class _Busy:
    """What a lane is doing. `started_ns` is None while the stage waits for another stage it needs."""

    stream: "PipelineStream"
    ticket: _Ticket
    stage: str
    started_ns: int | None = None


class PipelineStream:
    """One stream inside the pipeline: mailbox, stages, frames in flight, counts."""

    def __init__(
        self,
        pipeline: "Pipeline",
        name: str,
        stages: list[Stage],
        budget_ns: int,
        output: Callable[[Frame], None],
        counts: FrameCounts,
    ) -> None:
        self.name = name
        self.budget_ns = budget_ns
        self.stages = {stage.name: StageState(stage) for stage in stages}
        self.counts = counts
        self.captured_rate = Rate()
        self.tail_ns = 0  # predicted time from the last stage to the packets
        self.predicted_ns: dict[str, int] = {}  # stage -> cost predicted for its newest frame
        self.inbox: Mailbox[Frame] = Mailbox()
        self.tickets: deque[_Ticket] = deque()  # in order of seq
        self.due_ns: int | None = None  # deadline of the first frame since the last one taken; None when none came
        self._pipeline = pipeline
        self._output = output
        self._arrivals_ns: deque[int] = deque(maxlen=INTERVALS + 1)
        self._tail_key = CostKey("tail", name, 0, 0, "")
        self._loop = asyncio.get_running_loop()

    def put(self, frame: Frame, now_ns: int) -> None:
        """Hand a frame over. Any thread; never blocks; ignored once the stream is detached."""
        frame.deadline_ns = frame.captured_ns + self.budget_ns
        frame.trace.stamp(Step.QUEUED, now_ns)
        try:
            replaced = self.inbox.put(frame)
            self._loop.call_soon_threadsafe(self._arrived, frame.captured_ns, replaced is not None)
        except (Closed, RuntimeError):  # detached, or the loop has closed
            log.debug("%s: frame %d came after the end", self.name, frame.seq)

    def interval_ns(self) -> int:
        """Return the median time between captures; 0 while unknown."""
        stamps = list(self._arrivals_ns)
        gaps = sorted(b - a for a, b in itertools.pairwise(stamps))
        return gaps[len(gaps) // 2] if gaps else 0

    def observe_tail(self, tail_ns: int) -> None:
        """Learn how long a frame took from its last stage to its packets."""
        self._pipeline.costs.observe(self._tail_key, tail_ns)
        self.tail_ns = self._pipeline.costs.predict_ns(self._tail_key)

    def drop(self, reason: DropReason) -> None:
        self.counts.dropped[reason.value] += 1

    def emit_finished(self, now_ns: int) -> None:
        """Hand on finished frames, in order; a finished frame waits for the ones before it."""
        while self.tickets and not self.tickets[0].joining:
            ticket = self.tickets.popleft()
            self._fill_in(ticket)
            ticket.frame.trace.stamp(Step.FINISHED, now_ns)
            self._output(ticket.frame)

    def _arrived(self, captured_ns: int, has_replaced: bool) -> None:
        self.counts.captured += 1
        self.captured_rate.add(captured_ns)
        self._arrivals_ns.append(captured_ns)
        if self.due_ns is None:
            self.due_ns = captured_ns + self.budget_ns
        if has_replaced:
            self.drop(DropReason.SUPERSEDED)
        self._pipeline.dispatch()

    def _fill_in(self, ticket: _Ticket) -> None:
        """Give the frame the newest results that are young enough, where its own are missing."""
        frame = ticket.frame
        for name, state in self.stages.items():
            if state.stage.kind is StageKind.GENERATE:
                has_picture = frame.generated is not None
                state.skips += not has_picture
                continue
            if name not in frame.results and state.latest is not None:
                age_ns = state.age_ns(frame.captured_ns) or 0
                if age_ns <= state.stage.max_age_ns:
                    frame.results[name] = state.latest.results
                    frame.result_age_ns[name] = age_ns
            state.reuses += frame.result_age_ns.get(name, 0) > 0
            state.skips += name not in frame.results


class Pipeline:
    """All streams of one device. Event loop only."""

    def __init__(self, device: Device, clock: Clock, costs: CostModel | None = None) -> None:
        self.device = device
        self.costs = costs or CostModel()
        self._clock = clock
        self._scheduler = DeadlineScheduler(device.capacity)
        self._streams: dict[str, PipelineStream] = {}
        self._busy: dict[str, _Busy] = {}  # by lane

    def attach(
        self, name: str, stages: list[Stage], budget_ns: int, output: Callable[[Frame], None], counts: FrameCounts
    ) -> PipelineStream:
        """Add a stream; `output` is called on the loop, in order of seq, and must not block."""
        self._streams[name] = PipelineStream(self, name, stages, budget_ns, output, counts)
        return self._streams[name]

    def detach(self, name: str) -> None:
        """Remove a stream; frames still in flight are dropped as superseded."""
        stream = self._streams.pop(name)
        stream.inbox.close()
        left = len(stream.tickets) + stream.inbox.stats().depth
        stream.counts.dropped[DropReason.SUPERSEDED.value] += left
        stream.tickets.clear()

    def dispatch(self) -> None:
        """Ask the scheduler, and do what it says."""
        now_ns = self._clock.now_ns()
        waiting = [view for stream in self._streams.values() if (view := self._view(stream, now_ns)) is not None]
        if not waiting:
            return
        for decision in self._scheduler.decide(now_ns, waiting, frozenset(self._busy)):
            stream = self._streams[decision.stream]
            if isinstance(decision, Drop):
                hopeless_seq = decision.seq
                if stream.inbox.take_if(lambda f, seq=hopeless_seq: f.seq == seq) is not None:  # type: ignore[misc]
                    stream.drop(decision.reason)
            elif (
                frame := stream.inbox.get_nowait()
            ) is not None:  # late binding: as new as the one decided on, or newer
                self._start(stream, frame, decision, now_ns)

    def observe(self, stage: Stage, height: int, width: int, cost_ns: int) -> None:
        """Learn a cost measured outside the pipeline, such as at warm-up."""
        self.costs.observe(self._cost_key(stage, height, width), cost_ns)

    def last_predicted_ns(self, stream: str, stage: str) -> int:
        """Return the cost last predicted for a stage; 0 before its first frame."""
        return self._streams[stream].predicted_ns.get(stage, 0)

    def tick(self) -> None:
        """Free frames that wait for a stuck lane. Call a few times a second."""
        now_ns = self._clock.now_ns()
        for busy in self._busy.values():
            if _is_stuck(busy, now_ns) and busy.stage in busy.ticket.joining:
                log.warning("%s: %s has not answered for %.0f s; going on without it", busy.stream.name, busy.stage, 5)
                self._resolve(busy.stream, busy.ticket, busy.stage, now_ns)
        self.dispatch()

    def _view(self, stream: PipelineStream, now_ns: int) -> Waiting | None:
        frame = stream.inbox.peek()
        if frame is None or len(stream.tickets) >= MAX_TICKETS:
            return None
        stages = tuple(self._stage_view(stream, state, frame, now_ns) for state in stream.stages.values())
        return Waiting(
            stream=stream.name,
            seq=frame.seq,
            captured_ns=frame.captured_ns,
            deadline_ns=frame.deadline_ns,
            due_ns=frame.deadline_ns if stream.due_ns is None else stream.due_ns,
            interval_ns=stream.interval_ns(),
            tail_ns=stream.tail_ns,
            stages=stages,
        )

    def _stage_view(self, stream: PipelineStream, state: StageState, frame: Frame, now_ns: int) -> StageView:
        stage = state.stage
        predicted_ns = self.costs.predict_ns(self._cost_key(stage, *frame.image.shape[:2]))
        stream.predicted_ns[stage.name] = predicted_ns
        lane = self.device.lane(stage.kind, stage.name)
        busy = self._busy.get(lane)
        is_available = state.breaker.is_closed(now_ns) and not (busy and _is_stuck(busy, now_ns))
        return StageView(
            name=stage.name,
            kind=stage.kind,
            lane=lane,
            predicted_ns=predicted_ns,
            threads=stage.threads,
            max_age_ns=stage.max_age_ns,
            result_age_ns=state.age_ns(frame.captured_ns),
            needs=stage.needs,
            is_available=is_available,
        )

    def _cost_key(self, stage: Stage, height: int, width: int) -> CostKey:
        return CostKey(stage.name, stage.variant, height, width, self.device.name)

    def _start(self, stream: PipelineStream, frame: Frame, plan: Plan, now_ns: int) -> None:
        stream.due_ns = None
        frame.trace.stamp(Step.STARTED, now_ns)
        frame.trace.decisions = {name: f"{c.action}: {c.reason}" for name, c in plan.choices.items()}
        running = {name for name, c in plan.choices.items() if c.action in (Action.RUN, Action.REFRESH)}
        joining = {name for name, c in plan.choices.items() if c.action is Action.RUN}
        ticket = _Ticket(frame, plan.choices, joining, set(running))
        stream.tickets.append(ticket)
        for name in running:
            stage = stream.stages[name].stage
            self._busy[self.device.lane(stage.kind, name)] = _Busy(stream, ticket, name)
        self._submit_ready(stream, ticket, now_ns)
        stream.emit_finished(now_ns)

    def _submit_ready(self, stream: PipelineStream, ticket: _Ticket, now_ns: int) -> None:
        """Submit the planned stages whose needs are settled."""
        for name in sorted(ticket.to_start):
            stage = stream.stages[name].stage
            if stage.needs & (ticket.joining | ticket.to_start):
                continue
            ticket.to_start.discard(name)
            lane = self.device.lane(stage.kind, name)
            self._busy[lane].started_ns = now_ns
            done = self.device.submit(lane, partial(stage.apply, ticket.frame))
            done.add_done_callback(partial(self._finished, lane))

    def _finished(self, lane: str, done: "asyncio.Future[Completed]") -> None:
        if done.cancelled():  # the loop is closing
            return
        completed, busy = done.result(), self._busy.pop(lane)
        now_ns = self._clock.now_ns()
        state, frame = busy.stream.stages[busy.stage], busy.ticket.frame
        cost_ns = completed.finished_ns - completed.started_ns
        self.costs.observe(self._cost_key(state.stage, *frame.image.shape[:2]), cost_ns)
        frame.trace.stage_ns[busy.stage] = cost_ns
        if completed.error is not None:
            self._failed(busy.stream, state, completed.error, now_ns)
        else:
            state.succeeded(now_ns, completed.value, frame.captured_ns)
            if busy.stage in busy.ticket.joining:
                _attach_value(frame, busy.stage, completed.value)
        self._resolve(busy.stream, busy.ticket, busy.stage, now_ns)
        self.dispatch()

    def _failed(self, stream: PipelineStream, state: StageState, error: BaseException, now_ns: int) -> None:
        was_closed = state.breaker.is_closed(now_ns)
        state.failed(now_ns, error)
        if state.errors == 1 or (was_closed and not state.breaker.is_closed(now_ns)):
            what = "failed" if state.errors == 1 else "is left out for 10 s after 5 errors in a row"
            log.warning("%s: %s %s: %s", stream.name, state.stage.name, what, state.last_error)

    def _resolve(self, stream: PipelineStream, ticket: _Ticket, stage: str, now_ns: int) -> None:
        ticket.joining.discard(stage)
        ticket.to_start.discard(stage)
        self._submit_ready(stream, ticket, now_ns)
        stream.emit_finished(now_ns)


def _attach_value(frame: Frame, stage: str, value: object) -> None:
    if isinstance(value, Results):
        frame.results[stage] = value
        frame.result_age_ns[stage] = 0
    else:
        frame.generated = value  # type: ignore[assignment]


def _is_stuck(busy: _Busy, now_ns: int) -> bool:
    return busy.started_ns is not None and now_ns - busy.started_ns > STUCK_AFTER_NS
