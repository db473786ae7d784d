import numpy as np
import pytest

from models.likeness import Likeness, compare
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
    assert same is not None and (same.text, same.is_less) == ("equal", False)
    assert other is not None and other.measure == "PSNR" and other.is_less
    assert other.value == pytest.approx(48.13, abs=0.01)  # 20 log10 255
    assert other.text.startswith("48.1 dB, SSIM .99")


def test_pictures_too_small_for_ssim_have_a_psnr() -> None:
    found = compare([GREY[:4] + 1], [GREY[:4]])
    assert found is not None and found.text == "48.1 dB"


def test_boxes_are_counted_over_all_pictures() -> None:
    reference = [boxes((0, 0, 10, 10), (20, 20, 30, 30)), boxes((5, 5, 15, 15))]
    found = compare([boxes((0, 0, 10, 10)), boxes((5, 5, 15, 15), (40, 40, 50, 50))], reference)
    assert found is not None and found.text == "F1 .667, 2 of 3 boxes, 1 others"
    assert value_of(compare(reference, reference)) == 1.0
    assert value_of(compare([boxes((0, 0, 10, 10), label=1)], [boxes((0, 0, 10, 10))])) == 0.0
    assert value_of(compare([boxes()], [boxes()])) == 1.0


def test_masks_are_compared_by_iou_over_all_pictures() -> None:
    whole, half = np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8)
    half[:2] = 255
    found = compare([Results(mask=half), Results(mask=whole)], [Results(mask=whole), Results(mask=whole)])
    assert found is not None and (found.measure, found.value, found.is_less) == ("IoU", 24 / 32, True)
    nobody = Results(mask=np.zeros((4, 4), np.uint8))
    assert value_of(compare([nobody], [nobody])) == 1.0


def test_a_mask_of_another_size_or_none_is_refused() -> None:
    mask = Results(mask=np.zeros((4, 4), np.uint8))
    with pytest.raises(ModelError, match=r"expected a mask of \(4, 4\), got \(2, 2\)"):
        compare([Results(mask=np.zeros((2, 2), np.uint8))], [mask])
    with pytest.raises(ModelError, match="expected a mask, got none"):
        compare([Results()], [mask])


def test_best_classes_are_compared() -> None:
    cat, dog = Results(classes=(("cat", 0.9), ("dog", 0.1))), Results(classes=(("dog", 0.8),))
    found = compare([cat, dog, Results()], [cat, cat, cat])
    assert found is not None and (found.value, found.text) == (1 / 3, "same best class on 1 of 3")


def test_keypoints_near_the_reference_count() -> None:
    assert compare([keypoints()], [keypoints()]) == Likeness(
        "PCK", 1.0, "", "3 of 3 keypoints within 10%, 0.00% off on average", False
    )
    assert value_of(compare([keypoints(9.0)], [keypoints()])) == 1.0
    assert value_of(compare([keypoints(11.0)], [keypoints()])) == 0.0
    assert value_of(compare([Results()], [keypoints()])) == 0.0
    assert value_of(compare([keypoints()], [keypoints(score=0.1)])) == 1.0  # the reference sees nobody


def test_answers_must_be_as_many() -> None:
    with pytest.raises(ModelError, match="expected 2 answers for as many pictures, got 1"):
        compare([GREY], [GREY, GREY])
    assert compare([], []) is None
