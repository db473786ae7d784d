"""The style network as an OpenVINO graph: the computation of `style.py`, arranged for the CPU's vector registers.

What differs, and what it gains on 2 cores is in docs/models.md: the layers behind an upsampling work at half the
resolution (`subpixel.py`; exact), and, unless `is_exact`, the first layer multiplies bytes (it reads the picture's own
0..255, so only its weights are rounded). Built from the checkpoint without torch.
"""

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from models import checkpoint, stylefile
from models.networks.graph import byte_rows, conv, conv_bytes, ints, mirror, norm, pad, phase_norm, scaled
from models.networks.subpixel import PHASES, Weights, after_upsampling, over_phases

PAINT_REACH = 2  # low-resolution pixels that the last layer sees to each side


def build(is_exact: bool, addition: Path | None = None) -> ov.Model:
    """Return the graph `[1,H,W,3] uint8 rgb`, `style_weights [26]` -> `[1,H,W,3] uint8 rgb`. Raises ModelError.

    With the file of a learnt style as `addition` it has 27 styles, that one the last.
    """
    weights = checkpoint.arrays("style")
    if addition is not None:
        weights = stylefile.with_row(weights, stylefile.read(addition).row)
    return Builder(weights, is_exact).model()


class Builder:
    """Makes the nodes from the front of the network to its end."""

    def __init__(self, weights: dict[str, Weights], is_exact: bool) -> None:
        self._weights = weights
        self._is_exact = is_exact
        self.style_weights = op.parameter([-1], np.float32, name="style_weights")
        self._shifts = self._blend()  # (gamma, beta) by layer, each [1,C,1,1]; C counts the phases where there are any

    def model(self) -> ov.Model:
        """Return the whole graph."""
        image = op.parameter([1, -1, -1, 3], np.uint8, name="image")
        # + 0.5: the cast to uint8 truncates; a painting lies in 0..1, so nothing can wrap
        bytes_ = op.convert(scaled(self.painting(image), 255, 0.5), np.uint8)
        pixels = op.transpose(op.depth_to_space(bytes_, "blocks_first", 2), ints(0, 2, 3, 1))
        return ov.Model([pixels], [image, self.style_weights], "style")

    def painting(self, image: ov.Node) -> ov.Node:
        """Return the phases of the painting, `[1,(2,2,rgb),H/2,W/2] float 0..1`."""
        x = op.relu(self._norm(self._first(image), "contract.0"))
        for layer in ("contract.1", "contract.2"):
            # sizes are even, so a stride of 2 never reaches the padding at the bottom and the right
            x = op.relu(self._norm(conv(pad(x, 1, 0, "reflect"), self._kernel(layer), stride=(2, 2)), layer))
        for i in range(6):
            x = self._residual(x, f"residual.{i}")
        x = self._upsampled(x, "expand.0")
        x = self._upsampled(op.depth_to_space(x, "blocks_first", 2), "expand.1")
        x = conv(mirror(x, 4, PAINT_REACH), over_phases(self._kernel("paint")))
        return op.sigmoid(self._phase_norm(x, "paint"))

    def _kernel(self, layer: str) -> Weights:
        return self._weights[f"{layer}.conv.weight"]

    def _blend(self) -> dict[str, tuple[ov.Output, ov.Output]]:
        """Mix every layer's gamma and beta in one multiplication."""
        names = [key.removesuffix(".norm.gamma") for key in self._weights if key.endswith(".norm.gamma")]
        phases = {"expand.0": PHASES, "expand.1": PHASES, "paint": PHASES}
        tables = [
            np.tile(self._weights[f"{name}.norm.{kind}"], (1, phases.get(name, 1)))
            for name in names
            for kind in ("gamma", "beta")
        ]
        mixed = op.matmul(op.unsqueeze(self.style_weights, ints(0)), op.constant(np.hstack(tables)), False, False)
        column = op.reshape(mixed, ints(1, -1, 1, 1), False)
        parts = iter(op.variadic_split(column, ints(1), ints(*(table.shape[1] for table in tables))).outputs())
        return {name: (next(parts), next(parts)) for name in names}

    def _first(self, picture: ov.Node) -> ov.Node:
        """Convolve the picture `[1,H,W,3]`, padded while it is bytes."""
        kernel = self._kernel("contract.0").transpose(0, 2, 3, 1) / np.float32(255)
        kernel = np.ascontiguousarray(kernel.reshape(kernel.shape[0], 1, 9, 9 * 3))
        return conv_bytes(byte_rows(picture, 4), kernel, (1, 3), self._is_exact)

    def _residual(self, x: ov.Node, block: str) -> ov.Node:
        first, second = f"{block}.first", f"{block}.second"
        y = op.relu(self._norm(conv(pad(x, 1, 1, "reflect"), self._kernel(first)), first))
        return op.add(x, self._norm(conv(pad(y, 1, 1, "reflect"), self._kernel(second)), second))

    def _upsampled(self, x: ov.Node, layer: str) -> ov.Node:
        """Return the phases of upsampling, convolution, norm and activation."""
        y = conv(pad(x, 1, 1, "edge"), after_upsampling(self._kernel(layer)))
        return op.relu(self._phase_norm(y, layer))

    def _norm(self, x: ov.Node, layer: str) -> ov.Node:
        return norm(x, *self._shifts[layer])

    def _phase_norm(self, x: ov.Node, layer: str) -> ov.Node:
        return phase_norm(x, *self._shifts[layer], self._kernel(layer).shape[0])
