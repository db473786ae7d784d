"""What the machine was like during a run: kept in its summary, so that a slower machine is no slower program."""

import time

import cv2
import numpy as np

# The fastest round counts, since other programs only ever make one slower. A round is far shorter than what a system
# gives a program at a time, so that one that nobody interrupts is found on a loaded machine too.
PROBE_ROUNDS = 90  # of about 0.5 ms
PROBE_LIMIT_NS = 150_000_000  # on a machine too busy for that, fewer rounds; at least 5


def speed_probe() -> float:
    """Return how many milliseconds one thread takes for fixed numpy and cv2 work. Blocks for about 50 ms.

    BLAS and OpenCV share work among threads from a size on, and wait for the slowest: on a loaded machine that took
    seventy times as long. The matrices and the picture here are below that size.
    """
    grain = np.arange(48 * 48, dtype=np.float32).reshape(48, 48) % 7 / 7
    picture = (np.arange(96 * 96 * 3, dtype=np.uint32).reshape(96, 96, 3) % 251).astype(np.uint8)
    best_ns, end_ns = 10**12, time.perf_counter_ns() + PROBE_LIMIT_NS
    for done in range(PROBE_ROUNDS):
        start_ns = time.perf_counter_ns()
        if done >= 5 and start_ns > end_ns:
            break
        layer = grain
        for _ in range(16):
            cv2.resize(picture, (64, 64), interpolation=cv2.INTER_LINEAR)
            for _ in range(4):
                layer = np.tanh(layer @ grain * np.float32(0.01))
        best_ns = min(best_ns, time.perf_counter_ns() - start_ns)
    return round(best_ns / 1e6, 4)
