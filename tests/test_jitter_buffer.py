"""The jitter buffer, with packets as scripts: (sequence number, timestamp, marker, data)."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.clock import NS_PER_MS
from stream.jitter_buffer import (
    CAPACITY,
    MAX_WAIT_NS,
    JitterBuffer,
    Packet,
    is_h264_keyframe,
    is_vp8_keyframe,
)

MS = NS_PER_MS


def is_key(data: bytes) -> bool:
    return data.startswith(b"K")


class Rig:
    """A buffer fed frame by frame: the first frame is a keyframe, every packet takes 1 ms."""

    def __init__(self, first_seq: int = 0, first_timestamp: int = 0) -> None:
        self.buffer = JitterBuffer(is_key)
        self.first_seq, self.first_timestamp = first_seq, first_timestamp
        self.now_ns = 0
        self.got: list[tuple[int, bytes]] = []  # (timestamp after the first, data)
        self.zero: int | None = None

    def push(self, index: int, frame: int, *, is_last: bool = False, data: bytes = b"x", after_ms: float = 1) -> None:
        """Push packet number `index` of frame number `frame`, counted from the first of each."""
        self.now_ns += round(after_ms * MS)
        seq, timestamp = (self.first_seq + index) % (1 << 16), (self.first_timestamp + frame * 3000) % (1 << 32)
        for one in self.buffer.push(Packet(seq, timestamp, is_last, data, self.now_ns)):
            self.zero = one.timestamp if self.zero is None else self.zero
            self.got.append((one.timestamp - self.zero, one.data))

    def frames(self) -> list[bytes]:
        return [data for _, data in self.got]


def test_a_frame_goes_at_its_marker_and_not_with_the_next_frame() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K1")
    assert rig.frames() == []
    rig.push(1, 0, data=b"K2", is_last=True)
    assert rig.frames() == [b"K1K2"]


def test_a_sender_without_markers_is_released_by_the_next_timestamp() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K")
    rig.push(1, 0, data=b"1")
    rig.push(2, 1, data=b"2")
    assert rig.frames() == [b"K1"]


def test_a_sender_that_marks_within_frames_is_found_out_and_then_waited_for() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K", is_last=True)  # let go too early, once
    rig.push(1, 0, data=b"1", is_last=True)
    rig.push(2, 1, data=b"2", is_last=True)
    rig.push(3, 1, data=b"3", is_last=True)
    rig.push(4, 2, data=b"4", is_last=True)
    assert rig.frames() == [b"K", b"1", b"23"]


def test_packets_out_of_order_make_one_frame() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K")
    rig.push(2, 0, data=b"2", is_last=True)
    assert rig.frames() == []
    rig.push(1, 0, data=b"1")
    assert rig.frames() == [b"K12"]


def test_a_late_packet_lets_go_every_frame_that_waited_for_it() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K")
    rig.push(2, 1, data=b"2", is_last=True)
    rig.push(3, 2, data=b"3", is_last=True)
    rig.push(1, 0, data=b"1", is_last=True)
    assert rig.frames() == [b"K1", b"2", b"3"]


def test_duplicates_and_packets_of_the_past_change_nothing() -> None:
    rig = Rig()
    for _ in range(2):
        rig.push(0, 0, data=b"K", is_last=True)
    rig.push(1, 1, data=b"1")
    rig.push(1, 1, data=b"1")
    rig.push(2, 1, data=b"2", is_last=True)
    assert rig.frames() == [b"K", b"12"]
    assert rig.buffer.counts.duplicates == 2


@pytest.mark.parametrize(("first_seq", "first_timestamp"), [(65533, 0), (0, 2**32 - 4000), (65535, 2**32 - 1)])
def test_numbers_wrap(first_seq: int, first_timestamp: int) -> None:
    rig = Rig(first_seq, first_timestamp)
    rig.push(0, 0, data=b"K", is_last=True)
    for frame in range(1, 8):
        rig.push(frame, frame, data=b"x", is_last=True)
    assert [ticks for ticks, _ in rig.got] == [frame * 3000 for frame in range(8)]


def test_nothing_is_given_before_the_first_keyframe_and_one_is_asked_for() -> None:
    rig = Rig()
    rig.push(0, 0, is_last=True)
    assert rig.frames() == [] and rig.buffer.take_keyframe_wish()
    assert not rig.buffer.take_keyframe_wish()
    rig.push(1, 1, data=b"K", is_last=True)
    assert rig.frames() == [b"K"]


def test_a_lost_packet_is_waited_for_and_then_given_up_until_a_keyframe() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K", is_last=True)
    rig.push(2, 1, data=b"2", is_last=True)  # packet 1 is lost
    rig.push(3, 2, data=b"3", is_last=True, after_ms=33)
    assert rig.frames() == [b"K"] and not rig.buffer.take_keyframe_wish()
    rig.push(4, 3, data=b"4", is_last=True, after_ms=MAX_WAIT_NS / MS)
    assert rig.frames() == [b"K"] and rig.buffer.take_keyframe_wish()
    rig.push(5, 4, data=b"5", is_last=True)
    rig.push(6, 5, data=b"K6", is_last=True)
    rig.push(7, 6, data=b"7", is_last=True)
    assert rig.frames() == [b"K", b"K6", b"7"]
    assert rig.buffer.counts.lost == 1


def test_a_lost_marker_does_not_join_two_frames() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K")
    rig.push(2, 1, data=b"K2", is_last=True)  # packet 1, the first frame's last, is lost; a keyframe follows
    rig.push(3, 2, data=b"3", is_last=True, after_ms=200)
    assert rig.frames() == [b"K2", b"3"]


def test_padding_between_frames_is_passed_over() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K", is_last=True)
    rig.push(1, 0, data=b"")
    rig.push(2, 0, data=b"")
    rig.push(3, 1, data=b"3", is_last=True)
    rig.push(4, 2, data=b"4", is_last=True)
    assert rig.frames() == [b"K", b"3", b"4"]


def test_a_sender_that_starts_anew_is_followed() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K", is_last=True)
    rig.push(30_000, 1, data=b"K1", is_last=True)
    rig.push(30_001, 2, data=b"2", is_last=True)
    assert rig.frames() == [b"K", b"K1", b"2"]
    assert rig.buffer.counts.resets == 1


def test_one_packet_far_from_all_others_disturbs_nothing() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K", is_last=True)
    rig.push(30_000, 9, data=b"?", is_last=True)
    rig.push(1, 1, data=b"1", is_last=True)
    rig.push(45_000, 9, data=b"?", is_last=True)
    rig.push(2, 2, data=b"2", is_last=True)
    assert rig.frames() == [b"K", b"1", b"2"]
    assert rig.buffer.counts.resets == 0 and not rig.buffer.take_keyframe_wish()


def test_the_buffer_is_bounded() -> None:
    rig = Rig()
    rig.push(0, 0, data=b"K", is_last=True)
    for index in range(2, 3 * CAPACITY):  # packet 1 never comes, and all arrive at once
        rig.push(index, index, after_ms=0)
        assert len(rig.buffer._packets) <= CAPACITY


@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0, 0.02, 0.3]), delay=st.integers(0, 40))
def test_frames_come_in_order_each_once_and_whole(seed: int, loss: float, delay: int) -> None:
    """Any loss, duplication and reordering of a stream: what comes out was sent, whole, in order, without repeats."""
    rng = random.Random(seed)
    sent: list[bytes] = []
    script: list[tuple[float, Packet]] = []
    seq = rng.randrange(1 << 16)
    for frame in range(60):
        parts = [
            b"%s%d.%d;" % (b"K" if frame % 20 == 0 and part == 0 else b"x", frame, part)
            for part in range(rng.randint(1, 4))
        ]
        sent.append(b"".join(parts))
        for part, data in enumerate(parts):
            at = frame * 33 + part + rng.random() * delay
            packet = Packet(seq % (1 << 16), frame * 3000, part == len(parts) - 1, data, 0)
            script += [(at + rng.random() * delay, packet)] * (rng.random() >= loss)
            script += [(at + 50, packet)] * (rng.random() < 0.05)
            seq += 1
    buffer = JitterBuffer(is_key)
    got = []
    for at, packet in sorted(script, key=lambda one: one[0]):
        moved = Packet(packet.seq, packet.timestamp, packet.is_last, packet.data, round(at * MS))
        got += [frame.data for frame in buffer.push(moved)]
    places = [sent.index(data) for data in got]
    assert places == sorted(set(places))
    if not loss:
        assert len(got) >= (39 if delay else 60)  # where the very first packet is overtaken, the second keyframe begins


@pytest.mark.parametrize(
    ("data", "is_keyframe"),
    [
        (b"\x00\x00\x00\x01\x67\x42\x00\x00\x01\x68\x00\x00\x01\x65\x88", True),
        (b"\x00\x00\x01\x65\x88", True),
        (b"\x00\x00\x01\x41\x9a\x00\x00\x01\x41", False),
        (b"\x00\x00\x01", False),
        (b"", False),
    ],
)
def test_h264_keyframes_are_known_by_their_nal_units(data: bytes, is_keyframe: bool) -> None:
    assert is_h264_keyframe(data) is is_keyframe


@pytest.mark.parametrize(
    ("data", "is_keyframe"),
    [
        (b"\x10\x02\x00\x9d\x01\x2a\x80\x02", True),
        (b"\x11\x02\x00\x9d\x01\x2a\x80\x02", False),
        (b"\x10\x02\x00\x00\x00\x00\x00", False),
        (b"\x10", False),
    ],
)
def test_vp8_keyframes_are_known_by_flag_and_start_code(data: bytes, is_keyframe: bool) -> None:
    assert is_vp8_keyframe(data) is is_keyframe
