"""From each stream's mailbox through its stages to its output: the shell around the scheduler.

Driven by events only: a frame arrives, or a lane finishes; each time the scheduler is asked. All of
it runs on the event loop except `Inflow.put`, which sources call from their threads.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from stream.admission import Ask
from stream.budget import CostKey, CostModel
from stream.clock import NS_PER_S, Clock
from stream.errors import ConfigError
from stream.frame import Frame
from stream.inflow import NO_TERMS, Inflow, Terms, Ticket
from stream.lanes import Completed, Lanes, Launched
from stream.results import Results
from stream.run import Cost
from stream.scheduler import DeadlineScheduler, Scheduler
from stream.shares import fair_shares
from stream.stage import Stage, StageState, error_text
from stream.stats import BusyTime, FrameCounts
from stream.view import Action, Drop, Plan

log = logging.getLogger(__name__)

STUCK_AFTER_NS = 5 * NS_PER_S  # a lane silent for this long counts as stuck, and video goes on without it
TICK_NS = 250_000_000  # how often `tick` looks after what no event brings about
FULL_LOAD = 0.95  # of a lane's time; beyond it streams take turns instead of going by deadline
RUNS = (Action.RUN, Action.REFRESH)


@dataclass(frozen=True, slots=True)
class Work:
    """What a lane is given: a variant of a stage on the pictures of one or, as a batch, several frames.

    `spare` is a lighter variant that is ready, for when memory runs out; None when there is none.
    """

    stage: Stage
    rung: int
    frames: tuple[Frame, ...]
    spare: int | None = None

    def __call__(self) -> list[Any]:
        return list(self.stage.apply_all(self.frames, self.rung))

    def smaller(self) -> Callable[[], list[Any]] | None:
        """Return what gives the same with less memory: a batch's pictures one by one, else the lighter variant."""
        if len(self.frames) > 1:
            return lambda: [self.stage.apply(frame, self.rung) for frame in self.frames]
        return None if self.spare is None else Work(self.stage, self.spare, self.frames)

    @property
    def launch(self) -> Callable[[], Launched] | None:
        """What starts it on a GPU without waiting; None where the model cannot."""
        return partial(self.stage.launch_all, self.frames, self.rung) if self.stage.can_launch(self.rung) else None


@dataclass(slots=True)
class _Member:
    """A frame's part in a job."""

    stream: Inflow
    ticket: Ticket
    state: StageState


@dataclass(slots=True)
class _Job:
    """A stage of one or several frames in a lane's line. `started_ns` is None until it is started."""

    members: list[_Member]
    rung: int
    started_ns: int | None = None
    is_reported: bool = False  # as stuck

    @property
    def stage(self) -> Stage:
        return self.members[0].state.stage

    @property
    def is_ready(self) -> bool:
        """Whether everything its frames need first is settled."""
        return not any(m.state.stage.needs & (m.ticket.joining | m.ticket.to_start) for m in self.members)

    def may_take(self, member: _Member, rung: int) -> bool:
        """Whether a frame may join the batch: of the same variant and size, whatever was decided on an older one."""
        first, stage = self.members[0], member.state.stage
        return (
            len(self.members) < stage.max_batch
            and self.stage.ladder[self.rung].name == stage.ladder[rung].name
            and first.ticket.frame.image.shape == member.ticket.frame.image.shape
            and all(one.ticket is not member.ticket for one in self.members)
        )


class Pipeline:
    """All streams of one device. Event loop only.

    `post` hands a call over to the loop, from any thread; without it, the running asyncio loop's.
    """

    def __init__(
        self,
        device: Lanes,
        clock: Clock,
        costs: CostModel | None = None,
        scheduler: Scheduler | None = None,
        post: Callable[..., Any] | None = None,
    ) -> None:
        self.device = device
        self.device_name = device.name
        self.capacity = device.capacity
        self.busy = BusyTime()
        self.costs = costs or CostModel()
        self.turn = 0.0  # the virtual time of fair queueing: start tag of the frame served last
        self.post: Callable[..., Any] = post or _posts_to(asyncio.get_running_loop())
        self.lane = device.lane
        self._clock = clock
        self.now_ns = clock.now_ns
        self._scheduler: Scheduler = scheduler or DeadlineScheduler(device.capacity)
        self.has_ladder = self._scheduler.has_ladder
        self._streams: dict[str, Inflow] = {}
        self._lines: dict[str, deque[_Job]] = {}  # lane -> its job, and the same frames' next ones; never empty
        self._is_overloaded = False
        self.promised: dict[str, Ask] = {}  # what each stream was admitted with

    def attach(
        self,
        name: str,
        stages: list[Stage],
        budget_ns: int,
        output: Callable[[Frame], None],
        counts: FrameCounts,
        terms: Terms = NO_TERMS,
    ) -> Inflow:
        """Add a stream; `output` is called on the loop, in order of seq, and must not block.

        Raises ConfigError for stages that need each other: neither could ever begin.
        """
        _check_needs(stages)
        bound = self._scheduler.inbox_bound
        self._streams[name] = Inflow(self, name, stages, budget_ns, output, counts, terms, bound)
        self.balance()
        return self._streams[name]

    def detach(self, name: str) -> None:
        """Remove a stream; frames still in flight are dropped. A job that runs may still finish."""
        stream = self._streams.pop(name)
        self.promised.pop(name, None)
        stream.close()
        for lane in list(self._lines):
            self._give_up_unstarted(lane, stream)
        self._start_ready(self._clock.now_ns())
        self.balance()
        self.dispatch()

    def _give_up_unstarted(self, lane: str, stream: Inflow) -> None:
        """Take a stream's jobs that have not begun out of a lane's line: its models may be closed by then."""
        line = self._lines[lane]
        for job in line:
            if job.started_ns is None:
                job.members = [member for member in job.members if member.stream is not stream]
        kept = deque(job for job in line if job.members)
        if kept:
            self._lines[lane] = kept
        else:
            del self._lines[lane]

    def streams(self) -> Mapping[str, Inflow]:
        """Return the attached streams by name."""
        return self._streams

    def dispatch(self) -> None:
        """Ask the scheduler, and do what it says."""
        waiting = [view for stream in self._streams.values() if (view := stream.waiting()) is not None]
        if not waiting:
            return
        now_ns = self._clock.now_ns()
        busy = frozenset(self._lines)
        decisions = self._scheduler.decide(now_ns, waiting, busy, is_overloaded=self._is_overloaded)
        batches: dict[tuple[str, str], _Job] = {}
        for decision in decisions:
            stream = self._streams[decision.stream]
            if isinstance(decision, Drop):
                stream.give_up(decision.seq, decision.reason)
            elif (frame := stream.take(decision.seq)) is not None:
                self._take(stream, frame, decision, now_ns, batches)
        if decisions:
            self._start_ready(now_ns)
            for decision in decisions:
                self._streams[decision.stream].emit_finished(now_ns)

    def expect(self, stage: Stage, height: int, width: int, cost_ns: int, rung: int = 0) -> None:
        """Learn a cost measured outside the pipeline, such as at warm-up."""
        self.costs.expect(self.cost_key(stage, rung, height, width), cost_ns)

    def variants_ready(self, stream: str, stage: str, count: int) -> None:
        """Say that the first `count` variants of a stage's ladder are compiled, and may be used."""
        inflow = self._streams[stream]
        inflow.stages[stage].ready = count
        inflow.changed()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.now_ns() + TICK_NS)
            self.tick()

    def tick(self) -> None:
        """Look after what no event brings about: stuck lanes, shares, breakers. Call a few times a second."""
        now_ns = self._clock.now_ns()
        for line in list(self._lines.values()):
            job = line[0]
            if self._is_stuck(line, now_ns):
                self._report_stuck(job, now_ns)
                while len(line) > 1:  # nothing else may begin in this lane
                    for member in line.pop().members:
                        self._resolve(member, now_ns)
            elif job.stage.max_age_ns:
                for member in job.members:
                    if now_ns > member.ticket.frame.deadline_ns:  # an earlier result will do
                        self._resolve(member, now_ns)
        for stream in self._streams.values():
            stream.changed()
        self.balance()
        self.dispatch()

    def balance(self) -> None:
        """Share the device anew among the streams, by weight and by what they would ask for at their best.

        Not by what they ask for now: one that went lighter would then be given less, and could not come back.
        """
        lanes: dict[str, float] = {}
        for stream in self._streams.values():
            for lane, asked in stream.demand().items():
                lanes[lane] = lanes.get(lane, 0.0) + asked
        self._is_overloaded = max(lanes.values(), default=0.0) > FULL_LOAD
        wishes = {n: max(s.demand(at_best=True).values(), default=0.0) for n, s in self._streams.items()}
        weights = {name: stream.terms.weight for name, stream in self._streams.items()}
        for name, share in fair_shares(wishes, weights).items():
            self._streams[name].share = share

    def is_stuck(self, lane: str) -> bool:
        """Whether the lane's job does not answer."""
        line = self._lines.get(lane)
        return line is not None and self._is_stuck(line, self._clock.now_ns())

    def _is_stuck(self, line: "deque[_Job]", now_ns: int) -> bool:
        started_ns = line[0].started_ns
        return started_ns is not None and now_ns - started_ns > STUCK_AFTER_NS

    def _report_stuck(self, job: _Job, now_ns: int) -> None:
        """Let the frames go on without a stage that does not answer, and say so once."""
        if job.is_reported:
            return
        job.is_reported = True
        seconds = STUCK_AFTER_NS // NS_PER_S
        for member in job.members:
            member.state.stuck(f"has not answered for {seconds} s")
            stage = member.state.stage.name
            log.warning("%s: %s has not answered for %d s; going on without it", member.stream.name, stage, seconds)
            self._resolve(member, now_ns)

    def has_job(self, stream: str, stage: str) -> bool:
        """Whether a frame of a stream is with a stage, or stands in the lane's line for it."""
        members = (member for line in self._lines.values() for job in line for member in job.members)
        return any(member.stream.name == stream and member.state.stage.name == stage for member in members)

    def cost_key(self, stage: Stage, rung: int, height: int, width: int, batch: int = 1) -> CostKey:
        """Return under which key a stage's costs are learned."""
        variant = stage.ladder[rung].name
        return CostKey(stage.cost_name or stage.name, variant, height, width, self.device.name, batch)

    def _take(
        self, stream: Inflow, frame: Frame, plan: Plan, now_ns: int, batches: dict[tuple[str, str], _Job]
    ) -> None:
        """Give a frame's stages their places in the lanes' lines; stages of one batch share a place."""
        self.turn = max(self.turn, stream.taken(frame, plan, now_ns))
        joining = {name for name, c in plan.choices.items() if c.action is Action.RUN}
        running = {name for name, c in plan.choices.items() if c.action in RUNS}
        ticket = Ticket(frame, plan.choices, joining, set(running))
        stream.tickets.append(ticket)
        for name in _needs_first(running, stream.stages):
            state, choice = stream.stages[name], plan.choices[name]
            member, lane = _Member(stream, ticket, state), self.device.lane(state.stage.kind, name)
            shared = batches.get((lane, choice.batch)) if choice.batch else None
            if shared is not None and shared.may_take(member, choice.rung):
                shared.members.append(member)
                continue
            job = _Job([member], choice.rung)
            self._lines.setdefault(lane, deque()).append(job)
            if choice.batch:
                batches[lane, choice.batch] = job

    def _start_ready(self, now_ns: int) -> None:
        """Start the jobs that are first in their lane's line and whose needs are settled."""
        for lane, line in self._lines.items():
            job = line[0]
            if job.started_ns is None and job.is_ready:
                self._start(lane, job, now_ns)

    def _start(self, lane: str, job: _Job, now_ns: int) -> None:
        job.started_ns = now_ns
        for member in job.members:
            member.ticket.to_start.discard(member.state.stage.name)
            if member.state.stage.needs:
                member.stream.fill_in(member.ticket.frame)
        is_spare = job.rung + 1 < min(member.state.ready for member in job.members)
        frames = tuple(member.ticket.frame for member in job.members)
        work = Work(job.stage, job.rung, frames, job.rung + 1 if is_spare else None)
        self.device.start(lane, work, partial(self._finished, lane))

    def _finished(self, lane: str, completed: Completed) -> None:
        job, now_ns = self._leave(lane), self._clock.now_ns()
        self._observe(lane, job, completed)
        values = completed.value if completed.error is None else [None] * len(job.members)
        for member, value in zip(job.members, values, strict=True):
            frame, name = member.ticket.frame, member.state.stage.name
            if completed.error is not None:
                self._failed(member, completed.error, now_ns)
            else:
                member.state.succeeded(now_ns, value, frame.captured_ns)
                member.stream.on_result(name, member.state.stage.ladder[job.rung].name, frame, value)
                if completed.is_smaller and len(job.members) == 1:
                    member.stream.ran_out_of_memory(member.state, job.rung + 1)
                if name in member.ticket.joining:
                    _attach_value(frame, name, value)
            member.stream.changed()
            member.ticket.joining.discard(name)
            member.ticket.to_start.discard(name)
        self._start_ready(now_ns)
        for member in job.members:
            member.stream.emit_finished(now_ns)
        self.dispatch()

    def _observe(self, lane: str, job: _Job, completed: Completed) -> None:
        """Learn from a finished job, charge it to its streams, and note it in their logs."""
        cost_ns, count = completed.finished_ns - completed.started_ns, len(job.members)
        height, width = job.members[0].ticket.frame.image.shape[:2]
        first = job.members[0]
        predicted_ns = first.stream.rungs(first.state, height, width)[job.rung].forecast.predicted_ns or cost_ns
        if completed.error is None and not completed.is_smaller:  # how fast a model fails says nothing of its speed
            self.costs.observe(self.cost_key(job.stage, job.rung, height, width, count), cost_ns)
        self.busy.add(completed.finished_ns, cost_ns * job.stage.threads)
        variant = job.stage.ladder[job.rung].name
        error = None if completed.error is None else error_text(completed.error)
        for stream, members in _by_stream(job.members) if count > 1 else ((first.stream, job.members),):
            stream.charge(cost_ns * len(members) / count - predicted_ns * len(members))
            if stream.terms.log is not None:
                seqs = tuple(member.ticket.frame.seq for member in members)
                name, started_ns = members[0].state.stage.name, completed.started_ns
                stream.terms.log.add(Cost(name, variant, seqs, count, lane, started_ns, completed.finished_ns, error))

    def _leave(self, lane: str) -> _Job:
        """Take the finished job out of its lane's line."""
        line = self._lines[lane]
        job = line.popleft()
        if not line:
            del self._lines[lane]
        return job

    def _failed(self, member: _Member, error: BaseException, now_ns: int) -> None:
        state = member.state
        was_closed = state.breaker.is_closed(now_ns)
        state.failed(now_ns, error)
        if state.errors == 1 or (was_closed and not state.breaker.is_closed(now_ns)):
            what = "failed" if state.errors == 1 else "is left out for 10 s after 5 errors in a row"
            log.warning("%s: %s %s: %s", member.stream.name, state.stage.name, what, state.last_error)

    def _resolve(self, member: _Member, now_ns: int) -> None:
        """Let a frame no longer wait for a stage."""
        member.ticket.joining.discard(member.state.stage.name)
        member.ticket.to_start.discard(member.state.stage.name)
        self._start_ready(now_ns)
        member.stream.emit_finished(now_ns)


def _check_needs(stages: list[Stage]) -> None:
    try:
        TopologicalSorter({stage.name: stage.needs for stage in stages}).prepare()
    except CycleError as error:
        circle = " needs ".join(error.args[1])
        raise ConfigError(f"{circle}: neither could ever begin; take one `needs` out") from error


def _posts_to(loop: asyncio.AbstractEventLoop) -> Callable[..., None]:
    """Return a function that has a call made on the loop, from any thread, and none once the loop has closed."""

    def post(call: Callable[..., None], *arguments: Any) -> None:
        try:
            loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            log.debug("a frame came after the loop had closed")

    return post


def _by_stream(members: list[_Member]) -> Iterator[tuple[Inflow, list[_Member]]]:
    """Yield each stream with its members of a job."""
    for stream in dict.fromkeys(member.stream for member in members):
        yield stream, [member for member in members if member.stream is stream]


def _attach_value(frame: Frame, stage: str, value: object) -> None:
    if isinstance(value, Results):
        frame.results[stage] = value
        frame.result_age_ns[stage] = 0
    else:
        frame.generated = value  # type: ignore[assignment]


def _needs_first(names: set[str], stages: Mapping[str, StageState]) -> list[str]:
    """Return the stages so that each comes after those it needs: in a shared lane it would block them otherwise."""
    if len(names) < 2:
        return list(names)
    ordered: list[str] = []
    left = sorted(names, key=lambda name: (stages[name].stage.max_age_ns > 0, name))  # what may be old comes last
    while left:
        ready = [name for name in left if not stages[name].stage.needs & set(left)] or left  # a circle: as it is
        ordered += ready
        left = [name for name in left if name not in ready]
    return ordered
