"""Joints against what the original MoveNet graph answered, and where the model looks next."""

import numpy as np
import pytest
import torch

from models.base import Target
from models.pose import CELLS, SIZE_PX, Region, cut, decode, next_region, steady, whole
from models.registry import load
from tests.golden import answers, people_of, picture

CPU = Target("cpu", 2)


@pytest.fixture(scope="module")
def poser():
    model = load("pose/person:follow=off", CPU)
    yield model
    model.close()


@pytest.fixture(scope="module")
def network():
    from models.networks.pose import build

    return build()


def answer_of(network, image):
    with torch.no_grad():
        return [head[0].numpy() for head in network(torch.from_numpy(image)[None])]


@pytest.mark.parametrize("name", ["astronaut", "street"])
def test_network_and_decoding_agree_with_the_original_graph(network, name):
    heads = answer_of(network, people_of(name))
    for got, expected in zip(heads, answers(f"pose_{name}_heads", "people"), strict=True):
        assert np.abs(got.mean(-1) - expected).max() < 1e-3
    y, x, score = answers(f"pose_{name}", "people").T
    assert np.abs(decode(*heads) - np.stack([x, y, score], axis=1)).max() < 1e-3


@pytest.mark.parametrize("name", ["astronaut", "street"])
def test_fast_path_finds_the_joints_where_the_reference_does(poser, name):
    fast = poser(people_of(name)).keypoints[0]
    reference = load("pose/person:follow=off,backend=torch", CPU)(people_of(name)).keypoints[0]
    seen = reference[:, 2] > 0.3
    assert seen.sum() >= 5
    assert np.hypot(*(fast - reference)[seen, :2].T).mean() < 2  # px, at the network's own size
    assert np.abs(fast - reference)[:, 2].mean() < 0.05


def test_face_of_the_astronaut_is_where_it_is(poser):
    joints = poser(picture("astronaut")).keypoints[0]
    nose, left_eye, right_eye = joints[:3, :2]
    assert np.abs(nose - (127, 70)).max() < 8
    assert left_eye[0] > right_eye[0]  # her left, the picture's right
    assert joints[:3, 2].min() > 0.3


def test_joints_are_in_pixels_of_the_picture(poser):
    image = picture("astronaut")
    wide = np.zeros((300, 600, 3), np.uint8)
    wide[22:278, 300:556] = image
    small, moved = poser(image).keypoints[0, :3, :2], poser(wide).keypoints[0, :3, :2]
    assert np.abs(moved - small - (300, 22)).max() < 12  # the person is less than half as large to the network


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (7, 501), (360, 640)])
@pytest.mark.parametrize("value", [0, 255])
def test_flat_picture_of_any_size_has_nobody(poser, size, value):
    assert poser(np.full((*size, 3), value, np.uint8)).keypoints.shape == (0, 17, 3)


def test_cup_of_coffee_is_nobody_and_a_low_score_takes_anything(poser):
    assert len(poser(picture("coffee")).keypoints) == 0
    assert len(load("pose/person:score=0.05", CPU)(picture("coffee")).keypoints) == 1


def test_following_looks_closer_and_forgets_when_the_size_changes():
    small = np.zeros((240, 400, 3), np.uint8)
    small[50:234, 150:342] = people_of("street")[:184]
    following, plain = load("pose/person", CPU), load("pose/person:follow=off", CPU)
    first = following(small).keypoints
    assert np.array_equal(first, plain(small).keypoints)
    later = [following(small).keypoints for _ in range(3)][-1]
    assert later[..., 2].mean() > first[..., 2].mean() + 0.1
    other = np.ascontiguousarray(small[:236])
    assert np.array_equal(following(other).keypoints, plain(other).keypoints)


def test_following_starts_over_when_the_person_is_gone():
    small = np.zeros((240, 400, 3), np.uint8)
    small[50:234, 150:342] = people_of("street")[:184]
    following = load("pose/person", CPU)
    first = following(small).keypoints
    assert len(following(np.zeros_like(small)).keypoints) == 0
    assert np.array_equal(following(small).keypoints, first)


def test_region_over_the_edge_is_black_there():
    image = np.full((100, 200, 3), 255, np.uint8)
    assert whole(100, 200) == Region(0, -50, 200)
    canvas = cut(image, whole(100, 200))
    assert canvas.shape == (SIZE_PX, SIZE_PX, 3)
    assert canvas[:48].max() == canvas[144:].max() == 0
    assert canvas[48:144].min() == 255
    corner = cut(image, Region(150, 50, 100))
    assert corner[:96, :96].min() == 255
    assert corner[96:].max() == corner[:, 96:].max() == 0


def test_one_sure_cell_is_that_joint():
    centre, regression = np.zeros((CELLS, CELLS, 1), np.float32), np.zeros((CELLS, CELLS, 34), np.float32)
    heatmap, offset = np.zeros((CELLS, CELLS, 17), np.float32), np.zeros((CELLS, CELLS, 34), np.float32)
    centre[20, 30] = 1
    regression[20, 30, 6:8] = (-4, 6)  # joint 3 is expected at row 16, column 36
    heatmap[16, 36, 3], heatmap[40, 5, 3] = 0.8, 0.9  # the second is surer, and another person's
    offset[16, 36, 6:8] = (0.5, 0.25)
    x, y, score = decode(centre, regression, heatmap, offset)[3]
    assert (x, y, score) == pytest.approx((36.25 / 48, 16.5 / 48, 0.8))


def joints_at(x, y, reach, score=0.9):
    joints = np.tile(np.array([x, y, score], np.float32), (17, 1))
    joints[5, :2], joints[6, :2] = (x - reach, y - reach), (x + reach, y - reach)
    return joints


def test_next_region_is_around_the_hips():
    region = next_region(joints_at(300, 200, 20), 360, 640)
    assert region == Region(300 - 38, 200 - 38, 76)  # 1.9 times the torso's reach
    assert next_region(joints_at(300, 200, 150), 360, 640) is None  # as large as the picture
    assert next_region(joints_at(300, 200, 20, score=0.1), 360, 640) is None


def test_region_that_hardly_moves_stays():
    old = Region(100, 100, 100)
    assert steady(old, Region(105, 98, 108)) is old
    assert steady(old, Region(120, 100, 100)) == Region(120, 100, 100)
    assert steady(old, Region(85, 85, 130)) == Region(85, 85, 130)
    assert steady(old, None) is None
