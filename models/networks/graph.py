"""Nodes that the networks written as OpenVINO graphs share: convolution, padding, and instance norm over phases.

A picture "kept as phases" is `[1,(2,2,C),H/2,W/2]`, see subpixel.py. Nothing here imports torch.
"""

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from models.networks.rounding import round_for_pictures
from models.networks.subpixel import PHASES, Weights

EPSILON = 1e-5  # of every instance norm
LEVELS = 255  # of signed bytes that lie even about zero, -127..127
COLOURS = 3
_ROWS, _COLUMNS = 2, 3  # axes of [B,C,H,W]


def ints(*values: int) -> ov.Node:
    """Return a constant of whole numbers."""
    return op.constant(np.array(values, np.int64))


def conv(x: ov.Node, kernel: Weights | ov.Node, stride: tuple[int, int] = (1, 1)) -> ov.Node:
    """Convolve without padding."""
    weights = kernel if isinstance(kernel, ov.Node) else op.constant(kernel)
    return op.convolution(x, weights, list(stride), [0, 0], [0, 0], [1, 1])


def pad(x: ov.Node, before: int, after: int, mode: str) -> ov.Node:
    """Pad rows and columns."""
    return op.pad(x, ints(0, 0, before, before), ints(0, 0, after, after), mode)


def scaled(x: ov.Node, by: float, plus: float) -> ov.Node:
    """Return `x * by + plus`."""
    return op.add(op.multiply(x, op.constant(np.float32(by))), op.constant(np.float32(plus)))


def conv_bytes(rows: ov.Node, kernel: Weights, stride: tuple[int, int], is_exact: bool) -> ov.Node:
    """Convolve the `byte_rows` of a picture by `[O,1,H,3W]`, with 8-bit instructions unless `is_exact`.

    The two fake quantisations are how OpenVINO is told to use them; the one of the input keeps every byte as it is, the
    one of the weights says that they lie on 255 levels for each output channel.
    """
    if is_exact:
        return conv(rows, kernel, stride)
    most = np.abs(kernel).max((1, 2, 3), keepdims=True)  # before rounding: it sets the levels
    patches = kernel.reshape(kernel.shape[0], kernel.shape[2], -1, COLOURS)
    kernel = round_for_pictures(patches, LEVELS // 2).reshape(kernel.shape)
    low, high = op.constant(-most), op.constant(most)
    rows = op.fake_quantize(rows, *(op.constant(np.float32(v)) for v in (0, 255, 0, 255)), levels=256)
    return conv(rows, op.fake_quantize(op.constant(kernel), low, high, low, high, levels=LEVELS), stride)


def byte_rows(picture: ov.Node, border_px: int) -> ov.Node:
    """Return the picture `[1,H,W,3] uint8`, reflected at its borders, as rows of one channel: `[1,1,H',3W'] float`.

    A kernel three times as wide that steps by 3 makes the same products, and no instruction is wasted on a fourth
    channel that is not there.
    """
    border = ints(0, border_px, border_px, 0)
    rows = op.reshape(op.pad(picture, border, border, "reflect"), ints(0, 0, -1, 1), True)
    return op.convert(op.transpose(rows, ints(0, 3, 1, 2)), np.float32)


def norm(x: ov.Node, gamma: ov.Output, beta: ov.Output) -> ov.Node:
    """Normalise over rows and columns, then scale and shift by `[1,C,1,1]`."""
    return op.add(op.multiply(op.mvn(x, ints(_ROWS, _COLUMNS), True, EPSILON, "INSIDE_SQRT"), gamma), beta)


def phase_norm(x: ov.Node, gamma: ov.Output, beta: ov.Output, channels: int) -> ov.Node:
    """Normalise over rows, columns and phases, from the moments of each phase: one pass then scales and shifts."""
    length = op.reduce_l2(x, ints(_ROWS, _COLUMNS), True)  # its square is the sum of squares, without a copy of x
    mean = _over_phases(op.reduce_mean(x, ints(_ROWS, _COLUMNS), True), channels)
    square = _over_phases(op.divide(op.multiply(length, length), _pixels(x)), channels)
    variance = op.relu(op.subtract(square, op.multiply(mean, mean)))  # relu: rounding may leave it below 0
    scale = op.divide(gamma, op.sqrt(op.add(variance, op.constant(np.float32(EPSILON)))))
    return op.add(op.multiply(x, scale), op.subtract(beta, op.multiply(mean, scale)))


def _over_phases(moment: ov.Node, channels: int) -> ov.Node:
    """Return the mean of a channel's four phases in the place of each of them, `[1,(2,2,C),1,1]`."""
    phases = op.reshape(moment, ints(1, PHASES, channels, 1), False)
    mean = op.tile(op.reduce_mean(phases, ints(1), True), ints(1, PHASES, 1, 1))
    return op.reshape(mean, ints(1, PHASES * channels, 1, 1), False)


def _pixels(x: ov.Node) -> ov.Node:
    """Return the number of pixels of a channel, as float."""
    sides = op.gather(op.shape_of(x), ints(_ROWS, _COLUMNS), ints(0))
    return op.convert(op.reduce_prod(sides, ints(0), True), np.float32)


def mirror(x: ov.Node, channels: int, reach: int) -> ov.Node:
    """Reflect a picture of `channels` kept as phases by 2 * reach of its own pixels."""
    phase = np.arange(PHASES * channels) // channels  # row phase * 2 + column phase
    return _mirror_along(_mirror_along(x, _ROWS, phase < 2, reach), _COLUMNS, phase % 2 == 0, reach)


def _mirror_along(x: ov.Node, axis: int, is_even: NDArray[np.bool_], reach: int) -> ov.Node:
    """Reflect along one axis; `is_even [C]` says which channels hold its even pixels.

    Pixel -k mirrors pixel k. For k = 2d both are even: low pixel -d mirrors d. For k = 2d-1 both are odd: low pixel -d
    mirrors d-1, which repeats the edge. At the other end it is the even pixels that repeat it.
    """
    even = op.constant(is_even.reshape(1, -1, 1, 1))

    def backwards(start: int, stop: int) -> ov.Node:
        return op.slice(x, ints(start), ints(stop), ints(-1), ints(axis))

    before_first = -(1 << 40)  # a stop that lies before every pixel: slice counts -1 from the end
    head = op.select(even, backwards(reach, 0), backwards(reach - 1, before_first))
    tail = op.select(even, backwards(-1, -1 - reach), backwards(-2, -2 - reach))
    return op.concat([head, x, tail], axis)
