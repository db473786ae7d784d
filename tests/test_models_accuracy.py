"""The measures, on answers whose distance is known."""

import math

import numpy as np
import pytest

from models.accuracy import EQUAL_DB, against_truth, compare, flicker, keypoint_pairs, mean_average_precision, top_k
from stream.errors import ModelError
from stream.results import Results

CHANCE = np.random.default_rng(1)
NOISE = CHANCE.integers(0, 200, (30, 40, 3), np.uint8)


def values(found, reference):
    return {measure.name: measure.value for measure in compare(found, reference)}


def boxes(*rows):
    """Return Results of (x1, y1, x2, y2, score, class)."""
    return Results(
        np.array([row[:4] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[4] for row in rows], np.float32),
        np.array([row[5] for row in rows], np.int64),
        tuple(str(row[5]) for row in rows),
    )


def person(x=0.0, y=0.0, score=0.9, size=100.0):
    """Return four points on the corners of a square, `[4,3]`."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32) * size + (x, y)
    return np.concatenate([corners, np.full((4, 1), score)], axis=1).astype(np.float32)


def people(*each):
    return Results(keypoints=np.stack(each) if each else np.zeros((0, 4, 3), np.float32))


# pictures


def test_psnr_is_over_all_pixels_so_that_equal_pictures_do_not_hide_a_bad_one():
    worse = NOISE + 10
    measures = {m.name: m for m in compare([NOISE, NOISE, NOISE, worse], [NOISE] * 4)}
    assert measures["psnr"].value == pytest.approx(20 * math.log10(255 / 5))  # a mean error of 100 / 4
    assert measures["psnr"].worst == pytest.approx(20 * math.log10(25.5))
    assert measures["psnr"].count == 4
    assert measures["ssim"].worst < measures["ssim"].value < 1


def test_equal_pictures_have_the_number_that_stands_for_it():
    assert values([NOISE], [NOISE]) == {"psnr": EQUAL_DB, "ssim": pytest.approx(1)}


def test_pictures_too_small_for_ssim_have_psnr_alone():
    assert set(values([NOISE[:5]], [NOISE[:5]])) == {"psnr"}


@pytest.mark.parametrize("found", [[], [Results()], [NOISE[:-1]]])
def test_answers_that_do_not_fit_are_refused(found):
    with pytest.raises(ModelError, match="expected"):
        compare(found, [NOISE])


# boxes


def test_equal_boxes_are_perfect_and_none_at_all_is_no_measure():
    two = boxes((0, 0, 10, 10, 0.9, 0), (20, 20, 40, 40, 0.5, 3))
    assert values([two, boxes()], [two, boxes()]) == {"map50": 1, "box_f1": 1}
    assert compare([boxes()], [boxes()]) == ()


def test_a_lost_class_halves_the_map_of_two():
    two, one = boxes((0, 0, 10, 10, 0.9, 0), (20, 20, 40, 40, 0.5, 3)), boxes((0, 0, 10, 10, 0.9, 0))
    assert values([one], [two]) == {"map50": pytest.approx(0.5), "box_f1": pytest.approx(2 / 3)}


def test_a_surer_wrong_box_costs_precision():
    truth = boxes((0, 0, 10, 10, 1, 0))
    assert mean_average_precision([boxes((0, 0, 10, 10, 0.5, 0), (50, 50, 60, 60, 0.9, 0))], [truth]) == pytest.approx(
        0.5
    )
    assert mean_average_precision([boxes((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.5, 0))], [truth]) == 1


@pytest.mark.parametrize(("right", "expected"), [(5.1, 1), (4.9, 0)])
def test_iou_decides_at_a_half(right, expected):
    assert mean_average_precision([boxes((0, 0, 10, right, 0.9, 0))], [boxes((0, 0, 10, 10, 1, 0))]) == expected


def test_invented_boxes_show_in_f1_where_there_was_nothing():
    assert values([boxes((0, 0, 10, 10, 0.9, 0))], [boxes()]) == {"box_f1": 0}


# masks


def test_mask_iou_is_over_the_pixels_of_all_pictures():
    half, whole, none = (np.zeros((10, 10), np.uint8) for _ in range(3))
    half[:5], whole[:] = 200, 255
    [measure] = compare([Results(mask=half), Results(mask=none)], [Results(mask=whole), Results(mask=none)])
    assert (measure.value, measure.worst, measure.count) == (0.5, 0.5, 2)
    assert values([Results(mask=none)], [Results(mask=none)]) == {"mask_iou": 1}
    assert values([Results(mask=whole)], [Results(mask=none)]) == {"mask_iou": 0}


def test_a_missing_mask_is_refused():
    with pytest.raises(ModelError, match="expected a mask"):
        compare([Results()], [Results(mask=np.zeros((2, 2), np.uint8))])


# keypoints


def test_distance_is_of_the_persons_size():
    found = values([people(person(3, 4))], [people(person())])
    assert found == {"point_distance": pytest.approx(0.05), "points_near": 1, "points_f1": 1}


def test_points_that_moved_far_are_not_near_and_a_lost_person_has_none():
    assert values([people(person(20))], [people(person())])["points_near"] == 0
    assert values([people()], [people(person())]) == {"points_near": 0, "points_f1": 0}
    assert values([people(person())], [people()]) == {"points_f1": 0}  # somebody who is not there
    assert compare([people()], [people()]) == ()


def test_people_are_paired_by_place_and_not_by_order():
    left, right = person(0), person(500)
    assert values([people(right, left)], [people(left, right)]) == {
        "point_distance": 0,
        "points_near": 1,
        "points_f1": 1,
    }
    assert len(keypoint_pairs(np.stack([left, person(5)]), np.stack([left]))) == 1


def test_a_point_that_only_the_reference_is_sure_of_counts_as_not_seen():
    unsure = person()
    unsure[0, 2] = 0.1
    found = values([people(unsure)], [people(person())])
    assert found["points_f1"] == pytest.approx(2 * 3 / 7) and found["points_near"] == 1


# classes


def classes(*pairs):
    return Results(classes=pairs)


def test_classes_are_compared_by_the_best_and_by_its_probability():
    reference = [classes(("cup", 0.8), ("mug", 0.1)), classes(("cat", 0.4), ("dog", 0.3))]
    found = [classes(("cup", 0.7), ("mug", 0.2)), classes(("dog", 0.4), ("cat", 0.3))]
    assert values(found, reference) == {"same_sure": 1, "same_best": 0.5, "share_off": pytest.approx(0.1)}
    assert values([classes(), found[1]], reference) == {"same_sure": 0, "same_best": 0, "share_off": 1}


def test_truth_is_any_of_the_right_labels_and_lost_points_are_the_references_less_the_variants():
    truths = [frozenset({"cup", "mug"}), frozenset({"cat"})]
    reference = [classes(("mug", 0.8)), classes(("cat", 0.4))]
    found = [classes(("cup", 0.8)), classes(("dog", 0.4), ("cat", 0.3))]
    measures = {measure.name: measure.value for measure in against_truth(found, reference, truths)}
    assert measures == {"top1": 50, "top1_reference": 100, "top1_lost": 50, "top5": 100, "top5_reference": 100}
    assert top_k([classes(*[(str(i), 0.1) for i in range(6)])], [frozenset({"5"})], 5) == 0


# flicker


def test_flicker_is_the_change_where_nothing_moved():
    still = np.full((4, 4, 3), 100, np.uint8)
    moving = still.copy()
    moving[:2] = 200  # the upper half of the camera's picture changes, the lower stays
    painted = [np.full((4, 4, 3), 50, np.uint8), np.full((4, 4, 3), 56, np.uint8)]
    painted[1][:2] = 255
    assert flicker(painted, [still, moving]) == 6
    assert flicker(painted, [still, 255 - still]) == 0  # nothing stood still
    assert flicker([painted[0]] * 2, [still, still + 2]) == 0
