"""Round a kernel that looks at pictures to 8 bits, so that what rounding loses is what pictures hardly contain.

Rounding each weight to its nearest level leaves errors that add up in flat and slowly changing places, which is most of
any picture. Here each weight's error is made up for by the weights that are still to be rounded, as far as neighbouring
pixels are alike (GPTQ: Frantar et al. 2022, arXiv 2210.17323). How alike they are is a model, so no picture is needed.
For the style network's first layer the noise falls by 20 dB (docs/backends.md); the arithmetic stays as it is.
"""

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]

ALIKE = 0.95  # correlation of neighbouring pixels; 0.9 and 0.98 do as well within half a dB
COLOURS_ALIKE = 0.9  # correlation of a pixel's red, green and blue
DAMPING = 1e-3  # keeps the inverse finite, as in the paper (section 3.3, step 3)


def round_for_pictures(kernel: Weights, most: int) -> Weights:
    """Return `[O,H,W,C]` weights on the levels -most..most times the channel's largest weight / most, as float32."""
    rows = kernel.reshape(kernel.shape[0], -1).astype(np.float64)
    step = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / most
    spread = _spread(likeness(*kernel.shape[1:]))
    rounded = np.empty_like(rows)
    for i in range(rows.shape[1]):
        rounded[:, i] = np.clip(np.round(rows[:, i] / step), -most, most) * step
        missed = (rows[:, i] - rounded[:, i]) / spread[i, i]
        rows[:, i:] -= missed[:, None] * spread[i, i:]
    return rounded.reshape(kernel.shape).astype(np.float32)


def likeness(height: int, width: int, colours: int) -> NDArray[np.float64]:
    """Return the correlations `[N,N]` of a patch's N = H*W*C values: falling with distance, less between colours."""
    y, x, colour = (axis.ravel() for axis in np.mgrid[:height, :width, :colours])
    apart = np.hypot(y[:, None] - y, x[:, None] - x)
    return np.asarray(ALIKE**apart * np.where(colour[:, None] == colour, 1.0, COLOURS_ALIKE))


def _spread(alike: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper factor U of the inverse: row i says how weight i's error is made up for (equation 4)."""
    damped = alike + DAMPING * np.eye(len(alike))
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T)
