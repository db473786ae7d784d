"""torch.cuda as far as this project uses it, on a timeline of virtual time instead of a GPU.

What is launched on a stream begins when the stream is free and takes its time; events are moments of a stream; a thread
that waits for an event sleeps until a test moves time there. The device-wide synchronize is an error.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

WAIT_S = 20.0  # a test that never moves time fails instead of hanging


class OutOfMemoryError(RuntimeError):
    """As torch.cuda.OutOfMemoryError."""


@dataclass(frozen=True)
class Op:
    """Something that ran on a stream."""

    what: str
    stream: str
    start_ns: int
    end_ns: int
    thread: str  # that launched it

    def overlaps(self, other: "Op") -> bool:
        return self.start_ns < other.end_ns and other.start_ns < self.end_ns


class Clock:
    """Virtual time that threads may read, and that wakes those who wait for an event."""

    def __init__(self) -> None:
        self.moved = threading.Condition()
        self._now_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def advance_to(self, at_ns: int) -> None:
        with self.moved:
            self._now_ns = max(self._now_ns, at_ns)
            self.moved.notify_all()


class Stream:
    """A queue of the GPU: one thing after the other."""

    def __init__(self, cuda: "FakeCuda", name: str) -> None:
        self.name = name
        self.free_ns = 0  # when everything launched so far is done
        self._cuda = cuda

    def wait_event(self, event: "Event") -> None:
        self.free_ns = max(self.free_ns, event.at_ns)

    def synchronize(self) -> None:
        self._cuda.wait_until(self.free_ns)


class Event:
    """A moment of a stream. Not recorded yet: long ago, as CUDA has it."""

    def __init__(self, cuda: "FakeCuda") -> None:
        self.at_ns = 0
        self._cuda = cuda

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or self._cuda.current_stream()
        self.at_ns = max(self._cuda.clock.now_ns(), stream.free_ns)

    def query(self) -> bool:
        return self._cuda.clock.now_ns() >= self.at_ns

    def synchronize(self) -> None:
        self._cuda.wait_until(self.at_ns)

    def elapsed_time(self, later: "Event") -> float:
        return (later.at_ns - self.at_ns) / 1e6


class FakeCuda:
    """The module. `total_bytes` is the card's memory; freed memory stays in the cache until `empty_cache`."""

    OutOfMemoryError = OutOfMemoryError

    def __init__(self, total_bytes: int = 1000, count: int = 1) -> None:
        self.clock = Clock()
        self.ops: list[Op] = []
        self.streams: list[Stream] = []
        self.waits = 0  # times a thread waited for an event or a stream
        self.emptied = 0
        self.allocated = 0
        self.cached = 0
        self.total_bytes = total_bytes
        self._count = count
        self._local = threading.local()
        self._default = Stream(self, "default")
        self._lock = threading.Lock()

    def Stream(self, device: int = 0) -> Stream:
        made = Stream(self, f"stream {len(self.streams)}")
        self.streams.append(made)
        return made

    def Event(self, blocking: bool = False, enable_timing: bool = False) -> Event:
        return Event(self)

    def current_stream(self, device: object = None) -> Stream:
        return getattr(self._local, "stream", self._default)

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before = self.current_stream()
        self._local.stream = stream
        try:
            yield
        finally:
            self._local.stream = before

    def synchronize(self, device: object = None) -> None:
        raise AssertionError("a device-wide synchronize: it stops every stream")

    def launch(self, what: str, ns: int) -> Op:
        """Put something on the current stream."""
        with self._lock:
            stream = self.current_stream()
            start_ns = max(self.clock.now_ns(), stream.free_ns)
            op = Op(what, stream.name, start_ns, start_ns + ns, threading.current_thread().name)
            stream.free_ns = op.end_ns
            self.ops.append(op)
            return op

    def allocate(self, nbytes: int) -> None:
        """Take memory, from the cache first. Raises OutOfMemoryError."""
        with self._lock:
            from_cache = min(self.cached, nbytes) if nbytes <= self.cached else 0  # a block is not put together
            if self.allocated + self.cached - from_cache + nbytes > self.total_bytes:
                raise OutOfMemoryError(f"tried to allocate {nbytes} bytes")
            self.allocated += nbytes
            self.cached -= from_cache

    def free(self, nbytes: int) -> None:
        with self._lock:
            self.allocated -= nbytes
            self.cached += nbytes

    def empty_cache(self) -> None:
        with self._lock:
            self.emptied += 1
            self.cached = 0

    def memory_stats(self, device: object = None) -> dict[str, int]:
        return {
            "allocated_bytes.all.current": self.allocated,
            "allocated_bytes.all.peak": self.allocated,
            "reserved_bytes.all.current": self.allocated + self.cached,
        }

    def mem_get_info(self, device: object = None) -> tuple[int, int]:
        return self.total_bytes - self.allocated - self.cached, self.total_bytes

    def device_count(self) -> int:
        return self._count

    def is_available(self) -> bool:
        return self._count > 0

    def get_device_name(self, device: object = None) -> str:
        return "Fake GPU"

    def wait_until(self, at_ns: int) -> None:
        """Sleep until virtual time gets there."""
        with self.clock.moved:
            self.waits += 1
            arrived = self.clock.moved.wait_for(lambda: self.clock.now_ns() >= at_ns, WAIT_S)
        assert arrived, f"nobody moved time to {at_ns}"
