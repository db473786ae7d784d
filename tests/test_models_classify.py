"""Classification against an independent forward of the original float32 weights."""

import numpy as np
import pytest
import torch

from models.base import Target
from models.classify import middle_square
from models.registry import load
from tests.golden import answers, middle_of, picture

CPU = Target("cpu", 2)


@pytest.fixture(scope="module")
def classifier():
    model = load("classify/imagenet", CPU)
    yield model
    model.close()


@pytest.mark.parametrize("name", ["coffee", "astronaut"])
def test_network_with_half_weights_agrees_with_the_float_original(name):
    from models.networks.classify import build

    with torch.no_grad():
        got = build()(torch.from_numpy(middle_of(name))[None])[0].numpy()
    expected = answers(f"classify_{name}")
    assert got.argmax() == expected.argmax()
    assert np.abs(got - expected).max() < 0.05  # logits span -3 to 10; the weights are kept in float16


@pytest.mark.parametrize("name", ["coffee", "astronaut", "street"])
def test_fast_path_agrees_with_the_reference(classifier, name):
    fast, reference = classifier(picture(name)), load("classify/imagenet:backend=torch", CPU)(picture(name))
    assert fast.classes[0][0] == reference.classes[0][0]
    assert fast.classes[0][1] == pytest.approx(reference.classes[0][1], abs=0.05)


def test_espresso_is_named(classifier):
    (label, score), *rest = classifier(picture("coffee")).classes
    assert label == "espresso"
    assert score > 0.8
    assert len(rest) == 2
    assert score + sum(s for _, s in rest) <= 1.0001


def test_top_says_how_many():
    assert len(load("classify/imagenet:top=5", CPU)(picture("coffee")).classes) == 5


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (37, 101), (360, 640)])
@pytest.mark.parametrize("value", [0, 255])
def test_flat_picture_of_any_size_gives_probabilities(classifier, size, value):
    found = classifier(np.full((*size, 3), value, np.uint8))
    assert all(0 <= score <= 1 for _, score in found.classes)


def test_middle_square_is_the_middle():
    image = np.zeros((256, 512, 3), np.uint8)
    image[16:240, 144:368] = 255
    assert middle_square(image).min() == 255
    assert np.array_equal(middle_square(picture("coffee")), middle_of("coffee"))
