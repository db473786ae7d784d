"""What a variant must reach to be taken for the model itself, and what was found of each variant on this machine.

Two classes of variants. An *equivalent* one is the same network on the same input, run another way (backend, number
format, layout): it must reach every floor below, or no ladder takes it. A *lighter* one (a smaller input, a smaller
network) changes the answer on purpose: it carries a measured quality 0..1, and a ladder takes it from LEAST on.

What was found of each variant is kept in models/findings.py, and models/ladder.py goes by it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.accuracy import Measure


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a measure is told: what it is, its unit, its decimals."""

    text: str
    unit: str = ""
    decimals: int = 3


MEANINGS: Mapping[str, Meaning] = {
    "top1": Meaning("right best category", "%", 1),
    "top1_reference": Meaning("the reference's", "%", 1),
    "top1_lost": Meaning("top-1 lost", "points", 1),
    "top5": Meaning("right among the best five", "%", 1),
    "top5_reference": Meaning("the reference's", "%", 1),
    "same_sure": Meaning("same best category where the reference is sure"),
    "same_best": Meaning("same best category"),
    "share_off": Meaning("probability off by at most"),
    "map50": Meaning("mAP at IoU .5 against the reference"),
    "box_f1": Meaning("F1 of boxes"),
    "mask_iou": Meaning("IoU of masks"),
    "point_distance": Meaning("keypoints apart, of the person's size", "", 4),
    "points_near": Meaning("keypoints within a tenth of the person's size"),
    "points_f1": Meaning("F1 of keypoints seen"),
    "psnr": Meaning("PSNR", "dB", 1),
    "ssim": Meaning("SSIM"),
    "flicker": Meaning("flicker against the reference's", "times", 2),
}


@dataclass(frozen=True, slots=True)
class Floor:
    """The limit of a measure: at least, or, where less is better, at most."""

    limit: float
    is_most: bool = False

    def holds(self, value: float) -> bool:
        return value <= self.limit if self.is_most else value >= self.limit


# Why these: a point of top-1 is what int8 after training is usually allowed to cost (MLPerf Inference asks for 99 % of
# the reference). Few labelled pictures say little of top-1, so a category must also stay where the reference is sure of
# it. mAP .95 is one box of twenty, IoU .97 a pixel or so along a person's outline at 640x360, and from 35 dB on a
# painting's strokes lie where they lay. Keypoints: COCO's annotators differ by .025 of a person's size at the eyes, the
# point they agree on best (cocodataset.org, keypoint evaluation); one of twenty may be elsewhere; and twice as many may
# be seen or not, for that is decided at a score of .3, where the last bit counts. Flicker: a tenth more is not seen.
FLOORS: Mapping[str, Floor] = {
    "top1_lost": Floor(1.0, is_most=True),
    "same_sure": Floor(0.95),
    "map50": Floor(0.95),
    "mask_iou": Floor(0.97),
    "point_distance": Floor(0.025, is_most=True),
    "points_near": Floor(0.95),
    "points_f1": Floor(0.9),
    "psnr": Floor(35.0),
    "flicker": Floor(1.1, is_most=True),
}


def told(measure: Measure) -> str:
    """Return a measure as a person reads it: "PSNR 34.2 dB"."""
    meaning = MEANINGS[measure.name]
    return f"{meaning.text} {number(measure)}"


def number(measure: Measure) -> str:
    """Return a measure's value with its unit; not rounded to the good side of its floor."""
    meaning, floor = MEANINGS[measure.name], FLOORS.get(measure.name)
    for decimals in range(meaning.decimals, meaning.decimals + 4):
        text = f"{measure.value:.{decimals}f}"
        if floor is None or floor.holds(float(text)) == floor.holds(measure.value):
            break
    return f"{text} {meaning.unit}".strip()


def below(measures: Iterable[Measure]) -> str:
    """Return which floors are not reached, in words; "" when all are."""
    missed = []
    for measure in measures:
        floor = FLOORS.get(measure.name)
        if floor is not None and not floor.holds(measure.value):
            side = "above the most allowed," if floor.is_most else "below the floor of"
            missed.append(f"{told(measure)} is {side} {floor.limit:g}")
    return "; ".join(missed)
