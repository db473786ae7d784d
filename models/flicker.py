"""Measure how much paintings tremble, as they are and made steady: `python -m models.flicker [STYLE ...]`.

Flicker is the mean change, of 255, between a painting and the one before moved to its place, where the motion between
the two pictures is known for sure (Lai et al. 2018, arXiv 1808.00449, equation 11, with an absolute difference). The
motion is dense optical flow of the pictures at full size, found in another way than models/steady.py finds it: with a
finer preset, checked forwards and backwards.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.base import Target
from models.quality import sample_pictures, ssim
from models.registry import load
from models.steady import Map, Steady, difference, warped
from stream.frame import Picture

THERE_AND_BACK_PX = 1.0  # a pixel that does not come back to within this was covered or uncovered, or is lost
SAME = 10.0  # of 255: how much a picture may differ from the one before, moved, where the motion is believed
NOISE = 5.0  # standard deviation of the still camera's noise, of 255: a webcam indoors
SHAKE_PX = (2.6, 0.7)  # per picture: of the camera that pans
DEFAULTS = ("style/0", "style/2", "style/12", "style/19")
AMOUNTS = (0.5, 0.75, 1.0)

Motion = tuple[Map, NDArray[np.bool_]]  # where each pixel was, [H,W,2] px from here; where that is to be believed


def motion(image: Picture, before: Picture) -> Motion:
    """Return the motion of every pixel of a picture since the one before."""
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey, grey_before = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (image, before))
    flow = np.asarray(flow_of.calc(grey, grey_before, np.empty(0)), np.float32)
    back = np.asarray(flow_of.calc(grey_before, grey, np.empty(0)), np.float32)
    returned = np.abs(flow + warped(back, flow)).sum(axis=2)
    return flow, (returned < THERE_AND_BACK_PX) & (difference(warped(before, flow), image) < SAME)


def flicker(paintings: Sequence[Picture], motions: Sequence[Motion]) -> float:
    """Return the mean change, of 255, of paintings along the motion of their pictures, of which there is one less."""
    changes = [
        float(np.abs(warped(last, flow).astype(np.float32) - painting)[known].mean())
        for last, painting, (flow, known) in zip(paintings, paintings[1:], motions, strict=False)
        if known.any()
    ]
    return float(np.mean(changes)) if changes else 0.0


def made_steady(pictures: Sequence[Picture], paintings: Sequence[Picture], amount: float) -> list[Picture]:
    """Return the paintings as a stream with `steady=amount` shows them."""
    steady = Steady(amount)
    return [steady(picture, painting) for picture, painting in zip(pictures, paintings, strict=True)]


def scenes() -> dict[str, tuple[list[Picture], list[Motion]]]:
    """Return the scenes that are measured, each with its pictures and their motion."""
    sample = sample_pictures(1)
    found = {}
    for name, pictures in (("portrait", sample[30:90]), ("street", sample[210:270])):
        found[name] = pictures, [motion(image, before) for before, image in pairwise(pictures)]
    found["noise"] = still_camera(sample[240], 30)
    found["pan"] = panning_camera(sample[240], 30)
    return found


def still_camera(image: Picture, count: int, noise: float = NOISE, seed: int = 0) -> tuple[list[Picture], list[Motion]]:
    """Return a picture as a camera sees it that stands still, with noise; nothing moves."""
    rng = np.random.default_rng(seed)
    none = np.zeros((*image.shape[:2], 2), np.float32), np.ones(image.shape[:2], bool)
    return [_noisy(image, rng, noise) for _ in range(count)], [none] * (count - 1)


def panning_camera(image: Picture, count: int) -> tuple[list[Picture], list[Motion]]:
    """Return an enlarged picture as a camera sees it that pans evenly, with some noise."""
    rng = np.random.default_rng(0)
    height, width = image.shape[:2]
    (right, down), large = SHAKE_PX, cv2.resize(image, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    pictures = []
    for i in range(count):
        view = np.array([[1, 0, -10 - right * i], [0, 1, -20 - down * i]], np.float32)
        pictures.append(_noisy(np.asarray(cv2.warpAffine(large, view, (width, height)), np.uint8), rng, NOISE / 2))
    known = np.ones((height, width), bool)
    known[:, -8:] = known[-8:] = False  # what comes in at the edges has no past
    flow = np.tile(np.array(SHAKE_PX, np.float32), (height, width, 1))
    return pictures, [(flow, known)] * (count - 1)


def _noisy(image: Picture, rng: np.random.Generator, noise: float) -> Picture:
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description="Measure how much paintings tremble, as they are and made steady.")
    parser.add_argument("names", nargs="*", default=DEFAULTS, metavar="STYLE", help="style/0 .. style/25, or your own")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N (default cpu)")
    return parser.parse_args()


def main() -> None:
    """Print a row for each style and scene."""
    given = _arguments()
    prepared = scenes()
    print(f"{'style':16} {'scene':9} {'plain':>6}" + "".join(f"  steady={a:<4g}  ssim" for a in AMOUNTS))
    for name in given.names:
        model = load(f"{name}:steady=0", Target(given.device))
        for scene, (pictures, motions) in prepared.items():
            paintings: list[Any] = [model(picture) for picture in pictures]
            plain, row = flicker(paintings, motions), ""
            for amount in AMOUNTS:
                shown = made_steady(pictures, paintings, amount)
                change = flicker(shown, motions) / plain - 1
                like = np.mean([ssim(*pair) for pair in zip(shown[5::6], paintings[5::6], strict=True)])
                row += f"  {change:+10.0%}  {like:5.2f}"
            print(f"{name:16} {scene:9} {plain:6.2f}{row}", flush=True)
        model.close()


if __name__ == "__main__":
    main()
