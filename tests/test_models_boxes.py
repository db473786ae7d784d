"""Boxes against what the original NanoDet graph answered, and the way from cells to boxes."""

import numpy as np
import pytest
import torch

from models.base import Target
from models.boxes import CANDIDATES_AT_MOST, best_cells, decode, letterbox, suppress
from models.registry import load
from tests.golden import answers, picture, square_canvas

CPU = Target("cpu", 2)


@pytest.fixture(scope="module")
def finder():
    model = load("boxes/coco", CPU)
    yield model
    model.close()


def iou(a, b):
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    area = lambda boxes: (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])  # noqa: E731
    return shared / (area(a)[:, None] + area(b)[None] - shared)


def assert_same_set(a, b, margin=0.0):
    """Each box of one has its like in the other; within `margin` of the least score a box may be missing."""
    for one, other in ((a, b), (b, a)):
        is_same = (iou(one.boxes, other.boxes) >= 0.5) & (one.class_ids[:, None] == other.class_ids[None])
        is_sure = one.scores >= 0.4 + margin
        assert is_same.any(axis=1)[is_sure].all()


def test_network_agrees_with_the_original_graph():
    from models.networks.boxes import build

    with torch.no_grad():
        scores, distances = (t[0].numpy() for t in build()(torch.from_numpy(square_canvas("street"))[None]))
    cells = answers("boxes_cells")
    assert np.abs(scores.max(axis=1) - answers("boxes_best")).max() < 1e-3
    assert np.abs(scores[cells] - answers("boxes_scores")).max() < 1e-3
    assert np.abs(distances[cells] - answers("boxes_distances")).max() < 2e-2  # kept as float16, values up to 20


@pytest.mark.parametrize("name", ["street", "astronaut"])
def test_fast_path_finds_what_the_reference_finds(finder, name):
    fast, reference = finder(picture(name)), load("boxes/coco:backend=torch", CPU)(picture(name))
    assert len(fast.boxes) > 0
    assert_same_set(fast, reference, margin=0.02)  # bf16 moves a score by up to that


def test_rectangle_finds_what_the_publishers_square_finds(finder):
    square = finder(square_canvas("street"))
    assert len(square.boxes) >= 5
    assert_same_set(finder(picture("street")), square, margin=0.02)  # other borders, slightly other scores


def test_walkers_on_the_street_are_found(finder):
    found = finder(picture("street"))
    assert found.labels.count("person") >= 5
    assert "car" in found.labels
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert found.boxes.min() >= 0
    assert (found.boxes.max(axis=0) <= [416, 312, 416, 312]).all()


def test_larger_picture_gives_larger_boxes(finder):
    image = picture("street")
    small, large = finder(image), finder(np.repeat(np.repeat(image, 2, 0), 2, 1))
    overlap = iou(small.boxes * 2, large.boxes)
    assert (overlap.max(axis=1) > 0.7).mean() > 0.7


def test_only_wanted_classes_are_given():
    assert set(load("boxes/coco:classes=car", CPU)(picture("street")).labels) == {"car"}
    both = load("boxes/coco:classes=person+traffic_light,score=0.3", CPU)
    assert set(both(picture("street")).labels) <= {"person", "traffic light"}


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (7, 501), (480, 270)])
@pytest.mark.parametrize("value", [0, 255])
def test_flat_picture_of_any_size_gives_no_boxes(finder, size, value):
    found = finder(np.full((*size, 3), value, np.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.labels == ()


def test_same_picture_gives_the_same_boxes(finder):
    first, second = finder(picture("street")), finder(picture("street"))
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.scores, second.scores)


def test_letterbox_keeps_the_aspect_and_fits_the_grid():
    canvas, scale = letterbox(np.full((360, 640, 3), 255, np.uint8), 416)
    assert canvas.shape == (256, 416, 3)
    assert scale == pytest.approx(0.65)
    assert canvas[:234].min() == 255
    assert canvas[234:].max() == 0


def test_distribution_in_one_bin_gives_that_distance():
    # the first cell of stride 16 on a 32x32 canvas: 16 cells of stride 8 come before; its middle is (8, 8)
    logits = np.full((1, 4, 11), -50, np.float32)
    for side, distance in enumerate((0, 0, 1, 2)):
        logits[0, side, distance] = 50
    boxes = decode(logits.reshape(1, 44), np.array([16]), 32, 32)
    assert boxes[0] == pytest.approx([8, 8, 24, 40])


def test_best_cells_come_best_first_and_bounded():
    scores = np.zeros((CANDIDATES_AT_MOST * 2, 80), np.float32)
    scores[:, 3] = np.linspace(0, 1, len(scores))
    found = best_cells(scores, 0.1, None)
    assert len(found.cells) == CANDIDATES_AT_MOST
    assert found.cells[0] == len(scores) - 1
    assert set(found.class_ids) == {3}
    assert len(best_cells(scores, 0.1, np.array([0, 2])).cells) == 0


def test_suppression_keeps_the_best_of_a_class_and_other_classes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    kept = suppress(boxes, np.array([0.5, 0.9, 0.7, 0.6], np.float32), np.array([0, 0, 1, 0]))
    assert kept.tolist() == [1, 2, 3]
    twice = suppress(boxes[[0, 0]], np.array([0.5, 0.4], np.float32), np.array([2, 7]))
    assert twice.tolist() == [0]  # a van as car and as truck is one object
    assert suppress(boxes[:0], np.zeros(0, np.float32), np.zeros(0, np.int64)).tolist() == []
