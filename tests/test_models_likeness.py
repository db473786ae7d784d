import numpy as np
import pytest

from models.floors import MEANINGS
from models.likeness import SHORT, TOLD, Likeness, compare
from stream.errors import ModelError
from stream.results import Results

GREY = np.full((24, 32, 3), 100, np.uint8)


def boxes(*xyxy: tuple[float, float, float, float], label: int = 0) -> Results:
    count = len(xyxy)
    array = np.array(xyxy, np.float32).reshape(-1, 4)
    return Results(array, np.ones(count, np.float32), np.full(count, label, np.int64), ("thing",) * count)


def keypoints(shift: float = 0.0, score: float = 0.9) -> Results:
    points = np.array([[[0, 0, score], [100, 0, score], [0, 100, score], [50, 50, 0.1]]], np.float32)
    points[..., 0] += shift
    return Results(keypoints=points)


def value_of(found: Likeness | None) -> float:
    assert found is not None
    return found.value


def test_equal_pictures_are_equal_and_others_are_less() -> None:
    same, other = compare([GREY], [GREY.copy()]), compare([GREY + 1], [GREY])
    assert same is not None and (same.text, same.is_less, same.below) == ("equal", False, "")
    assert other is not None and (other.measure, other.unit) == ("PSNR", "dB") and other.is_less
    assert other.value == pytest.approx(48.13, abs=0.01)  # 20 log10 255
    assert other.text == "48.1 dB, SSIM .999"


def test_a_floor_that_is_missed_is_told_unless_the_variant_is_lighter() -> None:
    far = [GREY + 100]
    one, lighter = compare(far, [GREY]), compare(far, [GREY], is_lighter=True)
    assert one is not None and lighter is not None
    assert one.below == "PSNR 8.1 dB is below the floor of 35" and lighter.below == ""
    assert one.text == lighter.text


def test_boxes_are_told_by_f1_and_map() -> None:
    reference = [boxes((0, 0, 10, 10), (20, 20, 30, 30)), boxes((5, 5, 15, 15))]
    found = compare([boxes((0, 0, 10, 10)), boxes((5, 5, 15, 15), (40, 40, 50, 50))], reference)
    assert found is not None and found.measure == "F1" and found.value == pytest.approx(2 / 3)
    assert found.text.startswith("F1 .667, mAP ") and "below the floor of 0.95" in found.below
    assert value_of(compare(reference, reference)) == 1.0


def test_masks_are_told_by_iou() -> None:
    whole, half = np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8)
    half[:2] = 255
    found = compare([Results(mask=half), Results(mask=whole)], [Results(mask=whole), Results(mask=whole)])
    assert found is not None and (found.text, found.value, found.is_less) == ("IoU .750", 24 / 32, True)


def test_best_classes_are_told_by_how_many_are_the_same() -> None:
    cat, dog = Results(classes=(("cat", 0.9), ("dog", 0.1))), Results(classes=(("dog", 0.8),))
    found = compare([cat, dog, cat], [cat, cat, cat])
    assert found is not None and found.measure == "top-1 same" and found.value == pytest.approx(2 / 3)
    assert found.text.startswith("top-1 same .667")


def test_keypoints_are_told_by_how_many_are_near() -> None:
    same, other = compare([keypoints()], [keypoints()]), compare([keypoints(60.0)], [keypoints()])
    assert same is not None and same.text.startswith("keypoints near 1") and not same.is_less
    assert other is not None and other.value == 0.0 and "point" in other.below


def test_what_is_nearly_the_same_is_not_said_to_be_the_same() -> None:
    whole = np.full((100, 100), 255, np.uint8)
    nearly = whole.copy()
    nearly[0, 0] = 0
    found = compare([Results(mask=nearly)], [Results(mask=whole)])
    assert found is not None and found.text == "IoU .999" and found.is_less


def test_nothing_to_find_is_no_number() -> None:
    assert compare([], []) is None and compare([boxes()], [boxes()]) is None


def test_answers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="expected 2 answers"):
        compare([GREY], [GREY, GREY])


def test_every_measure_that_is_told_has_its_words() -> None:
    assert {name for row in TOLD for name in row} == SHORT.keys() <= MEANINGS.keys()
