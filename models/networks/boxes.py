"""Objects of the 80 COCO classes: NanoDet-g at 416 px (https://github.com/RangiLyu/nanodet).

A cross-stage-partial backbone, a path-aggregation neck that resizes and adds, and per stride one convolution that gives
class scores and, for each side of the box, a distribution over distances (generalized focal loss, arXiv 2006.04388).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint

CLASSES = 80
BINS = 11  # distances 0..10 strides, for each of the four sides
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)


class ConvLeaky(nn.Module):
    """3x3 convolution and leaky ReLU of slope 0.1; its batch norm was folded in by the publisher."""

    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,cout,H/stride,W/stride]`."""
        return F.leaky_relu(self.conv(x), 0.1)


class TinyBlock(nn.Module):
    """Two convolutions, one behind the other, both kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvLeaky(channels, channels // 2)
        self.second = ConvLeaky(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,channels,H,W]`."""
        first = self.first(x)
        return torch.cat([self.second(first), first], 1)


class CspStage(nn.Module):
    """Change the size, work on it, and keep it beside the result."""

    def __init__(self, cin: int, cout: int, stride: int, blocks: int) -> None:
        super().__init__()
        self.enter = ConvLeaky(cin, cout, stride)
        self.blocks = nn.Sequential(*[TinyBlock(cout) for _ in range(blocks)])
        self.leave = ConvLeaky(cout, cout)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,2*cout,H/stride,W/stride]`."""
        kept = self.enter(x)
        return torch.cat([self.leave(self.blocks(kept)), kept], 1)


class Head(nn.Module):
    """Scores and distances of one stride's cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvLeaky(channels, channels)
        self.predict = nn.Conv2d(channels, CLASSES + 4 * BINS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,H*W,124]`, cells row by row: 80 class logits, then 4 x 11 distance logits."""
        y: Tensor = self.predict(self.conv(x))
        return y.flatten(2).permute(0, 2, 1)


class NanoDet(nn.Module):
    """Find objects in `[B,3,H,W] float bgr`, normalised; H and W divisible by 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvLeaky(3, 32, 2)
        self.stride4 = CspStage(32, 32, 1, 1)
        self.stride8 = CspStage(64, 64, 2, 2)
        self.stride16 = CspStage(128, 128, 2, 2)
        self.stride32 = CspStage(256, 256, 2, 3)
        self.lateral = nn.ModuleList([nn.Conv2d(channels, 128, 1) for channels in (128, 256, 512)])
        self.heads = nn.ModuleList([Head(128) for _ in range(3)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores `[B,N,80] 0..1` and distance logits `[B,N,44]`; N cells of stride 8, then 16, then 32."""
        x = self.stride4(F.max_pool2d(self.stem(x), 3, 2, 1))
        x8 = self.stride8(x)
        x16 = self.stride16(x8)
        x32 = self.stride32(x16)
        x8, x16, x32 = (lateral(x) for lateral, x in zip(self.lateral, (x8, x16, x32), strict=True))
        x16 = x16 + _resize(x32, 2.0)
        x8 = x8 + _resize(x16, 2.0)
        down16 = x16 + _resize(x8, 0.5)
        down32 = x32 + _resize(down16, 0.5)
        y = torch.cat([head(x) for head, x in zip(self.heads, (x8, down16, down32), strict=True)], 1)
        return torch.sigmoid(y[:, :, :CLASSES]), y[:, :, CLASSES:]


def _resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class BoxesOfPicture(nn.Module):
    """The way from uint8 picture to scores and distances, so that a backend runs it as one graph.

    The boxes themselves are computed from the few good cells outside: in bf16 a coordinate near 416 is 2 px coarse.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.network = NanoDet()
        self.register_buffer("mean", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD_BGR).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores `[1,N,80]` and distance logits `[1,N,44]` from `[1,H,W,3] uint8 rgb`."""
        bgr = image.permute(0, 3, 1, 2).to(self.mean.dtype).flip(1)
        scores, distances = self.network((bgr - self.mean) / self.std)
        return scores, distances


def build() -> nn.Module:
    """Return the network with its committed weights, ready to run. Raises ModelError when they do not fit."""
    graph = BoxesOfPicture()
    checkpoint.load_into(graph.network, "boxes")
    return graph.eval()
