"""One stream's turn among several: start-time fair queueing by weight, a minimum rate, and when a frame is due. Pure.

Goyal, Vin and Cheng, "Start-time fair queueing", 1996: a frame's start tag is the finish tag of the stream's last one,
but no less than the virtual time, which is the start tag of the frame served last.
"""

import math

from stream.clock import NS_PER_S

AWAY = 2  # frame intervals without a frame after which a stream's turns lapse
CREDIT_NS = NS_PER_S // 2  # device time, by weight, that a stream may be behind the one served last and catch up


class Turns:
    """The tags of one stream. `virtual` is the virtual time of the whole device, handed in."""

    def __init__(self, weight: float, min_fps: float) -> None:
        self.turn = 0.0  # start tag of the frame that waits
        self.due_ns: int | None = None  # deadline of the first frame since the last one taken; None when none came
        self._weight = weight
        self._min_fps = min_fps
        self._next = 0.0  # finish tag of the frame served last
        self._served_ns: int | None = None  # when a frame was taken last, or the first came; None before

    @property
    def urgent_at_ns(self) -> float:
        """From when on the stream is below its minimum rate; never, where it has none or nothing came yet."""
        is_promised = self._min_fps > 0 and self._served_ns is not None
        return (self._served_ns or 0) + NS_PER_S / self._min_fps if is_promised else math.inf

    def arrived(self, captured_ns: int, deadline_ns: int, interval_ns: int, virtual: float, *, is_newest: bool) -> None:
        """Give a frame its turn, or none of its own where the one that it replaces has one already."""
        if self.due_ns is None and is_newest:
            self.due_ns = deadline_ns
            self.turn = max(self._least(captured_ns, interval_ns, virtual), self._next)
        if self._served_ns is None:
            self._served_ns = captured_ns

    def _least(self, captured_ns: int, interval_ns: int, virtual: float) -> float:
        """Return the earliest turn a frame may have: nobody saves up turns while nothing comes.

        Between two frames of its source a stream that was just served is not away: it keeps its place, or one with
        cheap frames would lose to dear ones that begin in the gap (found by a test: 6 % of the device, not 13).
        """
        is_away = self._served_ns is None or captured_ns - self._served_ns > AWAY * interval_ns
        return virtual if is_away else virtual - CREDIT_NS

    def taken(self, cost_ns: float, now_ns: int) -> float:
        """Account for the frame that was taken, at what it should cost; return its start tag."""
        self._next = self.turn + cost_ns / self._weight
        self.due_ns = None
        self._served_ns = now_ns
        return self.turn

    def charge(self, spent_ns: float, virtual: float) -> None:
        """Add what a job took beyond its prediction (less than 0: short of it)."""
        self._next += spent_ns / self._weight
        if self.due_ns is not None:
            self.turn = max(virtual - CREDIT_NS, self.turn + spent_ns / self._weight)
