"""What was compiled for some input shapes, kept for the shapes seen last."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Shapes = tuple[tuple[int, ...], ...]  # of the inputs, in order

KEPT_AT_MOST = 3  # a stream has one size, a ladder's rungs have runners of their own; each holds some 50 MB of buffers


class ShapeCache(Generic[T]):
    """One thing for each tuple of input shapes; the one used longest ago goes when there are too many."""

    def __init__(self, make: Callable[[Shapes], T], at_most: int = KEPT_AT_MOST) -> None:
        self._make = make
        self._at_most = at_most
        self._kept: OrderedDict[Shapes, T] = OrderedDict()  # used last is last

    def get(self, shapes: Shapes) -> T:
        """Return what is kept for `shapes`, made now when it is new. Raises what `make` raises, keeping nothing."""
        if shapes not in self._kept:
            while len(self._kept) >= self._at_most:  # before making: two at once may not fit into a device's memory
                self._kept.popitem(last=False)
            self._kept[shapes] = self._make(shapes)
        self._kept.move_to_end(shapes)
        return self._kept[shapes]

    def shapes(self) -> list[Shapes]:
        """Return the shapes that are kept, the one used last at the end."""
        return list(self._kept)

    def clear(self) -> None:
        """Let go of everything."""
        self._kept.clear()
