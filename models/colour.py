"""Planar YUV to rgb with torch, on any device: what is uploaded is half the bytes of rgb, and the GPU does the rest."""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from stream.errors import ModelError

# Weights of red and blue in luma: ITU-R BT.601-7 section 2.5.1, BT.709-6 item 3.2
_LUMA = {"BT601": (0.299, 0.114), "BT709": (0.2126, 0.0722)}


class Matrix(Enum):
    """Which colours a YUV picture means."""

    BT601 = "BT601"  # below 720 lines, and everything this project encodes
    BT709 = "BT709"


@dataclass(frozen=True, slots=True)
class Colours:
    """How to read YUV. `is_full`: luma and chroma use 0..255 (JPEG), else 16..235 and 16..240 (video)."""

    matrix: Matrix = Matrix.BT601
    is_full: bool = False


def i420_to_rgb(planes: Tensor, colours: Colours = Colours()) -> Tensor:
    """Return `[B,H,W,3] uint8 rgb` from I420 `[B,H*3/2,W] uint8`: the luma rows, then U and V at half the size.

    Chroma is repeated and not interpolated, as swscale and OpenCV do it for pictures of unchanged size: the result is
    within a level of theirs (tests). Runs where `planes` is, on the current stream. Raises ModelError for odd sizes.
    """
    batch, rows, width = planes.shape
    height = rows * 2 // 3
    if rows % 3 or height % 2 or width % 2 or planes.dtype != torch.uint8:
        raise ModelError(f"expected I420 [B,H*3/2,W] uint8 with even H and W, got {planes.dtype} {tuple(planes.shape)}")
    luma = planes[:, :height].float()
    chroma = planes[:, height:].reshape(batch, 2, height // 2, width // 2).float() - 128
    u, v = chroma.repeat_interleave(2, 2).repeat_interleave(2, 3).unbind(1)
    red, blue = _LUMA[colours.matrix.value]
    if not colours.is_full:
        luma, u, v = (luma - 16) * (255 / 219), u * (255 / 224), v * (255 / 224)
    r = luma + 2 * (1 - red) * v
    b = luma + 2 * (1 - blue) * u
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return torch.stack((r, g, b), dim=-1).round_().clamp_(0, 255).to(torch.uint8)
