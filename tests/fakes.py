"""Doubles with scripted behaviour: a device in virtual time, models with listed costs, a sink that remembers."""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from stream.clock import NS_PER_MS, VirtualClock
from stream.device import Completed
from stream.frame import Frame
from stream.results import Results
from stream.source import SourceCounters, SourceState, SourceStatus, parse_source
from stream.stage import Stage
from stream.trace import Trace
from stream.view import StageKind

MS = NS_PER_MS


def make_frame(seq: int = 0, captured_ns: int = 0, stream: str = "s", size: tuple[int, int] = (4, 8)) -> Frame:
    """Return a black frame."""
    image = np.zeros((*size, 3), np.uint8)
    return Frame(stream, seq, seq * 3000, Fraction(1, 90_000), captured_ns, image, size, Trace(captured_ns))


class FakeDevice:
    """The device contract in virtual time: a job takes what its model says, and completes when time gets there."""

    name = "fake"

    def __init__(self, clock: VirtualClock, capacity: int = 4, *, has_two_lanes: bool = False) -> None:
        self.capacity = capacity
        self._has_two_lanes = has_two_lanes  # as on CUDA: every recogniser shares one
        self._clock = clock
        self._running: list[tuple[int, int, _Running]] = []  # heap of (due, order, job)
        self._order = 0
        self.jobs: list[tuple[str, int]] = []  # (lane, started_ns) of every job

    def lane(self, kind: StageKind, stage: str) -> str:
        return kind.value if self._has_two_lanes or kind is StageKind.GENERATE else f"recognize {stage}"

    def start(self, lane: str, work: Callable[[], Any], done: Callable[[Completed], None]) -> None:
        assert all(job.lane != lane for *_, job in self._running), f"lane {lane} was given a second job"
        now_ns = self._clock.now_ns()
        ScriptedModel.next_cost_ns = 0
        job = _Running(lane, now_ns, *_call(work), done)
        self._order += 1
        heapq.heappush(self._running, (now_ns + ScriptedModel.next_cost_ns, self._order, job))
        self.jobs.append((lane, now_ns))

    def submit(self, lane: str, work: Callable[[], Any]) -> "asyncio.Future[Completed]":
        future: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()
        self.start(lane, work, future.set_result)
        return future

    def next_due_ns(self) -> int:
        """Return when the next job ends; far away when none runs."""
        return self._running[0][0] if self._running else ScriptedModel.NEVER_NS

    def complete_due(self) -> None:
        """Complete every job whose time has come."""
        while self._running and self._running[0][0] <= self._clock.now_ns():
            at_ns, _, job = heapq.heappop(self._running)
            job.done(Completed(job.value, job.error, job.started_ns, at_ns))

    def close(self, timeout_s: float = 1.0) -> bool:
        self._running.clear()
        return True


@dataclass(frozen=True, slots=True)
class _Running:
    lane: str
    started_ns: int
    value: Any
    error: BaseException | None
    done: Callable[[Completed], None]


def _call(work: Callable[[], Any]) -> Any:
    try:
        return work(), None
    except Exception as error:
        return None, error


class ScriptedModel:
    """A model with a list of costs (the last repeats); an exception in the list is raised. Cost None never returns."""

    next_cost_ns = 0
    NEVER_NS = 10**18

    def __init__(self, costs_ms: Iterable[float | Exception | None], kind: StageKind = StageKind.RECOGNIZE) -> None:
        self._costs = list(costs_ms)
        self._kind = kind
        self.calls = 0

    def __call__(self, image: Any, *_results: Any) -> Any:
        cost = self._costs[min(self.calls, len(self._costs) - 1)]
        self.calls += 1
        if isinstance(cost, Exception):
            raise cost
        ScriptedModel.next_cost_ns = self.NEVER_NS if cost is None else round(cost * MS)
        return image + 1 if self._kind is StageKind.GENERATE else Results(classes=((str(self.calls), 1.0),))


def recognize(
    name: str, *costs_ms: float | Exception | None, max_age_ms: float = 0, needs: Iterable[str] = ()
) -> Stage:
    """Return a recognition stage with scripted costs."""
    model = ScriptedModel(costs_ms)
    return Stage(name, StageKind.RECOGNIZE, model, max_age_ns=round(max_age_ms * MS), needs=frozenset(needs))


def generate(name: str, *costs_ms: float | Exception | None, needs: Iterable[str] = ()) -> Stage:
    """Return a generation stage with scripted costs; its picture is the frame's, one brighter."""
    model = ScriptedModel(costs_ms, StageKind.GENERATE)
    return Stage(name, StageKind.GENERATE, model, needs=frozenset(needs))


class RecordingSink:
    """Remembers what it was given, and when."""

    def __init__(self, clock: VirtualClock) -> None:
        self.frames: list[Frame] = []
        self.at_ns: list[int] = []
        self._clock = clock

    def __call__(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.at_ns.append(self._clock.now_ns())

    def ages_ms(self) -> list[float]:
        """Return each frame's age when it came, in ms."""
        return [(at - frame.captured_ns) / MS for at, frame in zip(self.at_ns, self.frames, strict=True)]


async def settle() -> None:
    """Let everything that is ready on the loop run."""
    for _ in range(6):
        await asyncio.sleep(0)


class ScriptedSource:
    """A source that gives the frames a test hands it, on the test's thread."""

    def __init__(self, emit: Callable[[Frame], None]) -> None:
        self.spec = parse_source("test:")
        self.is_started = self.is_stopped = False
        self._emit = emit
        self._seq = 0

    def start(self) -> None:
        self.is_started = True

    def stop(self, timeout_s: float = 2.0) -> None:
        self.is_stopped = True

    def status(self) -> SourceStatus:
        return SourceStatus(SourceState.RUNNING, None, "", 8, 4, 30.0, "scripted", SourceCounters(), 0)

    def give(self, captured_ns: int, size: tuple[int, int] = (32, 64)) -> None:
        """Emit the next frame, of (height, width)."""
        self._emit(make_frame(self._seq, captured_ns, size=size))
        self._seq += 1
