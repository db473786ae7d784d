"""Planar YUV to rgb with torch, against what FFmpeg and OpenCV make of the same picture."""

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace

from models.colour import Colours, Matrix, i420_to_rgb
from stream.errors import ModelError


def planes(height: int = 48, width: int = 64, seed: int = 0, is_full: bool = False) -> np.ndarray:
    """Return random I420 [H*3/2,W] within the legal range; neighbours differ, so chroma in the wrong place shows."""
    low, high = (0, 256) if is_full else (16, 236)
    return np.random.default_rng(seed).integers(low, high, (height * 3 // 2, width)).astype(np.uint8)


def converted(picture: np.ndarray, colours: Colours) -> np.ndarray:
    return i420_to_rgb(torch.from_numpy(picture)[None], colours)[0].numpy()


def test_it_is_what_opencv_makes_of_it_within_a_level() -> None:
    picture = planes()
    wanted = cv2.cvtColor(picture, cv2.COLOR_YUV2RGB_I420)
    assert np.abs(converted(picture, Colours()).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("matrix", list(Matrix))
def test_it_is_what_ffmpeg_makes_of_it_within_what_ffmpeg_rounds(matrix: Matrix, is_full: bool) -> None:
    """A CPU stream goes by swscale: for video range its tables are off by up to 3 in green, mostly by 1."""
    picture = planes(is_full=is_full)
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    rgb = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU601 if matrix is Matrix.BT601 else Colorspace.ITU709,
        src_color_range=ColorRange.JPEG if is_full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    ).to_ndarray()
    difference = np.abs(converted(picture, Colours(matrix, is_full)).astype(int) - rgb)
    assert difference.max() <= (2 if is_full else 3)
    assert (difference > 2).mean() < 0.01
    assert (difference[..., [0, 2]]).max() <= 2


def test_black_white_and_grey_are_exact() -> None:
    for luma, grey in ((16, 0), (235, 255), (0, 0), (255, 255)):
        flat = np.full((24, 16), 128, np.uint8)
        flat[:16] = luma
        assert (converted(flat, Colours()) == grey).all()


def test_a_batch_is_converted_picture_by_picture() -> None:
    both = torch.from_numpy(np.stack([planes(seed=1), planes(seed=2)]))
    rgb = i420_to_rgb(both)
    assert rgb.shape == (2, 48, 64, 3) and rgb.dtype == torch.uint8
    assert (rgb[1].numpy() == converted(planes(seed=2), Colours())).all()


def test_what_is_no_i420_is_refused() -> None:
    for bad in (
        torch.zeros(1, 10, 64, dtype=torch.uint8),
        torch.zeros(1, 72, 63, dtype=torch.uint8),
        torch.zeros(1, 72, 64),
    ):
        with pytest.raises(ModelError, match="expected I420"):
            i420_to_rgb(bad)


@pytest.mark.gpu
@pytest.mark.parametrize("matrix", list(Matrix))
def test_gpu_gives_what_the_processor_gives(matrix: Matrix) -> None:
    picture = torch.from_numpy(planes(720, 1280))[None]
    on_gpu = i420_to_rgb(picture.to("cuda:0"), Colours(matrix)).cpu().int()
    assert (on_gpu - i420_to_rgb(picture, Colours(matrix)).int()).abs().max() <= 1
