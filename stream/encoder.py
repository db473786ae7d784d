"""Pictures to packets: H.264 (libx264) and VP8 (libvpx), opened for no delay and a rate that can change.

Colour: pictures are converted to BT.601 limited range and tagged so, which is what VP8 always means
and what browsers assume for an untagged stream of this size.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from stream.clock import NS_PER_MS
from stream.errors import SinkError
from stream.frame import Picture
from stream.pool import BufferPool

if TYPE_CHECKING:
    VideoPacket: TypeAlias = av.Packet[Any]
else:
    VideoPacket = av.Packet  # generic only in PyAV's type stubs

SOFTWARE = {"H264": "libx264", "VP8": "libvpx"}
NVENC = "h264_nvenc"
RTP_CLOCK = Fraction(1, 90_000)  # RFC 6184 section 8.2.1, RFC 7741 section 4.1
BITS_PER_PIXEL = 0.25  # start of a sane rate: painted pictures are full of detail; 640x360 at 30 fps gets 1.7 Mb/s
MIN_BITRATE_BPS = 300_000
MAX_BITRATE_BPS = 8_000_000
VBV_BITS = 1_000_000  # half a second at the default rate: a keyframe fits, and a new rate is reached within a second
GOP_S = 10  # keyframes come on request; the regular one only bounds how far a recording can be cut
SMPTE170M, TV_RANGE = 6, 1  # AVCOL_SPC_SMPTE170M (BT.601), AVCOL_RANGE_MPEG

# Level: (macroblocks per second, macroblocks per frame), ITU-T H.264 table A-1
H264_LEVELS = {"31": (108_000, 3_600), "40": (245_760, 8_192), "51": (983_040, 36_864), "52": (2_073_600, 36_864)}


KEYFRAME_EVERY_NS = 300 * NS_PER_MS  # at most one requested keyframe in this time, shared by all viewers


class KeyframeGate:
    """Joins the keyframe requests of all viewers into at most one per `KEYFRAME_EVERY_NS`."""

    def __init__(self) -> None:
        self._is_wanted = True  # the first picture is a keyframe anyway
        self._last_ns: int | None = None  # None before the first

    def request(self) -> None:
        """Ask for a keyframe. Any thread."""
        self._is_wanted = True

    def take(self, now_ns: int) -> bool:
        """Return whether the next picture is to be a keyframe, and if so consider it done."""
        if not self._is_wanted or (self._last_ns is not None and now_ns - self._last_ns < KEYFRAME_EVERY_NS):
            return False
        self.made(now_ns)
        return True

    def made(self, now_ns: int) -> None:
        """Note a keyframe that comes without having been asked for: the first of an encoder."""
        self._is_wanted = False
        self._last_ns = now_ns


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What an encoder is opened with. `codec` is "H264" or "VP8"; width and height are even.

    encoder  FFmpeg's name of it: "libx264", "libvpx", or NVENC on an NVIDIA GPU; "" is the processor's for the codec
    """

    codec: str
    width: int
    height: int
    fps: float
    bitrate_bps: int
    encoder: str = ""


def default_bitrate_bps(width: int, height: int, fps: float) -> int:
    """Return the bit rate that suits a size and frame rate when nobody chose one."""
    return max(MIN_BITRATE_BPS, min(MAX_BITRATE_BPS, round(width * height * fps * BITS_PER_PIXEL)))


def h264_level(width: int, height: int, fps: float) -> str:
    """Return the lowest H.264 level that allows the size and rate, as x264 writes it ("31" is 3.1)."""
    macroblocks = -(-width // 16) * -(-height // 16)
    for level, (per_second, per_frame) in H264_LEVELS.items():
        if macroblocks <= per_frame and macroblocks * fps <= per_second:
            return level
    return "52"


class VideoEncoder:
    """One open encoder. One thread at a time. Raises SinkError when it cannot be opened or used.

    `pool` is what its pictures are made in; None for one of its own.
    """

    def __init__(self, settings: EncoderSettings, pool: BufferPool | None = None) -> None:
        self.settings = settings
        self.keyframes = 0
        self._pool = pool or BufferPool()
        self._rate_factor = 1.0  # declared rate / real rate, as last applied
        try:
            self._context = _open(settings)
        except (av.error.FFmpegError, ValueError) as error:
            size = f"{settings.width}x{settings.height}"
            name = settings.encoder or settings.codec
            raise SinkError(f"no {name} encoder for {size}: {error}; run `livelens doctor`") from error

    def encode(self, picture: Picture, rtp_ts: int, *, is_keyframe: bool) -> list[VideoPacket]:
        """Encode `[H,W,3] uint8 rgb` of the opened size; `rtp_ts` in 1/90000 s, increasing."""
        frame = self._yuv_frame(picture)
        frame.pts, frame.time_base = rtp_ts, RTP_CLOCK
        frame.pict_type = PictureType.I if is_keyframe else PictureType.NONE
        try:
            packets = list(self._context.encode(frame))
        except av.error.FFmpegError as error:
            raise SinkError(f"{self.settings.codec} encoder failed: {error}") from error
        self.keyframes += sum(packet.is_keyframe for packet in packets)
        return packets

    def _yuv_frame(self, picture: Picture) -> av.VideoFrame:
        """Return the picture as a frame of the encoder's, made of a buffer that stays taken while FFmpeg holds it."""
        height, width = picture.shape[:2]
        buffer = self._pool.take((height * 3 // 2, width))
        yuv = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420, dst=buffer), np.uint8)
        if height % 4:  # PyAV takes the height from the rows of the buffer, rounded to 4 (av 18)
            return av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        return av.VideoFrame.from_numpy_buffer(yuv, format="yuv420p")

    def set_bitrate(self, bitrate_bps: int) -> None:
        """Change the target rate without a rebuild or a keyframe; never above MAX_BITRATE_BPS.

        libx264 follows; FFmpeg's libvpx keeps the rate it was opened with.
        """
        self._context.bit_rate = max(MIN_BITRATE_BPS, min(MAX_BITRATE_BPS, bitrate_bps))

    def follow_rate(self, fps: float) -> None:
        """Keep the bit rate when fewer or more pictures come than the encoder was opened for.

        The encoders share bits out by the declared rate: at a third of the pictures they send a third of
        the bits, and waste what the picture could look like. `fps` 0 means not known yet.
        """
        factor = self.settings.fps / fps if fps else 1.0
        if abs(factor - self._rate_factor) > 0.15 * self._rate_factor:
            self._rate_factor = factor
            self.set_bitrate(round(self.settings.bitrate_bps * factor))


def _open(settings: EncoderSettings) -> VideoCodecContext:
    name = settings.encoder or SOFTWARE[settings.codec]
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = settings.width, settings.height, "yuv420p"
    context.time_base = RTP_CLOCK
    context.framerate = Fraction(settings.fps).limit_denominator(1001)
    context.bit_rate = MAX_BITRATE_BPS if settings.codec == "H264" else settings.bitrate_bps  # see _h264_options
    context.gop_size = max(1, round(GOP_S * settings.fps))
    context.thread_count = 1  # cores belong to the models; measured 1-3 ms a frame up to 720p
    context.colorspace = context.color_primaries = context.color_trc = SMPTE170M
    context.color_range = TV_RANGE
    context.options = _options(name, settings)
    if settings.codec == "H264":
        context.profile = "Baseline"  # what every browser takes: no B-frames, no CABAC
    context.open()
    context.bit_rate = settings.bitrate_bps
    opened: VideoCodecContext = context
    return opened


def _options(name: str, settings: EncoderSettings) -> dict[str, str]:
    if name == NVENC:
        return _NVENC_OPTIONS
    return _h264_options(settings) if settings.codec == "H264" else _VP8_OPTIONS


def _h264_options(settings: EncoderSettings) -> dict[str, str]:
    """Zero-latency x264, opened with its bit rate at the cap and lowered at once.

    x264 follows a new rate only when it was opened with rate = maxrate (its constant-rate mode); opened
    with a lower rate it ignores every later change. Measured with libx264 164.
    """
    return {
        "preset": "superfast",
        "tune": "zerolatency",
        "level": h264_level(settings.width, settings.height, settings.fps),
        "maxrate": str(MAX_BITRATE_BPS),
        "bufsize": str(VBV_BITS),
        "x264-params": "scenecut=0",  # a keyframe at every cut would make the rate jump; viewers ask when they need one
    }


# Not run on hardware. No frame is held back, and a picture marked I becomes one that a viewer can begin with.
_NVENC_OPTIONS = {
    "preset": "p1",
    "tune": "ull",
    "zerolatency": "1",
    "delay": "0",
    "rc": "cbr",
    "forced-idr": "1",
}

_VP8_OPTIONS = {
    "deadline": "realtime",
    "cpu-used": "8",
    "lag-in-frames": "0",
    "error-resilient": "1",
    "static-thresh": "0",
}
