"""Style transfer into the manner of any painting, given as the 100 numbers of the style prediction network.

Ghiasi et al. 2017 (arXiv 1705.06830), Magenta's network: like the one of 26 styles (networks/style.py), but gamma and
beta of every instance norm are a linear map of the style vector instead of one of 26 rows. The contracting layers have
no such norm: their batch norm is folded into the convolution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import checkpoint
from models.networks.style_predict import STYLE_SIZE

EPSILON = 1e-5  # of the instance norm; the original graph's constant
RESIDUALS = 5


class StyledConv(nn.Module):
    """Reflection padding, convolution without bias, instance norm with a given gamma and beta."""

    def __init__(self, cin: int, cout: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, bias=False)
        self.pad_px = kernel // 2

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """Apply to `[B,C,H,W]`; gamma and beta are `[cout]`."""
        x = self.conv(F.pad(x, (self.pad_px,) * 4, mode="reflect"))
        return F.instance_norm(x, eps=EPSILON) * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1)


class AnyStyle(nn.Module):
    """Repaint `[B,3,H,W] float rgb 0..1` (H and W divisible by 4, at least 16) after a style vector; same shape out."""

    def __init__(self) -> None:
        super().__init__()
        self.contract = nn.ModuleList([nn.Conv2d(3, 8, 9), nn.Conv2d(8, 16, 3, 2), nn.Conv2d(16, 32, 3, 2)])
        residual = [StyledConv(32, 32) for _ in range(2 * RESIDUALS)]
        expand = [StyledConv(32, 16), StyledConv(16, 8), StyledConv(8, 3, 9)]
        self.styled = nn.ModuleList(residual + expand)
        self.sizes = [int(layer.conv.out_channels) for layer in residual + expand]
        self.gamma = nn.Linear(STYLE_SIZE, sum(self.sizes))  # of all layers together, in their order
        self.beta = nn.Linear(STYLE_SIZE, sum(self.sizes))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Return the painting, `[B,3,H,W] float rgb 0..1`; `style` is `[100]`."""
        for layer, pad_px in zip(self.contract, (4, 1, 1), strict=True):
            x = F.relu(layer(F.pad(x, (pad_px,) * 4, mode="reflect")))
        gammas, betas = self.gamma(style).split(self.sizes), self.beta(style).split(self.sizes)
        norms = list(zip(self.styled, gammas, betas, strict=True))
        for index in range(0, 2 * RESIDUALS, 2):
            (first, *first_norm), (second, *second_norm) = norms[index], norms[index + 1]
            change: Tensor = second(F.relu(first(x, *first_norm)), *second_norm)
            x = x + change
        for layer, *norm in norms[2 * RESIDUALS : -1]:
            x = F.relu(layer(F.interpolate(x, scale_factor=2.0, mode="nearest"), *norm))
        paint, *norm = norms[-1]
        painting: Tensor = torch.sigmoid(paint(x, *norm))
        return painting


class AnyStyleOnPicture(nn.Module):
    """The whole way from uint8 picture to uint8 picture, so that a backend runs it as one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.network = AnyStyle()

    def forward(self, picture: Tensor, style: Tensor) -> Tensor:
        """Return `[B,H,W,3] uint8` for `[B,H,W,3] uint8 rgb` and a style vector `[100]`."""
        x = picture.permute(0, 3, 1, 2).to(style.dtype) / 255
        painted: Tensor = self.network(x, style)
        whole: Tensor = (painted * 255 + 0.5).to(torch.uint8)  # + 0.5: the cast truncates
        return whole.permute(0, 2, 3, 1)


def build() -> AnyStyleOnPicture:
    """Return the network with its weights, in eval mode. Raises ModelError when they are missing or damaged."""
    module = AnyStyleOnPicture()
    checkpoint.load_into(module.network, "any_style")
    return module.eval()
