"""How like the reference's answers a variant's are, in a few words; models/accuracy.py has the measures."""

from collections.abc import Sequence
from dataclasses import dataclass

from models import accuracy, floors
from models.accuracy import EQUAL_DB, Answer, Measure

# What is told of each kind of answer: the first of a row is the number that plots show, where more is better.
TOLD = (("psnr", "ssim"), ("box_f1", "map50"), ("mask_iou",), ("points_near", "points_f1"), ("same_best", "same_sure"))
SHORT = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "map50": "mAP",
    "box_f1": "F1",
    "mask_iou": "IoU",
    "points_near": "keypoints near",
    "points_f1": "F1",
    "same_best": "top-1 same",
    "same_sure": "where sure",
}


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like its reference a variant is, over all pictures.

    measure  what `value` is, such as "PSNR"
    value    in `unit`; more is better
    text     the numbers as a person reads them
    is_less  whether it is not as good as the reference itself
    below    which floors it does not reach, in words; "" when it reaches them, or changes the answer on purpose
    """

    measure: str
    value: float
    unit: str
    text: str
    is_less: bool
    below: str = ""


def compare(found: Sequence[Answer], reference: Sequence[Answer], *, is_lighter: bool = False) -> Likeness | None:
    """Return how like its reference a variant answered the same pictures; None when there was nothing to find.

    is_lighter  it is given less on purpose, and no floor is asked of it. Raises ModelError when the two do not fit.
    """
    measures = accuracy.compare(found, reference)
    by_name = {measure.name: measure for measure in measures}
    told = [by_name[name] for row in TOLD if row[0] in by_name for name in row if name in by_name]
    if not told:
        return None
    first = told[0]
    best = EQUAL_DB if first.name == "psnr" else 1.0
    text = "equal" if first.name == "psnr" and first.value >= best else ", ".join(map(_words, told))
    missed = "" if is_lighter else floors.below(measures)
    return Likeness(SHORT[first.name], first.value, floors.MEANINGS[first.name].unit, text, first.value < best, missed)


def _words(measure: Measure) -> str:
    """Return a measure in short; 1 is said only of all of it."""
    if measure.name == "psnr":
        return f"{measure.value:.1f} dB"
    share = f"{measure.value:g}" if measure.value in (0, 1) else f"{min(measure.value, 0.999):.3f}".lstrip("0")
    return f"{SHORT[measure.name]} {share}"
