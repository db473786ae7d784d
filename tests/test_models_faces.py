"""Faces against what the original package finds, and the canvas that holds all sizes of a picture."""

import numpy as np
import pytest
import torch

from models import faces
from models.base import Target
from models.faces import WINDOW_PX, Windows, best, cut, in_batches, inside_none_better, layout, pyramid, shifted, square
from models.registry import load
from tests.golden import answers, noise_parts, picture

CPU = Target("cpu", 2)


@pytest.fixture(scope="module")
def finder():
    model = load("faces", CPU)
    yield model
    model.close()


def part(name, images):
    from models.networks.faces import build

    with torch.no_grad():
        return [answer.numpy() for answer in build(name)(torch.from_numpy(images))]


def test_proposal_network_agrees_with_the_original():
    for image, expected in zip(noise_parts(48), answers("faces_pnet", "people"), strict=True):
        score, shift = part("proposal", image[None])
        expected = expected.reshape(6, 19, 19)
        assert np.abs(shift[0] - expected[:4].transpose(1, 2, 0)).max() < 1e-4
        assert np.abs(score[0] - expected[5]).max() < 1e-4


def test_refine_and_output_network_agree_with_the_original():
    score, shift = part("refine", noise_parts(48)[:, :24, :24])
    assert np.abs(np.c_[shift, 1 - score, score] - answers("faces_rnet", "people")).max() < 1e-4
    score, shift, points = part("output", noise_parts(48))
    assert np.abs(np.c_[shift, points, 1 - score, score] - answers("faces_onet", "people")).max() < 1e-4


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_face_is_where_the_original_package_finds_it(backend):
    score, *rest = answers("faces_astronaut", "people")
    box, landmarks = np.array(rest[:4]), np.array(rest[4:]).reshape(5, 2)
    found = load(f"faces:backend={backend}", CPU)(picture("astronaut"))
    assert found.labels == ("face",)
    assert found.scores[0] == pytest.approx(score, abs=0.01)
    assert np.abs(found.boxes[0] - box).max() < 5  # px of 62 x 48; the last part differs by a pixel at its edge
    assert np.abs(found.keypoints[0, :, :2] - landmarks).max() < 1.5
    assert found.keypoints.shape == (1, 5, 3)


def test_boxes_and_landmarks_are_in_pixels_of_the_picture(finder):
    image = picture("astronaut")
    wide = np.zeros((300, 600, 3), np.uint8)
    wide[22:278, 300:556] = image
    plain, moved = finder(image), finder(wide)
    assert np.abs(moved.keypoints[0, :, :2] - plain.keypoints[0, :, :2] - (300, 22)).max() < 4
    assert np.abs(moved.boxes[0] - plain.boxes[0] - (300, 22, 300, 22)).max() < 8


def test_every_one_of_several_faces_is_found_best_first(finder):
    found = finder(np.tile(picture("astronaut"), (2, 3, 1)))
    assert len(found.boxes) == 6
    assert list(found.scores) == sorted(found.scores, reverse=True)
    corners = {(round(x / 256), round(y / 256)) for x, y in found.boxes[:, :2] - (103, 35)}
    assert len(corners) == 6


def test_faces_below_the_smallest_are_not_looked_for():
    assert len(load("faces:smallest=0.6", CPU)(picture("astronaut")).boxes) == 0


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (12, 12), (37, 101), (360, 640)])
@pytest.mark.parametrize("value", [0, 255])
def test_flat_picture_of_any_size_has_no_face(finder, size, value):
    found = finder(np.full((*size, 3), value, np.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.keypoints.shape == (0, 5, 3)


def test_cup_and_street_have_no_face(finder):
    assert len(finder(picture("coffee")).boxes) == len(finder(picture("street")).boxes) == 0


@pytest.mark.parametrize(
    ("height", "width", "least"), [(360, 640, 28.8), (640, 360, 28.8), (256, 256, 20), (30, 900, 12)]
)
def test_sizes_lie_apart_in_the_canvas_on_even_pixels(height, width, least):
    canvas, levels = pyramid(np.full((height, width, 3), 255, np.uint8), least)
    covered = np.zeros(canvas.shape[:2], int)
    for level in levels:
        assert not (level.top % 2 or level.left % 2 or level.height % 2 or level.width % 2)
        covered[level.top : level.top + level.height, level.left : level.left + level.width] += 1
    assert covered.max() == 1
    assert (canvas[covered == 1] == 255).all()
    assert levels[0].height == pytest.approx(height * 12 / least, abs=1)
    assert covered.mean() > 0.6
    assert min(levels[-1].height, levels[-1].width) >= WINDOW_PX - 1


def test_picture_smaller_than_a_window_has_no_sizes():
    assert layout(8, 300, 1.0) == []


def test_a_size_in_the_canvas_is_answered_as_if_it_were_alone():
    image = picture("astronaut")
    canvas, levels = pyramid(image, 20)
    together = [answer[0] for answer in part("proposal", canvas[None])]
    for level in levels:
        small = canvas[level.top : level.top + level.height, level.left : level.left + level.width]
        alone = [answer[0] for answer in part("proposal", small[None])]
        rows, columns = alone[0].shape
        for one, other in zip(together, alone, strict=True):
            assert np.abs(one[level.top // 2 :, level.left // 2 :][:rows, :columns] - other).max() < 1e-4


def test_windows_of_a_size_do_not_reach_into_its_neighbours():
    level = faces.Level(20, 40, 30, 24)
    scores = np.ones((60, 60), np.float32)
    found = faces.level_windows(level, np.zeros((60, 48, 3), np.uint8), scores, np.zeros((60, 60, 4), np.float32))
    assert len(found.boxes) == 10 * 7  # (30 - 12) / 2 + 1 rows, (24 - 12) / 2 + 1 columns
    assert found.boxes.max(axis=0).tolist() == [26, 38, 48, 60]  # the picture's edge, at twice the size


def windows(boxes, scores):
    return Windows(np.array(boxes, np.float32), np.array(scores, np.float32), np.zeros((len(boxes), 4), np.float32))


def test_best_windows_come_first_and_bounded():
    found = best(
        windows([[0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60], [80, 0, 90, 9]], [0.7, 0.9, 0.8, 0.5]), 0.6, 0.7, 9
    )
    assert found.scores == pytest.approx([0.9, 0.8])
    assert len(best(windows([[0, 0, 5, 5], [9, 9, 20, 20]], [0.7, 0.9]), 0.6, 0.7, 1).boxes) == 1
    assert len(best(windows(np.zeros((0, 4)), []), 0.6, 0.7, 9).boxes) == 0


def test_boxes_are_moved_and_squared():
    boxes = np.array([[10, 20, 30, 60]], np.float32)
    assert shifted(boxes, np.array([[0.5, 0, -0.5, 0.25]], np.float32)).tolist() == [[20, 20, 20, 70]]
    assert square(boxes).tolist() == [[0, 20, 40, 60]]
    assert square(boxes[:0]).shape == (0, 4)


def test_parts_over_the_edge_are_cut_there_and_parts_outside_left_out():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 30:] = 200
    boxes, parts = cut(image, np.array([[30, 0, 70, 40], [50, 0, 60, 9], [-5, -5, 9, 9]], np.float32), 24)
    assert boxes.tolist() == [[30, 0, 70, 40], [-5, -5, 9, 9]]
    assert parts[0].min() == 200
    assert parts[1].max() == 0


def test_batches_are_filled_up_and_joined():
    sizes = []

    def runner(images):
        sizes.append(len(images))
        return (images[:, 0, 0, 0].astype(np.float32), np.zeros((len(images), 4), np.float32))

    parts = np.zeros((11, 2, 2, 3), np.uint8)
    parts[:, 0, 0, 0] = np.arange(11)
    scores, shifts = in_batches(runner, parts, 4)
    assert sizes == [4, 4, 4]
    assert scores.tolist() == list(range(11))
    assert shifts.shape == (11, 4)
    assert in_batches(runner, parts[:0], 4)[1].shape == (0, 4)


def test_box_inside_a_better_one_is_dropped():
    boxes = np.array([[0, 0, 100, 100], [20, 20, 40, 40], [90, 90, 150, 150]], np.float32)
    assert inside_none_better(boxes).tolist() == [0, 2]
    assert inside_none_better(boxes[:0]).tolist() == []
