"""What all sources have in common: pictures come in as they may, and go out as frames of one stream.

`Intake` lives as long as the source: sequence numbers, pts and counts go on over loops and reconnects.
`Attempt` is one reader's hold on it: once told to stop, nothing that reader does gets through any more.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from stream.clock import NS_PER_S, Clock
from stream.errors import SourceError
from stream.fit import Fit, fit
from stream.frame import Frame, Picture
from stream.pool import BufferPool
from stream.timeline import TIME_BASE, Pace, Pacer, RateLimit, RateMeter, Timeline, sane_fps
from stream.trace import Step, Trace

if TYPE_CHECKING:  # a source without packets needs no FFmpeg
    from av.packet import Packet

    from stream.tap import PacketTap, Track

log = logging.getLogger(__name__)
SETTLE_NS = NS_PER_S // 2
WARN_EVERY_S = 1.0  # STYLE: a warning at most once a second per cause


@dataclass(slots=True)
class IntakeCounts:
    """Counts over the whole life of a source. Written by its reader thread."""

    packets: int = 0
    decoded: int = 0  # pictures out of the decoder
    frames: int = 0  # frames given to the pipeline
    decode_errors: int = 0  # packets or pictures that could not be decoded
    skipped_fps: int = 0  # decoded pictures above the fps limit
    size_changes: int = 0  # a different picture size in mid-stream
    loops: int = 0


@dataclass(frozen=True, slots=True)
class Media:
    """What is known of the source's video. Zero and "" until it has been opened; (width, height) upright."""

    width: int = 0
    height: int = 0
    codec: str = ""
    fps: Fraction | float | None = None  # as declared; None when missing or senseless
    is_paced: bool = False  # a recording, shown at its own pace; False for what comes when it comes


@dataclass(frozen=True, slots=True)
class Wish:
    """How the frames are wanted: see `stream.source.open_source`."""

    max_size: tuple[int, int] | None
    exact: bool
    fps: float | None


class Reader(Protocol):
    """One way to fetch pictures, for example a demuxer. Used by one thread at a time."""

    def read(self, attempt: "Attempt") -> None:
        """Open, hand over every picture, close. Returns at the end of a recording, or once `attempt.stop` is set.

        Raises SourceError.
        """
        ...


class Intake:
    """The frames of one stream, in order, whatever its source does. Used by one reader thread at a time."""

    def __init__(
        self,
        stream: str,
        clock: Clock,
        emit: Callable[[Frame], None],
        wish: Wish,
        tap: "PacketTap | None" = None,
        pace: Pace | None = None,
        pool: BufferPool | None = None,
    ) -> None:
        self.stream = stream
        self.clock = clock
        self.counts = IntakeCounts()
        self.media = Media()
        self.fps_measured: float | None = None  # None until two frames are known
        self.timeline = Timeline(is_live=True)
        self.pacer: Pace = pace or Pacer()
        self.tap = tap  # None when nobody records
        self.pool = pool or BufferPool()  # what pictures are made in
        self._emit = emit
        self._wish = wish
        self._limit = RateLimit(wish.fps)
        self._meter = RateMeter()
        self._taps_pictures = False  # the source has no packets
        self._settled_ns = 0  # before it, pictures are not metered: a live source begins with what the analysis held
        self._fits: dict[tuple[int, int, Fraction | float], Fit] = {}  # of the current size only

    def opened(self, media: Media, track: "Track | None" = None) -> None:
        """Take what the container says. The picture size is believed only from a decoded picture."""
        if self.tap is not None:
            self.tap.opened(track)
        self._taps_pictures = self.tap is not None and track is None
        if self.media.width:
            media = replace(media, width=self.media.width, height=self.media.height)
        self.media = media
        self.timeline.is_live = not media.is_paced
        self.timeline.set_rate(media.fps)
        self.pacer.set_rate(media.fps)
        self._settled_ns = 0 if media.is_paced else self.clock.now_ns() + SETTLE_NS

    def seam(self, *, is_loop: bool) -> None:
        """Join two stretches of one stream: at a loop, or before a reconnect."""
        self.timeline.seam()
        self.pacer.seam()
        if self.tap is not None:
            self.tap.seam()
        if is_loop:
            self.counts.loops += 1
        else:
            self._meter.clear()
            self.fps_measured = None

    def picture(
        self,
        pts: int | None,
        captured_ns: int,
        size: tuple[int, int],
        aspect: Fraction | float,
        make: Callable[[tuple[int, int]], Picture],
    ) -> None:
        """Place one decoded picture in time, fit it and emit it; see `Attempt.picture`."""
        self.counts.decoded += 1
        if captured_ns >= self._settled_ns:
            self.fps_measured = self._meter.add(captured_ns)
        placed = self.timeline.place(pts, captured_ns)
        fitted = self._fit(size, aspect)
        if self._taps_pictures:
            make = self._tapped(make, size, captured_ns)
        if not self._limit.admits(placed):
            self.counts.skipped_fps += 1
            return
        trace = Trace(captured_ns)
        image = _framed(make(fitted.inner), fitted, self.pool)
        trace.stamp(Step.DECODED, self.clock.now_ns())
        source_size = (size[1], size[0])
        frame = Frame(self.stream, self.counts.frames, placed, TIME_BASE, captured_ns, image, source_size, trace)
        self.counts.frames += 1
        self._emit(frame)

    def _tapped(
        self, make: Callable[[tuple[int, int]], Picture], size: tuple[int, int], captured_ns: int
    ) -> Callable[[tuple[int, int]], Picture]:
        """Show the tap the whole picture; return a `make` that does not make it a second time."""
        whole = make(size)
        if self.tap is not None:
            self.tap.picture(whole, captured_ns)
        return lambda wanted: whole if wanted == size else make(wanted)

    def _fit(self, size: tuple[int, int], aspect: Fraction | float) -> Fit:
        found = self._fits.get((*size, aspect))
        if found is None:
            found = fit(*size, self._wish.max_size, exact=self._wish.exact, pixel_aspect=aspect)
            self._fits = {(*size, aspect): found}
            self._note_size(size)
        return found

    def _note_size(self, size: tuple[int, int]) -> None:
        had = (self.media.width, self.media.height)
        if self.counts.decoded > 1 and had != size:
            self.counts.size_changes += 1
            log.info("%s: pictures are now %dx%d, were %dx%d", self.stream, *size, *had)
        self.media = replace(self.media, width=size[0], height=size[1])


class Attempt:
    """One reader's hold on an intake: from opening the source until it ends, fails or is stopped.

    The stamps are real seconds (`time.monotonic`), not the stream's clock: the watchdog that reads
    them guards against real hangs. A stopped attempt changes nothing any more.
    """

    def __init__(self, intake: Intake, open_timeout_s: float, read_timeout_s: float, news: threading.Event) -> None:
        self.stop = threading.Event()
        self.open_timeout_s = open_timeout_s
        self.read_timeout_s = read_timeout_s
        self.started_s = time.monotonic()
        self.opened_s: float | None = None  # None while opening
        self.packet_s: float | None = None  # when the last packet came; None before the first
        self.picture_s: float | None = None  # when the last picture was decoded; None before the first
        self.waiting = ""  # what it waits for, when there is nobody to send pictures; "" otherwise
        self.is_idle = False  # waiting on purpose: for a recorded packet's time, or for the receiver
        self.error: SourceError | None = None  # why it ended; None when it just ended
        self.is_done = False
        self._intake = intake
        self._news = news  # set when the supervisor should look
        self._warned_s = 0.0
        self._unwarned = 0  # decode errors since the last warning

    def now_ns(self) -> int:
        """Return the time on the stream's clock."""
        return self._intake.clock.now_ns()

    def opened(self, media: Media, track: "Track | None" = None) -> None:
        """Say that the source is open and what it declares; `track` when it has packets and `has_tap` asks for it."""
        if not self.stop.is_set():
            self._intake.opened(replace(media, fps=sane_fps(media.fps)), track)
            self.opened_s, self.picture_s = time.monotonic(), None
            self.waiting, self.is_idle = "", False
            self._news.set()

    def wait_for_sender(self, message: str) -> None:
        """Say that nobody sends, and what to do; ends with the next `opened`."""
        if not self.stop.is_set() and not self.waiting:
            self.waiting, self.is_idle = message, True
            self._news.set()

    def seam(self) -> None:
        """Say that what comes next has a clock of its own: another publisher."""
        if not self.stop.is_set():
            self._intake.seam(is_loop=False)

    @property
    def has_tap(self) -> bool:
        """Whether somebody records what is read."""
        return self._intake.tap is not None

    @property
    def pool(self) -> BufferPool:
        """What pictures are to be made in."""
        return self._intake.pool

    def packet(self, packet: "Packet[Any] | None" = None, arrived_ns: int = 0) -> None:
        """Count a packet and show it to the tap; without one, count a picture read whole."""
        if not self.stop.is_set():
            self.packet_s = time.monotonic()
            self._intake.counts.packets += 1
            if packet is not None and self._intake.tap is not None:
                self._intake.tap.packet(packet, arrived_ns)

    def decode_failed(self, why: str) -> None:
        """Count a packet that could not be decoded; the stream goes on."""
        if self.stop.is_set():
            return
        self._intake.counts.decode_errors += 1
        self._unwarned += 1
        if time.monotonic() - self._warned_s >= WARN_EVERY_S:
            log.warning("%s: could not decode %d packet(s): %s", self._intake.stream, self._unwarned, why)
            self._warned_s, self._unwarned = time.monotonic(), 0

    def wait_due(self, dts: int | None) -> int | None:
        """Wait until a recorded packet would have arrived and return that time; None when stopped."""
        return self.wait_until(self._intake.pacer.due_ns(dts, self.now_ns()))

    def wait_after(self, captured_ns: int) -> int | None:
        """Wait for the time of a picture without a packet that follows one captured then; None when stopped."""
        return self.wait_until(self._intake.pacer.after_ns(captured_ns, self.now_ns()))

    def wait_until(self, at_ns: int) -> int | None:
        """Wait for a time on the stream's clock and return it; None when stopped."""
        self.is_idle = True
        was_reached = self._intake.clock.wait_until(at_ns, self.stop)
        self._awake()
        return at_ns if was_reached else None

    def picture(
        self,
        pts: int | None,
        captured_ns: int,
        size: tuple[int, int],
        make: Callable[[tuple[int, int]], Picture],
        aspect: Fraction | float = 1,
    ) -> None:
        """Hand over one decoded picture.

        `pts` is in ticks of 1/90000 s, None when missing. `size` is (width, height) of the upright
        picture, `aspect` that of its pixels. `make((width, height))` returns the picture scaled to that
        size, [H,W,3] uint8 rgb, C-contiguous; it is not called for a picture that is not wanted.
        """
        if self.stop.is_set():
            return
        is_first = self.picture_s is None
        self.picture_s = time.monotonic()
        self.is_idle = True  # `emit` may wait when the receiver works offline; that is no stall
        self._intake.picture(pts, captured_ns, size, aspect, make)
        self._awake()
        if is_first:
            self._news.set()

    def _awake(self) -> None:
        now_s = time.monotonic()
        if self.packet_s is not None:
            self.packet_s = now_s
        if self.picture_s is not None:
            self.picture_s = now_s
        self.is_idle = False


def _framed(image: Picture, fitted: Fit, pool: BufferPool) -> Picture:
    """Return the picture in the middle of its black frame, when it has one."""
    if fitted.inner == fitted.work:
        return image
    (width, height), (left, top), (inner_width, inner_height) = fitted.work, fitted.offset, fitted.inner
    framed: Picture = pool.take((height, width, 3))
    framed[:top] = framed[top + inner_height :] = 0
    framed[:, :left] = framed[:, left + inner_width :] = 0
    framed[top : top + inner_height, left : left + inner_width] = image
    return framed
