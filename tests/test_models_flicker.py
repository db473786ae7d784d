"""The measure of flicker: none for what only moves, all of what trembles, and blind where nothing is known."""

import numpy as np
import pytest

from models.flicker import SHAKE_PX, flicker, made_steady, motion, panning_camera, still_camera
from models.steady import warped
from tests.golden import picture


@pytest.fixture
def image():
    return picture("street")[:180, :240].copy()


def test_motion_of_a_shifted_picture_is_its_shift(image):
    before, now = image[:, 6:].copy(), image[:, :-6].copy()  # what was at x is at x + 6
    flow, known = motion(now, before)
    assert known[20:-20, 20:-20].mean() > 0.8
    assert np.abs(np.median(flow[known], axis=0) - (-6, 0)).max() < 0.3


def test_what_only_moves_does_not_flicker(image):
    before, now = image[:, 6:].copy(), image[:, :-6].copy()
    moving = motion(now, before)
    assert flicker([before, now], [moving]) < 2.5
    still = np.zeros_like(moving[0]), moving[1]
    assert flicker([before, now], [still]) > 3 * flicker([before, now], [moving])


def test_change_is_told_in_levels_of_255(image):
    none = np.zeros((*image.shape[:2], 2), np.float32), np.ones(image.shape[:2], bool)
    grey = np.full_like(image, 100)
    assert flicker([grey, grey + 3, grey], [none, none]) == pytest.approx(3)
    nowhere = none[0], np.zeros(image.shape[:2], bool)
    assert flicker([grey, grey + 3], [nowhere]) == 0


def test_what_was_covered_or_uncovered_is_not_counted(image):
    now = image.copy()
    now[40:100, 60:140] = (250, 20, 20)
    _, known = motion(now, image)
    assert known[50:90, 70:130].mean() < 0.05
    assert known[130:, 170:].mean() > 0.9


def test_cameras_show_what_they_say(image):
    pictures, motions = still_camera(image, 3, noise=4)
    assert len(pictures) == len(motions) + 1
    assert flicker(pictures, motions) == pytest.approx(4 * 2 / np.sqrt(np.pi), rel=0.1)  # mean |a - b| of two normals
    pictures, motions = panning_camera(image, 3)
    (flow, known) = motions[0]
    assert np.allclose(flow[0, 0], SHAKE_PX)
    assert flicker(pictures, motions) < 0.7 * flicker(pictures, [(np.zeros_like(flow), known)] * 2)
    assert warped(pictures[0], flow).shape == image.shape


def test_nothing_is_steadied_by_nothing(image):
    pictures, _ = still_camera(image, 3)
    assert all(np.array_equal(a, b) for a, b in zip(made_steady(pictures, pictures, 0.0), pictures, strict=True))
