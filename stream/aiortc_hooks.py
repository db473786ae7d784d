"""Every place where Livelens reaches into aiortc. Each is small, named, and guarded by a test.

aiortc is pinned to the releases these were checked with (pyproject.toml).
"""

from collections.abc import Callable
from typing import Any

from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.rtp import RtpPacket

from stream.encoder import KeyframeGate
from stream.jitter_buffer import EncodedFrame, JitterBuffer, JitterCounts, Packet, is_h264_keyframe, is_vp8_keyframe

IS_KEYFRAME = {"H264": is_h264_keyframe, "VP8": is_vp8_keyframe}


def on_keyframe_request(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call `callback` when the viewer sends PLI or FIR (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1).

    aiortc only notes the request for its own encoder; packets encoded elsewhere never see it.
    """
    sender._send_keyframe = callback  # type: ignore[method-assign]


def sent_timestamp(sender: RTCRtpSender) -> int:
    """Return the RTP timestamp of the packet sent last, as it was on the wire; 0 before the first.

    aiortc adds an origin of its own to each sender's timestamps and tells it to nobody.
    """
    return int(sender._RTCRtpSender__rtp_timestamp)  # type: ignore[attr-defined]


class Reception:
    """Takes a video receiver's packets out of aiortc's hands before it holds, decodes and queues them.

    aiortc's jitter buffer lets a frame go only when the next one begins, its decoder thread and its track have queues
    without a bound. Ours takes the place of its jitter buffer, gives whole frames to `on_frame(codec, frame)` on the
    loop, and none to aiortc's decoder, which then sleeps.
    """

    def __init__(
        self, receiver: RTCRtpReceiver, on_frame: Callable[[str, EncodedFrame], None], now_ns: Callable[[], int]
    ) -> None:
        self._receiver: Any = receiver
        self._on_frame = on_frame
        self._now_ns = now_ns
        self._gate = KeyframeGate()  # requests of ours, joined and throttled
        self._gate.made(now_ns())  # a sender begins with a keyframe
        self._buffers: dict[tuple[int, str], JitterBuffer] = {}  # by SSRC and codec; the newest only
        assert hasattr(self._receiver, "_RTCRtpReceiver__jitter_buffer"), "aiortc is pinned to releases that have it"
        self._receiver._RTCRtpReceiver__jitter_buffer = self

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        """Take a packet as aiortc's buffer would; say whether a PLI is due (RFC 4585 section 6.3.1); no frame."""
        codec = str(self._receiver._RTCRtpReceiver__codecs[packet.payload_type].name).upper()
        buffer = self._buffer(packet.ssrc, codec)
        now_ns = self._now_ns()
        data: bytes = packet._data  # type: ignore[attr-defined]  # the payload without its codec's header
        for frame in buffer.push(Packet(packet.sequence_number, packet.timestamp, bool(packet.marker), data, now_ns)):
            self._on_frame(codec, frame)
        if buffer.take_keyframe_wish():
            self._gate.request()
        return self._gate.take(now_ns), None

    def ask_keyframe(self) -> None:
        """Have a PLI sent with the next packet that comes. Any thread."""
        self._gate.request()

    def counts(self) -> JitterCounts:
        """Return what the present buffer has seen; zeros before the first packet."""
        return next(reversed(self._buffers.values())).counts if self._buffers else JitterCounts()

    def _buffer(self, ssrc: int, codec: str) -> JitterBuffer:
        if (ssrc, codec) not in self._buffers:
            self._buffers = {(ssrc, codec): JitterBuffer(IS_KEYFRAME[codec])}
        return self._buffers[ssrc, codec]
