import json
from dataclasses import replace

import numpy as np
import pytest

from stream.results import Results


def two_boxes() -> Results:
    return Results(
        boxes=np.array([[1, 2, 30, 40], [5, 6, 7, 8]], np.float32),
        scores=np.array([0.91, 0.5], np.float32),
        class_ids=np.array([0, 2]),
        labels=("person", "car"),
    )


def test_boxes_become_supervision_detections() -> None:
    found = two_boxes().to_supervision()
    assert found.xyxy.tolist() == [[1, 2, 30, 40], [5, 6, 7, 8]]
    assert found.class_id.tolist() == [0, 2]
    assert found.data["class_name"].tolist() == ["person", "car"]
    assert found[found.confidence > 0.6].data["class_name"].tolist() == ["person"]


def test_nothing_found_becomes_empty_detections() -> None:
    assert len(Results().to_supervision()) == 0


def test_json_is_plain_and_says_of_a_mask_only_its_share() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[:2] = 255
    results = Results(mask=mask, classes=(("cup", 0.8765),), keypoints=np.ones((1, 17, 3), np.float32))
    found = json.loads(json.dumps(results.to_json()))
    assert found["mask_share"] == 0.5
    assert found["classes"] == [{"label": "cup", "score": 0.876}]
    assert np.array(found["keypoints"]).shape == (1, 17, 3)


def test_json_lists_each_box() -> None:
    assert two_boxes().to_json()["boxes"][0] == {"label": "person", "score": 0.91, "xyxy": [1.0, 2.0, 30.0, 40.0]}


NAN = float("nan")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"boxes": np.array([[1, 2, NAN, 4], [5, 6, 7, 8]], np.float32)}, "expected finite boxes"),
        ({"scores": np.array([0.5, np.inf], np.float32)}, "expected finite boxes and scores"),
        (
            {"boxes": np.array([[1, 2, 3, 4]], np.float32)},
            "with N scores, class_ids and labels, got boxes [1, 4], 2 sc",
        ),
        ({"boxes": np.zeros((2, 5), np.float32)}, "expected boxes [N,4]"),
        ({"boxes": [[1, 2, 3, 4]] * 2}, "expected boxes as a numpy array, got list"),
        ({"boxes": np.array([[9, 2, 3, 4], [5, 6, 7, 8]], np.float32)}, "x1 <= x2 and y1 <= y2, got [9.0, 2.0, 3.0"),
        ({"labels": ("person",)}, "1 labels"),
        ({"mask": np.zeros((50, 39), np.uint8)}, "expected a mask [50,40] uint8, got [50, 39] uint8"),
        ({"mask": np.zeros((50, 40), bool)}, "got [50, 40] bool"),
        ({"mask": [[0]]}, "uint8, got list"),
        ({"classes": (("cup", NAN),)}, "expected classes as (label, finite score), got a score of nan"),
        ({"classes": (("cup", None),)}, "got a score of None"),
        ({"keypoints": np.zeros((17, 3), np.float32)}, "expected keypoints [N,K,3] of x, y, score, got [17, 3]"),
        ({"keypoints": np.full((1, 17, 3), NAN, np.float32)}, "expected finite keypoints"),
        ({"track_ids": np.array([1])}, "expected 2 track_ids, one per box, got [1]"),
    ],
)
def test_a_fault_says_what_was_expected_and_got(wrong: dict[str, object], says: str) -> None:
    assert says in replace(two_boxes(), **wrong).fault(50, 40)


def test_what_keeps_the_contract_has_no_fault() -> None:
    full = replace(
        two_boxes(),
        mask=np.zeros((50, 40), np.uint8),
        classes=(("cup", np.float32(0.5)), ("mug", 0)),
        keypoints=np.zeros((0, 17, 3), np.float32),
        track_ids=np.array([4, 1]),
    )
    assert [one.fault(50, 40) for one in (Results(), two_boxes(), full)] == ["", "", ""]


def test_keypoints_keep_their_scores_to_a_thousandth() -> None:
    found = Results(keypoints=np.array([[[10.04, 20.26, 0.12345]]], np.float32)).to_json()
    assert found["keypoints"] == [[[10.0, 20.3, 0.123]]]


def test_track_ids_go_with_their_boxes() -> None:
    tracked = replace(two_boxes(), track_ids=np.array([7, 3]))
    assert [box["id"] for box in tracked.to_json()["boxes"]] == [7, 3]
    assert tracked.to_supervision().tracker_id.tolist() == [7, 3]
    assert two_boxes().to_supervision().tracker_id is None
    assert "id" not in two_boxes().to_json()["boxes"][0]
