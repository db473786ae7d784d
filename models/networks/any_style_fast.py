"""The network of any style as an OpenVINO graph: the computation of `any_style.py`, arranged for the CPU's registers.

As in style_fast.py the layers at full resolution work on phases at half of it (subpixel.py; exact), here the first two
as well, since nothing between them normalises: 8 channels would leave most of a vector register empty.
"""

import numpy as np
import openvino as ov
from openvino import opset13 as op

from models import checkpoint
from models.networks.graph import byte_rows, conv, conv_bytes, ints, mirror, norm, pad, phase_norm, scaled
from models.networks.subpixel import PHASES, Weights, after_upsampling, first_over_phases, over_phases, to_low

RESIDUALS = 5
FIRST_EXPAND, SECOND_EXPAND, PAINT = 10, 11, 12  # numbers of the styled layers
PAINT_REACH = 2  # low-resolution pixels that the last layer sees to each side


def build(is_exact: bool) -> ov.Model:
    """Return the graph `[1,H,W,3] uint8 rgb`, `style [100]` -> `[1,H,W,3] uint8 rgb`. Raises ModelError."""
    return Builder(checkpoint.arrays("any_style"), is_exact).model()


class Builder:
    """Makes the nodes from the front of the network to its end."""

    def __init__(self, weights: dict[str, Weights], is_exact: bool) -> None:
        self._weights = weights
        self._is_exact = is_exact
        self.style = op.parameter([100], np.float32, name="style")
        self._gammas, self._betas = self._parameters("gamma"), self._parameters("beta")  # [1,C,1,1] for each layer

    def model(self) -> ov.Model:
        """Return the whole graph."""
        image = op.parameter([1, -1, -1, 3], np.uint8, name="image")
        # + 0.5: the cast to uint8 truncates; a painting lies in 0..1, so nothing can wrap
        bytes_ = op.convert(scaled(self.painting(image), 255, 0.5), np.uint8)
        pixels = op.transpose(op.depth_to_space(bytes_, "blocks_first", 2), ints(0, 2, 3, 1))
        return ov.Model([pixels], [image, self.style], "any_style")

    def painting(self, image: ov.Node) -> ov.Node:
        """Return the phases of the painting, `[1,(2,2,rgb),H/2,W/2] float 0..1`."""
        x = op.relu(self._biased(self._first(image), "contract.0", PHASES))
        # an edge pixel's odd phase mirrors itself, and the only tap that reaches beyond the edge reads no other
        x = op.relu(self._biased(conv(pad(x, 1, 0, "edge"), to_low(self._weights["contract.1.weight"])), "contract.1"))
        # sizes are even, so a stride of 2 never reaches the padding at the bottom and the right
        x = conv(pad(x, 1, 0, "reflect"), self._weights["contract.2.weight"], stride=(2, 2))
        x = op.relu(self._biased(x, "contract.2"))
        for index in range(0, 2 * RESIDUALS, 2):
            change = self._styled(op.relu(self._styled(x, index)), index + 1)
            x = op.add(x, change)
        x = op.depth_to_space(self._upsampled(x, FIRST_EXPAND), "blocks_first", 2)
        x = mirror(self._upsampled(x, SECOND_EXPAND), self._kernel(SECOND_EXPAND).shape[0], PAINT_REACH)
        return op.sigmoid(self._phase_norm(conv(x, over_phases(self._kernel(PAINT))), PAINT))

    def _kernel(self, layer: int) -> Weights:
        return self._weights[f"styled.{layer}.conv.weight"]

    def _parameters(self, kind: str) -> list[ov.Output]:
        """Map the style to every layer's gamma or beta in one multiplication; over phases each is there four times."""
        sizes = [self._kernel(layer).shape[0] for layer in range(PAINT + 1)]
        rows, start = [], 0
        for layer, size in enumerate(sizes):
            rows.append(np.tile(np.arange(start, start + size), PHASES if layer >= FIRST_EXPAND else 1))
            start += size
        order = np.concatenate(rows)
        weight, bias = self._weights[f"{kind}.weight"][order], self._weights[f"{kind}.bias"][order]
        mapped = op.matmul(op.unsqueeze(self.style, ints(0)), op.constant(weight), False, True)
        column = op.reshape(op.add(mapped, op.constant(bias[None])), ints(1, -1, 1, 1), False)
        return list(op.variadic_split(column, ints(1), ints(*(len(row) for row in rows))).outputs())

    def _first(self, picture: ov.Node) -> ov.Node:
        """Convolve the picture into the phases of the first layer, `[1,(2,2,8),H/2,W/2]`, on its bytes."""
        kernel = first_over_phases(self._weights["contract.0.weight"]) / np.float32(255)
        height, width = kernel.shape[2:]
        rows = np.ascontiguousarray(kernel.transpose(0, 2, 3, 1).reshape(-1, 1, height, width * 3))
        return conv_bytes(byte_rows(picture, 4), rows, (2, 6), self._is_exact)

    def _biased(self, x: ov.Node, layer: str, times: int = 1) -> ov.Node:
        bias = np.tile(self._weights[f"{layer}.bias"], times)
        return op.add(x, op.constant(bias.reshape(1, -1, 1, 1)))

    def _styled(self, x: ov.Node, layer: int) -> ov.Node:
        y = conv(pad(x, 1, 1, "reflect"), self._kernel(layer))
        return norm(y, self._gammas[layer], self._betas[layer])

    def _upsampled(self, x: ov.Node, layer: int) -> ov.Node:
        """Return the phases of upsampling, convolution, norm and activation."""
        y = conv(pad(x, 1, 1, "edge"), after_upsampling(self._kernel(layer)))
        return op.relu(self._phase_norm(y, layer))

    def _phase_norm(self, x: ov.Node, layer: int) -> ov.Node:
        return phase_norm(x, self._gammas[layer], self._betas[layer], self._kernel(layer).shape[0])
