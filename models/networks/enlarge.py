"""Enlarge a picture four times: SRVGG, a plain stack of convolutions whose last one makes the pixels of 4x4.

Wang et al. 2021, "Real-ESRGAN" (arXiv 2107.10833), in the compact form of its realesr-animevideov3: the network adds
what nearest-neighbour enlargement lacks, so a flat area stays as it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint

FACTOR = 4
CHANNELS, LAYERS = 64, 16  # between the first convolution and the last


class Srvgg(nn.Module):
    """From `[B,3,H,W] float rgb 0..1` to `[B,3,4H,4W]`, a little beyond 0..1 at times."""

    def __init__(self) -> None:
        super().__init__()
        inner = [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LAYERS)]
        self.convs = nn.ModuleList([nn.Conv2d(3, CHANNELS, 3, padding=1), *inner])
        self.slopes = nn.ModuleList([nn.PReLU(CHANNELS) for _ in range(LAYERS + 1)])
        self.last = nn.Conv2d(CHANNELS, 3 * FACTOR**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged picture."""
        y = x
        for conv, slope in zip(self.convs, self.slopes, strict=True):
            y = slope(conv(y))
        detail: Tensor = F.pixel_shuffle(self.last(y), FACTOR)
        return detail + F.interpolate(x, scale_factor=float(FACTOR), mode="nearest")


class EnlargeOnPicture(nn.Module):
    """The whole way from uint8 picture to uint8 picture, so that a backend runs it as one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Srvgg()

    def forward(self, picture: Tensor) -> Tensor:
        """Return `[B,4H,4W,3] uint8 rgb` for `[B,H,W,3] uint8 rgb`."""
        x = picture.permute(0, 3, 1, 2).to(self.network.last.weight.dtype) / 255
        enlarged: Tensor = self.network(x).clamp(0, 1)
        return (enlarged * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1)  # + 0.5: the cast truncates


def build() -> EnlargeOnPicture:
    """Return the network with its weights, in eval mode. Raises ModelError when they are missing or damaged."""
    module = EnlargeOnPicture()
    checkpoint.load_into(module.network, "enlarge")
    return module.eval()
