"""The files of a recording as they are written: clip and side file, and the next pair when the video changes."""

import itertools
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from av.packet import Packet

from stream.clip import Clip, ClipTime, PictureEncoder, copied
from stream.clock import NS_PER_S, Clock
from stream.errors import ConfigError, SinkError, StreamError
from stream.frame import Picture
from stream.run import PacketArrival, Record, RunInfo, to_line
from stream.tap import Track

log = logging.getLogger(__name__)

SUFFIX = ".mkv"
SIDE_SUFFIX = ".livelens.jsonl"
FLUSH_NS = NS_PER_S // 4  # a killed program loses at most so much of the side file


def side_path(clip: Path) -> Path:
    """Return the side file that belongs to a clip: out.mkv, out.livelens.jsonl."""
    return clip.with_name(clip.stem + SIDE_SUFFIX)


def reserve(clip: Path) -> None:
    """Make clip and side file, empty. Raises ConfigError when a name is taken or cannot be written."""
    if clip.suffix != SUFFIX:
        raise ConfigError(f"{clip}: a recording is a Matroska file; its name ends with {SUFFIX}")
    side = side_path(clip)
    for path in (clip, side):  # both before either is made
        if path.exists():
            raise ConfigError(f"{path} exists; choose another name or delete it")
    try:
        _make_both(clip)
    except FileExistsError as error:  # a link to nothing, or made by another program meanwhile
        raise ConfigError(f"{error.filename} exists; choose another name or delete it") from None
    except FileNotFoundError:
        raise ConfigError(f"{clip}: there is no folder {clip.parent}; make it first") from None
    except OSError as error:
        raise ConfigError(f"{clip}: cannot be written: {error.strerror}; choose another folder") from error


def _make_both(clip: Path) -> None:
    """Make clip and side file, empty; neither when one cannot be made. Raises OSError."""
    clip.open("xb").close()
    try:
        side_path(clip).open("xb").close()
    except OSError:
        with suppress(OSError):
            clip.unlink()  # made here; what was there before is never touched
        raise


@dataclass(frozen=True, slots=True)
class Taken:
    """A packet or picture on its way to the clip.

    number    counts all that came; a gap is a loss
    stretch   another one after each seam in the source's own time
    track     what the packet is of; None for a picture
    """

    number: int
    stretch: int
    arrived_ns: int
    data: bytes | Picture
    track: Track | None = None
    pts_ms: int | None = None  # on the source's clock; None when missing
    dts_ms: int | None = None
    is_keyframe: bool = True

    @property
    def size_bytes(self) -> int:
        """Size in memory."""
        return len(self.data) if isinstance(self.data, bytes) else self.data.nbytes


class Tape:
    """Clip and side file. One thread; others may read the counts. Raises SinkError, OSError, ConfigError."""

    def __init__(self, path: Path, info: RunInfo, clock: Clock) -> None:
        self.path = path  # of the clip being written
        self.info = info
        self.packets = 0  # in all clips, as the next two
        self.size_bytes = 0
        self.skipped = 0  # came, but cannot be shown without a packet that was lost
        self._before_s = 0.0  # length of the clips before this one
        self._first_path = path
        self._clock = clock
        self._clip: Clip | None = None  # None before the first keyframe
        self._encoder: PictureEncoder | None = None  # None where packets are copied
        self._kind: object = None  # what the clip holds: a Track, or a size of pictures
        self._time = ClipTime(is_live=True)
        self._stretch = 0
        self._next_number = 0
        self._needs_keyframe = True  # the packets before it cannot be shown
        self._has_loss = False  # since the last keyframe
        self._side = self._open_side()
        self._flushed_ns = clock.now_ns()

    @property
    def seconds(self) -> float:
        """Length of all clips so far."""
        return self._before_s + max(0, self._time.last_ms) / 1000

    def text(self) -> str:
        return f"{self.packets} packets, {self.seconds:.1f} s, in {self._first_path.name}"

    def write(self, item: Taken | Record) -> None:
        """Write a packet, a picture or a record."""
        if isinstance(item, RunInfo):
            self.info = item
            item = replace(item, clip=self.path.name)
        if isinstance(item, Taken):
            self._write_taken(item)
        else:
            self._line(item)

    def flush(self, *, is_idle: bool) -> None:
        """Hand the side file to the system when it is time, or when there is nothing else to do."""
        now_ns = self._clock.now_ns()
        if is_idle or now_ns - self._flushed_ns >= FLUSH_NS:
            self._side.flush()
            self._flushed_ns = now_ns

    def close(self) -> None:
        """Finish both files; those that nothing came for are taken away."""
        if self._clip is not None:
            self._clip.close()
        self._side.close()
        self._remove_empty()

    def abandon(self) -> None:
        """Let go of both files as far as that is possible."""
        for close in (self._clip.close if self._clip else None, self._side.close):
            with suppress(StreamError, OSError):
                if close is not None:
                    close()
        self._remove_empty()

    def _remove_empty(self) -> None:
        if self._clip is None or not self._clip.packets:
            self.path.unlink(missing_ok=True)
            side_path(self.path).unlink(missing_ok=True)

    def _write_taken(self, item: Taken) -> None:
        self._note_breaks(item)
        if self._needs_keyframe and not item.is_keyframe:
            self.skipped += self._has_loss  # where the source begins or comes back, nothing is lost
            return
        self._needs_keyframe = self._has_loss = False
        clip = self._clip_for(item)
        pts, dts = self._time.place(item.pts_ms, item.dts_ms, item.arrived_ns)
        for packet in self._packets(item, pts):
            size = packet.size
            clip.write(packet, pts, dts)
            self._line(PacketArrival(item.arrived_ns, packet.is_keyframe))
            self.packets += 1
            self.size_bytes += size

    def _note_breaks(self, item: Taken) -> None:
        """See what came between the last item and this one: a loss, or a seam of the source."""
        has_gap, has_seam = item.number != self._next_number, item.stretch != self._stretch
        self._next_number, self._stretch = item.number + 1, item.stretch
        if has_seam:
            self._time.seam()
        self._needs_keyframe |= has_gap or has_seam
        self._has_loss |= has_gap

    def _packets(self, item: Taken, pts: int) -> "list[Packet[Any]]":
        if isinstance(item.data, bytes):
            packet: Packet[Any] = Packet(item.data)
            packet.is_keyframe = item.is_keyframe
            return [packet]
        assert self._encoder is not None
        return self._encoder.encode(item.data, item.arrived_ns, pts)

    def _clip_for(self, item: Taken) -> Clip:
        """Return the clip that can take an item: the one that is open, or else the next."""
        kind = item.track if isinstance(item.data, bytes) else item.data.shape
        if self._clip is not None and kind == self._kind:
            return self._clip
        if self._clip is not None:
            self._begin_next()
        self._kind = kind
        self._time = ClipTime(is_live=item.track is None or item.track.is_live)
        self._clip = self._open_clip(item)
        return self._clip

    def _open_clip(self, item: Taken) -> Clip:
        if item.track is not None:
            self._encoder = None
            return Clip(self.path, copied(item.track), item.track.codec)
        assert not isinstance(item.data, bytes)
        self._encoder = PictureEncoder(item.data.shape[1], item.data.shape[0])
        return Clip(self.path, self._encoder.add_stream, "H.264")

    def _begin_next(self) -> None:
        """Finish the files and reserve the next pair of names."""
        assert self._clip is not None
        self._clip.close()
        self._side.close()
        path = self._reserve_next()  # first of all: when it fails, the clip so far stays as it is
        self._clip, self._before_s, self._time = None, self.seconds, ClipTime(is_live=True)
        self.path = path
        self._side = self._open_side()
        log.info("%s: the source has changed its video; recording goes on in %s", self.info.stream, self.path.name)

    def _reserve_next(self) -> Path:
        """Make the next pair of files whose names are free, and return the clip. Raises SinkError."""
        for number in itertools.count(2):
            path = self._first_path.with_name(f"{self._first_path.stem}-{number}{SUFFIX}")
            try:
                _make_both(path)
            except FileExistsError:
                continue
            except OSError as error:
                raise SinkError(f"{path.name}: cannot be made: {error.strerror}") from error
            return path
        raise AssertionError("numbers have no end")

    def _open_side(self) -> TextIO:
        side = side_path(self.path).open("a", encoding="utf-8")
        side.write(to_line(replace(self.info, clip=self.path.name)) + "\n")
        side.flush()
        return side

    def _line(self, record: Record) -> None:
        self._side.write(to_line(record) + "\n")
