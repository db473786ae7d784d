"""Picture-sized arrays that are used again once nobody holds them.

A buffer is free when the pool alone refers to it. That is asked of CPython's reference count, under the GIL, so
nobody has to give anything back, and nothing that somebody can still see is ever handed out: a view, a memoryview, a
tensor or an encoder's frame made of a buffer refers to it too. It is the count that numpy's own `resize` trusts.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Key = tuple[tuple[int, ...], str]

MOST_BYTES = 256 << 20  # of one pool: a stream at 1080p holds some 12 pictures of 6 MB, so never the limit there
MOST_OF_ONE_SHAPE = 16  # what a stream holds at once: in the mailbox, in the lanes, in order, at the encoder
MOST_SHAPES = 12  # sizes and kinds remembered; the least recently used goes first


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """A pool at one moment."""

    hits: int  # buffers handed out again
    misses: int  # buffers that had to be made
    outstanding: int  # of the pool's buffers, now held by somebody
    held_bytes: int  # of all the pool's buffers, held or free


class BufferPool:
    """Any thread. Never blocks for longer than a look at the shelves, and never says no: it makes what it lacks."""

    def __init__(
        self,
        most_bytes: int = MOST_BYTES,
        most_of_one_shape: int = MOST_OF_ONE_SHAPE,
        most_shapes: int = MOST_SHAPES,
        allocate: Callable[..., NDArray[Any]] = np.empty,
    ) -> None:
        """Make an empty pool. `allocate(shape, dtype)` makes the buffers, such as page-locked ones for a GPU."""
        self._most_bytes = most_bytes
        self._most_of_one_shape = most_of_one_shape
        self._most_shapes = most_shapes
        self._shelves: OrderedDict[Key, list[NDArray[Any]]] = OrderedDict()  # the last used shape last
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self.is_locked = allocate is not np.empty  # page-locked for a GPU: a picture must be put there to be of use
        self._allocate = allocate
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        """Return a C-contiguous array of this shape with undefined content, for the caller alone.

        The one used last comes first: it is the likeliest to be in the processor's cache.
        """
        key = (shape, np.dtype(dtype).str)
        with self._lock:
            shelf = self._shelves.get(key)
            if shelf is not None:
                self._shelves.move_to_end(key)
                if (place := _free_place(shelf)) is not None:
                    self._hits += 1
                    shelf.append(shelf.pop(place))
                    return shelf[-1]
            self._misses += 1
            return self._made(key)

    def counts(self) -> PoolCounts:
        """Return the counters. Any thread."""
        with self._lock:
            every = [shelf for shelf in self._shelves.values()]
            held = sum(len(shelf) - _free_count(shelf) for shelf in every)
            return PoolCounts(self._hits, self._misses, held, self._bytes)

    def _made(self, key: Key) -> NDArray[Any]:
        """Return a new array, kept when there is room for it; one that is not kept is freed like any other."""
        made = self._allocate(key[0], key[1])
        assert not isinstance(made.base, np.ndarray), "views of a view refer past it, and would not be counted"
        shelf = self._shelves.setdefault(key, [])
        if len(shelf) < self._most_of_one_shape and self._make_room(made.nbytes, key):
            shelf.append(made)
            self._bytes += made.nbytes
        return made

    def _make_room(self, nbytes: int, key: Key) -> bool:
        """Let go of the least recently used shapes until `nbytes` more fit; return whether they do.

        What somebody holds stays with them: only the pool forgets it.
        """
        while len(self._shelves) > 1 and (
            self._bytes + nbytes > self._most_bytes or len(self._shelves) > self._most_shapes
        ):
            oldest = next(iter(self._shelves))
            if oldest == key:
                break
            self._bytes -= sum(array.nbytes for array in self._shelves.pop(oldest))
        return self._bytes + nbytes <= self._most_bytes


def _free_place(shelf: list[NDArray[Any]]) -> int | None:
    """Return the place of the last array that only the shelf refers to; None when all are held."""
    for place in range(len(shelf) - 1, -1, -1):
        if sys.getrefcount(shelf[place]) == _ALONE:
            return place
    return None


def _free_count(shelf: list[NDArray[Any]]) -> int:
    return sum(sys.getrefcount(shelf[place]) == _ALONE for place in range(len(shelf)))


def _count_alone() -> int:
    """Return the count of an array that only a list refers to, as this interpreter counts."""
    shelf = [np.empty(1)]
    return sys.getrefcount(shelf[0])


_ALONE = _count_alone()
