"""RTP packets in, whole encoded frames out, in order: reordering, loss, duplicates and wrap, decided without a clock.

A frame is let go at its marker bit (RFC 3550 section 5.1, RFC 6184 section 5.1), as soon as it is whole. A buffer that
waits for the next frame's first packet, as aiortc's does, holds every picture for one frame interval.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stream.clock import NS_PER_MS

CAPACITY = 1024  # packets held, 1.2 MB: a keyframe of 4K video fits
MAX_WAIT_NS = 150 * NS_PER_MS  # for a missing packet: a retransmission takes a round trip, and more would be a freeze
MAX_MISORDER = 100  # packets; RFC 3550 appendix A.1
SEQ_MOD, TIMESTAMP_MOD = 1 << 16, 1 << 32


@dataclass(frozen=True, slots=True)
class Packet:
    """What the buffer needs of an RTP packet. `data` is the payload without the codec's own header."""

    seq: int  # 0..65535
    timestamp: int  # 0..2**32-1, ticks of the codec's clock
    is_last: bool  # the marker bit
    data: bytes
    arrived_ns: int


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A whole encoded picture. `timestamp` is unwrapped: it only grows; `arrived_ns` is that of its first packet."""

    data: bytes
    timestamp: int
    arrived_ns: int
    is_keyframe: bool


@dataclass(slots=True)
class JitterCounts:
    """What happened so far."""

    packets: int = 0
    duplicates: int = 0  # and packets that came after their frame was given up or let go
    lost: int = 0  # packets given up
    frames: int = 0
    frames_lost: int = 0  # incomplete, or useless without the keyframe that was lost
    resets: int = 0  # the sender's numbers jumped


class Unwrapper:
    """Continue a counter of fixed width: the value nearest to the last one (RFC 3550 appendix A.1)."""

    def __init__(self, modulus: int) -> None:
        self._modulus = modulus
        self._last: int | None = None  # None before the first value

    def unwrap(self, value: int) -> int:
        """Return the value with its wraps counted in; the next one is near it."""
        self._last = self.nearest(value)
        return self._last

    def nearest(self, value: int) -> int:
        """Return the value with its wraps counted in, and take no note of it."""
        if self._last is None:
            return value
        return self._last + (value - self._last + self._modulus // 2) % self._modulus - self._modulus // 2


class JitterBuffer:
    """The packets of one video stream. `is_keyframe(data)` says whether a whole frame can be decoded by itself."""

    def __init__(self, is_keyframe: Callable[[bytes], bool]) -> None:
        self.counts = JitterCounts()
        self._is_keyframe = is_keyframe
        self._packets: dict[int, Packet] = {}  # by unwrapped sequence number, all >= `_next`
        self._next: int | None = None  # first sequence number not yet let go; None before the first packet
        self._seqs = Unwrapper(SEQ_MOD)
        self._timestamps = Unwrapper(TIMESTAMP_MOD)
        self._highest = -1  # unwrapped sequence number, of the packets held
        self._needs_keyframe = True  # what comes before one cannot be decoded
        self._wants_keyframe = False
        self._is_fresh = True  # nothing was let go yet: the first packet to come need not be the first that was sent
        self._marks_frames = True  # False once a marker was seen in the middle of a frame
        self._last_timestamp: int | None = None  # of the frame let go last, as sent
        self._stray: Packet | None = None  # the newest that was far from all others; None when none was

    def push(self, packet: Packet) -> list[EncodedFrame]:
        """Take a packet; return the frames that are whole now, in order."""
        self.counts.packets += 1
        if not self._is_far(self._seqs.nearest(packet.seq)):
            return self._place(packet)
        stray, self._stray = self._stray, packet
        if stray is None or packet.seq != (stray.seq + 1) % SEQ_MOD:
            return []  # one alone may be a mistake; two in sequence are a sender that started anew (RFC 3550, A.1)
        self._reset()
        return self._place(stray) + self._place(packet)

    def _is_far(self, seq: int) -> bool:
        return self._next is not None and (abs(seq - self._next) >= CAPACITY or self._next - seq >= MAX_MISORDER)

    def _place(self, packet: Packet) -> list[EncodedFrame]:
        """Put a packet where it belongs; return the frames that are whole now."""
        seq = self._seqs.unwrap(packet.seq)
        if self._next is None:
            self._next = seq
        if self._is_fresh:
            self._next = min(self._next, seq)
        if seq < self._next or seq in self._packets:
            self.counts.duplicates += 1
            return []
        self._packets[seq] = packet
        self._highest = max(self._highest, seq)
        frames = self._whole_frames()
        while self._is_overdue(packet.arrived_ns):
            self._skip()
            frames += self._whole_frames()
        return frames

    def take_keyframe_wish(self) -> bool:
        """Return whether the sender should be asked for a keyframe, once for each reason to."""
        wish, self._wants_keyframe = self._wants_keyframe, False
        return wish

    def _whole_frames(self) -> list[EncodedFrame]:
        """Let go every frame that is whole from `_next` on."""
        frames = []
        while (end := self._end_of_frame()) is not None:
            packets = [self._packets.pop(seq) for seq in range(self._begin, end)]
            self._next, self._is_fresh = end, False
            if frame := self._join(packets):
                frames.append(frame)
        return frames

    @property
    def _begin(self) -> int:
        assert self._next is not None, "only asked once a packet has come"
        return self._next

    def _end_of_frame(self) -> int | None:
        """Return the number after the last packet of the first frame; None while it is not whole."""
        first = self._packets.get(self._begin)
        if first is None:
            return None
        if not first.data and first.timestamp == self._last_timestamp:
            return self._begin + 1  # padding behind a frame, sent to probe for bandwidth
        if self._marks_frames and first.data and first.timestamp == self._last_timestamp:
            self._marks_frames = False  # the frame went on after its marker: this sender sets it within frames
        seq = self._begin
        while (packet := self._packets.get(seq)) is not None and packet.timestamp == first.timestamp:
            seq += 1
            if packet.is_last and self._marks_frames:
                return seq
        return seq if packet is not None else None

    def _join(self, packets: list[Packet]) -> EncodedFrame | None:
        """Return the frame; None for padding, and for what cannot be decoded after a loss."""
        data = b"".join(packet.data for packet in packets)
        self._last_timestamp = packets[0].timestamp
        if not data:
            return None
        is_keyframe = self._is_keyframe(data)
        if self._needs_keyframe and not is_keyframe:
            self.counts.frames_lost += 1
            self._wants_keyframe = True
            return None
        self._needs_keyframe = False
        self.counts.frames += 1
        timestamp = self._timestamps.unwrap(packets[0].timestamp)
        return EncodedFrame(data, timestamp, min(p.arrived_ns for p in packets), is_keyframe)

    def _gap(self) -> int | None:
        """Return the first missing sequence number that others wait behind; None when none is missing."""
        if self._highest - self._begin + 1 <= len(self._packets):
            return None
        return next(seq for seq in range(self._begin, self._highest) if seq not in self._packets)

    def _is_overdue(self, now_ns: int) -> bool:
        gap = self._gap()
        if gap is None:
            return False
        waiting_ns = min(packet.arrived_ns for seq, packet in self._packets.items() if seq > gap)
        return now_ns - waiting_ns > MAX_WAIT_NS

    def _skip(self) -> None:
        """Give up the frame in front: go on at the next one that is surely whole so far. A keyframe must follow."""
        gap = self._gap()
        assert gap is not None, "only called when a packet is missing"
        end = min(seq for seq in self._packets if seq > gap)
        if not self._is_keyframe(self._packets[end].data):  # it may be the middle of a frame
            torn = self._packets[end].timestamp
            while end in self._packets and self._packets[end].timestamp == torn:
                end += 1
        self.counts.lost += sum(seq not in self._packets for seq in range(self._begin, end))
        self.counts.frames_lost += 1
        for seq in [seq for seq in self._packets if seq < end]:
            del self._packets[seq]
        self._next, self._is_fresh = end, False
        self._needs_keyframe = self._wants_keyframe = True

    def _reset(self) -> None:
        """Begin again: the sender started anew, or was away for long."""
        self.counts.resets += 1
        self.counts.frames_lost += bool(self._packets)
        self._packets.clear()
        self._next, self._highest, self._stray = None, -1, None
        self._seqs = Unwrapper(SEQ_MOD)
        self._is_fresh = True
        self._needs_keyframe = self._wants_keyframe = True
        self._last_timestamp = None


def is_h264_keyframe(data: bytes) -> bool:
    """Whether an Annex B byte stream holds an IDR slice or a sequence parameter set (H.264 table 7-1: 5, 7)."""
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        if data[at + 3] & 0x1F in (5, 7):
            return True
        at = data.find(b"\x00\x00\x01", at + 3)
    return False


def is_vp8_keyframe(data: bytes) -> bool:
    """Whether a VP8 frame is a keyframe: the flag and the start code (RFC 6386 section 9.1)."""
    return len(data) > 5 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"
