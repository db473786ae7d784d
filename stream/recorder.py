"""Record a source: its packets as they are in a Matroska file, and what was done with its frames in a side file.

    out.mkv                the packets, copied; of a source without packets (a camera by way of OpenCV, the test
                           pattern, a folder of pictures) its pictures, as H.264
    out.livelens.jsonl     a line for each packet and each record of the run: docs/run-format.md

Both can be read at any time, also after the program was killed. Where a source comes back as something that
the file cannot hold (another size or codec), out-2.mkv and its side file take over. Sound is not recorded.
"""

import atexit
import logging
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from av.packet import Packet

from stream.clock import NS_PER_S, Clock
from stream.errors import StreamError
from stream.frame import Picture
from stream.mailbox import Closed, Mailbox
from stream.run import Record, RunInfo
from stream.tap import Track
from stream.tape import FLUSH_NS, Taken, Tape, reserve, side_path

__all__ = ["Recorder", "side_path"]

log = logging.getLogger(__name__)

BOUND = 512  # packets and records: two seconds and more, which a busy disk may need
BOUND_BYTES = 128 << 20  # of packets and pictures; raw 1080p has 4 MB a packet
WARN_EVERY_NS = NS_PER_S


_Item: TypeAlias = Taken | Record


class Recorder:
    """A recording being made; a PacketTap and a RunLog. Its methods return at once, but `close`. Any thread.

    Raises ConfigError when it is made, before anything is recorded: for a name that is taken, or a folder that
    cannot be written. Later nothing is raised: what stops the recording is logged once and told by `status`.
    """

    def __init__(self, path: Path, clock: Clock, info: RunInfo) -> None:
        reserve(path)
        self._name = info.stream
        self._clock = clock
        self._box: Mailbox[_Item] = Mailbox(BOUND)
        self._count = threading.Lock()  # guards the four below
        self._waiting_bytes = 0  # in the mailbox
        self._number = 0  # of the next packet or picture
        self._lost = 0  # packets and pictures that did not get into the file though it was open
        self._lost_records = 0
        self._late_info: RunInfo | None = None  # pushed out of the mailbox; None when there is none
        self._track: Track | None = None  # of the packets that come; None while pictures come. Reader thread
        self._stretch = 0
        self._tape = Tape(path, info, clock)
        self._error: str | None = None  # what stopped it; None while it goes on, and after a good end
        self._warned_ns = clock.now_ns()
        self._told = 0  # losses that have been logged
        self._thread = threading.Thread(target=self._run, name=f"record-{info.stream}", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # PacketTap

    def opened(self, track: Track | None) -> None:
        """Take what comes from here on."""
        self._track = track

    def seam(self) -> None:
        """Go on after a break in the source's own time."""
        self._stretch += 1

    def packet(self, packet: "Packet[Any]", arrived_ns: int) -> None:
        """Take a copy of a packet."""
        track = self._track
        if track is None or self._error is not None or not packet.size:
            return
        base = packet.time_base if track.has_clock else None
        pts_ms, dts_ms = _ms(packet.pts, base), _ms(packet.dts, base)
        number, data = self._next(), bytes(packet)
        self._put(Taken(number, self._stretch, arrived_ns, data, track, pts_ms, dts_ms, packet.is_keyframe))

    def picture(self, picture: Picture, captured_ns: int) -> None:
        """Take a picture of a source that has no packets."""
        if self._error is None:
            self._put(Taken(self._next(), self._stretch, captured_ns, picture))

    # RunLog

    @property
    def keeps_results(self) -> bool:
        return True

    def add(self, record: Record) -> None:
        """Take a record of the run for the side file; a further RunInfo adds what was not known at first."""
        if self._error is None:
            self._put(record)

    def status(self) -> dict[str, Any]:
        """Return how it is going: name of the file now written, counts over all files, and what stopped it."""
        return {
            "clip": self._tape.path.name,
            "packets": self._tape.packets,
            "bytes": self._tape.size_bytes,
            "seconds": round(self._tape.seconds, 1),
            "lost": self._lost + self._tape.skipped,
            "lost_records": self._lost_records,
            "error": self._error,
        }

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is waiting, and finish both files. Blocks; safe to repeat."""
        atexit.unregister(self.close)
        self._box.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("%s: the recording is not finished after %g s; its disk hangs?", self._name, timeout_s)

    def _next(self) -> int:
        with self._count:
            self._number += 1
            return self._number - 1

    def _put(self, item: _Item) -> None:
        """Hand over to the writer; what does not fit is lost and counted."""
        lost: _Item | None = None
        with self._count:
            size = item.size_bytes if isinstance(item, Taken) else 0
            if size and self._waiting_bytes + size > BOUND_BYTES:
                lost = item
            else:
                self._waiting_bytes += size
        if lost is None:
            try:
                lost = self._box.put(item)
            except Closed:
                return  # stopped meanwhile
            self._gone(lost)
        self._lose(lost)

    def _gone(self, item: _Item | None) -> None:
        if isinstance(item, Taken):
            with self._count:
                self._waiting_bytes -= item.size_bytes

    def _lose(self, item: _Item | None) -> None:
        if isinstance(item, RunInfo):
            self._late_info = item  # the one record that must not be lost
        elif item is not None:
            with self._count:
                self._lost += isinstance(item, Taken)
                self._lost_records += not isinstance(item, Taken)

    # Writer thread

    def _run(self) -> None:
        try:
            self._write_all()
        except StreamError as error:
            self._stop(str(error))
        except OSError as error:
            self._stop(f"{self._tape.path.name}: {error.strerror or error}")
        except Exception as error:  # the task boundary: whatever went wrong ends the recording and not the stream
            log.exception("%s: the recording failed in a way nobody foresaw", self._name)
            self._stop(f"{type(error).__name__}; the log has more")  # its text may name folders

    def _write_all(self) -> None:
        while True:
            try:
                item: _Item | None = self._box.get(FLUSH_NS / NS_PER_S)
            except TimeoutError:
                item = None
            except Closed:
                break
            if item is not None:
                self._gone(item)
                self._tape.write(item)
            if (info := self._late_info) is not None:
                self._late_info = None
                self._tape.write(info)
            self._tape.flush(is_idle=item is None)
            self._warn()
        self._tape.close()
        log.info("%s: recorded %s", self._name, self._tape.text())

    def _stop(self, why: str) -> None:
        self._error = why
        log.error("%s: recording has stopped: %s; kept: %s", self._name, why, self._tape.text())
        self._box.close()
        for item in self._box.drain():  # what waits would be held until the stream ends
            self._gone(item)
            self._lose(item)
        self._tape.abandon()

    def _warn(self) -> None:
        lost = self._lost + self._tape.skipped + self._lost_records
        now_ns = self._clock.now_ns()
        if lost > self._told and now_ns - self._warned_ns >= WARN_EVERY_NS:
            log.warning("%s: the recording lost %d packet(s) or record(s)", self._name, lost - self._told)
            self._told, self._warned_ns = lost, now_ns


def _ms(value: int | None, time_base: Fraction | None) -> int | None:
    return None if value is None or not time_base else round(value * time_base * 1000)
