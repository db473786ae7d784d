"""8-bit weights whose error is one that pictures hardly show."""

import numpy as np

from models.networks.rounding import likeness, round_for_pictures
from tests.golden import picture

MOST = 127


def kernel():
    return np.random.default_rng(0).normal(size=(4, 9, 9, 3)).astype(np.float32)


def nearest(weights, most):
    step = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / most
    return np.round(weights / step) * step


def noise_db(weights, rounded, image):
    """Return how far the rounding noise lies below the answer on a picture, both without their means."""
    seen = np.lib.stride_tricks.sliding_window_view(image.astype(float), (9, 9), axis=(0, 1))[::4, ::4]
    patches = seen.transpose(0, 1, 3, 4, 2).reshape(-1, 243)
    answer, noise = patches @ weights.reshape(4, -1).T, patches @ (rounded - weights).reshape(4, -1).T
    return 10 * np.log10(answer.var(0) / noise.var(0))


def test_weights_lie_on_the_levels_and_the_largest_stays():
    weights = kernel()
    most = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    levels = round_for_pictures(weights, MOST) / most * MOST
    assert np.abs(levels - np.round(levels)).max() < 1e-3
    assert np.abs(levels).max() <= MOST + 1e-3


def test_noise_on_pictures_is_far_below_that_of_nearest_rounding():
    weights = kernel()
    for name in ("astronaut", "street"):
        image = picture(name)
        gained = noise_db(weights, round_for_pictures(weights, MOST), image)
        gained -= noise_db(weights, nearest(weights, MOST), image)
        assert gained.min() > 6


def test_without_likeness_it_is_nearest_rounding(monkeypatch):
    monkeypatch.setattr("models.networks.rounding.likeness", lambda *shape: np.eye(243))
    weights = kernel()
    assert np.abs(round_for_pictures(weights, MOST) - nearest(weights, MOST)).max() < 1e-6


def test_channel_of_zeros_stays_zeros():
    weights = kernel()
    weights[1] = 0
    assert not round_for_pictures(weights, MOST)[1].any()


def test_likeness_is_a_correlation():
    alike = likeness(3, 3, 3)
    assert np.array_equal(alike, alike.T)
    assert np.array_equal(np.diag(alike), np.ones(27))
    assert np.linalg.eigvalsh(alike).min() > 0
