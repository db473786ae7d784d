"""Measure how like the best variant of a ladder its lighter ones are: `python -m models.quality [NAME ...]`.

The pictures are those of the sample clip. A painting is compared by SSIM on its luma, boxes by F1; both are 0..1, and
they are the numbers of models/ladder.py. PSNR is printed beside the SSIM and decides nothing.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.base import Model, Target
from models.ladder import QUALITIES, STYLE_QUALITIES, family, measured
from models.registry import load
from stream.frame import Picture
from stream.results import Results

WINDOW_PX, SIGMA_PX = 11, 1.5  # Wang et al. 2004, section III-C
K1, K2, PEAK = 0.01, 0.03, 255.0  # the same
SAME_IOU = 0.5  # boxes of one class that overlap at least so much are the same object
DEFAULTS = (*(f"style/{number}" for number in range(26)), "boxes/coco")


@dataclass(frozen=True, slots=True)
class Quality:
    """How like its reference a variant is, over all pictures.

    value      0..1
    low, high  of the single pictures
    detail     what else was counted, in words
    """

    value: float
    low: float
    high: float
    detail: str


def luma(image: Picture) -> NDArray[np.float64]:
    """Return the BT.601 luma `[H,W] 0..255` of `[H,W,3] uint8 rgb`."""
    grey: NDArray[np.float64] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    return grey


def ssim(image: Picture, reference: Picture) -> float:
    """Return the mean structural similarity, at most 1, of two pictures of one size, both sides at least 11 px.

    Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment", 2004: equation 13, on luma, where the whole window
    lies inside the picture.
    """
    if image.shape != reference.shape or min(image.shape[:2]) < WINDOW_PX:
        raise ValueError(f"expected two pictures of one size from 11x11, got {image.shape} and {reference.shape}")
    x, y = luma(image), luma(reference)
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x = _windowed(x * x) - mean_x**2
    var_y = _windowed(y * y) - mean_y**2
    shared = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * shared + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((above / below).mean())


def _windowed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    margin = WINDOW_PX // 2
    blurred = cv2.GaussianBlur(values, (WINDOW_PX, WINDOW_PX), SIGMA_PX)
    return np.asarray(blurred[margin:-margin, margin:-margin], np.float64)


def psnr_db(image: Picture, reference: Picture) -> float:
    """Return the peak signal-to-noise ratio over all channels; infinite when the two are equal."""
    error = float(np.mean((image.astype(np.float64) - reference) ** 2))
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def same_boxes(found: Results, reference: Results, iou: float = SAME_IOU) -> int:
    """Return how many boxes are in both: same class, IoU at least `iou`, each used once, the surest first."""
    overlaps = iou_of(found.boxes, reference.boxes)
    overlaps[np.asarray(found.class_ids)[:, None] != np.asarray(reference.class_ids)[None]] = 0
    count = 0
    for row in np.argsort(-np.asarray(found.scores), kind="stable"):
        if overlaps.shape[1] and overlaps[row].max() >= iou:
            overlaps[:, overlaps[row].argmax()] = 0
            count += 1
    return count


def iou_of(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return `[N,M]` intersection over union of boxes `[N,4]` and `[M,4]` xyxy; 0 where both are empty."""
    one, other = a.astype(np.float64).reshape(-1, 1, 4), b.astype(np.float64).reshape(1, -1, 4)
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=2)
    joined = (one[..., 2:] - one[..., :2]).prod(axis=2) + (other[..., 2:] - other[..., :2]).prod(axis=2) - shared
    return np.asarray(np.divide(shared, joined, out=np.zeros_like(shared), where=joined > 0), np.float64)


def f1(same: int, found: int, expected: int) -> float:
    """Return the harmonic mean of precision and recall; 1 when there was nothing to find and nothing was found."""
    return 2 * same / (found + expected) if found + expected else 1.0


def compare_paintings(painted: Sequence[Picture], reference: Sequence[Picture]) -> Quality:
    """Return the mean SSIM of pictures against their references."""
    values = [ssim(one, other) for one, other in zip(painted, reference, strict=True)]
    noise_db = [psnr_db(one, other) for one, other in zip(painted, reference, strict=True)]
    return Quality(float(np.mean(values)), min(values), max(values), f"PSNR {np.mean(noise_db):.1f} dB")


def compare_boxes(found: Sequence[Results], reference: Sequence[Results]) -> Quality:
    """Return F1 over all pictures together, so that a picture with many boxes counts for more."""
    same = [same_boxes(one, other) for one, other in zip(found, reference, strict=True)]
    counts = [(len(one.boxes), len(other.boxes)) for one, other in zip(found, reference, strict=True)]
    values = [f1(both, *pair) for both, pair in zip(same, counts, strict=True)]
    got, expected = (sum(column) for column in zip(*counts, strict=True))
    detail = f"{sum(same)} of {expected} boxes, {got - sum(same)} others"
    return Quality(f1(sum(same), got, expected), min(values), max(values), detail)


COMPARE: dict[str, Callable[[Any, Any], Quality]] = {"style": compare_paintings, "boxes": compare_boxes}
assert COMPARE.keys() == QUALITIES.keys(), "each family that has a ladder is compared in its own way"


def sample_pictures(every: int) -> list[Picture]:
    """Return every n-th picture of the sample clip, 360 of 640x360, half of a portrait and half of a street."""
    path = files("stream") / "sample" / "sample.mp4"
    with av.open(str(path)) as clip:
        pictures: list[Any] = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    return pictures[::every]


def measure(name: str, pictures: Sequence[Picture], target: Target) -> list[tuple[str, Quality]]:
    """Return (variant, quality) for each lighter variant of a model of ours, against the model itself."""
    compare = COMPARE[family(name)]
    reference = _run(name, pictures, target)
    return [(rung.name, compare(_run(rung.name, pictures, target), reference)) for rung in measured(name)]


def measure_scales(name: str, pictures: Sequence[Picture], target: Target) -> dict[str, Quality]:
    """Return the quality of each smaller scale of a style, by option, whatever its ladder says."""
    reference = _run(f"{name}:scale=1", pictures, target)
    return {
        option: compare_paintings(_run(f"{name}:{option}", pictures, target), reference) for option in STYLE_QUALITIES
    }


def _run(name: str, pictures: Sequence[Picture], target: Target) -> list[Any]:
    model: Model = load(name, target)
    answers = [model(picture) for picture in pictures]
    model.close()
    return answers


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description="Measure how like a model its lighter variants are.")
    parser.add_argument("names", nargs="*", default=DEFAULTS, metavar="NAME", help="style/0 .. style/25, boxes/coco")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="take every N-th picture (default 10)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N (default cpu)")
    return parser.parse_args()


def main() -> None:
    """Print a row for each lighter variant."""
    given = _arguments()
    pictures = sample_pictures(given.every)
    print(f"{len(pictures)} pictures of {pictures[0].shape[1]}x{pictures[0].shape[0]}")
    print(f"{'variant':28} {'quality':>7} {'lowest':>7} {'highest':>7}  also")
    for name in given.names:
        for variant, q in measure(name, pictures, Target(given.device)):
            print(f"{variant:28} {q.value:7.3f} {q.low:7.3f} {q.high:7.3f}  {q.detail}", flush=True)


if __name__ == "__main__":
    main()
