"""The rewritten convolutions against the plain ones in torch, float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.networks.subpixel import after_upsampling, first_over_phases, over_phases, to_low

SIZES = [(6, 6), (7, 12), (13, 9)]


def random(*shape):
    return torch.from_numpy(np.random.default_rng(7).normal(size=shape))


def to_phases(x):
    """Return `[B,(2,2,C),H,W]` of `[B,C,2H,2W]`."""
    batch, channels, height, width = x.shape
    split = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)


@pytest.mark.parametrize("size", SIZES)
def test_folded_upsampling_equals_upsampling_then_convolution(size):
    x, weights = random(1, 5, *size), random(3, 5, 3, 3)
    high = F.pad(F.interpolate(x, scale_factor=2.0, mode="nearest"), (1, 1, 1, 1), mode="reflect")
    expected = to_phases(F.conv2d(high, weights))
    folded = torch.from_numpy(after_upsampling(weights.numpy())).double()
    got = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), folded)
    assert (got - expected).abs().max() < 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_kernel_over_phases_equals_kernel_over_pixels(size):
    x, weights = random(1, 4, 2 * size[0], 2 * size[1]), random(3, 4, 9, 9)
    expected = to_phases(F.conv2d(x, weights, padding=4))
    spread = torch.from_numpy(over_phases(weights.numpy())).double()
    assert (F.conv2d(to_phases(x), spread, padding=2) - expected).abs().max() < 1e-10


@pytest.mark.parametrize("size", SIZES)
def test_kernel_that_makes_phases_equals_kernel_then_phases(size):
    x, weights = random(1, 3, 2 * size[0] + 8, 2 * size[1] + 8), random(5, 3, 9, 9)
    made = torch.from_numpy(first_over_phases(weights.numpy())).double()
    assert (F.conv2d(x, made, stride=2) - to_phases(F.conv2d(x, weights))).abs().max() < 1e-5  # kept in float32


@pytest.mark.parametrize("size", SIZES)
def test_halving_kernel_over_phases_equals_it_over_pixels(size):
    x, weights = random(1, 4, 2 * size[0], 2 * size[1]), random(3, 4, 3, 3)
    expected = F.conv2d(F.pad(x, (1, 0, 1, 0), mode="reflect"), weights, stride=2)
    folded = torch.from_numpy(to_low(weights.numpy())).double()
    got = F.conv2d(F.pad(to_phases(x), (1, 0, 1, 0), mode="replicate"), folded)
    assert (got - expected).abs().max() < 1e-10
