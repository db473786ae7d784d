"""Pictures as cameras give them on a bad day, and whether a model's answers stay sound and near the reference's.

Each condition turns a good picture into a bad one: too dark, noisy, turned, tiny, empty. An answer is sound when it is
finite and of the right shape and type. How near a variant stays to the reference is told per condition; no floor is set
for it, since on a black picture there may be nothing to agree on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from models.accuracy import Answer, Measure, compare
from models.picture import resize
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

WITHIN = (640, 360)  # width and height that the good pictures fit into: what a server works at on a processor
PICTURES = 3  # good pictures that each condition is tried on
# Of all measures, the one that says most about each kind of answer, the first that is there.
HEADLINES = ("psnr", "box_f1", "mask_iou", "points_near", "points_f1", "same_best")


@dataclass(frozen=True, slots=True)
class Condition:
    """What happens to a picture. `make` is given the picture and its own generator of chance, the same each time."""

    name: str
    make: Callable[[Picture, np.random.Generator], Picture]


@dataclass(frozen=True, slots=True)
class Stability:
    """How a variant did under one condition.

    fault      what was wrong with an answer; "" when all were sound
    agreement  with the reference; None when neither of the two found anything, or the reference was at fault itself
    """

    condition: str
    fault: str
    agreement: Measure | None


def _brightness(factor: float) -> Condition:
    return Condition(f"brightness x{factor:g}", lambda p, _: np.clip(p * factor, 0, 255).astype(np.uint8))


def _noise(sigma: int) -> Condition:
    def make(picture: Picture, chance: np.random.Generator) -> Picture:
        return np.clip(picture + chance.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8)

    return Condition(f"noise, sigma {sigma}", make)


def _blur(sigma: int) -> Condition:
    return Condition(f"blur, sigma {sigma} px", lambda p, _: np.asarray(cv2.GaussianBlur(p, (0, 0), sigma), np.uint8))


def _turn(degrees: int) -> Condition:
    def make(picture: Picture, _: np.random.Generator) -> Picture:
        if degrees % 90 == 0:
            return np.ascontiguousarray(np.rot90(picture, degrees // 90))
        height, width = picture.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        return np.asarray(cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)

    return Condition(f"turned by {degrees} degrees", make)


def _size(name: str, width: int, height: int) -> Condition:
    return Condition(f"{name}, {width}x{height}", lambda p, _: resize(p, height, width))


def _flat(name: str, level: int) -> Condition:
    return Condition(name, lambda p, _: np.full_like(p, level))


def _checkerboard(picture: Picture, _: np.random.Generator) -> Picture:
    rows, columns = np.indices(picture.shape[:2])
    board = ((rows + columns) % 2 * 255).astype(np.uint8)
    return np.stack([board] * 3, axis=2)


def _huge(picture: Picture, _: np.random.Generator) -> Picture:
    """Return an 8K picture as it reaches a model: shrunk, so that its grain is finer than any camera's."""
    height, width = picture.shape[:2]
    tiled = np.tile(picture, (-(-4320 // height), -(-7680 // width), 1))[:4320, :7680]
    return resize(tiled, WITHIN[1], WITHIN[0])


CONDITIONS = (
    Condition("as it is", lambda p, _: p),
    *(_brightness(factor) for factor in (0.3, 0.6, 1.4, 1.8)),
    *(_noise(sigma) for sigma in (10, 30)),
    *(_blur(sigma) for sigma in (2, 6)),
    *(_turn(degrees) for degrees in (10, 90, 180)),
    _size("small", 64, 36),
    _size("odd", 333, 187),
    _size("tall", 120, 640),
    _size("wide", 640, 90),
    Condition("8K, shrunk", _huge),
    _flat("black", 0),
    _flat("white", 255),
    Condition("checkerboard of single pixels", _checkerboard),
    _size("one pixel", 1, 1),
)


def bad_pictures(pictures: Sequence[Picture]) -> list[tuple[Condition, list[Picture]]]:
    """Return each condition with its pictures, made of PICTURES of the given ones; the same each time."""
    step = max(1, len(pictures) // PICTURES)
    good = [fitted(picture) for picture in pictures[::step][:PICTURES]]
    made = []
    for number, condition in enumerate(CONDITIONS):
        chance = np.random.default_rng(number)
        made.append((condition, [np.ascontiguousarray(condition.make(picture, chance)) for picture in good]))
    return made


def fitted(picture: Picture) -> Picture:
    """Return a picture no larger than a server works at; the longer side of WITHIN for either of its sides."""
    scale = min(1.0, WITHIN[0] / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return resize(picture, height, width)


def judge(
    condition: str, pictures: Sequence[Picture], found: Sequence[Answer], reference: Sequence[Answer]
) -> Stability:
    """Return how the answers to one condition's pictures are; `found` and `reference` hold one for each picture."""
    faults = [f for answer, picture in zip(found, pictures, strict=True) if (f := fault(answer, picture))]
    if faults or any(fault(answer, picture) for answer, picture in zip(reference, pictures, strict=True)):
        return Stability(condition, faults[0] if faults else "", None)
    return Stability(condition, "", headline(compare(found, reference)))


def headline(measures: Sequence[Measure]) -> Measure | None:
    """Return the measure that says most of how near two sets of answers are; None when there is none."""
    by_name = {measure.name: measure for measure in measures}
    return next((by_name[name] for name in HEADLINES if name in by_name), None)


def fault(answer: object, image: Picture) -> str:
    """Return what is wrong with an answer to `image [H,W,3]`; "" when it is finite, of the right shape and type."""
    if isinstance(answer, ModelError):
        return str(answer)
    if isinstance(answer, Results):
        return answer.fault(*image.shape[:2])
    if not isinstance(answer, np.ndarray):
        return f"expected a picture or Results, got {type(answer).__name__}"
    if answer.shape != image.shape or answer.dtype != np.uint8:
        return f"expected a picture {list(image.shape)} uint8, got {list(answer.shape)} {answer.dtype}"
    return ""
