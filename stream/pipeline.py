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
class _Job:
    """A stage of a frame in a lane's line. `started_ns` is None until it is submitted."""

    stream: "PipelineStream"
    ticket: _Ticket
    stage: str
    started_ns: int | None = None
    is_reported: bool = False  # as stuck


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
            self.fill_in(ticket.frame)
            self._count(ticket.frame)
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

    def fill_in(self, frame: Frame) -> None:
        """Give the frame the newest results that are young enough, where its own are missing."""
        for name, state in self.stages.items():
            age_ns = state.age_ns(frame.captured_ns)
            is_young = age_ns is not None and age_ns <= state.stage.max_age_ns
            if name not in frame.results and state.latest is not None and is_young:
                frame.results[name] = state.latest.results
                frame.result_age_ns[name] = age_ns or 0

    def _count(self, frame: Frame) -> None:
        """Count for each stage whether the frame is shown with an earlier result, or without one."""
        for name, state in self.stages.items():
            is_generator = state.stage.kind is StageKind.GENERATE
            state.skips += frame.generated is None if is_generator else name not in frame.results
            state.reuses += frame.result_age_ns.get(name, 0) > 0


class Pipeline:
    """All streams of one device. Event loop only."""

    def __init__(self, device: Device, clock: Clock, costs: CostModel | None = None) -> None:
        self.device = device
        self.costs = costs or CostModel()
        self._clock = clock
        self._scheduler = DeadlineScheduler(device.capacity)
        self._streams: dict[str, PipelineStream] = {}
        self._lines: dict[str, deque[_Job]] = {}  # lane -> its job, and the same frame's next ones; never empty

    def attach(
        self, name: str, stages: list[Stage], budget_ns: int, output: Callable[[Frame], None], counts: FrameCounts
    ) -> PipelineStream:
        """Add a stream; `output` is called on the loop, in order of seq, and must not block."""
        self._streams[name] = PipelineStream(self, name, stages, budget_ns, output, counts)
        return self._streams[name]

    def detach(self, name: str) -> None:
        """Remove a stream; frames still in flight are dropped as superseded. A job that runs may still finish."""
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
        for decision in self._scheduler.decide(now_ns, waiting, frozenset(self._lines)):
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

    def tick(self) -> None:
        """Free frames from waits that have become pointless. Call a few times a second."""
        now_ns = self._clock.now_ns()
        for line in list(self._lines.values()):
            job = line[0]
            if _is_stuck(line, now_ns) and not job.is_reported:
                self._report_stuck(job, now_ns)
            elif job.stream.stages[job.stage].stage.max_age_ns and now_ns > job.ticket.frame.deadline_ns:
                self._resolve(job.stream, job.ticket, job.stage, now_ns)  # an earlier result will do
        self.dispatch()

    def _report_stuck(self, job: _Job, now_ns: int) -> None:
        """Let the frame go on without a stage that does not answer, and say so once."""
        job.is_reported = True
        seconds = STUCK_AFTER_NS // NS_PER_S
        job.stream.stages[job.stage].stuck(f"has not answered for {seconds} s")
        log.warning("%s: %s has not answered for %d s; going on without it", job.stream.name, job.stage, seconds)
        self._resolve(job.stream, job.ticket, job.stage, now_ns)

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
            share=1 / len(self._streams),
        )

    def _stage_view(self, stream: PipelineStream, state: StageState, frame: Frame, now_ns: int) -> StageView:
        stage = state.stage
        predicted_ns = self.costs.predict_ns(self._cost_key(stage, *frame.image.shape[:2]))
        stream.predicted_ns[stage.name] = predicted_ns
        lane = self.device.lane(stage.kind, stage.name)
        line = self._lines.get(lane)
        unavailable = "" if state.breaker.is_closed(now_ns) else "left out after errors"
        if line and _is_stuck(line, now_ns):
            unavailable = "does not answer"
        return StageView(
            name=stage.name,
            kind=stage.kind,
            lane=lane,
            predicted_ns=predicted_ns,
            threads=stage.threads,
            max_age_ns=stage.max_age_ns,
            result_age_ns=state.age_ns(frame.captured_ns),
            needs=stage.needs,
            unavailable=unavailable,
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
        for name in _needs_first(running, stream.stages):
            lane = self.device.lane(stream.stages[name].stage.kind, name)
            self._lines.setdefault(lane, deque()).append(_Job(stream, ticket, name))
        self._submit_ready(now_ns, ticket)
        stream.emit_finished(now_ns)

    def _submit_ready(self, now_ns: int, ticket: _Ticket) -> None:
        """Submit the ticket's stages that are first in their lane's line and whose needs are settled."""
        for lane, line in self._lines.items():
            job = line[0]
            stage = job.stream.stages[job.stage].stage
            is_ready = not stage.needs & (ticket.joining | ticket.to_start)
            if job.ticket is ticket and job.started_ns is None and is_ready:
                ticket.to_start.discard(job.stage)
                job.started_ns = now_ns
                if stage.needs:
                    job.stream.fill_in(ticket.frame)
                done = self.device.submit(lane, partial(stage.apply, ticket.frame))
                done.add_done_callback(partial(self._finished, lane))

    def _finished(self, lane: str, done: "asyncio.Future[Completed]") -> None:
        if done.cancelled():  # the loop is closing
            return
        completed, job, now_ns = done.result(), self._leave(lane), self._clock.now_ns()
        state, frame = job.stream.stages[job.stage], job.ticket.frame
        cost_ns = completed.finished_ns - completed.started_ns
        self.costs.observe(self._cost_key(state.stage, *frame.image.shape[:2]), cost_ns)
        if completed.error is not None:
            self._failed(job.stream, state, completed.error, now_ns)
        else:
            state.succeeded(now_ns, completed.value, frame.captured_ns)
            if job.stage in job.ticket.joining:
                _attach_value(frame, job.stage, completed.value)
        self._resolve(job.stream, job.ticket, job.stage, now_ns)
        self.dispatch()

    def _leave(self, lane: str) -> _Job:
        """Take the finished job out of its lane's line."""
        line = self._lines[lane]
        job = line.popleft()
        if not line:
            del self._lines[lane]
        return job

    def _failed(self, stream: PipelineStream, state: StageState, error: BaseException, now_ns: int) -> None:
        was_closed = state.breaker.is_closed(now_ns)
        state.failed(now_ns, error)
        if state.errors == 1 or (was_closed and not state.breaker.is_closed(now_ns)):
            what = "failed" if state.errors == 1 else "is left out for 10 s after 5 errors in a row"
            log.warning("%s: %s %s: %s", stream.name, state.stage.name, what, state.last_error)

    def _resolve(self, stream: PipelineStream, ticket: _Ticket, stage: str, now_ns: int) -> None:
        ticket.joining.discard(stage)
        ticket.to_start.discard(stage)
        self._submit_ready(now_ns, ticket)
        stream.emit_finished(now_ns)


def _attach_value(frame: Frame, stage: str, value: object) -> None:
    if isinstance(value, Results):
        frame.results[stage] = value
        frame.result_age_ns[stage] = 0
    else:
        frame.generated = value  # type: ignore[assignment]


def _needs_first(names: set[str], stages: Mapping[str, StageState]) -> list[str]:
    """Return the stages so that each comes after those it needs: in a shared lane it would block them otherwise."""
    ordered: list[str] = []
    left = sorted(names)
    while left:
        ready = [name for name in left if not stages[name].stage.needs & set(left)] or left  # a circle: as it is
        ordered += ready
        left = [name for name in left if name not in ready]
    return ordered


def _is_stuck(line: "deque[_Job]", now_ns: int) -> bool:
    started_ns = line[0].started_ns
    return started_ns is not None and now_ns - started_ns > STUCK_AFTER_NS
