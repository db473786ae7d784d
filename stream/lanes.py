"""Work off the event loop: lanes, each a thread that does one job after the other, and what a device promises.

A job is anything that can be called. It may also have
    smaller()  another job that gives the same answer with less memory, or None; used once when memory ran out
    launch     None, or what starts it on a GPU without waiting and returns a `Launched`
"""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from stream.clock import NS_PER_S, Clock
from stream.mailbox import Closed, Mailbox, Policy
from stream.pool import BufferPool
from stream.view import StageKind

log = logging.getLogger(__name__)

_aside: "weakref.WeakSet[Lane]" = weakref.WeakSet()  # jobs begun with run_aside that may still be at it

LANE_BOUND = 64  # the pipeline has one job in a lane at a time; the rest is for models being closed, one a stage

Work = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished job: `value`, or the `error` it raised, and when the lane worked on it.

    is_smaller  memory had run out, and a smaller job gave the value: its time says nothing of the one asked for
    """

    value: Any
    error: BaseException | None
    started_ns: int
    finished_ns: int
    is_smaller: bool = False


class Launched(Protocol):
    """Work that a GPU has been given and that nobody waits for yet."""

    def wait(self) -> None:
        """Block until the GPU is done with it; without the GIL, and never for the whole device."""
        ...

    def result(self) -> Any:
        """Return what came of it. Only after `wait`."""
        ...


class Lanes(Protocol):
    """What the pipeline needs of a device. `capacity` is how many threads of work it does at once."""

    name: str
    capacity: int

    def lane(self, kind: StageKind, stage: str) -> str:
        """Return the lane that jobs of this stage belong to."""
        ...

    def start(self, lane: str, work: Work, done: Callable[[Completed], None]) -> None:
        """Start `work` on a lane; `done` is called on the event loop. Event loop only; returns at once."""
        ...


class Device(Lanes, Protocol):
    """A place that runs jobs in lanes."""

    def submit(self, lane: str, work: Work) -> "asyncio.Future[Completed]":
        """Start `work` on a lane. Event loop only; returns at once; the future never raises."""
        ...

    def pool(self) -> BufferPool:
        """Return a new pool of picture buffers that the device reads fastest: page-locked for a GPU."""
        ...

    def memory(self) -> dict[str, int]:
        """Return counters of the device's memory by name, for /metrics; {} where there is nothing to count."""
        ...

    def close(self, timeout_s: float = 1.0) -> bool:
        """Take no new jobs and wait for the present ones; return False when one did not end in time.

        Blocks, so not for a loop that still has work to do. A worker inside a native library when the
        interpreter ends would abort the process, hence the wait.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A call, and whom to tell. `started_ns` is None when it begins with the call."""

    work: Work
    done: Callable[[Completed], None]
    loop: asyncio.AbstractEventLoop
    started_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Smaller:
    """What a job returns whose value comes from a smaller one."""

    value: Any


class Lane:
    """One worker thread with a hand-over of one job. Daemon: a model that hangs cannot hold the process.

    `context` makes what is entered around each job.
    """

    def __init__(self, name: str, clock: Clock, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._jobs: Mailbox[Job] = Mailbox(LANE_BOUND, Policy.WAIT)
        self._clock = clock
        self._context = context
        self._thread = threading.Thread(target=self._work, name=f"lane {name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Hand a job over. Any thread; never blocks."""
        self._jobs.put(job, timeout_s=0)

    def close(self) -> None:
        """Take no more jobs; those handed over are still done."""
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

    def _run(self, job: Job) -> None:
        started_ns = self._clock.now_ns() if job.started_ns is None else job.started_ns
        value, error = None, None
        try:
            with self._context():
                value = job.work()
        except Exception as caught:  # the task boundary of model code: it may raise anything
            error = caught.with_traceback(None)  # a traceback would keep the frame's pictures alive
        is_smaller = isinstance(value, Smaller)
        value = value.value if isinstance(value, Smaller) else value
        complete(job, Completed(value, error, started_ns, self._clock.now_ns(), is_smaller))


def complete(job: Job, completed: Completed) -> None:
    """Tell a job's loop that it is done. Any thread."""
    try:
        job.loop.call_soon_threadsafe(job.done, completed)
    except RuntimeError:  # the loop has closed: nobody waits for this any more
        log.debug("a lane finished after the loop had closed")


class LaneSet:
    """The lanes of a device by name, made when first used. Event loop only."""

    def __init__(self, device: str, clock: Clock) -> None:
        self._device = device
        self._clock = clock
        self._lanes: dict[str, Lane] = {}

    def get(self, name: str, context: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Lane:
        """Return a lane; `context` counts when it is made."""
        if name not in self._lanes:
            self._lanes[name] = Lane(f"{self._device} {name}", self._clock, context)
        return self._lanes[name]

    def close(self, timeout_s: float) -> bool:
        """Take no new jobs, wait for the present ones, and return whether all ended in time. Blocks."""
        for lane in self._lanes.values():
            lane.close()
        until_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        ended = [lane.join(max(0.0, (until_ns - self._clock.now_ns()) / NS_PER_S)) for lane in self._lanes.values()]
        return all(ended)


def future_of_job() -> "tuple[asyncio.Future[Completed], Callable[[Completed], None]]":
    """Return a future of the running loop and the function that resolves it, unless it was cancelled."""
    future: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()

    def resolve(completed: Completed) -> None:
        if not future.done():
            future.set_result(completed)

    return future, resolve


def run_aside(clock: Clock, work: Work) -> "asyncio.Future[Completed]":
    """Run one job on a daemon thread of its own, off the loop: loading, stopping. The future never raises."""
    future, resolve = future_of_job()
    lane = Lane("aside", clock, nullcontext)
    _aside.add(lane)
    lane.submit(Job(work, resolve, asyncio.get_running_loop()))
    lane.close()  # what is in it still runs; then the thread ends
    return future


def is_work_left() -> bool:
    """Whether a job begun with `run_aside` is still at it: inside a native library, perhaps, loading a model."""
    return any(lane.is_alive() for lane in list(_aside))
