"""Faces and five landmarks: MTCNN (Zhang et al. 2016, arXiv 1604.02878), three small networks one behind the other.

The proposal network looks at every place of a picture at many sizes, the refinement network at what it proposes, the
output network at what is left. Each says how likely a face is and where its box should rather be.
"""

import torch
from torch import Tensor, nn

from models import checkpoint


def _trunk(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def _conv(cin: int, cout: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(cin, cout, kernel), nn.PReLU(cout)


def _pool(kernel: int, stride: int) -> nn.Module:
    return nn.MaxPool2d(kernel, stride, ceil_mode=True)


def _pixels(images: Tensor, like: Tensor) -> Tensor:
    """Return `[N,3,H,W]` from -1 to 1 of `[N,H,W,3] uint8 rgb`."""
    return (images.permute(0, 3, 1, 2).to(like.dtype) - 127.5) * (1 / 128)


def _flat(x: Tensor) -> Tensor:
    """Return `[N,C*H*W]` in the order the weights were trained with: columns first."""
    return x.permute(0, 3, 2, 1).flatten(1)


class ProposalNet(nn.Module):
    """P-Net: a window of 12 px at every second pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _trunk(*_conv(3, 10, 3), _pool(2, 2), *_conv(10, 16, 3), *_conv(16, 32, 3))
        self.score = nn.Conv2d(32, 2, 1)
        self.shift = nn.Conv2d(32, 4, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return score `[1,H',W'] 0..1` and shift `[1,H',W',4]` of the windows of `[1,H,W,3] uint8 rgb`."""
        x = self.trunk(_pixels(image, self.score.weight))
        return torch.softmax(self.score(x), 1)[:, 1], self.shift(x).permute(0, 2, 3, 1)


class RefineNet(nn.Module):
    """R-Net: parts of 24x24 px."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _trunk(*_conv(3, 28, 3), _pool(3, 2), *_conv(28, 48, 3), _pool(3, 2), *_conv(48, 64, 2))
        self.dense = _trunk(nn.Linear(576, 128), nn.PReLU(128))
        self.score = nn.Linear(128, 2)
        self.shift = nn.Linear(128, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return score `[N] 0..1` and shift `[N,4]` of `[N,24,24,3] uint8 rgb`."""
        x = self.dense(_flat(self.trunk(_pixels(images, self.score.weight))))
        return torch.softmax(self.score(x), 1)[:, 1], self.shift(x)


class OutputNet(nn.Module):
    """O-Net: parts of 48x48 px."""

    def __init__(self) -> None:
        super().__init__()
        first = (*_conv(3, 32, 3), _pool(3, 2), *_conv(32, 64, 3), _pool(3, 2))
        self.trunk = _trunk(*first, *_conv(64, 64, 3), _pool(2, 2), *_conv(64, 128, 2))
        self.dense = _trunk(nn.Linear(1152, 256), nn.PReLU(256))
        self.score = nn.Linear(256, 2)
        self.shift = nn.Linear(256, 4)
        self.points = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score `[N] 0..1`, shift `[N,4]` and landmarks `[N,10]` of `[N,48,48,3] uint8 rgb`.

        Landmarks are five x, then five y, in shares of the part: its left eye, right eye, nose, corners of the mouth.
        """
        x = self.dense(_flat(self.trunk(_pixels(images, self.score.weight))))
        return torch.softmax(self.score(x), 1)[:, 1], self.shift(x), self.points(x)


def build(part: str) -> nn.Module:
    """Return "proposal", "refine" or "output" with its committed weights. Raises ModelError when they do not fit."""
    parts = nn.ModuleDict({"proposal": ProposalNet(), "refine": RefineNet(), "output": OutputNet()})
    checkpoint.load_into(parts, "faces")
    return parts[part].eval()
