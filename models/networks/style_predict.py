"""The style prediction network: a painting becomes a vector of 100 numbers that say how to paint like it.

Ghiasi et al. 2017, "Exploring the structure of a real-time, arbitrary neural artistic stylization network" (arXiv
1705.06830), in Magenta's small form: MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) instead of Inception-v3. Batch
norm is folded into the convolutions, as the published graph has it.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint
from models.networks.layers import SameConv2d

STYLE_SIZE = 100
SIDE_PX = 256
# (output channels, blocks, stride of the first), table 2 of MobileNetV2; the first row has no expansion
STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
EXPANSION = 6


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, convolve each channel, project back; added to the input where shapes agree."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = cin * expansion
        self.expand = nn.Conv2d(cin, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(inner, inner, 3, stride, groups=inner)
        self.project = nn.Conv2d(inner, cout, 1)
        self.is_added = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,cout,H/stride,W/stride]`."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        change: Tensor = y
        return x + change if self.is_added else change


class StylePredict(nn.Module):
    """From `[B,3,256,256] float rgb 0..1` to `[B,100]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for cout, count, stride in STAGES:
            for index in range(count):
                first = not blocks
                blocks.append(InvertedResidual(channels, cout, 1 if index else stride, 1 if first else EXPANSION))
                channels = cout
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(channels, 1280, 1)
        self.predict = nn.Linear(1280, STYLE_SIZE, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the style vector."""
        x = F.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        style: Tensor = self.predict(F.relu6(self.head(x)).mean((2, 3)))
        return style


class PredictOnPicture(nn.Module):
    """The whole way from a uint8 picture, so that a backend runs it as one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.network = StylePredict()

    def forward(self, picture: Tensor) -> Tensor:
        """Return `[B,100] float` for `[B,256,256,3] uint8 rgb`."""
        x = picture.permute(0, 3, 1, 2).to(self.network.predict.weight.dtype) / 255
        style: Tensor = self.network(x)
        return style


def build() -> PredictOnPicture:
    """Return the network with its weights, in eval mode. Raises ModelError when they are missing or damaged."""
    module = PredictOnPicture()
    checkpoint.load_into(module.network, "style_predict")
    return module.eval()
