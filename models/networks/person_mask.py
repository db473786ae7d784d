"""Which pixels are a person: MediaPipe's selfie segmentation, general model, 256x256.

A MobileNetV3-small backbone (Howard et al. 2019, arXiv 1905.02244), its LR-ASPP head, and a decoder whose skip
connections are weighed by channel attention. The layers follow the published graph one to one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint
from models.networks.layers import SameConv2d

SIZE_PX = 256


class SqueezeExcite(nn.Module):
    """Give each channel's share, 0..1, from the channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,C,1,1]` from `[B,C,H,W]`."""
        return torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))


class Bottleneck(nn.Module):
    """MobileNetV3's block: expand, depthwise, squeeze-excite when asked, project; residual where the shape stays."""

    def __init__(
        self, cin: int, middle: int, cout: int, kernel: int, stride: int, squeezed: int = 0, hardswish: bool = True
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(cin, middle, 1)
        self.depthwise = SameConv2d(middle, middle, kernel, stride, groups=middle)
        self.se = SqueezeExcite(middle, squeezed) if squeezed else None
        self.project = nn.Conv2d(middle, cout, 1)
        self.act = F.hardswish if hardswish else F.relu
        self.is_residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,cout,H/stride,W/stride]`."""
        y: Tensor = self.act(self.depthwise(self.act(self.expand(x))))
        if self.se is not None:
            y = y * self.se(y)
        y = self.project(y)
        return x + y if self.is_residual else y


class DecoderStep(nn.Module):
    """Double the size, join the skip connection by channel attention, refine."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(cin, cout, 1)
        self.attention = SqueezeExcite(cout, cout)
        self.mix = nn.Conv2d(cout, cout, 1)
        self.refine = SameConv2d(cout, cout, 3, groups=cout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return `[B,cout,2H,2W]` from `x [B,cin,H,W]` and `skip [B,cout,2H,2W]`."""
        up = self.reduce(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
        y = F.relu(self.mix(skip * self.attention(skip + up) + up))
        return y + F.relu(self.refine(y))


class SelfieSegmentation(nn.Module):
    """Give the person's share of each pixel: `[B,3,256,256] float rgb 0..1` to `[B,1,256,256] float 0..1`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 16, 3, 2)
        self.stride4 = Bottleneck(16, 16, 16, 3, 2, squeezed=8, hardswish=False)
        self.stride8 = nn.Sequential(
            Bottleneck(16, 72, 24, 3, 2, hardswish=False), Bottleneck(24, 88, 24, 3, 1, hardswish=False)
        )
        self.stride16 = nn.Sequential(
            Bottleneck(24, 96, 32, 5, 2, squeezed=24),
            Bottleneck(32, 128, 32, 5, 1, squeezed=32),
            Bottleneck(32, 128, 32, 5, 1, squeezed=32),
            Bottleneck(32, 96, 32, 5, 1, squeezed=24),
            Bottleneck(32, 96, 32, 5, 1, squeezed=24),
        )
        self.aspp = nn.Conv2d(32, 128, 1)
        self.aspp_gate = nn.Conv2d(32, 128, 1)
        self.decode = nn.ModuleList([DecoderStep(128, 24), DecoderStep(24, 16), DecoderStep(16, 16)])
        self.segment = nn.ConvTranspose2d(16, 1, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask."""
        stem = F.hardswish(self.stem(x))
        stride4 = self.stride4(stem)
        stride8 = self.stride8(stride4)
        stride16 = self.stride16(stride8)
        y = F.relu(self.aspp(stride16)) * torch.sigmoid(self.aspp_gate(F.adaptive_avg_pool2d(stride16, 1)))
        for step, skip in zip(self.decode, (stride8, stride4, stem), strict=True):
            y = step(y, skip)
        return torch.sigmoid(self._doubled(y))

    def _doubled(self, x: Tensor) -> Tensor:
        """Apply `segment`, whose 2x2 kernels do not overlap, as a 1x1 convolution to four phases: exact, and a sixth of
        the time on a CPU, where a transposed convolution to one channel leaves most of a vector register empty."""
        weights = self.segment.weight.permute(1, 2, 3, 0).reshape(4, -1, 1, 1)
        bias = None if self.segment.bias is None else self.segment.bias.repeat(4)
        return F.pixel_shuffle(F.conv2d(x, weights, bias), 2)


class MaskOfPicture(nn.Module):
    """The whole way from uint8 picture to uint8 mask, so that a backend runs it as one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.network = SelfieSegmentation()

    def forward(self, image: Tensor) -> Tensor:
        """Return `[1,256,256,1] uint8` (255 is person) from `[1,256,256,3] uint8 rgb`."""
        dtype = self.network.stem.weight.dtype
        mask: Tensor = self.network(image.permute(0, 3, 1, 2).to(dtype) * (1 / 255))
        # in float32: bf16 would round 255.5 to 256, which wraps to 0
        return (mask.float() * 255 + 0.5).permute(0, 2, 3, 1).to(torch.uint8)


def build() -> nn.Module:
    """Return the network with its committed weights, ready to run. Raises ModelError when they do not fit."""
    graph = MaskOfPicture()
    checkpoint.load_into(graph.network, "person_mask")
    return graph.eval()
