"""A GPU by way of torch: CUDA, and Intel's XPU, which has the same streams and events under another name.

Queues that run beside each other: recognition and generation here; one for uploads, and one for the downloads of each
of the two, in models/transfer.py. With one download queue for both, a result of recognition that is long done would
stand behind a picture that is still being made (found by a test). Waiting is for an event on one stream, never for the
device, so no lane's work holds up another's.

    launcher   one thread. Starts the jobs that can be launched without waiting, of every lane, in the order they came
    lane       a thread per queue. Waits (in the driver, without the GIL) for what was launched, and finishes it on the
               host; runs whole those jobs that cannot be launched
    event loop is told by `call_soon_threadsafe`, and waits for nothing
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.clock import Clock
from stream.errors import ModelError
from stream.lanes import Completed, Job, Lane, LaneSet, Launched, Smaller, Work, complete, future_of_job
from stream.pool import BufferPool
from stream.view import StageKind

log = logging.getLogger(__name__)

PINNED_BYTES = 256 << 20  # of page-locked memory for the pictures of one stream; more would take it from everybody


@dataclass(slots=True)
class _Counts:
    """How often memory ran out, and what came of it. Written under a lock."""

    out_of_memory: int = 0
    saved: int = 0  # by a smaller job, or by the same one once the cache was freed


class GpuDevice:
    """One GPU. `api` is torch.cuda or torch.xpu, or a double of it; `torch` allocates page-locked memory.

    Out of memory: what torch caches is freed, the job is tried once more, smaller where it can be (`Work.smaller`), and
    if that fails too the stage has failed as with any error: after five in a row it is left out, and the status says.
    """

    def __init__(self, name: str, api: Any, clock: Clock, allocate: Callable[..., NDArray[Any]] = np.empty) -> None:
        """Take the GPU called `name` ("cuda:0"). `allocate(shape, dtype)` makes page-locked arrays."""
        self.name = name
        self.capacity = len(StageKind)
        self._api = api
        self._index = int(name.partition(":")[2] or 0)
        self._clock = clock
        self._allocate = allocate
        self._counts = _Counts()
        self._lock = threading.Lock()  # of the counts
        self._streams = {kind.value: api.Stream(device=self._index) for kind in StageKind}
        self._lanes = LaneSet(name, clock)
        self._launcher = LaneSet(name, clock)

    def lane(self, kind: StageKind, stage: str) -> str:
        """Return the queue of a stage: recognisers share one, generators the other."""
        return kind.value

    def start(self, lane: str, work: Work, done: Callable[[Completed], None]) -> None:
        """Start a job; see `stream.lanes.Lanes`."""
        worker, job = self._lanes.get(lane), Job(lambda: self._run(lane, work), done, asyncio.get_running_loop())
        launch = getattr(work, "launch", None)
        if launch is None:
            worker.submit(job)
            return
        launching = Job(lambda: self._launch(lane, work, launch, job, worker), _nobody, job.loop)
        self._launcher.get("launch").submit(launching)

    def submit(self, lane: str, work: Work) -> "asyncio.Future[Completed]":
        """Start a job and return its future; see `stream.lanes.Device`."""
        future, resolve = future_of_job()
        self.start(lane, work, resolve)
        return future

    def pool(self) -> BufferPool:
        """Return a pool of page-locked buffers: the GPU reads them by itself, while the processor does other things."""
        return BufferPool(PINNED_BYTES, allocate=self._allocate)

    def memory(self) -> dict[str, int]:
        """Return torch's own counters of the GPU's memory, and how often it ran out."""
        stats = self._api.memory_stats(self._index)
        free, total = self._api.mem_get_info(self._index)
        return {
            "allocated_bytes": stats.get("allocated_bytes.all.current", 0),
            "allocated_peak_bytes": stats.get("allocated_bytes.all.peak", 0),
            "reserved_bytes": stats.get("reserved_bytes.all.current", 0),
            "free_bytes": free,
            "total_bytes": total,
            "out_of_memory": self._counts.out_of_memory,
            "out_of_memory_saved": self._counts.saved,
        }

    def close(self, timeout_s: float = 1.0) -> bool:
        """Take no new jobs and wait for the present ones; see `stream.lanes.Device`."""
        started_ns = self._clock.now_ns()
        has_launched = self._launcher.close(timeout_s)
        spent_s = (self._clock.now_ns() - started_ns) / 1e9
        return self._lanes.close(max(0.0, timeout_s - spent_s)) and has_launched

    # On the launcher's thread

    def _launch(self, lane: str, work: Work, launch: Callable[[], Launched], job: Job, worker: Lane) -> None:
        """Launch, and leave the waiting to the lane's own thread."""
        started_ns = self._clock.now_ns()
        try:
            with self._current(lane):
                launched = launch()
        except self._api.OutOfMemoryError as error:
            self._ran_out(error)
            worker.submit(Job(lambda: self._again(lane, work), job.done, job.loop, started_ns))
        except Exception as caught:  # the task boundary of model code: it may raise anything
            failed = caught.with_traceback(None)
            complete(job, Completed(None, failed, started_ns, self._clock.now_ns()))
        else:
            worker.submit(Job(lambda: self._finish(lane, work, launched), job.done, job.loop, started_ns))

    # On the lanes' threads

    def _finish(self, lane: str, work: Work, launched: Launched) -> Any:
        """Wait for what was launched, and return what came of it."""
        with self._current(lane):
            launched.wait()
            return launched.result()

    def _run(self, lane: str, work: Work) -> Any:
        """Do the whole job, and return its value once the GPU has finished all of it."""
        try:
            return self._once(lane, work)
        except self._api.OutOfMemoryError as error:
            self._ran_out(error)
        return self._again(lane, work)

    def _once(self, lane: str, work: Work) -> Any:
        with self._current(lane):
            value = work()
            finished = self._api.Event(blocking=True)
            finished.record(self._streams[lane])
        finished.synchronize()
        return value

    def _again(self, lane: str, work: Work) -> Any:
        """Do a job whose memory ran out once more, smaller where it can be. Raises ModelError when that fails too."""
        find_smaller = getattr(work, "smaller", None)
        smaller = find_smaller() if find_smaller is not None else None
        try:
            value = self._once(lane, smaller or work)
        except self._api.OutOfMemoryError as error:
            error.with_traceback(None)  # it would keep the tensors of the failed call
            free, total = self._api.mem_get_info(self._index)
            self._api.empty_cache()
            raise ModelError(
                f"{self.name} is out of memory ({free >> 20} of {total >> 20} MB free), also with its cache freed"
                f"{' and with less to do' if smaller else ''}; say a smaller --size, or fewer models or streams"
            ) from error
        with self._lock:
            self._counts.saved += 1
        return Smaller(value) if smaller is not None else value

    def _ran_out(self, error: BaseException) -> None:
        """Count it, and give what torch keeps for later back to the driver."""
        error.with_traceback(None)  # it would keep the tensors of the failed call
        with self._lock:
            self._counts.out_of_memory += 1
        self._api.empty_cache()

    def _current(self, lane: str) -> AbstractContextManager[Any]:
        """Return what makes the lane's stream the current one."""
        scope: AbstractContextManager[Any] = self._api.stream(self._streams[lane])
        return scope


def _nobody(completed: Completed) -> None:
    """Take what a launch says when it ended: nothing, the lane tells."""
    if completed.error is not None:
        log.error("a launch failed in a way nobody foresaw: %r", completed.error)
