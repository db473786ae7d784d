"""How near a variant's answers are to the reference's on the same pictures, and both to the truth where it is known.

Pure functions on answers that are there: pictures, or `Results` with any of boxes, mask, keypoints and classes. Each
number is a `Measure`, with what it was taken over. The floors that decide are in models/floors.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.quality import PEAK, WINDOW_PX, compare_boxes, f1, psnr_db, ssim
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

EQUAL_DB = 100.0  # a PSNR that stands for equal pictures: infinity is no number in JSON, and 8 bits end near 98 dB
HALF = 128  # of a mask 0..255: from here on a pixel is the person's
SURE = 0.3  # a keypoint's score from which it counts as seen; the publisher's setting for MoveNet
NEAR = 0.1  # of the person's size: the limit of PCK (Yang and Ramanan, 2013)
SURE_SHARE = 0.5  # a category's probability from which the reference is not guessing: more likely than all others
STILL = 2  # of 255: the most a pixel may change between two pictures and count as unchanged; a codec's noise
Answer = Picture | Results


@dataclass(frozen=True, slots=True)
class Measure:
    """One number about a variant.

    name   key of models/floors.py's MEANINGS
    value  in the unit that is written there
    count  what it was taken over: pictures, boxes of the reference, keypoints
    worst  of the single pictures; None where a single picture has no such number
    """

    name: str
    value: float
    count: int
    worst: float | None = None


def compare(found: Sequence[Answer], reference: Sequence[Answer]) -> tuple[Measure, ...]:
    """Return every measure that fits what the reference gave; none for what neither of the two ever found.

    Raises ModelError when the two do not fit: other numbers of answers, a picture beside results, another size.
    """
    if len(found) != len(reference) or any(type(a) is not type(b) for a, b in zip(found, reference, strict=True)):
        raise ModelError(f"expected {len(reference)} answers of the reference's types, got {len(found)}")
    if not reference:
        return ()
    if isinstance(reference[0], np.ndarray):
        return _pictures(found, reference)  # type: ignore[arg-type]
    measures: list[Measure] = []
    for part in (_boxes, _mask, _keypoints, _classes):
        measures += part(found, reference)  # type: ignore[arg-type]
    return tuple(measures)


def _pictures(found: Sequence[Picture], reference: Sequence[Picture]) -> tuple[Measure, ...]:
    pairs = list(zip(found, reference, strict=True))
    for one, other in pairs:
        if one.shape != other.shape:
            raise ModelError(f"expected a picture of {other.shape}, as the reference gives, got {one.shape}")
    single_db = [min(EQUAL_DB, psnr_db(one, other)) for one, other in pairs]
    measures = [Measure("psnr", pooled_psnr_db(pairs), len(pairs), min(single_db))]
    large = [(one, other) for one, other in pairs if min(one.shape[:2]) >= WINDOW_PX]
    if large:
        single = [ssim(one, other) for one, other in large]
        measures.append(Measure("ssim", float(np.mean(single)), len(large), min(single)))
    return tuple(measures)


def pooled_psnr_db(pairs: Sequence[tuple[Picture, Picture]]) -> float:
    """Return the PSNR over all pixels of all pictures; one that is far off is not outvoted by many that are equal."""
    errors = [float(np.mean((one.astype(np.float32) - other) ** 2)) for one, other in pairs]
    mean = float(np.mean(errors))
    return min(EQUAL_DB, float(10 * np.log10(PEAK**2 / mean))) if mean else EQUAL_DB


def _boxes(found: Sequence[Results], reference: Sequence[Results]) -> list[Measure]:
    expected = sum(len(one.boxes) for one in reference)
    if not expected and not any(len(one.boxes) for one in found):
        return []
    quality = compare_boxes(found, reference)
    measures = [Measure("box_f1", quality.value, expected, quality.low)]
    if expected:
        measures.insert(0, Measure("map50", mean_average_precision(found, reference), expected))
    return measures


def mean_average_precision(found: Sequence[Results], reference: Sequence[Results]) -> float:
    """Return mAP at IoU .5 with the reference's boxes as the truth: COCO's, by way of supervision.

    A class that only the variant sees does not count here; `box_f1` has it.
    """
    from supervision.metrics import MeanAveragePrecision  # late: it imports matplotlib

    metric = MeanAveragePrecision()
    metric.update([one.to_supervision() for one in found], [one.to_supervision() for one in reference])
    return float(metric.compute().map50)


def _mask(found: Sequence[Results], reference: Sequence[Results]) -> list[Measure]:
    """IoU over the pixels of all pictures: where nobody is, a few pixels would decide a picture's own."""
    if all(one.mask is None for one in (*found, *reference)):
        return []
    shared = joined = 0
    single = []
    for one, other in zip(found, reference, strict=True):
        if one.mask is None or other.mask is None or one.mask.shape != other.mask.shape:
            raise ModelError("expected a mask of the reference's size, got none or another size")
        a, b = one.mask >= HALF, other.mask >= HALF
        both, either = int((a & b).sum()), int((a | b).sum())
        shared, joined = shared + both, joined + either
        single.append(both / either if either else 1.0)
    return [Measure("mask_iou", shared / joined if joined else 1.0, len(single), min(single))]


def _keypoints(found: Sequence[Results], reference: Sequence[Results]) -> list[Measure]:
    """Where the points lie that the reference is sure of, and which are seen at all; people are paired by distance."""
    near = expected = got = both = 0
    distances: list[float] = []
    for one, other in zip(found, reference, strict=True):
        a, b = _points(one), _points(other)
        expected, got = expected + int((b[..., 2] >= SURE).sum()), got + int((a[..., 2] >= SURE).sum())
        for place in keypoint_pairs(a, b):
            near += int((place.apart <= NEAR).sum())
            both += int(place.is_seen.sum())
            distances += place.apart[place.is_seen].tolist()
    if not expected + got:
        return []
    measures = [Measure("points_f1", f1(both, got, expected), expected)]
    if expected:
        measures.insert(0, Measure("points_near", near / expected, expected))
    if distances:
        worst = float(np.max(distances))
        measures.insert(0, Measure("point_distance", float(np.mean(distances)), len(distances), worst))
    return measures


def _points(one: Results) -> NDArray[np.float32]:
    return np.zeros((0, 1, 3), np.float32) if one.keypoints is None else one.keypoints


@dataclass(frozen=True, slots=True)
class Pair:
    """The same person, or face, in two answers: of the points that the second is sure of,

    apart    how far apart they lie, of the person's size
    is_seen  whether the first is sure of them too
    """

    apart: NDArray[np.float64]
    is_seen: NDArray[np.bool_]


def keypoint_pairs(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[Pair]:
    """Return who is in both of `[N,K,3]` and `[M,K,3]` x, y, score, the nearest paired first.

    The size of a person is the root of the area of the box around the reference's sure points, as COCO's keypoint
    similarity takes the root of a person's area.
    """
    if not len(a) or not len(b) or a.shape[1] != b.shape[1]:
        return []
    pairs = {(i, j): _pair(a[i], b[j]) for i, j in np.ndindex(len(a), len(b))}
    order = sorted((key for key, pair in pairs.items() if pair.apart.size), key=lambda key: pairs[key].apart.mean())
    chosen: list[tuple[int, int]] = []
    for i, j in order:
        if all(i != other_i and j != other_j for other_i, other_j in chosen):
            chosen.append((i, j))
    return [pairs[key] for key in chosen]


def _pair(one: NDArray[np.float32], other: NDArray[np.float32]) -> Pair:
    sure = other[:, 2] >= SURE
    apart = np.linalg.norm(one[sure, :2].astype(np.float64) - other[sure, :2], axis=1)
    return Pair(apart / (_extent(other) if sure.any() else 1.0), np.asarray(one[sure, 2] >= SURE, np.bool_))


def _extent(points: NDArray[np.float32]) -> float:
    """Return the size of who the points `[K,3]` belong to, in px; at least 1."""
    sure = points[points[:, 2] >= SURE, :2]
    width, height = np.ptp(sure, axis=0)
    return max(1.0, float(np.sqrt(width * height)), float(max(width, height)) / 2)  # points on a line have no area


def _classes(found: Sequence[Results], reference: Sequence[Results]) -> list[Measure]:
    pairs = [(one, other) for one, other in zip(found, reference, strict=True) if one.classes or other.classes]
    if not pairs:
        return []
    same = [bool(one.classes and other.classes) and one.classes[0][0] == other.classes[0][0] for one, other in pairs]
    off = [_share_off(one, other) for one, other in pairs]
    measures = [Measure("same_best", float(np.mean(same)), len(pairs)), Measure("share_off", max(off), len(pairs))]
    sure = [at for at, (_, other) in enumerate(pairs) if other.classes and other.classes[0][1] >= SURE_SHARE]
    if sure:
        measures.insert(0, Measure("same_sure", float(np.mean([same[at] for at in sure])), len(sure)))
    return measures


def _share_off(one: Results, other: Results) -> float:
    """Return by how much the probability of the reference's best category differs; 1 when it is not named at all."""
    if not other.classes:
        return 1.0
    label, share = other.classes[0]
    named = dict(one.classes)
    return abs(named[label] - share) if label in named else 1.0


def against_truth(
    found: Sequence[Answer], reference: Sequence[Answer], truths: Sequence[frozenset[str]]
) -> tuple[Measure, ...]:
    """Return top-1 and top-5 of both against the truth, and the points that the variant lost.

    truths  the labels that are right for each picture
    """
    of_variant, of_reference = top_k(found, truths, 1), top_k(reference, truths, 1)
    return (
        Measure("top1", of_variant, len(truths)),
        Measure("top1_reference", of_reference, len(truths)),
        Measure("top1_lost", of_reference - of_variant, len(truths)),
        Measure("top5", top_k(found, truths, 5), len(truths)),
        Measure("top5_reference", top_k(reference, truths, 5), len(truths)),
    )


def top_k(found: Sequence[Answer], truths: Sequence[frozenset[str]], k: int) -> float:
    """Return on how many percent of the pictures one of the k best categories is right."""
    right = [
        isinstance(one, Results) and any(label in truth for label, _ in one.classes[:k])
        for one, truth in zip(found, truths, strict=True)
    ]
    return 100.0 * float(np.mean(right))


def flicker(paintings: Sequence[Picture], pictures: Sequence[Picture]) -> float:
    """Return the mean change, of 255, between successive paintings where the camera's pixels did not change.

    0 when no pixel stood still. Both are successive pictures of one stream, of one size.
    """
    total = count = 0.0
    for before in range(len(pictures) - 1):
        moved = np.abs(pictures[before + 1].astype(np.int16) - pictures[before]).max(axis=2)
        is_still = moved <= STILL
        change = np.abs(paintings[before + 1].astype(np.int16) - paintings[before])[is_still]
        total, count = total + float(change.sum()), count + change.size
    return total / count if count else 0.0
