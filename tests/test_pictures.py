"""A folder of pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from stream.clock import VirtualClock
from stream.errors import SourceCode
from stream.pictures import natural_order
from stream.source import SourceState
from tests.play import Player, play, steps
from tests.test_still import png_claiming

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]  # rgb


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures, shot1.png to shot10.png, red, green, blue in turn; and a file that is no picture."""
    for number in range(1, 11):
        colour = COLOURS[number % 3]
        cv2.imwrite(str(tmp_path / f"shot{number}.png"), np.full((90, 160, 3), colour[::-1], np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_pictures_come_in_the_order_of_their_numbers_and_in_their_colours(folder: Path) -> None:
    played = play(folder)
    assert [tuple(frame.image[45, 80]) for frame in played.frames] == [COLOURS[number % 3] for number in range(1, 11)]
    assert steps(played.frames) == [3000] * 9
    assert played.state is SourceState.FINISHED


def test_the_rate_is_the_one_asked_for(folder: Path) -> None:
    played = play(folder, fps=5)
    assert len(played.frames) == 10
    assert steps(played.frames) == [18_000] * 9


def test_a_folder_loops_without_a_seam(folder: Path) -> None:
    with Player(str(folder), VirtualClock(), loop=True) as player:
        player.wait_frames(25)
    assert set(steps(player.frames[:25])) == {3000}


def test_a_broken_picture_is_counted_and_passed_over(folder: Path) -> None:
    (folder / "shot5.png").write_bytes(b"\x89PNG broken")
    played = play(folder)
    assert len(played.frames) == 9
    assert played.source.status().counters.decode_errors == 1


def test_only_broken_pictures_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    status = play(tmp_path, loop=True).source.status()
    assert (status.state, status.code) == (SourceState.ERROR, SourceCode.INVALID_DATA)


def test_a_photo_is_decoded_no_larger_than_it_is_shown_and_its_size_is_told_whole(tmp_path: Path) -> None:
    photo = np.zeros((1200, 2000, 3), np.uint8)
    photo[:, :1000] = (0, 0, 250)  # bgr: the left half red
    cv2.imwrite(str(tmp_path / "a.jpg"), photo)
    frame = play(tmp_path, max_size=(320, 240)).frames[0]
    assert frame.image.shape == (192, 320, 3)
    assert frame.source_size == (1200, 2000)
    assert np.abs(frame.image[96, 40].astype(int) - (250, 0, 0)).max() <= 4
    assert frame.image[96, 280].max() <= 4


def test_a_picture_of_too_many_pixels_is_passed_over_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    png_claiming(tmp_path / "b.png", 50_000, 50_000)
    played = play(tmp_path)
    assert len(played.frames) == 1
    assert played.source.status().counters.decode_errors == 1
    assert "b.png has 50000x50000 pixels, more than the limit of 33177600" in caplog.text


def test_one_picture_is_a_still(folder: Path) -> None:
    with Player(str(folder / "shot3.png"), VirtualClock(), loop=True) as player:
        player.wait_frames(5)
    assert steps(player.frames[:5]) == [3000] * 4


def test_pictures_are_fitted(folder: Path) -> None:
    assert play(folder, max_size=(80, 80)).frames[0].image.shape == (44, 80, 3)
    assert play(folder, max_size=(320, 320), exact=True).frames[0].image.shape == (320, 320, 3)


def test_nine_comes_before_ten() -> None:
    names = ["f10.png", "f9.png", "F1.png", "f.png", "10.png", "9.png"]
    assert [path.name for path in sorted(map(Path, names), key=natural_order)] == [
        "9.png",
        "10.png",
        "F1.png",
        "f9.png",
        "f10.png",
        "f.png",
    ]
