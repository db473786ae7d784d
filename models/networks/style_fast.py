"""The style network as an OpenVINO graph: the computation of `style.py`, arranged for the CPU's vector registers.

What differs, and what it gains on 2 cores is in docs/models.md: the layers behind an upsampling work at half the
resolution (`subpixel.py`; exact), and, unless `is_exact`, the first layer multiplies bytes (it reads the picture's own
0..255, so only its weights are rounded). Built from the checkpoint without torch.
"""

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from models import checkpoint
from models.networks.subpixel import PHASES, Weights, after_upsampling, over_phases

EPSILON = 1e-5  # of the instance norm, as in style.py
LEVELS = 255  # of signed bytes that lie even about zero, -127..127
PAINT_REACH = 2  # low-resolution pixels that the last layer sees to each side
_ROWS, _COLUMNS = 2, 3  # axes of [B,C,H,W]


def build(is_exact: bool) -> ov.Model:
    """Return the graph `[1,H,W,3] uint8 rgb`, `style_weights [26]` -> `[1,H,W,3] uint8 rgb`. Raises ModelError."""
    return Builder(checkpoint.arrays("style"), is_exact).model()


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
        bytes_ = op.convert(_scaled(self.painting(image), 255, 0.5), np.uint8)
        pixels = op.transpose(op.depth_to_space(bytes_, "blocks_first", 2), _ints(0, 2, 3, 1))
        return ov.Model([pixels], [image, self.style_weights], "style")

    def painting(self, image: ov.Node) -> ov.Node:
        """Return the phases of the painting, `[1,(2,2,rgb),H/2,W/2] float 0..1`."""
        x = op.relu(self._norm(self._first(image), "contract.0"))
        for layer in ("contract.1", "contract.2"):
            # sizes are even, so a stride of 2 never reaches the padding at the bottom and the right
            x = op.relu(self._norm(_conv(_pad(x, 1, 0, "reflect"), self._kernel(layer), stride=(2, 2)), layer))
        for i in range(6):
            x = self._residual(x, f"residual.{i}")
        x = self._upsampled(x, "expand.0")
        x = self._upsampled(op.depth_to_space(x, "blocks_first", 2), "expand.1")
        x = _conv(_mirror(x), over_phases(self._kernel("paint")))
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
        mixed = op.matmul(op.unsqueeze(self.style_weights, _ints(0)), op.constant(np.hstack(tables)), False, False)
        column = op.reshape(mixed, _ints(1, -1, 1, 1), False)
        parts = iter(op.variadic_split(column, _ints(1), _ints(*(table.shape[1] for table in tables))).outputs())
        return {name: (next(parts), next(parts)) for name in names}

    def _first(self, picture: ov.Node) -> ov.Node:
        """Convolve the picture `[1,H,W,3]`, padded while it is bytes.

        A row of W pixels is read as 3W bytes of one channel, by a kernel three times as wide that steps by 3: the same
        products, and no instruction is wasted on a fourth channel that is not there.

        The two fake quantisations are how OpenVINO is told to use 8-bit instructions; the one of the input keeps every
        byte as it is, the one of the weights rounds them to 255 levels for each output channel.
        """
        border = _ints(0, 4, 4, 0)
        rows = op.reshape(op.pad(picture, border, border, "reflect"), _ints(0, 0, -1, 1), True)
        x = op.convert(op.transpose(rows, _ints(0, 3, 1, 2)), np.float32)
        kernel = self._kernel("contract.0").transpose(0, 2, 3, 1) / np.float32(255)
        kernel = np.ascontiguousarray(kernel.reshape(kernel.shape[0], 1, 9, 9 * 3))
        if self._is_exact:
            return _conv(x, kernel, stride=(1, 3))
        most = np.abs(kernel).max((1, 2, 3), keepdims=True)
        low, high = op.constant(-most), op.constant(most)
        x = op.fake_quantize(x, *(op.constant(np.float32(v)) for v in (0, 255, 0, 255)), levels=256)
        return _conv(x, op.fake_quantize(op.constant(kernel), low, high, low, high, levels=LEVELS), stride=(1, 3))

    def _residual(self, x: ov.Node, block: str) -> ov.Node:
        first, second = f"{block}.first", f"{block}.second"
        y = op.relu(self._norm(_conv(_pad(x, 1, 1, "reflect"), self._kernel(first)), first))
        return op.add(x, self._norm(_conv(_pad(y, 1, 1, "reflect"), self._kernel(second)), second))

    def _upsampled(self, x: ov.Node, layer: str) -> ov.Node:
        """Return the phases of upsampling, convolution, norm and activation."""
        y = _conv(_pad(x, 1, 1, "edge"), after_upsampling(self._kernel(layer)))
        return op.relu(self._phase_norm(y, layer))

    def _norm(self, x: ov.Node, layer: str) -> ov.Node:
        gamma, beta = self._shifts[layer]
        return op.add(op.multiply(op.mvn(x, _ints(_ROWS, _COLUMNS), True, EPSILON, "INSIDE_SQRT"), gamma), beta)

    def _phase_norm(self, x: ov.Node, layer: str) -> ov.Node:
        """Normalise over rows, columns and phases, from the moments of each phase: one pass then scales and shifts."""
        gamma, beta = self._shifts[layer]
        length = op.reduce_l2(x, _ints(_ROWS, _COLUMNS), True)  # its square is the sum of squares, without a copy of x
        mean = self._over_phases(op.reduce_mean(x, _ints(_ROWS, _COLUMNS), True), layer)
        square = self._over_phases(op.divide(op.multiply(length, length), _pixels(x)), layer)
        variance = op.relu(op.subtract(square, op.multiply(mean, mean)))  # relu: rounding may leave it below 0
        scale = op.divide(gamma, op.sqrt(op.add(variance, op.constant(np.float32(EPSILON)))))
        return op.add(op.multiply(x, scale), op.subtract(beta, op.multiply(mean, scale)))

    def _over_phases(self, moment: ov.Node, layer: str) -> ov.Node:
        """Return the mean of a channel's four phases in the place of each of them, `[1,(2,2,C),1,1]`."""
        channels = self._kernel(layer).shape[0]
        phases = op.reshape(moment, _ints(1, PHASES, channels, 1), False)
        mean = op.tile(op.reduce_mean(phases, _ints(1), True), _ints(1, PHASES, 1, 1))
        return op.reshape(mean, _ints(1, PHASES * channels, 1, 1), False)


def _mirror(x: ov.Node) -> ov.Node:
    """Reflect a picture kept as phases by 2 * PAINT_REACH of its own pixels."""
    phase = np.arange(PHASES * 4) // 4  # of each of the 4 * 4 channels: row phase * 2 + column phase
    return _mirror_along(_mirror_along(x, _ROWS, phase < 2), _COLUMNS, phase % 2 == 0)


def _mirror_along(x: ov.Node, axis: int, is_even: NDArray[np.bool_]) -> ov.Node:
    """Reflect along one axis; `is_even [C]` says which channels hold its even pixels.

    Pixel -k mirrors pixel k. For k = 2d both are even: low pixel -d mirrors d. For k = 2d-1 both are odd: low pixel -d
    mirrors d-1, which repeats the edge. At the other end it is the even pixels that repeat it.
    """
    even = op.constant(is_even.reshape(1, -1, 1, 1))

    def backwards(start: int, stop: int) -> ov.Node:
        return op.slice(x, _ints(start), _ints(stop), _ints(-1), _ints(axis))

    before_first = -(1 << 40)  # a stop that lies before every pixel: slice counts -1 from the end
    head = op.select(even, backwards(PAINT_REACH, 0), backwards(PAINT_REACH - 1, before_first))
    tail = op.select(even, backwards(-1, -1 - PAINT_REACH), backwards(-2, -2 - PAINT_REACH))
    return op.concat([head, x, tail], axis)


def _conv(x: ov.Node, kernel: Weights | ov.Node, stride: tuple[int, int] = (1, 1)) -> ov.Node:
    weights = kernel if isinstance(kernel, ov.Node) else op.constant(kernel)
    return op.convolution(x, weights, list(stride), [0, 0], [0, 0], [1, 1])


def _pad(x: ov.Node, before: int, after: int, mode: str) -> ov.Node:
    return op.pad(x, _ints(0, 0, before, before), _ints(0, 0, after, after), mode)


def _pixels(x: ov.Node) -> ov.Node:
    """Return the number of pixels of a channel, as float."""
    sides = op.gather(op.shape_of(x), _ints(_ROWS, _COLUMNS), _ints(0))
    return op.convert(op.reduce_prod(sides, _ints(0), True), np.float32)


def _scaled(x: ov.Node, by: float, plus: float) -> ov.Node:
    return op.add(op.multiply(x, op.constant(np.float32(by))), op.constant(np.float32(plus)))


def _ints(*values: int) -> ov.Node:
    return op.constant(np.array(values, np.int64))
