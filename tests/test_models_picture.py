"""Fitting pictures to networks."""

import cv2
import numpy as np
import pytest

from models.picture import pad_to_multiple, resize
from stream.pool import BufferPool
from tests.golden import picture


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


@pytest.mark.parametrize("size", [(256, 256), (108, 192), (224, 224), (90, 160), (360, 640), (180, 320)])
def test_quick_shrinking_is_nearly_the_mean_over_areas(size):
    image = cv2.resize(picture("street"), (640, 360))
    by_area = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(resize(image, *size).astype(int) - by_area).mean() < 2


def test_every_step_of_shrinking_is_made_in_buffers_used_again():
    pool, image = BufferPool(), np.zeros((720, 1280, 3), np.uint8)
    for _ in range(5):
        resize(image, 100, 170, pool)
    counts = pool.counts()
    assert counts.misses == 4 and counts.hits == 16  # two halvings, the blur and the rest
