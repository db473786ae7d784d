from dataclasses import replace

import numpy as np
import pytest

from stream.compose import Composer, blend, box_labels, person_weight
from stream.results import Results
from tests.fakes import make_frame

SIZE = (90, 160)


def frame_with(generated: int | None = 200, mask: np.ndarray | None = None, **results: Results):
    frame = make_frame(size=SIZE)
    frame.image[:] = 50
    frame.generated = None if generated is None else np.full_like(frame.image, generated)
    frame.results.update(results)
    if mask is not None:
        frame.results["mask"] = Results(mask=mask)
    return frame


def left_half_mask() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[:, :80] = 255
    return mask


def test_the_person_stays_and_the_background_is_generated() -> None:
    picture = Composer(is_background=True).compose(frame_with(mask=left_half_mask()))
    assert picture[45, 20].tolist() == [50] * 3
    assert picture[45, 140].tolist() == [200] * 3


@pytest.mark.parametrize("mask", [None, np.zeros(SIZE, np.uint8)])
def test_with_nobody_there_everything_is_generated(mask) -> None:
    picture = Composer(is_background=True).compose(frame_with(mask=mask))
    assert (picture == 200).all()


def test_style_on_everything_ignores_the_mask() -> None:
    assert (Composer().compose(frame_with(mask=left_half_mask())) == 200).all()


def test_a_mask_alone_dims_the_background() -> None:
    picture = Composer().compose(frame_with(generated=None, mask=left_half_mask()))
    assert picture[45, 20].tolist() == [50] * 3
    assert picture[45, 140, 0] < 25


def test_without_a_generated_picture_the_frame_is_shown_as_it_is() -> None:
    frame = frame_with(generated=None)
    assert Composer(is_background=True).compose(frame) is frame.image


def test_boxes_are_drawn_on_a_copy() -> None:
    boxes = Results(
        boxes=np.array([[20, 20, 100, 70]], np.float32),
        scores=np.array([0.9], np.float32),
        class_ids=np.array([0]),
        labels=("person",),
    )
    frame = frame_with(generated=None, boxes=boxes)
    picture = Composer().compose(frame)
    assert (picture != 50).any()
    assert (frame.image == 50).all()


def test_a_class_is_written_into_the_lower_left_corner() -> None:
    picture = Composer().compose(frame_with(generated=None, classes=Results(classes=(("espresso", 0.9),))))
    assert (picture[60:] != 50).any() and (picture[:40] == 50).all()


def test_the_weight_of_a_person_rises_smoothly() -> None:
    def mask(share: float) -> np.ndarray:
        found = np.zeros((100, 100), np.uint8)
        found.reshape(-1)[: round(share * 10_000)] = 255
        return found

    weights = [person_weight(mask(share)) for share in (0, 0.01, 0.015, 0.02, 0.025, 0.03, 0.5)]
    assert weights == sorted(weights)
    assert (weights[0], weights[1], weights[-1]) == (0, 0, 1)
    assert 0.4 < weights[3] < 0.6


def test_blend_mixes_by_the_mask() -> None:
    front, behind = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert abs(int(blend(front, behind, np.full((2, 2), 128, np.uint8))[0, 0, 0]) - 150) <= 1


def person_box(*xyxy: float, label: str = "person") -> Results:
    box = np.array([xyxy], np.float32)
    return Results(boxes=box, scores=np.ones(1, np.float32), class_ids=np.zeros(1, np.int64), labels=(label,))


def test_a_mask_counts_only_where_a_person_was_boxed() -> None:
    everything = np.full(SIZE, 255, np.uint8)
    frame = frame_with(mask=everything, boxes=person_box(2, 5, 40, 85))
    picture = Composer(is_background=True, boxing=frozenset({"boxes"})).compose(frame)
    assert picture[60, 20].tolist() == [50] * 3  # in the box: left alone
    assert picture[60, 140].tolist() == [200] * 3  # outside: painted, whatever the mask says


@pytest.mark.parametrize("boxes", [Results(), person_box(2, 5, 40, 85, label="cup")])
def test_a_mask_without_a_boxed_person_is_nobody(boxes: Results) -> None:
    frame = frame_with(mask=np.full(SIZE, 255, np.uint8), boxes=boxes)
    picture = Composer(is_background=True, boxing=frozenset({"boxes"})).compose(frame)
    assert picture[80, 150].tolist() == [200] * 3


def body(score: float) -> Results:
    joints = np.zeros((1, 17, 3), np.float32)
    joints[0, :, :2] = (1, 1)
    joints[0, 5] = (40, 30, 0.9)  # left shoulder
    joints[0, 11] = (40, 70, score)  # left hip
    return Results(keypoints=joints)


def test_a_skeleton_is_drawn_between_joints_that_were_seen() -> None:
    frame = frame_with(generated=None, pose=body(0.9))
    picture = Composer().compose(frame)
    assert (picture[50, 39:42] != 50).any()  # the line between shoulder and hip
    assert (picture[30, 40] != 50).any()
    assert (picture[:10, :10] == 50).all()  # joints of score 0
    assert (frame.image == 50).all()


def test_no_line_goes_to_a_joint_that_was_not_seen() -> None:
    picture = Composer().compose(frame_with(generated=None, pose=body(0.1)))
    assert (picture[50] == 50).all()
    assert (picture[30, 40] != 50).any()


@pytest.mark.parametrize("count", [1, 5, 17, 33])
def test_any_number_of_keypoints_can_be_drawn(count: int) -> None:
    keypoints = np.full((2, count, 3), 0.9, np.float32)
    keypoints[..., :2] = 60
    assert (Composer().compose(frame_with(generated=None, found=Results(keypoints=keypoints)))[60, 60] != 50).any()


def test_nobody_leaves_the_picture_alone() -> None:
    frame = frame_with(generated=None, pose=Results(keypoints=np.zeros((0, 17, 3), np.float32)))
    assert Composer().compose(frame) is frame.image


def test_the_label_of_a_followed_box_has_its_number() -> None:
    found = Results(
        boxes=np.array([[20, 20, 100, 70]], np.float32),
        scores=np.array([0.824], np.float32),
        class_ids=np.array([0]),
        labels=("person",),
    )
    assert box_labels(found) == ["person 82%"]
    followed = replace(found, track_ids=np.array([3]))
    assert box_labels(followed) == ["person 3 82%"]
    assert (Composer().compose(frame_with(generated=None, boxes=followed)) != 50).any()
