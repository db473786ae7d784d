import json

import numpy as np

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
