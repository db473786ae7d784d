"""The times of one stream, put right: pts that only grow, and the moment a recorded packet is due.

Everything here is plain arithmetic on integers; threads and clocks are elsewhere.
"""

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from stream.clock import NS_PER_S

TICKS_HZ = 90_000  # RTP's clock for video (RFC 3551 section 5), and MPEG's
TIME_BASE = Fraction(1, TICKS_HZ)
DEFAULT_INTERVAL = TICKS_HZ // 30  # when neither the container nor the codec says a rate
MAX_GAP = 10 * TICKS_HZ  # a longer step is a jump; ffmpeg draws the line there too (-dts_delta_threshold)
LIVE_GAP = TICKS_HZ  # live, a step may exceed what the clock says by this much
LATE_NS = NS_PER_S  # a recording that is further behind than this starts counting anew
MIN_FPS, MAX_FPS = 0.01, 1000.0  # outside, a declared rate is a clock rate or a mistake


def to_ticks(value: int, time_base: Fraction) -> int:
    """Convert a pts or dts to ticks of 1/90000 s."""
    return round(value * time_base * TICKS_HZ)


def ticks_to_ns(ticks: int) -> int:
    """Convert ticks of 1/90000 s to nanoseconds."""
    return ticks * NS_PER_S // TICKS_HZ


def ns_to_ticks(value_ns: int) -> int:
    """Convert nanoseconds to ticks of 1/90000 s, to the nearest."""
    return (value_ns * TICKS_HZ + NS_PER_S // 2) // NS_PER_S


def sane_fps(fps: float | Fraction | None) -> float | None:
    """Return a declared frame rate; None when it is missing or cannot be one."""
    return float(fps) if fps is not None and MIN_FPS <= fps <= MAX_FPS else None


class Timeline:
    """Turn the pts a source sends into pts that strictly increase from 0, whatever it sends.

    Missing pts are made up, wraps are undone, a jump or a step back goes on one frame after the last
    and is counted. `is_live` decides how long "one frame" is when the pts do not tell: the time since
    the last arrival for a live source, the declared interval for a recording.
    """

    def __init__(self, *, is_live: bool) -> None:
        self.is_live = is_live
        self.interval = DEFAULT_INTERVAL  # ticks from one frame to the next, as declared
        self.discontinuities = 0
        self._offset: int | None = None  # out = in + offset; None before the first pts, and after a seam
        self._last_out: int | None = None  # None before the first frame
        self._last_captured_ns = 0

    def set_rate(self, fps: Fraction | float | None) -> None:
        """Take a declared frame rate; None keeps the last one."""
        if (rate := sane_fps(fps)) is not None:
            self.interval = max(1, round(TICKS_HZ / rate))

    def seam(self) -> None:
        """Forget the source's own clock: the next frame follows the last one, at a loop or after a reconnect."""
        self._offset = None

    def place(self, pts: int | None, captured_ns: int) -> int:
        """Return the pts of the next frame on this stream's own time. `pts` is in ticks; None when missing."""
        if self._last_out is None:
            placed = 0
            self._offset = None if pts is None else -pts
        else:
            follow = self._last_out + self._step(captured_ns)
            placed = max(self._last_out + 1, self._continue(pts, self._last_out, follow, captured_ns))
        self._last_out, self._last_captured_ns = placed, captured_ns
        return placed

    def _step(self, captured_ns: int) -> int:
        if not self.is_live:
            return self.interval
        return max(1, ns_to_ticks(captured_ns - self._last_captured_ns))

    def _continue(self, pts: int | None, last_out: int, follow: int, captured_ns: int) -> int:
        if pts is None:
            return follow
        if self._offset is None:
            self._offset = follow - pts
            return follow
        max_gap = self._max_gap(captured_ns)
        step = pts + self._offset - last_out
        for wrap in (1 << 33, 1 << 32):  # MPEG-TS pts have 33 bits, RTP timestamps 32
            if 0 < step + wrap <= max_gap:
                self._offset += wrap
                return last_out + step + wrap
        if 0 < step <= max_gap:
            return last_out + step
        if not -2 * self.interval < step <= 0:  # a little back is two frames in the wrong order: as if missing
            self.discontinuities += 1
            self._offset = follow - pts
        return follow

    def _max_gap(self, captured_ns: int) -> int:
        if self.is_live:
            return LIVE_GAP + 2 * self._step(captured_ns)
        return max(MAX_GAP, 3 * self.interval)


class Pace(Protocol):
    """Says when each packet of a recording is let go. Used by one reader thread at a time."""

    resets: int  # times the recording was too far behind and its time was moved

    def set_rate(self, fps: Fraction | float | None) -> None:
        """Take the declared frame rate; None keeps the last one."""
        ...

    def seam(self) -> None:
        """Go on one frame interval after the last packet: the recording starts again."""
        ...

    def due_ns(self, dts: int | None, now_ns: int) -> int:
        """Return when the next packet's time comes; past is possible. `dts` is in ticks, None when missing."""
        ...

    def after_ns(self, captured_ns: int, now_ns: int) -> int:
        """Return when a picture that follows one captured at `captured_ns`, without a packet of its own, is due."""
        ...

    @property
    def interval_ns(self) -> int:
        """The declared time from one frame to the next."""
        ...


class Pacer:
    """Say when each packet of a recording would have arrived, had it been live."""

    def __init__(self) -> None:
        self.resets = 0  # times the recording was too far behind and its time was moved
        self._line = Timeline(is_live=False)
        self._zero_ns: int | None = None  # when tick 0 was, on the clock; None before the first packet

    def set_rate(self, fps: Fraction | float | None) -> None:
        """Take the declared frame rate, for packets without a dts."""
        self._line.set_rate(fps)

    def seam(self) -> None:
        """Go on one frame interval after the last packet: the recording starts again."""
        self._line.seam()

    def due_ns(self, dts: int | None, now_ns: int) -> int:
        """Return when this packet's time comes. `dts` is in ticks, None when missing.

        Past is possible (the machine is slow), by at most LATE_NS: then the recording's time is moved.
        """
        ticks_ns = ticks_to_ns(self._line.place(dts, now_ns))
        if self._zero_ns is None:
            self._zero_ns = now_ns - ticks_ns
        if now_ns - (self._zero_ns + ticks_ns) > LATE_NS:
            self._zero_ns = now_ns - ticks_ns
            self.resets += 1
        return self._zero_ns + ticks_ns

    def after_ns(self, captured_ns: int, now_ns: int) -> int:
        """Return when a picture that comes out of the decoder without a packet is due."""
        return captured_ns + self.interval_ns

    @property
    def interval_ns(self) -> int:
        """The declared time from one frame to the next."""
        return ticks_to_ns(self._line.interval)


class Recorded:
    """Say when each packet of a recording did arrive, from a list of the arrivals. Its dts are not looked at.

    Packets beyond the list, and the first of each further pass, come one declared interval after the last.
    """

    def __init__(self, arrivals_ns: Sequence[int]) -> None:
        self.resets = 0
        self._arrivals_ns = arrivals_ns  # since the recording began, ascending
        self._next = 0  # index of the next packet in this pass
        self._interval = DEFAULT_INTERVAL
        self._zero_ns: int | None = None  # when this pass began, on the clock; None before the first packet
        self._last_ns: int | None = None  # when the last packet was due; None before the first

    def set_rate(self, fps: Fraction | float | None) -> None:
        """Take the declared frame rate, for the step from one pass to the next."""
        if (rate := sane_fps(fps)) is not None:
            self._interval = max(1, round(TICKS_HZ / rate))

    def seam(self) -> None:
        """Start the list again, one frame interval after the last packet."""
        self._next = 0
        if self._last_ns is not None:
            self._zero_ns = self._last_ns + self.interval_ns - self._arrivals_ns[0]

    def due_ns(self, dts: int | None, now_ns: int) -> int:
        """Return when this packet's time comes; late by more than LATE_NS, the recording's time is moved."""
        if self._zero_ns is None:
            self._zero_ns = now_ns
        last_ns = self._zero_ns if self._last_ns is None else self._last_ns
        has_own = self._next < len(self._arrivals_ns)
        due_ns = self._zero_ns + self._arrivals_ns[self._next] if has_own else last_ns + self.interval_ns
        due_ns = max(due_ns, last_ns)
        if now_ns - due_ns > LATE_NS:
            self._zero_ns += now_ns - due_ns
            self.resets += 1
            due_ns = now_ns
        self._next += 1
        self._last_ns = due_ns
        return due_ns

    def after_ns(self, captured_ns: int, now_ns: int) -> int:
        """Return when a picture that comes out of the decoder without a packet is due."""
        return captured_ns + self.interval_ns

    @property
    def interval_ns(self) -> int:
        """The declared time from one frame to the next."""
        return ticks_to_ns(self._interval)


class AtOnce:
    """Let every packet go at once: for work offline, where who takes the frames sets the pace."""

    def __init__(self) -> None:
        self.resets = 0  # never: nothing is late
        self.interval_ns = 0

    def set_rate(self, fps: Fraction | float | None) -> None:
        """Take no notice of the declared rate."""

    def seam(self) -> None:
        """Go on at once."""

    def due_ns(self, dts: int | None, now_ns: int) -> int:
        """Return now."""
        return now_ns

    def after_ns(self, captured_ns: int, now_ns: int) -> int:
        """Return now."""
        return now_ns


class RateLimit:
    """Let through at most so many frames a second, evenly, judged by their pts."""

    def __init__(self, fps: float | None) -> None:
        self._interval = None if fps is None else TICKS_HZ / fps  # ticks; None lets everything through
        self._next = 0.0  # the next frame wanted, in ticks

    def admits(self, pts: int) -> bool:
        """Return whether the frame at `pts` is wanted. Call once for each frame, in order."""
        if self._interval is None:
            return True
        if pts + self._interval / 4 < self._next:  # a quarter of slack, so that jitter costs no frame
            return False
        self._next = max(self._next, pts - self._interval / 2) + self._interval
        return True


class RateMeter:
    """Measure frames a second over the last frames, from when they were captured."""

    def __init__(self, window: int = 90) -> None:
        self._captured_ns: deque[int] = deque(maxlen=window + 1)

    def add(self, captured_ns: int) -> float | None:
        """Take one frame and return the rate; None until two frames at different times are known."""
        self._captured_ns.append(captured_ns)
        span_ns = self._captured_ns[-1] - self._captured_ns[0]
        return (len(self._captured_ns) - 1) * NS_PER_S / span_ns if span_ns > 0 else None

    def clear(self) -> None:
        """Forget the frames before a pause."""
        self._captured_ns.clear()
