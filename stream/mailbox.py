"""The one way two threads or tasks hand things over: bounded, with a policy, and counted.

There is no other queue in the program. NEWEST is for live work: `put` never waits and the item it
pushes out is counted and given back. WAIT is for offline work: `put` blocks while the box is full.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Policy(Enum):
    """What `put` does when the mailbox is full."""

    NEWEST = "newest"  # replace the oldest item, count it, return it
    WAIT = "wait"  # block until there is room


class Closed(Exception):
    """The mailbox was closed and is empty: the stream has ended. Not an error."""


@dataclass(frozen=True, slots=True)
class MailboxStats:
    """Counts since creation."""

    put: int
    taken: int
    replaced: int
    depth: int
    peak_depth: int


class Mailbox(Generic[T]):
    """A bounded hand-over. Every method may be called from any thread."""

    def __init__(self, bound: int = 1, policy: Policy = Policy.NEWEST) -> None:
        if bound < 1:
            raise ValueError(f"a mailbox holds at least 1 item, not {bound}")
        self._items: deque[T] = deque()
        self._bound = bound
        self._policy = policy
        self._changed = threading.Condition()
        self._closed = False
        self._put = self._taken = self._replaced = self._peak_depth = 0

    def put(self, item: T, timeout_s: float | None = None) -> T | None:
        """Add an item and return the one it replaced, if any.

        With WAIT it blocks while full and raises TimeoutError after `timeout_s`. Raises Closed
        once the mailbox is closed.
        """
        with self._changed:
            if self._policy is Policy.WAIT and not self._changed.wait_for(self._has_room, timeout_s):
                raise TimeoutError(f"mailbox still full ({self._bound}) after {timeout_s} s")
            if self._closed:
                raise Closed
            replaced = self._items.popleft() if len(self._items) >= self._bound else None
            self._items.append(item)
            self._put += 1
            self._replaced += replaced is not None
            self._peak_depth = max(self._peak_depth, len(self._items))
            self._changed.notify_all()
        return replaced

    def get_nowait(self) -> T | None:
        """Take the oldest item; None when there is none. Raises Closed when closed and empty."""
        with self._changed:
            if not self._items:
                if self._closed:
                    raise Closed
                return None
            return self._take()

    def take_if(self, wanted: Callable[[T], bool]) -> T | None:
        """Take the oldest item if it is the one wanted, in one step; None when it is not, or there is none."""
        with self._changed:
            return self._take() if self._items and wanted(self._items[0]) else None

    def peek(self) -> T | None:
        """Return the oldest item without taking it; None when there is none."""
        with self._changed:
            return self._items[0] if self._items else None

    def peek_two(self) -> tuple[T | None, T | None]:
        """Return the oldest item and the one behind it without taking them; None where there is none."""
        with self._changed:
            count = len(self._items)
            return self._items[0] if count else None, self._items[1] if count > 1 else None

    def get(self, timeout_s: float | None = None) -> T:
        """Block this thread for an item. Raises TimeoutError, or Closed when closed and empty."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError(f"nothing put within {timeout_s} s")
            if not self._items:
                raise Closed
            return self._take()

    def drain(self) -> list[T]:
        """Take everything there is, oldest first."""
        with self._changed:
            return [self._take() for _ in range(len(self._items))]

    def close(self) -> None:
        """Refuse further puts and wake everyone; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stats(self) -> MailboxStats:
        """Return the counts so far: put = taken + replaced + depth."""
        with self._changed:
            return MailboxStats(self._put, self._taken, self._replaced, len(self._items), self._peak_depth)

    def _has_room(self) -> bool:
        return len(self._items) < self._bound or self._closed

    def _take(self) -> T:
        item = self._items.popleft()
        self._taken += 1
        self._changed.notify_all()
        return item
