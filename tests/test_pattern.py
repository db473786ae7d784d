"""The test pattern, and reading its number back."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.clock import VirtualClock
from stream.frame import Picture
from stream.pattern import Pattern, draw_bars, read_bars
from tests.play import Player, steps


@given(number=st.integers(0, 1 << 20))
@settings(max_examples=50)
def test_a_number_is_read_back(number: int) -> None:
    picture = np.full((90, 160, 3), 100, np.uint8)
    draw_bars(picture, number)
    assert read_bars(picture) == number % (1 << 16)


@pytest.mark.parametrize("size", [(1280, 720), (320, 180), (204, 116), (160, 90)])
@pytest.mark.parametrize("quality", [90, 30])
def test_a_number_lives_through_scaling_and_lossy_encoding(size: tuple[int, int], quality: int) -> None:
    for number in (0, 1, 12_345, 0x5555, 0xAAAA, 0xFFFF):
        picture = cv2.resize(Pattern(640, 360).draw(number, 1.0), size, interpolation=cv2.INTER_AREA)
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        assert read_bars(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == number  # type: ignore[arg-type]


def test_a_picture_without_bars_gives_no_number() -> None:
    assert read_bars(np.zeros((360, 640, 3), np.uint8)) is None
    assert read_bars(np.random.default_rng(1).integers(0, 255, (360, 640, 3), np.uint8)) is None


def test_frame_n_shows_number_n() -> None:
    with Player("test:320x180@30", VirtualClock()) as player:
        player.wait_frames(40)
    frames = player.frames[:40]
    assert [read_bars(frame.image) for frame in frames] == [frame.seq for frame in frames] == list(range(40))
    assert steps(frames) == [3000] * 39


def test_frame_n_shows_number_n_at_a_lower_rate_and_another_size_too() -> None:
    with Player("test:640x360@30", VirtualClock(), fps=7.5, max_size=(320, 320), exact=False) as player:
        player.wait_frames(20)
    frames = player.frames[:20]
    assert [read_bars(frame.image) for frame in frames] == list(range(20))
    assert steps(frames) == [12_000] * 19
    assert frames[0].image.shape == (180, 320, 3)


def test_the_picture_moves_and_has_colour() -> None:
    pattern = Pattern(320, 180)
    first, later = pattern.draw(0, 0.0), pattern.draw(30, 1.0)
    assert difference(first[20:], later[20:]) > 3
    assert np.ptp(first.reshape(-1, 3).astype(int), axis=1).mean() > 30  # far from grey


def difference(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())
