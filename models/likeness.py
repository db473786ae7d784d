"""How like the reference's answers a variant's answers are, in the number that fits what the model gives.

Pictures: PSNR and SSIM. Boxes: F1 at IoU .5, same class. A mask: IoU. Classes: share of pictures with the same best
one. Keypoints: share of those that lie near the reference's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality import WINDOW_PX, f1, psnr_db, same_boxes, ssim
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

HALF = 128  # of a mask 0..255: from here on it is a person
SURE = 0.3  # a keypoint's score from which the reference is believed to see it
NEAR = 0.1  # of a person's extent: the usual limit of PCK
SAME_DB = 99.0  # a PSNR that stands for equal pictures, since infinity is no number in JSON


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like its reference a variant is, over all pictures.

    measure  what `value` is, such as "PSNR"
    value    in `unit`; more is better
    text     the number as a person reads it, with what was counted besides
    is_less  whether it is not as good as the reference itself
    below    which floor it does not reach, in words; "" when it reaches them
    """

    measure: str
    value: float
    unit: str
    text: str
    is_less: bool
    below: str = ""


def compare(found: Sequence[Any], reference: Sequence[Any]) -> Likeness | None:
    """Return how like its reference a variant answered the same pictures; None when there was nothing to compare.

    `found` and `reference` hold a Picture or Results for each picture. Raises ModelError when they do not fit.
    """
    if len(found) != len(reference):
        raise ModelError(f"expected {len(reference)} answers for as many pictures, got {len(found)}")
    if not reference:
        return None
    if isinstance(reference[0], np.ndarray):
        return _pictures(found, reference)
    if any(one.mask is not None for one in reference):
        return _masks(found, reference)
    if any(one.classes for one in reference):
        return _classes(found, reference)
    if any(one.keypoints is not None and one.keypoints.size for one in reference):
        return _keypoints(found, reference)
    return _boxes(found, reference)


def _pictures(found: Sequence[Picture], reference: Sequence[Picture]) -> Likeness:
    noise_db = [min(SAME_DB, psnr_db(one, other)) for one, other in zip(found, reference, strict=True)]
    mean_db, text = float(np.mean(noise_db)), f"{np.mean(noise_db):.1f} dB"
    if min(reference[0].shape[:2]) >= WINDOW_PX:
        likeness = float(np.mean([ssim(one, other) for one, other in zip(found, reference, strict=True)]))
        text = f"{text}, SSIM {_share(likeness)}"
    return Likeness("PSNR", mean_db, "dB", "equal" if mean_db >= SAME_DB else text, mean_db < SAME_DB)


def _boxes(found: Sequence[Results], reference: Sequence[Results]) -> Likeness:
    same = sum(same_boxes(one, other) for one, other in zip(found, reference, strict=True))
    got, expected = sum(len(one.boxes) for one in found), sum(len(one.boxes) for one in reference)
    value = f1(same, got, expected)
    return Likeness("F1", value, "", f"F1 {_share(value)}, {same} of {expected} boxes, {got - same} others", value < 1)


def _masks(found: Sequence[Results], reference: Sequence[Results]) -> Likeness:
    """Return the IoU of all pictures' masks together: of a picture without a person a few pixels would decide."""
    shared = joined = 0
    for one, other in zip(found, reference, strict=True):
        a, b = _is_person(one), _is_person(other)
        if a.shape != b.shape:
            raise ModelError(f"expected a mask of {b.shape}, got {a.shape}")
        shared, joined = shared + int((a & b).sum()), joined + int((a | b).sum())
    value = shared / joined if joined else 1.0
    return Likeness("IoU", value, "", f"IoU {_share(value)}", value < 1)


def _is_person(one: Results) -> NDArray[np.bool_]:
    if one.mask is None:
        raise ModelError("expected a mask, got none")
    return np.asarray(one.mask >= HALF, np.bool_)


def _classes(found: Sequence[Results], reference: Sequence[Results]) -> Likeness:
    pairs = [(one, other) for one, other in zip(found, reference, strict=True) if other.classes]
    same = sum(bool(one.classes) and one.classes[0][0] == other.classes[0][0] for one, other in pairs)
    value = same / len(pairs)
    return Likeness("top-1", value, "", f"same best class on {same} of {len(pairs)}", value < 1)


def _keypoints(found: Sequence[Results], reference: Sequence[Results]) -> Likeness:
    """Return the share of keypoints, of those the reference is sure of, that lie near where it sees them.

    Near is within NEAR of the extent of that person's sure keypoints, as in PCK (Yang and Ramanan, 2013).
    """
    near = away = total = 0.0
    for one, other in zip(found, reference, strict=True):
        for place, expected in enumerate(other.keypoints if other.keypoints is not None else ()):
            sure = expected[:, 2] >= SURE
            total += int(sure.sum())
            if not sure.any() or one.keypoints is None or place >= len(one.keypoints):
                continue
            extent = max(1.0, float(np.ptp(expected[sure, :2], axis=0).max()))
            shares = np.linalg.norm(one.keypoints[place][sure, :2] - expected[sure, :2], axis=1) / extent
            near, away = near + int((shares <= NEAR).sum()), away + float(shares.sum())
    value = near / total if total else 1.0
    text = f"{near:.0f} of {total:.0f} keypoints within {NEAR:.0%}, {away / max(total, 1):.2%} off on average"
    return Likeness("PCK", value, "", text, value < 1 or away > 0)


def _share(value: float) -> str:
    """Return a share with three decimals; 1 is said only of what is the same."""
    return "1" if value == 1 else f"{min(0.999, value):.3f}".lstrip("0") if value >= 0 else f"{value:.3f}"
