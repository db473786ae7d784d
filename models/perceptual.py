"""Perceptual losses: how like a painting a picture is in style, and how like another picture in content.

Gatys et al. 2016 ("Image Style Transfer Using Convolutional Neural Networks") and Johnson et al. 2016 (arXiv
1603.08155), with the features of EfficientNet-lite0 in the place of VGG's: its weights are here already. Style is the
Gram matrices of five layers; means and standard deviations gave harder outlines, covariances more grain
(docs/learn-a-style.md).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint
from models.networks.classify import EfficientNetLite

STEM = -1  # stands for the layer before the blocks
STYLE_LAYERS = (STEM, 0, 2, 4, 7)  # at 1/2, 1/2, 1/4, 1/8 and 1/16 of the picture's size
CONTENT_LAYER = 4  # of 40 channels, at 1/8: shapes and what they are, little of how they are painted

Features = dict[int, Tensor]


class Perception(nn.Module):
    """The first layers of EfficientNet-lite0, frozen. Takes `[B,3,H,W] float rgb 0..1` of any size from 32 px."""

    def __init__(self) -> None:
        super().__init__()
        network = EfficientNetLite()
        checkpoint.load_into(network, "classify")
        self.stem = network.stem
        self.blocks = nn.ModuleList(list(network.blocks)[: max(*STYLE_LAYERS, CONTENT_LAYER) + 1])
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Features:
        """Return what each layer of STYLE_LAYERS and CONTENT_LAYER gives, by its number."""
        y = self.stem((x * 255 - 127) * (1 / 128))
        found = {STEM: y}
        for index, block in enumerate(self.blocks):
            y = block(y)
            found[index] = y
        return {layer: found[layer] for layer in {*STYLE_LAYERS, CONTENT_LAYER}}


def gram(features: Tensor) -> Tensor:
    """Return `[B,C,C]`: the mean over all pixels of every channel times every other."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


class Style:
    """What a painting looks like, wherever in the painting it is."""

    def __init__(self, features: Features) -> None:
        """Take the features of one painting `[1,C,H,W]`."""
        self._grams = {layer: gram(features[layer]) for layer in STYLE_LAYERS}
        self._scales = {layer: one.pow(2).mean() for layer, one in self._grams.items()}

    def loss(self, features: Features) -> Tensor:
        """Return how unlike the painting pictures are: 0 the same, 1 as unlike as a picture without any feature."""
        apart = [
            (gram(features[layer]) - self._grams[layer]).pow(2).mean() / self._scales[layer] for layer in STYLE_LAYERS
        ]
        return torch.stack(apart).mean()


def content_loss(features: Features, original: Features) -> Tensor:
    """Return how unlike the originals pictures are: their squared distance over the originals' variance."""
    wanted = original[CONTENT_LAYER]
    return (features[CONTENT_LAYER] - wanted).pow(2).mean() / wanted.var()


def total_variation(x: Tensor) -> Tensor:
    """Return the mean step between neighbouring pixels: what grain adds and flat paint does not."""
    return (x[..., 1:, :] - x[..., :-1, :]).abs().mean() + (x[..., 1:] - x[..., :-1]).abs().mean()


LUMA = (0.299, 0.587, 0.114)  # of rgb, BT.601
WINDOW_PX, SIGMA_PX = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean SSIM of `[B,3,H,W] float rgb 0..1`: as `models.quality.ssim`, and it can be descended."""
    at = torch.arange(WINDOW_PX) - WINDOW_PX // 2
    bell = torch.exp(-(at**2) / (2 * SIGMA_PX**2))
    bell = (bell / bell.sum()).view(1, 1, -1, 1)

    def windowed(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, bell), bell.transpose(2, 3))

    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    a, b = (x * luma).sum(1, keepdim=True), (y * luma).sum(1, keepdim=True)
    mean_a, mean_b = windowed(a), windowed(b)
    var_a, var_b = windowed(a * a) - mean_a**2, windowed(b * b) - mean_b**2
    shared = windowed(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + C1) * (2 * shared + C2)
    return (above / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))).mean()
