"""Bad pictures are what they say, the same each time; an answer is sound or is told."""

import numpy as np
import pytest

from models.stability import CONDITIONS, PICTURES, bad_pictures, fault, fitted, judge
from stream.errors import ModelError
from stream.results import Results

GOOD = [np.random.default_rng(i).integers(40, 120, (90, 160, 3), np.uint8) for i in range(5)]


@pytest.fixture(scope="module")
def made():
    return {condition.name: pictures for condition, pictures in bad_pictures(GOOD)}


def test_every_condition_gives_pictures(made):
    assert list(made) == [condition.name for condition in CONDITIONS]
    for pictures in made.values():
        assert len(pictures) == PICTURES
        for picture in pictures:
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size
            assert picture.flags["C_CONTIGUOUS"]


def test_they_are_the_same_each_time(made):
    for condition, pictures in bad_pictures(GOOD):
        assert all((a == b).all() for a, b in zip(pictures, made[condition.name], strict=True))


def test_conditions_are_what_they_say(made):
    plain = made["as it is"][0]
    assert made["brightness x0.3"][0].mean() == pytest.approx(0.3 * plain.mean(), rel=0.02)
    assert made["brightness x1.8"][0].mean() == pytest.approx(1.8 * plain.mean(), rel=0.02)
    noise = made["noise, sigma 10"][0].astype(int) - plain
    assert noise.std() == pytest.approx(10, rel=0.1)
    assert made["blur, sigma 6 px"][0].std() < made["blur, sigma 2 px"][0].std() < plain.std()
    assert made["turned by 90 degrees"][0].shape == (160, 90, 3)
    assert (made["turned by 180 degrees"][0] == plain[::-1, ::-1]).all()
    assert made["tall, 120x640"][0].shape == (640, 120, 3) and made["one pixel, 1x1"][0].shape == (1, 1, 3)
    assert made["8K, shrunk"][0].shape == (360, 640, 3)
    assert not made["black"][0].any() and (made["white"][0] == 255).all()
    assert set(np.unique(made["checkerboard of single pixels"][0])) == {0, 255}


def test_a_large_picture_is_fitted_either_way_up():
    assert fitted(np.zeros((720, 1280, 3), np.uint8)).shape == (360, 640, 3)
    assert fitted(np.zeros((1280, 720, 3), np.uint8)).shape == (640, 360, 3)
    assert fitted(GOOD[0]) is GOOD[0]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (GOOD[0], ""),
        (Results(), ""),
        (GOOD[0][:-1], "expected a picture [90, 160, 3] uint8, got [89, 160, 3] uint8"),
        (GOOD[0].astype(np.float32), "got [90, 160, 3] float32"),
        (None, "expected a picture or Results, got NoneType"),
        (Results(classes=(("cup", float("nan")),)), "finite score"),
        (Results(mask=np.zeros((3, 3), np.uint8)), "expected a mask [90,160] uint8"),
        (ModelError("it raised"), "it raised"),
    ],
)
def test_an_answer_that_is_not_sound_says_why(answer, says):
    assert fault(answer, GOOD[0]) == says or (says and says in fault(answer, GOOD[0]))


def test_a_condition_is_judged_by_the_measure_that_says_most():
    cup = Results(classes=(("cup", 0.9),))
    found = judge("x", GOOD[:2], [cup, cup], [cup, Results(classes=(("cat", 0.9),))])
    assert found.fault == "" and found.agreement is not None
    assert (found.agreement.name, found.agreement.value) == ("same_best", 0.5)
    assert judge("x", GOOD[:1], [Results()], [Results()]).agreement is None


def test_a_fault_of_the_variant_is_told_and_one_of_the_reference_is_not_its_own():
    broken = ModelError("it raised")
    assert judge("x", GOOD[:1], [broken], [Results()]).fault == "it raised"
    assert judge("x", GOOD[:1], [Results()], [broken]) == judge("x", GOOD[:1], [Results()], [Results()])
