"""Where frames come from: one contract for cameras, RTSP, HTTP, files, folders and the test pattern.

A source has two threads. The reader demuxes, decodes, converts and emits; it may hang in a driver or a
name server. The supervisor never blocks: it keeps the state, watches the reader's stamps, abandons a
reader that hangs, and tries again. Importing this module imports no decoder.
"""

import atexit
import itertools
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from stream.address import SourceKind, SourceSpec, parse_source
from stream.backoff import backoff_s
from stream.clock import Clock
from stream.errors import ConfigError, SourceCode, SourceError

if TYPE_CHECKING:  # numpy comes with these, and the command line should not wait for it
    from stream.frame import Frame
    from stream.intake import Attempt, Intake, Reader
    from stream.pool import BufferPool
    from stream.publisher import PublisherReader
    from stream.tap import PacketTap
    from stream.timeline import Pace

__all__ = [
    "Source",
    "SourceCounters",
    "SourceKind",
    "SourceSpec",
    "SourceState",
    "SourceStatus",
    "open_source",
    "parse_source",
]

log = logging.getLogger(__name__)

TICK_S = 0.1  # how often the supervisor looks when nobody wakes it
GRACE_S = 0.5  # what the libraries' own time-outs may be late by, before the reader is given up
STALL_S = 2.0  # without a picture for longer: stalled (or 3 frame times, for a source that is slow by nature)
FIRST_PICTURE_S = 15.0  # packets without one picture: past the longest keyframe interval of usual cameras
GOOD_RUN_S = 60.0  # a source that ran this long starts its back-off anew
REAP_S = 1.2  # how long a stopped reader is waited for before it is abandoned; stop() promises 2 s
MIN_SIDE_PX = 16


class SourceState(StrEnum):
    """What a source is doing, as a person sees it."""

    CONNECTING = "connecting"
    RUNNING = "running"
    STALLED = "stalled"  # connected, but no picture comes
    RETRYING = "retrying"  # lost or refused; likely to come back by itself
    ERROR = "error"  # a person should look; a live source is tried again all the same
    FINISHED = "finished"  # the recording has ended, or the source was stopped
    WAITING = "waiting"  # for somebody who sends video


@dataclass(frozen=True, slots=True)
class SourceCounters:
    """Counts since the source was made."""

    packets: int = 0
    frames: int = 0  # given to the pipeline
    decode_errors: int = 0
    reconnects: int = 0  # times it came back after it was lost
    stalls: int = 0
    discontinuities: int = 0  # jumps in the source's own time
    skipped_fps: int = 0  # pictures above the fps limit
    size_changes: int = 0
    loops: int = 0
    pace_resets: int = 0  # times a recording was over 1 s behind because decoding is too slow here


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source at one moment. `message` says what is going on and what to do; no secret is in it."""

    state: SourceState
    code: SourceCode | None  # why it is not running; None when it is, or when nothing is wrong
    message: str
    width: int  # of the upright source picture, before fitting; 0 until known
    height: int
    fps_measured: float | None  # over about the last 90 pictures; None until two have come
    codec: str  # "" until known
    counters: SourceCounters
    since_ns: int  # when this state began, on the stream's clock

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the status page and the API."""
        return asdict(self)


OnState = Callable[[SourceStatus], None]


class Source:
    """A stream's pictures, from `start` until `stop`. Make it with `open_source`. Any thread may call."""

    def __init__(
        self,
        spec: SourceSpec,
        reader: "Reader",
        intake: "Intake",
        *,
        loop: bool | int,
        open_timeout_s: float,
        read_timeout_s: float,
        stall_after_s: float,
        on_state: OnState | None,
    ) -> None:
        self.spec = spec
        self._reader = reader
        self._intake = intake
        self._loop = loop
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._stall_after_s = stall_after_s
        self._on_state = on_state
        self._stop = threading.Event()
        self._news = threading.Event()  # set when the supervisor should look
        self._thread: threading.Thread | None = None  # the supervisor; None before start
        self._reading: threading.Thread | None = None  # the reader of the current attempt; None between attempts
        waits = spec.kind is SourceKind.BROWSER
        self._state = SourceState.WAITING if waits else SourceState.CONNECTING
        self._code: SourceCode | None = None
        self._message = "waiting for somebody to send video" if waits else f"opening {spec.display}"
        self._since_ns = intake.clock.now_ns()
        self._reconnects = self._stalls = 0

    def start(self) -> None:
        """Begin to fetch pictures; returns at once. A source starts only once."""
        if self._thread is not None or self._stop.is_set():
            raise ConfigError(f"{self._intake.stream}: a source starts only once; open another one")
        log.info("%s: source %s: %s", self._intake.stream, self._state, self._message)
        self._thread = threading.Thread(target=self._supervise, name=f"source-{self._intake.stream}", daemon=True)
        self._thread.start()
        atexit.register(self.stop)  # a daemon thread that the interpreter kills inside OpenCV's C++ aborts the process

    def stop(self, timeout_s: float = 2.0) -> None:
        """End everything within `timeout_s`, in any state. Nothing is emitted afterwards. Blocks; safe to repeat."""
        self._stop.set()
        self._news.set()
        if self._thread is None:
            self._to(SourceState.FINISHED, None, "stopped")
        elif threading.current_thread() not in (self._thread, self._reading):
            self._thread.join(timeout_s)

    @property
    def publisher(self) -> "PublisherReader | None":
        """Who takes what is sent to this source; None for a source that fetches its pictures itself."""
        from stream.publisher import PublisherReader

        return self._reader if isinstance(self._reader, PublisherReader) else None

    def status(self) -> SourceStatus:
        """Return how the source is doing now."""
        intake, counts = self._intake, self._intake.counts
        return SourceStatus(
            state=self._state,
            code=self._code,
            message=self._message,
            width=intake.media.width,
            height=intake.media.height,
            fps_measured=intake.fps_measured,
            codec=intake.media.codec,
            counters=SourceCounters(
                packets=counts.packets,
                frames=counts.frames,
                decode_errors=counts.decode_errors,
                reconnects=self._reconnects,
                stalls=self._stalls,
                discontinuities=intake.timeline.discontinuities,
                skipped_fps=counts.skipped_fps,
                size_changes=counts.size_changes,
                loops=counts.loops,
                pace_resets=intake.pacer.resets,
            ),
            since_ns=self._since_ns,
        )

    def _supervise(self) -> None:
        """Run the source to its end. Supervisor thread."""
        try:
            self._attempts()
        finally:
            atexit.unregister(self.stop)

    def _attempts(self) -> None:
        """Make one attempt after the other."""
        failures = 0
        while not self._stop.is_set():
            attempt = self._begin()
            self._watch(attempt)
            self._end(attempt)
            if self._stop.is_set() or attempt.error is None:
                break
            if not self.spec.is_live:
                self._to(SourceState.ERROR, attempt.error.code, str(attempt.error))
                return
            failures = 1 if _run_s(attempt) >= GOOD_RUN_S else failures + 1
            self._fail(attempt.error)
            self._intake.seam(is_loop=False)
            self._stop.wait(backoff_s(failures, random.random(), is_slow=not attempt.error.is_retryable))
        self._to(SourceState.FINISHED, None, "stopped" if self._stop.is_set() else "the recording has ended")

    def _begin(self) -> "Attempt":
        from stream.intake import Attempt

        attempt = Attempt(self._intake, self._open_timeout_s, self._read_timeout_s, self._news)
        name = f"read-{self._intake.stream}"
        self._reading = threading.Thread(target=self._read, args=(attempt,), name=name, daemon=True)
        self._reading.start()
        return attempt

    def _read(self, attempt: "Attempt") -> None:
        """Run one reader until it ends or fails. Reader thread."""
        try:
            self._read_passes(attempt)
        except SourceError as error:
            attempt.error = error
        except Exception as error:  # the task boundary: whatever went wrong ends this source and no other
            if not attempt.stop.is_set():
                log.exception("%s: the source failed in a way nobody foresaw", self._intake.stream)
            message = f"{self.spec.display}: {type(error).__name__}: {error}"
            attempt.error = SourceError(message, SourceCode.INVALID_DATA)
        attempt.is_done = True
        self._news.set()

    def _read_passes(self, attempt: "Attempt") -> None:
        for number in itertools.count(1):
            had = self._intake.counts.decoded
            self._reader.read(attempt)
            if attempt.stop.is_set():
                return
            if self._intake.counts.decoded == had:
                message = f"{self.spec.display}: not one picture could be decoded; play it with ffplay to check it"
                raise SourceError(message, SourceCode.INVALID_DATA, is_retryable=False)
            if self._loop is not True and number >= self._loop:
                return
            self._intake.seam(is_loop=True)

    def _watch(self, attempt: "Attempt") -> None:
        """Keep the state true until the attempt is over. Abandons a reader that hangs."""
        while not self._stop.is_set():
            self._news.wait(TICK_S)
            self._news.clear()
            is_done = attempt.is_done  # read before the stamps: a short file may run and end between two looks
            if attempt.waiting:
                self._to(SourceState.WAITING, None, attempt.waiting)
            elif attempt.picture_s is not None:
                self._note_flow(attempt)
            if is_done:
                return
            if (hang := find_hang(attempt, time.monotonic(), self.spec.display)) is not None:
                attempt.error = hang
                return

    def _note_flow(self, attempt: "Attempt") -> None:
        quiet_s = time.monotonic() - (attempt.picture_s or 0.0)
        limit_s = max(self._stall_after_s, 3 / (self._intake.fps_measured or 30.0))
        if quiet_s > limit_s and not attempt.is_idle:
            if self._state is not SourceState.STALLED:
                self._stalls += 1
            self._to(SourceState.STALLED, SourceCode.TIMEOUT, f"no picture for {limit_s:.0f} s; still connected")
        elif self._state is not SourceState.RUNNING:
            self._reconnects += self._state in (SourceState.RETRYING, SourceState.ERROR)
            self._to(SourceState.RUNNING, None, f"playing {self.spec.display}")

    def _end(self, attempt: "Attempt") -> None:
        """Let go of a reader. One that does not return is abandoned: it is a daemon, and nothing it does counts."""
        attempt.stop.set()
        if self._reading is not None:
            self._reading.join(REAP_S)
            if self._reading.is_alive():
                log.warning("%s: gave up a reader that hangs in %s", self._intake.stream, self.spec.display)
        self._reading = None

    def _fail(self, error: SourceError) -> None:
        is_lost = error.code in _PASSING or (error.code in _PASSING_ONCE_SEEN and self._intake.counts.frames > 0)
        state = SourceState.RETRYING if is_lost else SourceState.ERROR
        self._to(state, error.code, f"{error}; trying again{'' if error.is_retryable else ' now and then'}")

    def _to(self, state: SourceState, code: SourceCode | None, message: str) -> None:
        """Change the state, and tell about it when it is another one. Supervisor thread."""
        before = (self._state, self._code)
        self._message = message
        if before == (state, code):
            return
        self._since_ns = self._intake.clock.now_ns()
        self._code, self._state = code, state
        lasted = f"[{code}] " if code else ""
        level = logging.ERROR if state is SourceState.ERROR else logging.WARNING if code else logging.INFO
        log.log(level, "%s: source %s, was %s: %s%s", self._intake.stream, state, before[0], lasted, message)
        if self._on_state is not None:
            self._on_state(self.status())


_PASSING = (SourceCode.REFUSED, SourceCode.REMOVED)  # the other side is known and will be back
_PASSING_ONCE_SEEN = (SourceCode.TIMEOUT, SourceCode.INVALID_DATA)  # of an address that never worked: an error


def find_hang(attempt: "Attempt", now_s: float, display: str) -> SourceError | None:
    """Return why a reader must be given up at `now_s`; None while it may still come round."""
    if attempt.is_idle:
        return None
    if attempt.opened_s is None:
        if now_s - attempt.started_s <= attempt.open_timeout_s + GRACE_S:
            return None
        return SourceError(f"{display}: no answer within {attempt.open_timeout_s:g} s", SourceCode.TIMEOUT)
    if now_s - max(attempt.opened_s, attempt.packet_s or 0.0) > attempt.read_timeout_s + GRACE_S:
        return SourceError(f"{display}: no data for {attempt.read_timeout_s:g} s", SourceCode.TIMEOUT)
    if now_s - max(attempt.opened_s, attempt.picture_s or 0.0) > FIRST_PICTURE_S:
        message = f"{display}: data comes, but no picture in {FIRST_PICTURE_S:g} s; does it send keyframes?"
        return SourceError(message, SourceCode.INVALID_DATA)
    return None


def _run_s(attempt: "Attempt") -> float:
    """Return how long an attempt gave pictures."""
    return 0.0 if attempt.picture_s is None else attempt.picture_s - (attempt.opened_s or attempt.started_s)


def open_source(
    spec: SourceSpec,
    *,
    stream: str,
    clock: Clock,
    emit: "Callable[[Frame], None]",
    max_size: tuple[int, int] | None = None,
    exact: bool = False,
    fps: float | None = None,
    loop: bool | int = True,
    open_timeout_s: float = 5.0,
    read_timeout_s: float = 5.0,
    stall_after_s: float = STALL_S,
    on_state: OnState | None = None,
    tap: "PacketTap | None" = None,
    schedule: Sequence[int] | None = None,
    is_paced: bool = True,
    pool: "BufferPool | None" = None,
) -> Source:
    """Return a source that is ready to start; nothing is opened yet.

    emit      gets each frame on the reader thread; for live work it must not block
    on_state  is called on each change of state, on the supervisor thread; it must not block
    max_size  (width, height) that pictures are shrunk to fit, aspect kept; None keeps their size.
              With `exact` every picture has that very size, black where the aspect differs
    fps       at most so many frames a second, the rest is skipped and counted; for a folder, its rate
    loop      a recording starts again at its end, and its time goes on; a number plays it so many times
    tap       sees what is read before it is decoded, on the reader thread
    schedule  when each packet of a file is let go, in ns after the first is asked for; None goes by its dts
    pool      what pictures are made in; None for one of its own
    is_paced  False lets a recording go as fast as `emit` takes it, which may block then; captured is when it was read

    Raises ConfigError for a size, rate or pace that cannot be made.
    """
    from stream.intake import Intake, Wish
    from stream.readers import make_reader

    _check_wish(max_size, exact, fps)
    pace = _pace(spec, schedule, is_paced)
    return Source(
        spec,
        make_reader(spec, fps, max_size),
        Intake(stream, clock, emit, Wish(max_size, exact, fps), tap, pace, pool),
        loop=loop,
        open_timeout_s=open_timeout_s,
        read_timeout_s=math.inf if spec.kind is SourceKind.BROWSER else read_timeout_s,  # a publisher may pause
        stall_after_s=stall_after_s,
        on_state=on_state,
    )


def _check_wish(max_size: tuple[int, int] | None, exact: bool, fps: float | None) -> None:
    if max_size is not None:
        width, height = max_size
        if min(max_size) < MIN_SIDE_PX:
            raise ConfigError(f"size {width}x{height}: each side is at least {MIN_SIDE_PX} pixels")
        if exact and (width % 4 or height % 4):
            near = f"{round(width / 4) * 4}x{round(height / 4) * 4}"
            raise ConfigError(f"size {width}x{height}: each side must be divisible by 4, for example {near}")
    if fps is not None and not fps > 0:
        raise ConfigError(f"fps {fps}: it must be above 0")


def _pace(spec: SourceSpec, schedule: Sequence[int] | None, is_paced: bool) -> "Pace | None":
    """Return what lets packets go; None for the usual pace, by their dts."""
    from stream.timeline import AtOnce, Recorded

    if schedule is not None:
        if spec.kind is not SourceKind.FILE or not is_paced or not schedule:
            raise ConfigError(f"{spec.display}: a schedule of packets needs a file, its arrivals, and its pace")
        return Recorded(schedule)
    if is_paced:
        return None
    if spec.kind not in (SourceKind.FILE, SourceKind.FOLDER, SourceKind.TEST):
        raise ConfigError(f"{spec.display}: {spec.kind} comes at its own pace; only a recording can go faster")
    return AtOnce()
