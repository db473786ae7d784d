"""Measure how long models take on this machine: `python -m models.bench [NAME ...] [--size WxH] [--threads N]`.

Quantiles of single calls after warming, from picture in to result out; nothing else runs in the process.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from models.base import Model, Target
from models.registry import load
from stream.frame import Picture

DEFAULTS = ("style", "style:scale=0.5", "mask/person", "boxes/coco", "classify/imagenet")


def call_times_ms(model: Model, image: Picture, calls: int, now_ns: Callable[[], int]) -> list[float]:
    """Return the time of each of `calls` calls, sorted. The model must be warm."""
    times = []
    for _ in range(calls):
        started_ns = now_ns()
        model(image)
        times.append((now_ns() - started_ns) / 1e6)
    return sorted(times)


def quantile(sorted_ms: list[float], share: float) -> float:
    """Return the value that `share` of the calls did not exceed (nearest rank, no interpolation)."""
    return sorted_ms[min(int(share * len(sorted_ms)), len(sorted_ms) - 1)]


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description="Measure how long models take on this machine.")
    parser.add_argument("names", nargs="*", default=DEFAULTS, metavar="NAME", help="as `livelens models` lists them")
    parser.add_argument("--size", default="640x360", metavar="WxH", help="of the picture (default 640x360)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N (default cpu)")
    parser.add_argument("--calls", type=int, default=60, metavar="N", help="calls measured (default 60)")
    return parser.parse_args()


def main() -> None:
    """Print a row for each model."""
    given = _arguments()
    width, height = (int(side) for side in given.size.split("x"))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    print(f"{'model':40} {'variant':20} {'load':>8} {'warm':>8} {'p50':>7} {'p95':>7} {'max':>7}  ms")
    for name in given.names:
        started_ns = time.perf_counter_ns()
        model = load(name, Target(given.device, given.threads))
        loaded_ns = time.perf_counter_ns()
        model.warm(height, width)
        load_ms, warm_ms = (loaded_ns - started_ns) / 1e6, (time.perf_counter_ns() - loaded_ns) / 1e6
        ms = call_times_ms(model, image, given.calls, time.perf_counter_ns)
        row = f"{quantile(ms, 0.5):7.1f} {quantile(ms, 0.95):7.1f} {ms[-1]:7.1f}"
        print(f"{name:40} {model.variant:20} {load_ms:8.0f} {warm_ms:8.0f} {row}", flush=True)
        model.close()


if __name__ == "__main__":
    main()
