"""Layers that more than one network is made of."""

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """Convolve with TensorFlow's SAME padding: an odd pixel of padding goes to the bottom and the right.

    PyTorch pads both sides alike, which moves a stride-2 network trained in TensorFlow by one pixel a layer.
    The padding is computed from the size while tracing, so a traced graph is right for the traced size only.
    Source: "SAME" in https://www.tensorflow.org/api_docs/python/tf/nn (notes on padding).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B,C,ceil(H/stride),ceil(W/stride)]`."""
        top, bottom = _same_padding(int(x.shape[2]), self.kernel_size[0], self.stride[0])
        left, right = _same_padding(int(x.shape[3]), self.kernel_size[1], self.stride[1])
        if top == bottom and left == right:
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
        x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _same_padding(size_px: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size_px // stride) - 1) * stride + kernel - size_px, 0)
    return total // 2, total - total // 2
