"""The 17 keypoints of one person: MoveNet SinglePose Lightning at 192 px.

MobileNetV2 (arXiv 1801.04381, table 2), a feature pyramid down to stride 4 and four heads, after CenterNet (arXiv
1904.07850): where a person's middle is, where from there each joint is expected, how likely each cell is each joint,
and where in its cell the joint lies. Source: https://storage.googleapis.com/movenet/MoveNet.SinglePose%20Model%20Card.pdf.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint
from models.networks.layers import SameConv2d

JOINTS = 17
# (expansion, cout, blocks, stride), arXiv 1801.04381 table 2
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, LAST = 32, 1280  # channels before and after the blocks
TAPS = {2: 24, 5: 32, 9: 64}  # block whose answer the pyramid takes -> its channels; strides 4, 8, 16
HEADS = {"centre": 1, "regression": 2 * JOINTS, "heatmap": JOINTS, "offset": 2 * JOINTS}
HEAD_CHANNELS = 96


class Bottleneck(nn.Module):
    """Expand, depthwise, project; residual where the shape stays. The publisher folded the batch norms in."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = cin * expansion
        self.expand = nn.Conv2d(cin, middle, 1) if expansion != 1 else None
        self.depthwise = SameConv2d(middle, middle, 3, stride, groups=middle)
        self.project = nn.Conv2d(middle, cout, 1)
        self.is_residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,cout,H/stride,W/stride]`."""
        middle = x if self.expand is None else F.relu6(self.expand(x))
        y: Tensor = self.project(F.relu6(self.depthwise(middle)))
        return x + y if self.is_residual else y


class SeparableConv(nn.Module):
    """Depthwise 3x3, then 1x1 and ReLU."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(cin, cin, 3, 1, 1, groups=cin, bias=False)
        self.pointwise = nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,cout,H,W]`."""
        return F.relu(self.pointwise(self.depthwise(x)))


class Head(nn.Module):
    """One of the four answers, at every cell."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = SeparableConv(cin, HEAD_CHANNELS)
        self.predict = nn.Conv2d(HEAD_CHANNELS, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,H,W,cout]`."""
        y: Tensor = self.predict(self.conv(x))
        return y.permute(0, 2, 3, 1)


class MoveNet(nn.Module):
    """Read `[B,3,192,192] float rgb`, -1..1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, STEM, 3, 2)
        blocks: list[nn.Module] = []
        cin = STEM
        for expansion, cout, count, stride in STAGES:
            blocks += [
                Bottleneck(cin if i == 0 else cout, cout, stride if i == 0 else 1, expansion) for i in range(count)
            ]
            cin = cout
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv2d(cin, LAST, 1)
        self.top = nn.Conv2d(LAST, 64, 1)
        self.lateral = nn.ModuleList([nn.Conv2d(channels, channels, 1) for channels in (64, 32, 24)])
        self.smooth = nn.ModuleList([SeparableConv(64, 32), SeparableConv(32, 24), SeparableConv(24, 24)])
        self.heads = nn.ModuleDict({name: Head(24, channels) for name, channels in HEADS.items()})

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the four heads `[B,48,48,C]` in the order of HEADS; centre and heatmap are probabilities."""
        x = F.relu6(self.stem(x))
        taps = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in TAPS:
                taps.append(x)
        x = self.top(F.relu6(self.last(x)))
        for tap, lateral, smooth in zip(reversed(taps), self.lateral, self.smooth, strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = smooth(x + lateral(tap))
        centre, regression, heatmap, offset = (head(x) for head in self.heads.values())
        return torch.sigmoid(centre), regression, torch.sigmoid(heatmap), offset


class PoseOfPicture(nn.Module):
    """The way from uint8 picture to the four heads, so that a backend runs it as one graph.

    Which cell is taken and where in it the joint lies is worked out in float32 outside: in bf16 an x near 48 is 0.25
    cells coarse.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = MoveNet()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the heads of `[1,192,192,3] uint8 rgb`."""
        x = image.permute(0, 3, 1, 2).to(self.network.top.weight.dtype)
        heads: tuple[Tensor, ...] = self.network(x * (1 / 127.5) - 1)
        return heads


def build() -> nn.Module:
    """Return the network with its committed weights, ready to run. Raises ModelError when they do not fit."""
    graph = PoseOfPicture()
    checkpoint.load_into(graph.network, "pose")
    return graph.eval()
