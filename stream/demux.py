"""Read video with FFmpeg (PyAV): files, RTSP, HTTP, and cameras where FFmpeg has a driver for them."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.codec.context import Flags, ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from stream.address import SourceKind, SourceSpec
from stream.averrors import source_error
from stream.convert import Converter, quarter_turns, upright_size
from stream.errors import SourceCode, SourceError
from stream.intake import Attempt, Media
from stream.interrupt import interrupted_by
from stream.tap import copy_track
from stream.timeline import to_ticks

MAX_PIXELS = 7680 * 4320  # 8K: a picture takes 100 MB as rgb; more is refused before memory is spent
BIG_PIXELS = 1280 * 720  # above this, two decoder threads share a picture
MAX_READ_ERRORS = 100  # damaged stretches of a recording to read past, in a row
NO_CLOCK = ("mpjpeg", "mjpeg", "h264", "hevc", "m4v", "mjpeg_2000")  # their pts only count pictures
ANALYZE_US = 100_000  # RTSP: the SDP says nearly all; a longer look delays the first picture (default: 2 s)
HTTP_ANALYZE_US = 1_000_000  # MPEG-TS and the like say what they hold only in the data


@dataclass(frozen=True, slots=True)
class Input:
    """What FFmpeg is to open.

    target     path or URL; may hold a password
    display    the same for people, secrets masked
    is_live    whether its end is a loss
    kind       what it is, for messages
    format     FFmpeg's input format; None to find out
    options    FFmpeg's options
    """

    target: str = field(repr=False)
    display: str
    is_live: bool
    kind: SourceKind
    format: str | None = None
    options: tuple[tuple[str, str], ...] = ()


def rtsp_input(spec: SourceSpec) -> Input:
    """Return how to open an RTSP address: over TCP, with a short analysis.

    Not with `fflags=nobuffer`, which is often advised: it throws away the pictures that the analysis
    read, the first keyframe among them, and a camera with a keyframe each 10 s then shows nothing for 10 s.
    """
    options = {
        "rtsp_transport": "tcp",
        "protocol_whitelist": "tcp,tls",
        "analyzeduration": str(ANALYZE_US),
        "fpsprobesize": "0",
    }
    return Input(spec.target, spec.display, True, spec.kind, None, tuple(options.items()))


def url_input(spec: SourceSpec) -> Input:
    """Return how to open a file, or an HTTP address (MJPEG, HLS, MP4, MPEG-TS)."""
    if spec.kind is SourceKind.FILE:  # "file:" so that a colon in the name is no protocol
        return Input(f"file:{spec.target}", spec.display, False, spec.kind, None, (("protocol_whitelist", "file"),))
    options = {
        "protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto",
        "analyzeduration": str(HTTP_ANALYZE_US),
        "fpsprobesize": "0",
    }
    return Input(spec.target, spec.display, True, spec.kind, None, tuple(options.items()))


class DemuxReader:
    """Reader: demux, decode packet by packet, convert. Keeps nothing from one `read` to the next."""

    def __init__(self, source: Input) -> None:
        self._input = source

    def read(self, attempt: Attempt) -> None:
        """Read to the end, a failure or the stop; see `stream.intake.Reader`."""
        with closing(self._open(attempt)) as container:  # closed uninterrupted: RTSP says TEARDOWN then
            self._play(container, attempt)

    def _play(self, container: InputContainer, attempt: Attempt) -> None:
        stream = self._video(container)
        is_paced = self._is_paced(container)
        has_clock = is_paced or container.format.name not in NO_CLOCK
        track = copy_track(stream, is_live=not is_paced, has_clock=has_clock) if attempt.has_tap else None
        attempt.opened(_media(stream, is_paced), track)
        pump = _Pump(attempt, stream, is_paced, has_clock)
        with interrupted_by(attempt.stop):
            for packet in self._packets(container, stream, attempt):
                if not pump.take(packet):
                    return
        is_recording = is_paced and bool(container.duration)
        if self._input.is_live and not is_recording and not attempt.stop.is_set():
            raise SourceError(f"{self._input.display}: the other side ended the stream", SourceCode.REMOVED)

    def _open(self, attempt: Attempt) -> InputContainer:
        timeouts = (attempt.open_timeout_s, attempt.read_timeout_s)
        options = {**dict(self._input.options), "max_pixels": str(MAX_PIXELS)}  # also for FFmpeg's own first look
        try:
            with interrupted_by(attempt.stop):
                return av.open(self._input.target, "r", self._input.format, options=options, timeout=timeouts)
        except FFmpegError as error:
            is_late = time.monotonic() - attempt.started_s >= attempt.open_timeout_s * 0.95
            raise source_error(error, self._input.display, self._input.kind, is_late=is_late) from None

    def _video(self, container: InputContainer) -> VideoStream:
        """Return the stream to show, with its decoder set up. Raises SourceError when there is none."""
        pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not pictures:
            raise SourceError(f"{self._input.display}: there is no video in it", SourceCode.NO_VIDEO)
        best = container.streams.best("video")
        stream = best if isinstance(best, VideoStream) and best in pictures else pictures[0]
        if not has_decoder(stream):
            message = f"{self._input.display}: its video codec cannot be decoded here; set the camera to H.264"
            raise SourceError(message, SourceCode.CODEC_UNSUPPORTED, is_retryable=False)
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            message = f"{self._input.display}: {width}x{height} is more than the limit of {MAX_PIXELS} pixels (8K)"
            raise SourceError(message, SourceCode.TOO_LARGE, is_retryable=False)
        _set_up(stream)
        return stream

    def _is_paced(self, container: InputContainer) -> bool:
        """Return whether packets come faster than real time and must be held back: recordings and HLS."""
        if self._input.kind is SourceKind.FILE:
            return True
        if self._input.kind is not SourceKind.HTTP:
            return False
        return bool(container.duration) or container.format.name in ("hls", "dash")

    def _packets(
        self, container: InputContainer, stream: VideoStream, attempt: Attempt
    ) -> Iterator["Packet[VideoStream]"]:
        """Yield packets to the end, past damaged stretches of a recording."""
        errors = 0
        while not attempt.stop.is_set():
            started_s = time.monotonic()
            try:
                for packet in container.demux(stream):
                    errors = 0
                    yield packet
                    started_s = time.monotonic()
                return
            except FFmpegError as error:
                errors += 1
                is_late = time.monotonic() - started_s >= attempt.read_timeout_s * 0.95
                failure = source_error(error, self._input.display, self._input.kind, is_late=is_late)
                if failure.code is not SourceCode.INVALID_DATA or errors > MAX_READ_ERRORS:
                    raise failure from None
                attempt.decode_failed(error.strerror or "no reason given")


class _Pump:
    """Decode packets and hand over the pictures, each with the time it was captured."""

    def __init__(self, attempt: Attempt, stream: VideoStream, is_paced: bool, has_clock: bool) -> None:
        self._attempt = attempt
        self._stream = stream
        self._is_paced = is_paced
        self._has_clock = has_clock  # False when the container makes its pts up
        self._converter = Converter(attempt.pool)
        self._captured_ns = attempt.now_ns()  # of the last packet

    def take(self, packet: "Packet[VideoStream]") -> bool:
        """Decode one packet; the empty one at the end empties the decoder. Return False once stopped."""
        is_last = packet.size == 0 and packet.dts is None
        if not is_last and not self._arrive(packet):
            return False
        try:
            frames = packet.decode()
        except FFmpegError as error:
            self._attempt.decode_failed(error.strerror or "no reason given")
            return not self._attempt.stop.is_set()
        for frame in frames:
            if is_last and self._is_paced:  # the pictures still in the decoder keep the pace
                captured_ns = self._attempt.wait_after(self._captured_ns)
                if captured_ns is None:
                    return False
                self._captured_ns = captured_ns
            self._show(frame, self._captured_ns)
        return not self._attempt.stop.is_set()

    def _arrive(self, packet: "Packet[VideoStream]") -> bool:
        """Stamp the packet, after waiting for its time when it comes from a recording."""
        arrived_ns: int | None = self._attempt.now_ns()
        if self._is_paced:
            arrived_ns = self._attempt.wait_due(self._ticks(packet.dts if packet.dts is not None else packet.pts))
        if arrived_ns is None:
            return False
        self._captured_ns = arrived_ns
        packet.opaque = arrived_ns
        self._attempt.packet(packet, arrived_ns)
        return True

    def _show(self, frame: av.VideoFrame, released_ns: int) -> None:
        """Hand one picture over.

        Live, a picture was captured when its own packet came, though with B-frames it leaves the decoder
        later: that wait is real latency. In a recording the decoder's order is no latency at all: the
        picture's time comes when the packet that releases it does.
        """
        own = frame.opaque
        captured_ns = own if not self._is_paced and isinstance(own, int) else released_ns
        pts = frame.pts if frame.pts is not None else frame.dts
        self._attempt.picture(
            self._ticks(pts) if self._has_clock else None,
            captured_ns,
            upright_size(frame),
            lambda size: self._converter.picture(frame, size),
            pixel_aspect(self._stream, frame),
        )

    def _ticks(self, value: int | None) -> int | None:
        return None if value is None or not self._stream.time_base else to_ticks(value, self._stream.time_base)


def has_decoder(stream: VideoStream) -> bool:
    """Return whether this build can decode the stream. PyAV's types say always; its code says None."""
    decoder: object = stream.codec_context
    return decoder is not None


def _set_up(stream: VideoStream) -> None:
    """Set the decoder so that it holds no picture back and refuses a size that would eat the memory.

    Slice threads share one picture; frame threads would delay it by one frame each. LOW_DELAY is not
    set: measured over RTSP it changed nothing, with B-frames or without, and FFmpeg warns of it.
    """
    decoder = stream.codec_context
    decoder.thread_type = ThreadType.SLICE
    decoder.thread_count = 2 if decoder.width * decoder.height > BIG_PIXELS else 1
    decoder.flags |= Flags.copy_opaque
    decoder.options = {"max_pixels": str(MAX_PIXELS)}


def _media(stream: VideoStream, is_paced: bool) -> Media:
    """Return what the container declares. Its guess of the rate also reads the codec's header (T5)."""
    decoder = stream.codec_context
    return Media(decoder.width, decoder.height, decoder.name, stream.guessed_rate or stream.average_rate, is_paced)


def pixel_aspect(stream: VideoStream, frame: av.VideoFrame) -> Fraction:
    """Return the width of a pixel by its height, in the upright picture; 1 when not said."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return aspect if quarter_turns(frame) % 2 == 0 else 1 / aspect
