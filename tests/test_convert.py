"""Colours, sizes and rotation, on pictures from real decoders."""

from collections.abc import Iterator

import av
import numpy as np
import pytest

from stream.convert import Converter, quarter_turns, upright_size
from stream.frame import Picture
from tests.media import Media, media  # noqa: F401

RGB = (0x20, 0xA0, 0x60)


def first(path: object) -> av.VideoFrame:
    with av.open(str(path)) as container:
        frames: Iterator[av.VideoFrame] = container.decode(video=0)
        return next(frames)


def corner_colours(picture: Picture) -> list[str]:
    """Return r, g or b for the middle of each quarter: top left, top right, bottom left, bottom right."""
    height, width = picture.shape[:2]
    points = [(y * height // 4, x * width // 4) for y in (1, 3) for x in (1, 3)]
    return ["rgb"[int(np.argmax(picture[point]))] for point in points]


@pytest.mark.parametrize("name", ["color_full.mp4", "color_tv.mp4", "color_tv601.mp4", "color_untagged_hd.mp4"])
@pytest.mark.parametrize("size", [(640, 360), (320, 180), (800, 448)])
def test_colours_are_right_whatever_the_range_and_matrix(media: Media, name: str, size: tuple[int, int]) -> None:  # noqa: F811
    """opencv#20513."""
    picture = Converter().picture(first(media(name)), size)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - RGB).max() <= 6


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_picture_is_turned_as_ffmpeg_turns_it(media: Media, degrees: int) -> None:  # noqa: F811
    """One quarter of the stored picture is blue; ffmpeg's own turning is the reference."""
    frame, reference = first(media(f"turned{degrees}.mp4")), first(media(f"shown{degrees}.mp4"))
    size = upright_size(frame)
    assert size == (reference.width, reference.height)
    picture = Converter().picture(frame, size)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.flags.c_contiguous
    assert corner_colours(picture) == corner_colours(Converter().picture(reference, size))
    assert sorted(corner_colours(picture)) == ["b", "r", "r", "r"]


def test_an_odd_size_keeps_its_last_row_and_column(media: Media) -> None:  # noqa: F811
    frame = first(media("odd.mp4"))
    picture = Converter().picture(frame, (640, 360)).astype(float)
    whole = frame.to_ndarray(format="rgb24").astype(float)
    assert whole.shape == (359, 641, 3)
    assert abs(picture[:, -1].mean() - whole[:, -1].mean()) < 8
    assert abs(picture[-1].mean() - whole[-1].mean()) < 8


def test_every_width_gives_packed_rows(media: Media) -> None:  # noqa: F811
    frame = first(media("upright.mp4"))
    for width in range(300, 340, 4):
        picture = Converter().picture(frame, (width, 180))
        assert picture.flags.c_contiguous
        assert picture.shape == (180, width, 3)


def test_a_small_tilt_is_no_turn() -> None:
    class Tilted:
        rotation = 7

    assert quarter_turns(Tilted()) == 0  # type: ignore[arg-type]
