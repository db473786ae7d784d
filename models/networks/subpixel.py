"""Convolutions at twice the resolution, rewritten as convolutions at the low one. Exact; on weights, in numpy.

A high-resolution pixel 2i+p is the phase p (0 or 1) of the low-resolution pixel i. A picture `[C,2H,2W]` is kept as
`[(row phase, column phase, C),H,W]`: four times the channels, so that a vector register is full where 3 or 4
channels would leave most of it empty (Shi et al. 2016, arXiv 1609.05158). The phases come first, as in OpenVINO's
`DepthToSpace` with "blocks_first".
"""

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float32]

PHASES = 4  # of a pixel doubled in both directions


def after_upsampling(weights: Weights) -> Weights:
    """Fold a nearest-neighbour 2x upsampling into the 3x3 convolution behind it, `[O,I,3,3]` -> `[(2,2,O),I,3,3]`.

    Row 2i sees the rows 2i-1, 2i, 2i+1, which are copies of i-1, i, i; row 2i+1 sees copies of i, i, i+1. So taps that
    see the same row are summed. Reflection padding by 1 becomes a repeated edge: row -1 mirrors row 1, a copy of row 0.
    """
    sees = np.zeros((2, 3, 3), np.float32)  # (phase, low tap, high tap)
    for phase in range(2):
        for tap in range(3):
            sees[phase, (phase + tap - 1) // 2 + 1, tap] = 1
    folded = np.einsum("ayk,bxl,oikl->aboiyx", sees, sees, weights)
    return np.ascontiguousarray(folded.reshape(-1, *folded.shape[3:]))


def over_phases(weights: Weights) -> Weights:
    """Apply an odd square kernel to phases instead of pixels, `[O,I,K,K]` -> `[(2,2,O),(2,2,I),L,L]`.

    Output pixel 2i+p sees 2i+p+k for |k| <= K//2, which is phase (p+k) mod 2 of the low pixel i + (p+k) div 2.
    For K = 9 that is L = 5. Needs K//2 even, else the two phases would not be padded alike.
    """
    out, into, size = weights.shape[:3]
    reach = size // 4  # of the low-resolution kernel
    sees = np.zeros((2, 2, 2 * reach + 1, size), np.float32)  # (phase out, phase in, low tap, high tap)
    for phase in range(2):
        for tap in range(size):
            low, seen = divmod(phase + tap - size // 2, 2)
            sees[phase, seen, low + reach, tap] = 1
    spread = np.einsum("aqyk,brxl,oikl->aboqriyx", sees, sees, weights)
    return np.ascontiguousarray(spread.reshape(PHASES * out, PHASES * into, *spread.shape[-2:]))


def first_over_phases(weights: Weights) -> Weights:
    """Make a kernel that gives all four phases of a picture's pixels, `[O,I,K,K]` -> `[(2,2,O),I,K+1,K+1]`, stride 2.

    Phase p of output pixel i is the kernel moved by p pixels.
    """
    out, into, size = weights.shape[:3]
    spread = np.zeros((2, 2, out, into, size + 1, size + 1), np.float32)
    for row in range(2):
        for column in range(2):
            spread[row, column, :, :, row : row + size, column : column + size] = weights
    return spread.reshape(PHASES * out, into, size + 1, size + 1)


def to_low(weights: Weights) -> Weights:
    """Apply a 3x3 kernel of stride 2 to phases, `[O,I,3,3]` -> `[O,(2,2,I),2,2]` with taps at low pixels -1 and 0.

    Output pixel i sees 2i-1, which is phase 1 of low pixel i-1, then 2i and 2i+1, the two phases of i.
    """
    out, into = weights.shape[:2]
    sees = np.zeros((2, 2, 3), np.float32)  # (phase in, low tap, high tap)
    for tap in range(3):
        low, phase = divmod(tap - 1, 2)
        sees[phase, low + 1, tap] = 1
    folded = np.einsum("qyk,rxl,oikl->oqriyx", sees, sees, weights)
    return np.ascontiguousarray(folded.reshape(out, PHASES * into, 2, 2))
