"""The 1000 ImageNet categories: EfficientNet-lite0 at 224 px.

MBConv blocks without squeeze-excitation and with ReLU6 (Tan and Le 2019, arXiv 1905.11946; "lite" by TensorFlow, 2020).
Trained in TensorFlow: SAME padding, batch norm epsilon 1e-3.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint
from models.networks.layers import SameConv2d

# (blocks, kernel, stride, expansion, cin, cout), arXiv 1905.11946 table 1
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
CATEGORIES = 1000
EPSILON = 1e-3


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU6 unless it is the last of a block."""

    def __init__(
        self, cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(cin, cout, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(cout, EPSILON)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,cout,H/stride,W/stride]`."""
        y: Tensor = self.norm(self.conv(x))
        return F.relu6(y) if self.relu else y


class MbConv(nn.Module):
    """Expand, depthwise, project; residual where the shape stays."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = cin * expansion
        self.expand = ConvNorm(cin, middle) if expansion != 1 else nn.Identity()
        self.depthwise = ConvNorm(middle, middle, kernel, stride, middle)
        self.project = ConvNorm(middle, cout, relu=False)
        self.is_residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,cout,H/stride,W/stride]`."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.is_residual else y


class EfficientNetLite(nn.Module):
    """Give category logits `[B,1000]` for `[B,3,224,224] float rgb`, (value - 127) / 128."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        for count, kernel, stride, expansion, cin, cout in STAGES:
            blocks.append(MbConv(cin, cout, kernel, stride, expansion))
            blocks += [MbConv(cout, cout, kernel, 1, expansion) for _ in range(count - 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(320, 1280)
        self.classify = nn.Linear(1280, CATEGORIES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        y = self.head(self.blocks(self.stem(x)))
        logits: Tensor = self.classify(F.adaptive_avg_pool2d(y, 1).flatten(1))
        return logits


class CategoriesOfPicture(nn.Module):
    """The way from uint8 picture to logits, so that a backend runs it as one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite()

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[1,1000]` from `[1,224,224,3] uint8 rgb`."""
        x = image.permute(0, 3, 1, 2).to(self.network.classify.weight.dtype)
        logits: Tensor = self.network((x - 127) * (1 / 128))
        return logits


def build() -> nn.Module:
    """Return the network with its committed weights, ready to run. Raises ModelError when they do not fit."""
    graph = CategoriesOfPicture()
    checkpoint.load_into(graph.network, "classify")
    return graph.eval()
