"""One Matroska file while it is written: packets copied as they are, and pictures encoded where there are no packets.

Every packet gets a cluster of its own (about 14 bytes more) and is handed to the system at once. With
clusters of half a second, FFmpeg keeps that much in memory, and after a silence for as long as it lasts.
"""

import errno
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import PictureType

from stream.clock import NS_PER_MS, NS_PER_S
from stream.errors import SinkError
from stream.frame import Picture
from stream.tap import Track

MS = Fraction(1, 1000)  # Matroska's own unit of time, as FFmpeg writes it
MUXER = {"cluster_time_limit": "0", "flush_packets": "1"}
BACK_MS = 250  # dts that far behind are a jump; less is reordering before FFmpeg knows the dts
LIVE_AHEAD_MS = 1000  # live, dts may run ahead of the arrivals by this much
FILE_AHEAD_MS = 10_000  # as in timeline.MAX_GAP
KEYFRAME_EVERY_NS = NS_PER_S  # of pictures encoded here: how exactly a replay can begin anywhere
SMPTE170M, TV_RANGE = 6, 1  # AVCOL_SPC_SMPTE170M (BT.601), AVCOL_RANGE_MPEG
ENCODER = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"}  # zerolatency: a packet for each picture, at once


class ClipTime:
    """Gives packets the times of one clip, in ms from 0: dts strictly increase, pts keep their distance from them.

    A packet without timestamps, and the first one after a seam or a jump, follows the last one as it arrived.
    """

    def __init__(self, *, is_live: bool) -> None:
        self.last_ms = -1  # dts of the last packet
        self._ahead_ms = LIVE_AHEAD_MS if is_live else FILE_AHEAD_MS
        self._offset: int | None = None  # out = in + offset; None before the first timestamp, and after a seam
        self._anchor: tuple[int, int] | None = None  # (dts, arrived_ns) that arrivals count from; None at first

    def seam(self) -> None:
        """Forget the source's own clock."""
        self._offset = None

    def place(self, pts: int | None, dts: int | None, arrived_ns: int) -> tuple[int, int]:
        """Return (pts, dts) of the next packet. What comes in is in ms on the source's clock, None when missing."""
        stamp = pts if dts is None else dts
        follow = self._follow(arrived_ns)
        if stamp is None:
            return self._done(follow, follow, arrived_ns, has_stamp=False)
        if self._offset is None or not -BACK_MS <= stamp + self._offset - self.last_ms <= self._max_step(follow):
            self._offset = follow - stamp
        wanted = stamp + self._offset
        is_sane = pts is not None and 0 <= pts - stamp <= FILE_AHEAD_MS
        return self._done(pts + self._offset if is_sane and pts is not None else wanted, wanted, arrived_ns)

    def _follow(self, arrived_ns: int) -> int:
        if self._anchor is None:
            return 0
        return max(self.last_ms + 1, self._anchor[0] + round((arrived_ns - self._anchor[1]) / NS_PER_MS))

    def _max_step(self, follow: int) -> int:
        return self._ahead_ms + 2 * (follow - self.last_ms)

    def _done(self, pts: int, dts: int, arrived_ns: int, *, has_stamp: bool = True) -> tuple[int, int]:
        dts = max(dts, self.last_ms + 1)
        self.last_ms = dts
        if has_stamp or self._anchor is None:  # without one, counting on from the last would add up the rounding
            self._anchor = (dts, arrived_ns)
        return max(pts, dts), dts


class Clip:
    """A file that packets are copied into. One thread. Raises SinkError.

    `add_stream` says of what kind they are: `copied(track)`, or the `add_stream` of a PictureEncoder.
    """

    def __init__(self, path: Path, add_stream: Callable[[OutputContainer], Any], codec: str) -> None:
        self.path = path
        self.packets = 0
        self.size_bytes = 0  # of the packets
        self._container = av.open(f"file:{path}", "w", "matroska", container_options=MUXER)  # a colon is no protocol
        try:
            self._stream = add_stream(self._container)
            self._container.start_encoding()
        except (FFmpegError, ValueError) as error:
            raise SinkError(f"{path.name}: {_why(error, codec)}") from error

    def write(self, packet: "Packet[Any]", pts: int, dts: int) -> None:
        """Append a packet, times in ms. The packet is changed."""
        packet.time_base, packet.pts, packet.dts = MS, pts, dts
        packet.stream = self._stream
        size = packet.size
        try:
            self._container.mux(packet)
        except FFmpegError as error:
            raise SinkError(f"{self.path.name}: {error.strerror or 'cannot be written'}") from error
        self.packets += 1
        self.size_bytes += size

    def close(self) -> None:
        """Write duration and index. What is in the file can be read without them, too."""
        try:
            self._container.close()
        except FFmpegError as error:
            raise SinkError(f"{self.path.name}: {error.strerror or 'cannot be finished'}") from error


def copied(track: Track) -> Callable[[OutputContainer], Any]:
    """Return what adds a stream to a container for packets of `track` as they are."""

    def add_stream(container: OutputContainer) -> Any:
        stream = container.add_stream_from_template(track.template, opaque=True)
        if track.codec == "rawvideo":
            stream.codec_context.codec_tag = track.codec_tag
        return stream

    return add_stream


class PictureEncoder:
    """H.264 of pictures of one size, for a clip: BT.601 limited range, a keyframe each second. One thread.

    An odd row or column at the edge is left out, for the format has none.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width & ~1, height & ~1)
        self._keyframe_ns: int | None = None  # when the last keyframe was captured; None before the first
        self._stream: Any = None  # None until a clip has asked for it

    def add_stream(self, container: OutputContainer) -> Any:
        """Add the encoder's stream to a container."""
        stream: Any = container.add_stream("libx264", rate=30, options=ENCODER)
        stream.width, stream.height = self._size
        stream.pix_fmt, stream.thread_count = "yuv420p", 1  # cores belong to the models
        stream.codec_context.time_base = MS
        stream.colorspace = stream.color_primaries = stream.color_trc = SMPTE170M
        stream.color_range = TV_RANGE
        self._stream = stream
        return stream

    def encode(self, picture: Picture, captured_ns: int, pts: int) -> "list[Packet[Any]]":
        """Encode `[H,W,3] uint8 rgb`; `pts` in ms, increasing."""
        width, height = self._size
        yuv = cv2.cvtColor(np.ascontiguousarray(picture[:height, :width]), cv2.COLOR_RGB2YUV_I420)
        frame = av.VideoFrame.from_ndarray(np.asarray(yuv, np.uint8), "yuv420p")
        frame.pts, frame.time_base = pts, MS
        is_due = self._keyframe_ns is None or captured_ns - self._keyframe_ns >= KEYFRAME_EVERY_NS
        frame.pict_type = PictureType.I if is_due else PictureType.NONE
        if is_due:
            self._keyframe_ns = captured_ns
        return list(self._stream.encode(frame))


def _why(error: Exception, codec: str) -> str:
    if isinstance(error, OSError) and error.errno != errno.EINVAL:
        return error.strerror or str(error)
    return f"a Matroska file cannot hold video of this kind ({codec}); set the source to H.264 or MJPEG"
