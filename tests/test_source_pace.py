"""What lets a recording's packets go: their dts, recorded arrivals or the receiver; and the tap that sees them."""

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest

from stream.clock import NS_PER_MS, NS_PER_S, MonotonicClock, VirtualClock
from stream.errors import ConfigError
from stream.frame import Frame
from stream.mailbox import Mailbox, Policy
from stream.source import SourceState, open_source, parse_source
from stream.tap import Track
from stream.timeline import LATE_NS, AtOnce, Recorded
from tests.media import Media, media  # noqa: F401
from tests.play import Player, play
from tests.rtsp import rtsp  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


@dataclass
class Tapped:
    """A tap that keeps what it sees."""

    tracks: list[Track | None] = field(default_factory=list)
    packets: list[tuple[bytes, int]] = field(default_factory=list)
    pictures: list[tuple[Any, int]] = field(default_factory=list)
    seams: int = 0

    def opened(self, track: Track | None) -> None:
        self.tracks.append(track)

    def packet(self, packet: Any, arrived_ns: int) -> None:
        self.packets.append((bytes(packet), arrived_ns))

    def picture(self, picture: Any, captured_ns: int) -> None:
        self.pictures.append((picture, captured_ns))

    def seam(self) -> None:
        self.seams += 1


# Recorded arrivals


def test_packets_go_when_they_were_recorded_to_come() -> None:
    pace = Recorded([0, 5, 200])
    assert [pace.due_ns(None, 1000) for _ in range(3)] == [1000, 1005, 1200]


def test_the_next_pass_begins_one_interval_after_the_last_packet() -> None:
    pace = Recorded([7, 12])
    pace.set_rate(100)
    first = [pace.due_ns(0, 0), pace.due_ns(0, 0)]
    pace.seam()
    second = [pace.due_ns(0, 0), pace.due_ns(0, 0)]
    assert (first, second) == ([7, 12], [12 + 10 * NS_PER_MS, 17 + 10 * NS_PER_MS])


def test_packets_beyond_the_list_come_at_the_declared_rate() -> None:
    pace = Recorded([0])
    pace.set_rate(50)
    assert [pace.due_ns(None, 0) for _ in range(3)] == [0, 20 * NS_PER_MS, 40 * NS_PER_MS]


def test_a_machine_that_is_too_slow_moves_the_recordings_time() -> None:
    pace = Recorded([0, 10, 20])
    late_ns = LATE_NS + 11
    assert [pace.due_ns(None, at_ns) for at_ns in (0, late_ns, late_ns)] == [0, late_ns, late_ns + 10]
    assert pace.resets == 1


def test_a_file_is_captured_with_exactly_the_recorded_spacing(media: Media) -> None:
    arrivals_ns = [index * 20 * NS_PER_MS + (index % 3) * 1234567 for index in range(15)]
    frames = play(media("short.mp4"), schedule=arrivals_ns).frames
    assert [frame.captured_ns - frames[0].captured_ns for frame in frames] == arrivals_ns


def test_a_file_that_loops_repeats_its_arrivals(media: Media) -> None:
    arrivals_ns = [index * index * NS_PER_MS for index in range(15)]
    with Player(str(media("short.mp4")), VirtualClock(), loop=True, schedule=arrivals_ns) as player:
        player.wait_frames(31)
    captured = [frame.captured_ns for frame in player.frames]
    again_ns = captured[15]
    assert again_ns - captured[14] == 33_333_333
    assert [at_ns - again_ns for at_ns in captured[15:30]] == arrivals_ns


def test_arrivals_are_kept_on_the_real_clock(media: Media) -> None:
    arrivals_ns = [index * 10 * NS_PER_MS for index in range(15)]
    clock = MonotonicClock()
    started_ns = clock.now_ns()
    with Player(str(media("short.mp4")), clock, schedule=arrivals_ns) as player:
        player.wait_state(SourceState.FINISHED)
    assert clock.now_ns() - started_ns >= arrivals_ns[-1]
    assert [frame.captured_ns - player.frames[0].captured_ns for frame in player.frames] == arrivals_ns


# As fast as they are taken


def test_without_a_pace_packets_go_at_once(media: Media) -> None:
    clock = VirtualClock(5)
    with Player(str(media("bframes.mp4")), clock, is_paced=False) as player:
        player.wait_state(SourceState.FINISHED)
    assert len(player.frames) == 30
    assert {frame.captured_ns for frame in player.frames} == {5}
    assert [frame.pts for frame in player.frames] == [index * 3000 for index in range(30)]


def test_without_a_pace_the_receiver_sets_it_and_nothing_stalls(media: Media) -> None:
    box: Mailbox[Frame] = Mailbox(2, Policy.WAIT)
    source = open_source(
        parse_source(str(media("base.mp4"))),
        stream="cam",
        clock=MonotonicClock(),
        emit=lambda frame: (box.put(frame), None)[1],
        loop=False,
        stall_after_s=0.2,
        read_timeout_s=0.3,
        is_paced=False,
    )
    source.start()
    try:
        first = box.get(5)
        threading.Event().wait(1.2)  # far longer than a stall or a hang would be allowed
        seqs = [first.seq, *(box.get(5).seq for _ in range(59))]
        status = source.status()
    finally:
        box.close()
        source.stop()
    assert seqs == list(range(60))
    assert (status.counters.stalls, status.counters.pace_resets) == (0, 0)


def test_at_once_is_never_late() -> None:
    pace = AtOnce()
    assert (pace.due_ns(9, 10 * NS_PER_S), pace.after_ns(1, 5), pace.resets) == (10 * NS_PER_S, 5, 0)


@pytest.mark.parametrize(
    ("address", "wish"),
    [
        ("test:", {"schedule": [0]}),
        ("rtsp://127.0.0.1/x", {"is_paced": False}),
        ("rtsp://127.0.0.1/x", {"schedule": [0]}),
    ],
)
def test_a_pace_that_a_source_cannot_have_is_refused(address: str, wish: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Player(address, **wish)


def test_an_empty_schedule_is_refused(media: Media) -> None:
    with pytest.raises(ConfigError, match="schedule"):
        Player(str(media("short.mp4")), schedule=[])


# The tap


def test_the_tap_sees_every_packet_as_it_is_with_its_arrival(media: Media) -> None:
    tap = Tapped()
    frames = play(media("base.mp4"), tap=tap).frames
    assert len(tap.packets) == len(frames) == 60
    assert [arrived_ns for _, arrived_ns in tap.packets] == [frame.captured_ns for frame in frames]
    (track,) = tap.tracks
    assert track is not None
    assert (track.codec, track.size, track.is_live, track.has_clock) == ("h264", (640, 360), False, True)
    assert track.extradata[0] == 1  # avcC
    assert tap.pictures == []


def test_the_tap_is_told_of_each_pass(media: Media) -> None:
    tap = Tapped()
    with Player(str(media("short.mp4")), VirtualClock(), loop=True, tap=tap) as player:
        player.wait_frames(31)
    assert tap.seams >= 2
    assert len(tap.tracks) >= 3
    assert len(set(tap.tracks)) == 1


def test_a_source_without_packets_gives_the_tap_its_pictures_whole() -> None:
    tap = Tapped()
    with Player("test:128x64@30", VirtualClock(), max_size=(64, 32), tap=tap) as player:
        player.wait_frames(3)
    assert tap.tracks == [None]
    assert tap.pictures[0][0].shape == (64, 128, 3)
    assert [at_ns for _, at_ns in tap.pictures[:3]] == [frame.captured_ns for frame in player.frames[:3]]
    assert tap.packets == []


def test_a_folder_of_pictures_gives_the_tap_each(tmp_path: Any) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((32, 64, 3), index, np.uint8))
    tap = Tapped()
    play(tmp_path, tap=tap, fps=10)
    assert [int(picture[0, 0, 0]) for picture, _ in tap.pictures] == [0, 1, 2]
    assert {after - before for (_, before), (_, after) in itertools.pairwise(tap.pictures)} == {100 * NS_PER_MS}


def test_a_camera_gives_the_tap_its_packets_as_they_come(rtsp: Any) -> None:
    tap = Tapped()
    with Player(rtsp().url, tap=tap) as player:
        player.wait_frames(15)
    track = tap.tracks[0]
    assert track is not None
    assert (track.codec, track.size, track.is_live) == ("h264", (320, 240), True)
    assert {frame.captured_ns for frame in player.frames} <= {arrived_ns for _, arrived_ns in tap.packets}
