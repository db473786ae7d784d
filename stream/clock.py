"""Time as a parameter: one monotonic clock in nanoseconds, and a virtual one for tests and replay.

The idea of a clock that is handed in, with a test double that jumps, is trio's.
"""

import asyncio
import heapq
import threading
import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


def ms_to_ns(value_ms: float) -> int:
    """Convert milliseconds, as people write them, to whole nanoseconds."""
    return round(value_ms * NS_PER_MS)


def ns_to_ms(value_ns: float) -> float:
    """Convert nanoseconds to milliseconds for people to read."""
    return value_ns / NS_PER_MS


class Clock(Protocol):
    """Where time comes from. All times are integer nanoseconds with an arbitrary zero."""

    def now_ns(self) -> int:
        """Return the current time; never decreases. Any thread."""
        ...

    async def sleep_until(self, at_ns: int) -> None:
        """Return once `now_ns() >= at_ns`. Event loop only; safe to cancel."""
        ...

    def wait_until(self, at_ns: int, stop: threading.Event) -> bool:
        """Block a worker thread until `at_ns`; return False at once when `stop` is set."""
        ...


class MonotonicClock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep_until(self, at_ns: int) -> None:
        while (left_ns := at_ns - time.monotonic_ns()) > 0:
            await asyncio.sleep(left_ns / NS_PER_S)

    def wait_until(self, at_ns: int, stop: threading.Event) -> bool:
        while (left_ns := at_ns - time.monotonic_ns()) > 0:
            if stop.wait(left_ns / NS_PER_S):
                return False
        return not stop.is_set()


class VirtualClock:
    """A clock that stands still until `advance_to` moves it. Single event loop; not for threads."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []  # heap of (due, order, wake)
        self._order = 0  # breaks ties so that sleepers due together wake in the order they slept

    def now_ns(self) -> int:
        return self._now_ns

    async def sleep_until(self, at_ns: int) -> None:
        if at_ns <= self._now_ns:
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (at_ns, self._order, wake))
        await wake

    def wait_until(self, at_ns: int, stop: threading.Event) -> bool:
        """Jump straight to `at_ns`: a virtual clock has nobody to wait for in a thread."""
        self._now_ns = max(self._now_ns, at_ns)
        return not stop.is_set()

    def advance_to(self, at_ns: int) -> None:
        """Move time forward and wake every sleeper that is due, earliest first."""
        while self._sleepers and self._sleepers[0][0] <= at_ns:
            due_ns, _, wake = heapq.heappop(self._sleepers)
            self._now_ns = max(self._now_ns, due_ns)
            if not wake.done():
                wake.set_result(None)
        self._now_ns = max(self._now_ns, at_ns)

    def next_due_ns(self) -> int | None:
        """Return when the next sleeper is due; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None
