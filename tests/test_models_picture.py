"""Fitting pictures to networks."""

import numpy as np
import pytest

from models.picture import pad_to_multiple, resize


def test_fitting_picture_is_given_back_itself():
    image = np.zeros((32, 64, 3), np.uint8)
    assert pad_to_multiple(image, 4, 16) is image
    assert resize(image, 32, 64) is image


@pytest.mark.parametrize(("size", "padded"), [((1, 1), (16, 16)), ((17, 33), (20, 36)), ((360, 638), (360, 640))])
def test_padding_extends_below_and_right_by_mirroring(size, padded):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    result = pad_to_multiple(image, 4, 16)
    assert result.shape == (*padded, 3)
    assert np.array_equal(result[: size[0], : size[1]], image)
    if padded[0] > size[0]:
        assert np.array_equal(result[size[0], : size[1]], image[-1])


def test_far_shrinking_averages_every_pixel():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255  # bilinear at 1/4 would see all of them or none
    assert np.abs(resize(stripes, 16, 16).astype(int) - 64).max() <= 1


def test_mask_keeps_two_dimensions():
    assert resize(np.zeros((256, 256), np.uint8), 90, 160).shape == (90, 160)
