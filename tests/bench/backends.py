"""Ways to run each network, in turn, and what each loses: `python -m tests.bench.backends [NAME ...] [--threads N]`.

A row is a variant: its median and its quickest call from picture in to result out, how many times as fast as
OpenVINO bf16 it was (the median of the ratios of calls made one after the other, so that other programs on the machine
slow both), and how like torch fp32 its answers are, on pictures of the sample clip and those of the tests.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.base import Model, Target
from models.ladder import family
from models.quality import psnr_db, same_boxes, sample_pictures
from models.registry import load
from stream.errors import ModelError
from stream.frame import Picture
from tests.golden import picture

NAMES = ("style", "mask/person", "boxes/coco", "classify/imagenet")
WAYS = (
    "backend=openvino,precision=bf16",
    "backend=openvino,precision=fp32",
    "backend=openvino,precision=int8",
    "backend=onnxruntime",
    "backend=torch",
    "backend=torch,layout=channels_first",
    "backend=torch,layout=channels_last",
    "backend=torch,precision=bf16",
    "backend=torch,precision=bf16,layout=channels_last",
    "backend=compile",
    "backend=compile,precision=bf16",
)
REFERENCE = "backend=torch,precision=fp32"
TESTS = ("astronaut", "coffee", "street")


def painting(got: Sequence[Any], expected: Sequence[Any]) -> str:
    """Return PSNR in words."""
    noise = [psnr_db(one, other) for one, other in zip(got, expected, strict=True)]
    return f"PSNR {np.mean(noise):.1f} dB, worst {min(noise):.1f}"


def mask(got: Sequence[Any], expected: Sequence[Any]) -> str:
    """Return the intersection over union of what is a person, all pictures together and the worst with a person."""
    pairs = [(one.mask > 127, other.mask > 127) for one, other in zip(got, expected, strict=True)]
    shared, joined = sum((a & b).sum() for a, b in pairs), sum((a | b).sum() for a, b in pairs)
    worst = min(((a & b).sum() / (a | b).sum() for a, b in pairs if b.mean() > 0.05), default=1.0)
    return f"IoU {shared / joined:.3f}, worst {worst:.3f}"


def boxes(got: Sequence[Any], expected: Sequence[Any]) -> str:
    """Return how many boxes are the reference's."""
    same = sum(same_boxes(one, other) for one, other in zip(got, expected, strict=True))
    found, wanted = sum(len(one.boxes) for one in got), sum(len(one.boxes) for one in expected)
    return f"{same} of {wanted} boxes, {found - same} others"


def classes(got: Sequence[Any], expected: Sequence[Any]) -> str:
    """Return how often the best category is the reference's, and how far its probability is."""
    pairs = [(one.classes[0], other.classes[0]) for one, other in zip(got, expected, strict=True)]
    apart = [abs(a[1] - b[1]) for a, b in pairs if a[0] == b[0]]
    same = sum(a[0] == b[0] for a, b in pairs)
    return f"best category {same} of {len(pairs)}, its probability within {max(apart, default=1):.3f}"


COMPARE: dict[str, Callable[[Sequence[Any], Sequence[Any]], str]] = {
    "style": painting,
    "mask": mask,
    "boxes": boxes,
    "classify": classes,
}


def in_turn(models: Sequence[Model], image: Picture, seconds: float) -> list[list[float]]:
    """Return each model's times in ms; all are called once in every round."""
    times: list[list[float]] = [[] for _ in models]
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(times[0]) < 9:
        for model, found in zip(models, times, strict=True):
            started = time.perf_counter()
            model(image)
            found.append((time.perf_counter() - started) * 1e3)
    return times


def table(name: str, ways: Sequence[str], threads: int, seconds: float, pictures: Sequence[Picture]) -> None:
    """Print the rows of one model. A way that is not here is a row that says so."""
    compare = COMPARE[family(name)]
    reference = load(f"{name}:{REFERENCE}", Target("cpu", threads))
    expected = [reference(one) for one in pictures]
    models: list[Model] = []
    for way in ways:
        try:
            models.append(load(f"{name}:{way}", Target("cpu", threads)))
            models[-1].warm(*pictures[0].shape[:2])
        except ModelError as error:
            print(f"| `{name}` | {way} | {error} |")
    times = in_turn(models, pictures[0], seconds)
    for model, own in zip(models, times, strict=True):
        gain = statistics.median(base / one for base, one in zip(times[0], own, strict=True))
        quality = compare([model(one) for one in pictures], expected)
        row = f"{statistics.median(own):.1f} | {min(own):.1f} | {gain:.2f} | {quality} | {len(own)}"
        print(f"| `{name}` | {model.variant} | {threads} | {row} |", flush=True)
        model.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Ways to run each network, in turn.")
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--ways", nargs="+", default=WAYS, metavar="OPTIONS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20, help="for each model")
    parser.add_argument("--every", type=int, default=20, help="take every N-th picture of the sample clip")
    given = parser.parse_args()
    pictures = [*sample_pictures(given.every), *(picture(one) for one in TESTS)]
    print("| model | variant | threads | p50 ms | least ms | times bf16 | against torch fp32 | calls |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.names:
        table(name, given.ways, given.threads, given.seconds, pictures)


if __name__ == "__main__":
    main()
