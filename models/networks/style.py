"""Style transfer into 26 painting styles and any blend of them.

Johnson et al. 2016 (arXiv 1603.08155) for the network, Dumoulin et al. 2016 (arXiv 1610.07629) for the conditional
instance norm that holds one gamma and beta per style; the upsampling is nearest-neighbour then convolution.
"""

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint, stylefile

STYLES = 26
EPSILON = 1e-5  # of the instance norm; the original graph's constant


class ConditionalInstanceNorm(nn.Module):
    """Normalise each picture and channel, then scale and shift by the blended style's gamma and beta."""

    def __init__(self, styles: int, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(styles, channels))
        self.beta = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Tensor, style_weights: Tensor) -> Tensor:
        """Apply to `[B,C,H,W]` with `style_weights [styles]`, a convex mix (>= 0, sum 1)."""
        gamma = torch.matmul(style_weights, self.gamma).view(1, -1, 1, 1)
        beta = torch.matmul(style_weights, self.beta).view(1, -1, 1, 1)
        return F.instance_norm(x, eps=EPSILON) * gamma + beta


class ConvNorm(nn.Module):
    """Reflection padding, convolution without bias, conditional instance norm; upsampled first when asked."""

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int = 1, upsample: bool = False, styles: int = STYLES
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, bias=False)
        self.norm = ConditionalInstanceNorm(styles, cout)
        self.pad_px = kernel // 2
        self.upsample = upsample

    def forward(self, x: Tensor, style_weights: Tensor) -> Tensor:
        """Return the normalised convolution, before its activation."""
        if self.upsample:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = F.pad(x, (self.pad_px,) * 4, mode="reflect")
        y: Tensor = self.norm(self.conv(x), style_weights)
        return y


class Residual(nn.Module):
    """Two convolutions whose sum with the input is passed on without an activation."""

    def __init__(self, channels: int, styles: int = STYLES) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3, styles=styles)
        self.second = ConvNorm(channels, channels, 3, styles=styles)

    def forward(self, x: Tensor, style_weights: Tensor) -> Tensor:
        """Return `x` plus the change."""
        change: Tensor = self.second(F.relu(self.first(x, style_weights)), style_weights)
        return x + change


class StyleTransfer(nn.Module):
    """Repaint `[B,3,H,W] float rgb 0..1` (H and W divisible by 4, at least 16) in a blend of styles; same shape out."""

    def __init__(self, styles: int = STYLES) -> None:
        super().__init__()
        conv = partial(ConvNorm, styles=styles)
        self.contract = nn.ModuleList([conv(3, 32, 9), conv(32, 32, 3, 2), conv(32, 32, 3, 2)])
        self.residual = nn.ModuleList([Residual(32, styles) for _ in range(6)])
        self.expand = nn.ModuleList([conv(32, 8, 3, upsample=True), conv(8, 4, 3, upsample=True)])
        self.paint = conv(4, 3, 9)

    def forward(self, x: Tensor, style_weights: Tensor) -> Tensor:
        """Return the painting, `[B,3,H,W] float rgb 0..1`."""
        for layer in self.contract:
            x = F.relu(layer(x, style_weights))
        for block in self.residual:
            x = block(x, style_weights)
        for layer in self.expand:
            x = F.relu(layer(x, style_weights))
        return torch.sigmoid(self.paint(x, style_weights))


class StyleOnPicture(nn.Module):
    """The whole way from uint8 picture to uint8 picture, so that a backend runs it as one graph."""

    def __init__(self, styles: int = STYLES) -> None:
        super().__init__()
        self.network = StyleTransfer(styles)

    def forward(self, image: Tensor, style_weights: Tensor) -> Tensor:
        """Return `[1,H,W,3] uint8 rgb` from `[1,H,W,3] uint8 rgb` and `style_weights [26]`."""
        x = image.permute(0, 3, 1, 2).to(style_weights.dtype) * (1 / 255)
        painting: Tensor = self.network(x, style_weights)
        # + 0.5: the cast to uint8 truncates. A painting lies in 0..1, so nothing can wrap, in float32: bf16 would round
        # 255.5 to 256, which is 0.
        return (painting.float() * 255 + 0.5).permute(0, 2, 3, 1).to(torch.uint8)


def build(addition: Path | None = None) -> nn.Module:
    """Return the network with its committed weights, ready to run. Raises ModelError when they do not fit.

    With the file of a learnt style as `addition` it has 27 styles, that one the last.
    """
    if addition is None:
        graph = StyleOnPicture()
        checkpoint.load_into(graph.network, "style")
        return graph.eval()
    graph = StyleOnPicture(STYLES + 1)
    weights = stylefile.with_row(checkpoint.arrays("style"), stylefile.read(addition).row)
    graph.network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, strict=True)
    return graph.eval()
