"""What all sources have in common, without any source."""

import threading
from typing import Any

import numpy as np
import pytest

from stream.clock import NS_PER_MS, VirtualClock
from stream.frame import Frame, Picture
from stream.intake import Attempt, Intake, Media, Wish
from stream.trace import Step


class Intaken:
    """An intake with one attempt, in virtual time."""

    def __init__(self, max_size: tuple[int, int] | None = None, exact: bool = False, fps: float | None = None) -> None:
        self.clock = VirtualClock()
        self.frames: list[Frame] = []
        self.intake = Intake("cam", self.clock, self.frames.append, Wish(max_size, exact, fps))
        self.attempt = self.again()

    def again(self) -> Attempt:
        self.attempt = Attempt(self.intake, 5.0, 5.0, threading.Event())
        return self.attempt

    def show(self, pts: int | None, captured_ns: int = 0, size: tuple[int, int] = (64, 32)) -> None:
        self.attempt.picture(pts, captured_ns, size, white)


def white(size: tuple[int, int]) -> Picture:
    return np.full((size[1], size[0], 3), 255, np.uint8)


def test_a_picture_becomes_a_frame_with_its_stamps() -> None:
    one = Intaken()
    one.clock.advance_to(7 * NS_PER_MS)
    one.show(9000, captured_ns=5 * NS_PER_MS)
    frame = one.frames[0]
    assert (frame.stream, frame.seq, frame.pts, frame.captured_ns) == ("cam", 0, 0, 5 * NS_PER_MS)
    assert frame.trace.stamps_ns == {Step.CAPTURED: 5 * NS_PER_MS, Step.DECODED: 7 * NS_PER_MS}
    assert frame.source_size == frame.image.shape[:2] == (32, 64)


def test_numbers_and_pts_go_on_over_loops_and_reconnects() -> None:
    one = Intaken()
    for is_loop in (True, False, True):
        one.attempt.opened(Media(fps=30, is_paced=True))
        one.show(0)
        one.show(3000)
        one.intake.seam(is_loop=is_loop)
        one.again()
    assert [frame.seq for frame in one.frames] == list(range(6))
    assert [frame.pts for frame in one.frames] == [index * 3000 for index in range(6)]
    assert one.intake.counts.loops == 2


def test_a_stopped_attempt_changes_nothing_any_more() -> None:
    one = Intaken()
    old = one.attempt
    one.show(0)
    old.stop.set()
    old.opened(Media(99, 99))
    old.packet()
    old.decode_failed("x")
    old.picture(3000, 0, (64, 32), white)
    assert len(one.frames) == 1
    assert (one.intake.counts.packets, one.intake.counts.decode_errors, one.intake.media.width) == (0, 0, 64)


def test_surplus_frames_are_skipped_before_they_are_converted() -> None:
    one, made = Intaken(fps=10), list[Any]()
    for index in range(30):
        one.attempt.picture(index * 3000, 0, (64, 32), lambda size: made.append(size) or white(size))
    assert len(one.frames) == len(made) == 10
    assert one.intake.counts.skipped_fps == 20
    assert [frame.seq for frame in one.frames] == list(range(10))


def test_an_exact_size_has_black_around_the_picture() -> None:
    one = Intaken(max_size=(64, 64), exact=True)
    one.show(0, size=(64, 32))
    image = one.frames[0].image
    assert image.shape == (64, 64, 3)
    assert image.flags.c_contiguous
    assert image[:16].max() == image[48:].max() == 0
    assert image[16:48].min() == 255


def test_a_new_size_in_mid_stream_is_fitted_and_counted_once() -> None:
    one = Intaken(max_size=(64, 64))
    for size in ((128, 64), (128, 64), (32, 64), (32, 64)):
        one.show(None, size=size)
    assert [frame.image.shape[:2] for frame in one.frames] == [(32, 64), (32, 64), (64, 32), (64, 32)]
    assert (one.intake.counts.size_changes, one.intake.media.width) == (1, 32)


def test_a_senseless_declared_rate_is_ignored() -> None:
    one = Intaken()
    for fps in (0.0, 90_000.0, float("nan")):
        one.attempt.opened(Media(fps=fps))
        assert one.intake.media.fps is None
    assert one.intake.pacer.interval_ns == 33_333_333


def test_decode_errors_warn_at_most_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    one = Intaken()
    for _ in range(50):
        one.attempt.decode_failed("broken")
    assert one.intake.counts.decode_errors == 50
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_waiting_for_a_packets_time_is_idle_and_ends_with_the_stop() -> None:
    class Clock(VirtualClock):
        def wait_until(self, at_ns: int, stop: threading.Event) -> bool:
            idle.append(one.attempt.is_idle)
            return super().wait_until(at_ns, stop)

    one, idle = Intaken(), list[bool]()
    one.intake.clock = Clock()
    assert [one.attempt.wait_due(0), one.attempt.wait_due(3000)] == [0, 33_333_333]
    assert idle == [True, True]
    assert not one.attempt.is_idle
    one.attempt.stop.set()
    assert one.attempt.wait_due(6000) is None
