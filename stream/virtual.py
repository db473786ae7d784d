"""A run in virtual time: the real pipeline with recorded arrivals and costs; device and encoder only take time.

Nothing waits and nothing is random: the same input gives the same decisions on every machine. There is no asyncio
in it; events are taken from a heap in order of time, and of their making where times are equal.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from stream.budget import CostModel
from stream.clock import VirtualClock
from stream.costs import CostBook
from stream.device import Completed
from stream.errors import ModelError
from stream.frame import Frame, Picture
from stream.inflow import Inflow, Terms
from stream.mailbox import Mailbox
from stream.pipeline import TICK_NS, Pipeline, Work
from stream.results import Results
from stream.run import Arrival, Run, RunInfo, StageInfo, check_frames
from stream.scheduler import Scheduler
from stream.stage import Stage, Variant
from stream.stats import FrameCounts
from stream.trace import Step, Trace
from stream.view import DropReason, StageKind

TICKS = Fraction(1, 90_000)
NO_RESULTS = Results()


@dataclass(frozen=True, slots=True)
class Script:
    """One stream of a virtual run: what it is made of, when its frames come, and what everything costs."""

    info: RunInfo
    arrivals: Sequence[Arrival]
    costs: CostBook


class Machine:
    """A clock, and events to come. Every event is a call without arguments."""

    def __init__(self, start_ns: int) -> None:
        self.clock = VirtualClock(start_ns)
        self._events: list[tuple[int, int, Callable[[], None]]] = []  # heap of (at, order, call)
        self._order = 0

    def at(self, at_ns: int, call: Callable[[], None]) -> None:
        """Have `call` made at a time."""
        self._order += 1
        heapq.heappush(self._events, (at_ns, self._order, call))

    def run_next(self) -> bool:
        """Go to the next event and make its call; False when there is none."""
        if not self._events:
            return False
        at_ns, _, call = heapq.heappop(self._events)
        self.clock.advance_to(at_ns)
        call()
        return True


class VirtualDevice:
    """The lanes' contract in virtual time: a job takes what the cost book says, and gives an empty result."""

    def __init__(self, machine: Machine, scripts: Sequence[Script]) -> None:
        info = scripts[0].info
        self.name = info.device
        self.capacity = info.capacity
        self._machine = machine
        self._books = {script.info.stream: script.costs for script in scripts}
        self._lanes = {stage.name: stage.lane for script in scripts for stage in script.info.stages}

    def lane(self, kind: StageKind, stage: str) -> str:
        return self._lanes[stage]

    def start(self, lane: str, work: Callable[[], Any], done: Callable[[Completed], None]) -> None:
        assert isinstance(work, Work)
        started_ns = self._machine.clock.now_ns()
        costs = [self._books[frame.stream].job(work.stage, work.rung, frame.seq) for frame in work.frames]
        finished_ns = started_ns + sum(cost_ns for cost_ns, _ in costs)
        error = next((message for _, message in costs if message), None)
        value = None if error else work()
        completed = Completed(value, ModelError(error) if error else None, started_ns, finished_ns)
        self._machine.at(finished_ns, lambda: done(completed))


class VirtualEncoder:
    """The output's contract in virtual time: the newest frame of one, drawn and encoded one at a time, then sent."""

    def __init__(self, machine: Machine, costs: CostBook) -> None:
        self.inflow: Inflow | None = None  # None until the stream is attached
        self._machine = machine
        self._costs = costs
        self._inbox: Mailbox[Frame] = Mailbox()
        self._is_busy = False

    def put(self, frame: Frame) -> None:
        """Hand over a finished frame."""
        assert self.inflow is not None
        if (replaced := self._inbox.put(frame)) is not None:
            self.inflow.drop(replaced, DropReason.ENCODER_BUSY)
        self._take()

    def _take(self) -> None:
        if self._is_busy or (frame := self._inbox.get_nowait()) is None:
            return
        self._is_busy = True
        now_ns = self._machine.clock.now_ns()
        compose_ns, encode_ns, _ = self._costs.tail(frame.seq)
        frame.trace.stamp(Step.TAKEN, now_ns)
        frame.trace.stamp(Step.COMPOSED, now_ns + compose_ns)
        self._machine.at(now_ns + compose_ns + encode_ns, lambda: self._encoded(frame))

    def _encoded(self, frame: Frame) -> None:
        now_ns = self._machine.clock.now_ns()
        frame.trace.stamp(Step.ENCODED, now_ns)
        self._machine.at(now_ns + self._costs.tail(frame.seq)[2], lambda: self._sent(frame))
        self._is_busy = False
        self._take()

    def _sent(self, frame: Frame) -> None:
        assert self.inflow is not None
        frame.trace.stamp(Step.SENT, self._machine.clock.now_ns())
        stamps_ns = frame.trace.stamps_ns
        self.inflow.sent(frame, stamps_ns[Step.SENT])
        self.inflow.observe_tail(stamps_ns[Step.ENCODED] - stamps_ns[Step.FINISHED])


@dataclass(slots=True)
class _Stream:
    """A stream that plays: where its frames go in, and what is left of them."""

    script: Script
    inflow: Inflow
    picture: dict[tuple[int, int], Picture] = field(default_factory=dict)  # by (height, width)
    given: int = 0  # arrivals handed over

    def frame(self, arrival: Arrival) -> Frame:
        size = (arrival.height, arrival.width)
        if size not in self.picture:
            self.picture[size] = np.broadcast_to(np.uint8(0), (*size, 3))
        trace = Trace(arrival.captured_ns)
        name = self.script.info.stream
        return Frame(name, arrival.seq, arrival.pts, TICKS, arrival.captured_ns, self.picture[size], size, trace)


def play(
    scripts: Sequence[Script],
    scheduler: Scheduler,
    on_progress: Callable[[float], None] | None = None,
) -> list[Run]:
    """Run the streams together on one virtual device and return the account of each.

    `on_progress(share)` is called a hundred times or so. Raises ConfigError for too many frames; takes about 100 us a
    frame.
    """
    check_frames(sum(len(script.arrivals) for script in scripts), "take fewer streams or a shorter run")
    machine = Machine(min((script.arrivals[0].captured_ns for script in scripts if script.arrivals), default=0))
    device = VirtualDevice(machine, scripts)
    pipeline = Pipeline(device, machine.clock, CostModel(), scheduler, post=lambda call, *args: call(*args))
    runs, streams = [], []
    for script in scripts:
        run = Run(script.info)
        streams.append(_attach(pipeline, machine, script, run))
        runs.append(run)
    for stream in streams:
        _give_next(machine, stream)
    left = _Progress(sum(len(script.arrivals) for script in scripts), on_progress)
    _tick(machine, pipeline, streams)
    while machine.run_next():
        left.note(sum(stream.given for stream in streams))
    for stream, run in zip(streams, runs, strict=True):
        pipeline.detach(stream.script.info.stream)
        run.info = stream.script.info
    return runs


def _attach(pipeline: Pipeline, machine: Machine, script: Script, run: Run) -> _Stream:
    info = script.info
    encoder = VirtualEncoder(machine, script.costs)
    stages = [stage_of(stage) for stage in info.stages]
    terms = Terms(info.weight, info.min_fps, log=run)
    inflow = pipeline.attach(info.stream, stages, info.budget_ns, encoder.put, FrameCounts(), terms)
    encoder.inflow = inflow
    for stage in stages:
        inflow.stages[stage.name].ready = len(stage.ladder)
    _expect(pipeline, script, stages)
    if info.tail_ns:
        inflow.tail.prior_ns = inflow.tail.predicted_ns = info.tail_ns
    return _Stream(script, inflow)


def _expect(pipeline: Pipeline, script: Script, stages: Sequence[Stage]) -> None:
    """Give the cost model what was known at the start of the recorded run."""
    sizes = {(arrival.height, arrival.width) for arrival in script.arrivals[:1]}
    for stage, info in zip(stages, script.info.stages, strict=True):
        for rung, known in enumerate(info.ladder):
            for height, width in sizes:
                if known.prior_ns:
                    pipeline.expect(stage, height, width, script.costs.scaled(known.prior_ns), rung)


class _Still:
    """A model that takes no time: the picture as it is, or no findings."""

    def __init__(self, kind: StageKind) -> None:
        self._gives_picture = kind is StageKind.GENERATE

    def __call__(self, image: Picture, *_: object) -> Picture | Results:
        return image if self._gives_picture else NO_RESULTS

    def many(self, images: Sequence[Picture]) -> list[Picture | Results]:
        return [self(image) for image in images]


def stage_of(info: StageInfo) -> Stage:
    """Return a recorded stage again, with a model that takes no time and finds nothing."""
    kind = StageKind(info.kind)
    model = _Still(kind)
    lighter = tuple(Variant(rung.variant, rung.quality, model) for rung in info.ladder[1:])
    return Stage(
        info.name,
        kind,
        model,
        variant=info.ladder[0].variant,
        needs=frozenset(info.needs),
        max_age_ns=info.max_age_ns,
        threads=info.threads,
        lighter=lighter,
        batch_key=info.batch_key,
        max_batch=info.max_batch,
    )


def _give_next(machine: Machine, stream: _Stream) -> None:
    """Have the next frame arrive when it did."""
    if stream.given < len(stream.script.arrivals):
        arrival = stream.script.arrivals[stream.given]
        machine.at(max(arrival.queued_ns, machine.clock.now_ns()), lambda: _give(machine, stream, arrival))


def _give(machine: Machine, stream: _Stream, arrival: Arrival) -> None:
    stream.given += 1
    frame = stream.frame(arrival)
    frame.trace.stamp(Step.DECODED, arrival.queued_ns)
    stream.inflow.put(frame, machine.clock.now_ns())
    _give_next(machine, stream)


def _tick(machine: Machine, pipeline: Pipeline, streams: Sequence[_Stream]) -> None:
    """Tick as the server does, as long as frames are still to come or in flight."""
    pipeline.tick()
    is_over = all(s.given == len(s.script.arrivals) and s.inflow.account.counts.in_flight == 0 for s in streams)
    if not is_over:
        machine.at(machine.clock.now_ns() + TICK_NS, lambda: _tick(machine, pipeline, streams))


class _Progress:
    """Tells how far it is, at most a hundred times."""

    def __init__(self, total: int, tell: Callable[[float], None] | None) -> None:
        self._total, self._tell, self._told = total, tell, 0

    def note(self, done: int) -> None:
        if self._tell is not None and self._total and done * 100 // self._total > self._told:
            self._told = done * 100 // self._total
            self._tell(done / self._total)
