"""Where models run, off the event loop: lanes of work on the CPU, or CUDA streams.

A lane does one job at a time; lanes work beside each other. The CPU has a lane for generation and
one per recognition stage; a CUDA device has a stream for recognition and a stream for generation.
Only this file and models/ import torch.
"""

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from stream.clock import NS_PER_S, Clock
from stream.errors import ConfigError
from stream.mailbox import Closed, Mailbox, Policy
from stream.view import StageKind

log = logging.getLogger(__name__)

_aside: "weakref.WeakSet[_Lane]" = weakref.WeakSet()  # jobs begun with run_aside that may still be at it

LANE_BOUND = 64  # the pipeline has one job in a lane at a time; the rest is for models being closed, one a stage


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished job: `value`, or the `error` it raised, and when the lane worked on it."""

    value: Any
    error: BaseException | None
    started_ns: int
    finished_ns: int


class Lanes(Protocol):
    """What the pipeline needs of a device. `capacity` is how many threads of work it does at once."""

    name: str
    capacity: int

    def lane(self, kind: StageKind, stage: str) -> str:
        """Return the lane that jobs of this stage belong to."""
        ...

    def start(self, lane: str, work: Callable[[], Any], done: Callable[[Completed], None]) -> None:
        """Start `work` on a lane; `done` is called on the event loop. Event loop only; returns at once."""
        ...


class Device(Lanes, Protocol):
    """A place that runs jobs in lanes."""

    def submit(self, lane: str, work: Callable[[], Any]) -> "asyncio.Future[Completed]":
        """Start `work` on a lane. Event loop only; returns at once; the future never raises."""
        ...

    def close(self, timeout_s: float = 1.0) -> bool:
        """Take no new jobs and wait for the present ones; return False when one did not end in time.

        Blocks, so not for a loop that still has work to do. A worker inside a native library when the
        interpreter ends would abort the process, hence the wait.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Any]
    done: Callable[[Completed], None]
    loop: asyncio.AbstractEventLoop


class _Lane:
    """One worker thread with a hand-over of one job. Daemon: a model that hangs cannot hold the process."""

    def __init__(self, name: str, clock: Clock, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._jobs: Mailbox[_Job] = Mailbox(LANE_BOUND, Policy.WAIT)
        self._clock = clock
        self._context = context
        self._thread = threading.Thread(target=self._work, name=f"lane {name}", daemon=True)
        self._thread.start()

    def submit(self, job: _Job) -> None:
        self._jobs.put(job, timeout_s=0)

    def close(self) -> None:
        self._jobs.close()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Wait for the worker to end, and return whether it did."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get()
            except Closed:
                return
            self._run(job)
            del job  # an idle lane must not keep the last picture alive

    def _run(self, job: _Job) -> None:
        started_ns = self._clock.now_ns()
        value, error = None, None
        try:
            with self._context():
                value = job.work()
        except Exception as caught:  # the task boundary of model code: it may raise anything
            error = caught.with_traceback(None)  # a traceback would keep the frame's pictures alive
        completed = Completed(value, error, started_ns, self._clock.now_ns())
        try:
            job.loop.call_soon_threadsafe(job.done, completed)
        except RuntimeError:  # the loop has closed: nobody waits for this any more
            log.debug("a lane finished after the loop had closed")


def _future() -> "tuple[asyncio.Future[Completed], Callable[[Completed], None]]":
    """Return a future of the running loop and the function that resolves it, unless it was cancelled."""
    future: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()

    def resolve(completed: Completed) -> None:
        if not future.done():
            future.set_result(completed)

    return future, resolve


class _LaneDevice:
    """Lanes made when first used. Shared by the CPU and the CUDA device."""

    def __init__(self, name: str, capacity: int, clock: Clock) -> None:
        self.name = name
        self.capacity = capacity
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}

    def start(self, lane: str, work: Callable[[], Any], done: Callable[[Completed], None]) -> None:
        if lane not in self._lanes:
            self._lanes[lane] = _Lane(f"{self.name} {lane}", self._clock, self._context(lane))
        self._lanes[lane].submit(_Job(work, done, asyncio.get_running_loop()))

    def submit(self, lane: str, work: Callable[[], Any]) -> "asyncio.Future[Completed]":
        future, resolve = _future()
        self.start(lane, work, resolve)
        return future

    def close(self, timeout_s: float = 1.0) -> bool:
        for lane in self._lanes.values():
            lane.close()
        until_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        ended = [lane.join(max(0.0, (until_ns - self._clock.now_ns()) / NS_PER_S)) for lane in self._lanes.values()]
        return all(ended)

    def _context(self, lane: str) -> Callable[[], AbstractContextManager[Any]]:
        return nullcontext


class CpuDevice(_LaneDevice):
    """The processor. Generation jobs share a lane, so that two big networks never fight for the cores."""

    def __init__(self, clock: Clock, capacity: int | None = None) -> None:
        super().__init__("cpu", capacity or available_cores(), clock)

    def lane(self, kind: StageKind, stage: str) -> str:
        return "generate" if kind is StageKind.GENERATE else f"recognize {stage}"


class CudaDevice(_LaneDevice):
    """One CUDA GPU: a stream for recognition and one for generation, each launched from its own thread.

    A job's kernels go to the lane's stream; the worker waits for an event on that stream, never for
    the device, so one lane's work does not hold up the other's.
    """

    def __init__(self, index: int, clock: Clock) -> None:
        import torch

        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            found = torch.cuda.device_count() if torch.cuda.is_available() else 0
            raise ConfigError(
                f"device cuda:{index} is not there ({found} CUDA devices found); use --device cpu or auto"
            )
        super().__init__(f"cuda:{index}", 2, clock)
        self._torch = torch
        self._streams = {kind.value: torch.cuda.Stream(device=index) for kind in StageKind}

    def lane(self, kind: StageKind, stage: str) -> str:
        return kind.value

    def _context(self, lane: str) -> Callable[[], AbstractContextManager[Any]]:
        return lambda: _StreamScope(self._torch, self._streams[lane])


class _StreamScope(AbstractContextManager[None]):
    """Makes a CUDA stream current, and on leaving waits for what was launched on it (an event, blocking)."""

    def __init__(self, torch: Any, stream: Any) -> None:
        self._torch = torch
        self._stream = stream
        self._scope: Any = None  # torch's own scope; None when not entered

    def __enter__(self) -> None:
        self._scope = self._torch.cuda.stream(self._stream)
        self._scope.__enter__()

    def __exit__(self, *exc: Any) -> None:
        finished = self._torch.cuda.Event(blocking=True)
        finished.record(self._stream)
        self._scope.__exit__(*exc)
        finished.synchronize()


def run_aside(clock: Clock, work: Callable[[], Any]) -> "asyncio.Future[Completed]":
    """Run one job on a daemon thread of its own, off the loop: loading, stopping. The future never raises."""
    future, resolve = _future()
    lane = _Lane("aside", clock, nullcontext)
    _aside.add(lane)
    lane.submit(_Job(work, resolve, asyncio.get_running_loop()))
    lane.close()  # what is in it still runs; then the thread ends
    return future


def is_work_left() -> bool:
    """Whether a job begun with `run_aside` is still at it: inside a native library, perhaps, loading a model."""
    return any(lane.is_alive() for lane in list(_aside))


def available_cores() -> int:
    """Return how many cores this process may run on (its affinity, where the system tells; not a quota of time)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_device(name: str, clock: Clock) -> Device:
    """Return the device called "auto", "cpu" or "cuda:N". Raises ConfigError when it is not there."""
    if name == "auto":
        name = "cuda:0" if _has_cuda() else "cpu"
    if name == "cpu":
        return CpuDevice(clock)
    kind, _, index = name.partition(":")
    if kind != "cuda" or not index.isdecimal():
        raise ConfigError(f"device {name!r} is unknown; allowed: auto, cpu, cuda:N")
    return CudaDevice(int(index), clock)


def cuda_name(name: str) -> str:
    """Return the card's own name, as in "NVIDIA H100 (cuda:0)"."""
    import torch

    return f"{torch.cuda.get_device_name(int(name.partition(':')[2]))} ({name})"


def _has_cuda() -> bool:
    """Whether a CUDA device can be used; torch is only imported where the driver is present."""
    if not any(os.path.exists(path) for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")):
        return False
    import torch

    return bool(torch.cuda.is_available())
