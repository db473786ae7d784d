"""Numbers stay with their objects: on made boxes that walk, hide and cross, and on the street of the sample clip."""

from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import av
import numpy as np
import pytest

from models.base import Card, Kind, Target
from models.registry import cards, load, parse
from models.tracking import GAP_NS, KEEP_PICTURES, SURE_WITHIN, TrackedModel, Tracker, share_tracker
from stream.clock import VirtualClock
from stream.errors import ModelError
from stream.results import Results
from tests.golden import picture

CPU = Target("cpu", 2)
H, W = 360, 640


def at(*people, labels=None):
    """Return boxes of 30x60 px around each (x, y) or (x, y, score)."""
    rows = [(*one, 0.8)[:3] for one in people]
    return Results(
        boxes=np.array([[x - 15, y - 30, x + 15, y + 30] for x, y, _ in rows], np.float32).reshape(-1, 4),
        scores=np.array([score for *_, score in rows], np.float32),
        class_ids=np.zeros(len(rows), np.int64),
        labels=tuple(labels or ["person"] * len(rows)),
    )


def ids(found):
    return found.track_ids.tolist()


def test_a_box_is_given_from_its_second_picture_on_and_keeps_its_number():
    tracker = Tracker(0.4)
    assert ids(tracker.follow(at((100, 100)), H, W)) == []
    assert [ids(tracker.follow(at((100 + 3 * i, 100)), H, W)) for i in range(1, 20)] == [[1]] * 19


def test_two_that_cross_keep_their_numbers():
    tracker = Tracker(0.4)
    for i in range(60):
        left, right = (100 + 5 * i, 100), (400 - 5 * i, 125)
        found = tracker.follow(at(left, right) if i % 2 else at(right, left), H, W)
        by_x = found.track_ids[np.argsort(found.boxes[:, 0])].tolist()
        if i == 1:
            before = by_x
    assert (sorted(before), by_x) == ([1, 2], before[::-1])


@pytest.mark.parametrize(("pictures", "number"), [(10, 1), (KEEP_PICTURES + 5, 2)])
def test_one_that_was_hidden_comes_back_with_its_number_for_a_second(pictures, number):
    tracker = Tracker(0.4)
    for _ in range(10):
        tracker.follow(at((100, 100)), H, W)
    for _ in range(pictures):
        assert ids(tracker.follow(at(), H, W)) == []
    tracker.follow(at((100, 100)), H, W)
    assert ids(tracker.follow(at((100, 100)), H, W)) == [number]


def test_unsure_boxes_keep_a_track_going_and_start_none():
    tracker = Tracker(0.4)
    for _ in range(5):
        tracker.follow(at((100, 100)), H, W)
    found = [tracker.follow(at((100, 100, 0.25), (300, 200, 0.25)), H, W) for _ in range(5)]
    assert [ids(one) for one in found] == [[1]] * 5


def test_a_box_that_was_not_sure_for_long_is_not_given_and_still_known():
    tracker = Tracker(0.4)
    for _ in range(5):
        tracker.follow(at((100, 100)), H, W)
    found = [ids(tracker.follow(at((100, 100, 0.25)), H, W)) for _ in range(2 * SURE_WITHIN)]
    assert found == [[1]] * (SURE_WITHIN - 1) + [[]] * (SURE_WITHIN + 1)
    assert ids(tracker.follow(at((100, 100)), H, W)) == [1]


def test_what_is_given_keeps_its_order_labels_and_keypoints():
    boxes = at((100, 100), (300, 200), (500, 100), labels=["a", "b", "c"])
    found = replace(boxes, keypoints=np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 5, 3), np.float32))
    tracker = Tracker(0.4)
    tracker.follow(replace(at((100, 100), (500, 100)), keypoints=None), H, W)
    again = tracker.follow(found, H, W)
    assert again.labels == ("a", "c")
    assert again.keypoints[:, 0, 0].tolist() == [0, 2]
    assert again.fault(H, W) == ""


def test_another_size_starts_over_with_new_numbers():
    tracker = Tracker(0.4)
    for _ in range(3):
        found = tracker.follow(at((100, 100)), H, W)
    assert ids(found) == [1]
    assert ids(tracker.follow(at((100, 100)), 180, 320)) == []
    assert ids(tracker.follow(at((100, 100)), 180, 320)) == [2]


def test_a_long_gap_starts_over_and_a_short_one_does_not():
    clock = VirtualClock()
    tracker = Tracker(0.4, clock)
    for _ in range(3):
        tracker.follow(at((100, 100)), H, W)
    clock.advance_to(clock.now_ns() + GAP_NS)
    assert ids(tracker.follow(at((100, 100)), H, W)) == [1]
    clock.advance_to(clock.now_ns() + GAP_NS + 1)
    assert ids(tracker.follow(at((100, 100)), H, W)) == []
    assert ids(tracker.follow(at((100, 100)), H, W)) == [2]


def test_same_boxes_give_the_same_numbers():
    rng = np.random.default_rng(3)
    shown = [at(*(rng.uniform(50, 300, 2) for _ in range(rng.integers(0, 6)))) for _ in range(60)]
    first, second = ([ids(tracker.follow(one, H, W)) for one in shown] for tracker in (Tracker(0.4), Tracker(0.4)))
    assert first == second
    assert any(first)


def test_two_streams_count_for_themselves():
    one, other = Tracker(0.4), Tracker(0.4)
    for _ in range(3):
        found = one.follow(at((100, 100), (200, 200)), H, W)
        alone = other.follow(at((300, 100)), H, W)
    assert (ids(found), ids(alone)) == ([1, 2], [1])


# ---- around models


class Scripted:
    """Gives one box, or what it is told."""

    card = Card("scripted", Kind.RECOGNIZE, "one box", "MIT", "here", frozenset({"boxes"}))
    variant = "test"

    def __init__(self, gives=None):
        self.gives = gives if gives is not None else at((100, 100))
        self.calls = []

    def warm(self, height, width):
        self.calls.append("warm")

    def __call__(self, image):
        return self.gives

    def close(self):
        self.calls.append("close")


def test_a_tracked_model_warms_and_closes_its_own_and_follows():
    model = Scripted()
    tracked = TrackedModel(model, Tracker(0.4))
    tracked.warm(H, W)
    image = np.zeros((H, W, 3), np.uint8)
    assert [ids(tracked(image)) for _ in range(3)] == [[], [1], [1]]
    tracked.close()
    assert model.calls == ["warm", "close"]
    assert (tracked.card, tracked.variant) == (model.card, "test")


def test_variants_of_one_stream_share_their_numbers():
    best, lighter = TrackedModel(Scripted(), Tracker(0.4)), TrackedModel(Scripted(), Tracker(0.4))
    share_tracker(best, lighter)
    share_tracker(best, Scripted())  # one that follows nothing is left alone
    image = np.zeros((H, W, 3), np.uint8)
    assert [ids(model(image)) for model in (best, best, lighter, best)] == [[], [1], [1], [1]]


def test_a_model_that_gives_no_results_is_told():
    with pytest.raises(ModelError, match="track=on expects Results with boxes, got ndarray"):
        TrackedModel(Scripted(np.zeros(3)), Tracker(0.4))(np.zeros((H, W, 3), np.uint8))


def test_every_model_of_ours_with_boxes_can_track_and_no_other():
    options = {card.name: {name for name, _ in card.options} for card in cards() if card.kind is Kind.RECOGNIZE}
    gives = {card.name: card.gives for card in cards() if card.kind is Kind.RECOGNIZE}
    assert {name for name in options if "track" in options[name]} == {n for n in gives if "boxes" in gives[n]}
    with pytest.raises(ModelError, match="track='maybe' is not allowed: expected on or off"):
        parse("boxes/coco:track=maybe")


OWN = """
class Plain:
    def __call__(self, image):
        return [(10, 10, 40, 70, 0.9, "dog")]

class HasIts:
    def __init__(self, track="here"):
        self.track = track
    def __call__(self, image):
        return [(10, 10, 40, 70, 0.9, self.track)]
"""


def test_your_own_model_can_be_followed_too(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    image = np.zeros((H, W, 3), np.uint8)
    model = load(f"{file}:Plain:track=on", CPU, Kind.RECOGNIZE)
    assert [ids(model(image)) for _ in range(3)] == [[], [1], [1]]
    assert model(image).labels == ("dog",)
    assert load(f"{file}:Plain:track=off", CPU, Kind.RECOGNIZE)(image).track_ids is None
    its = load(f"{file}:HasIts:track=on", CPU, Kind.RECOGNIZE)(image)
    assert (its.labels, its.track_ids) == (("on",), None)  # an option of its own stays its own


def test_faces_keep_their_landmarks():
    model = load("faces:track=on", CPU)
    for _ in range(2):
        found = model(picture("astronaut"))
    assert ids(found) == [1]
    assert found.keypoints.shape == (1, 5, 3)


@pytest.mark.slow
def test_walkers_on_the_street_keep_their_numbers():
    with av.open(str(files("stream") / "sample" / "sample.mp4")) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)][180::3]  # the street, 10 a second
    model = load("boxes/coco:track=on,classes=person", CPU)
    found = [model(np.ascontiguousarray(frame)) for frame in frames]
    lives = np.bincount(np.concatenate([one.track_ids for one in found]))
    assert (lives >= 30).sum() >= 6  # of 60 pictures; there are eight walkers or so
    assert (lives > 0).sum() <= 14
    switches = 0
    for one, after in pairwise(found):
        for box, number in zip(one.boxes, one.track_ids, strict=True):
            near = np.abs(after.boxes - box).max(axis=1, initial=0) < 8 if len(after.boxes) else np.zeros(0, bool)
            switches += int(near.sum() == 1 and after.track_ids[near][0] != number)
    assert switches <= 2
