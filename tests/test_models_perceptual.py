"""Perceptual losses: zero for the same, larger for the less like, and blind to what they must not see."""

import numpy as np
import pytest
import torch

from models.networks.classify import build
from models.perceptual import CONTENT_LAYER, STYLE_LAYERS, Perception, Style, content_loss, gram, total_variation
from tests.golden import picture


def tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def perception():
    return Perception()


def test_features_are_those_of_the_classifier(perception):
    image = picture("astronaut")[:224, :224]
    network = build().network
    with torch.no_grad():
        y = network.stem((tensor(image) * 255 - 127) / 128)
        for block in network.blocks[: CONTENT_LAYER + 1]:
            y = block(y)
        found = perception(tensor(image))
    assert set(found) == {*STYLE_LAYERS, CONTENT_LAYER}
    assert torch.allclose(found[CONTENT_LAYER], y, atol=1e-4)
    assert not any(number.requires_grad for number in perception.parameters())


def test_gram_is_the_mean_product_of_channels():
    found = gram(torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]]))
    assert torch.equal(found, torch.tensor([[[2.5, 0.5], [0.5, 5.0]]]))


def test_style_is_blind_to_place_and_sees_another_texture(perception):
    image = tensor(picture("astronaut"))
    style = Style(perception(image))
    same, turned, other = (float(style.loss(perception(x))) for x in (image, image.flip(3), tensor(picture("coffee"))))
    assert same < 1e-9
    assert turned < other / 3


def test_content_is_blind_to_brightness_rather_than_to_place(perception):
    image = tensor(picture("astronaut"))
    original = perception(image)
    same, dimmed, turned = (float(content_loss(perception(x), original)) for x in (image, image * 0.9, image.flip(3)))
    assert same == 0
    assert dimmed < turned / 3


def test_total_variation_is_the_mean_step():
    assert float(total_variation(torch.full((1, 3, 4, 4), 0.5))) == 0
    steps = torch.tensor([0.0, 1.0]).repeat(2)[None, None, None].expand(1, 3, 4, 4)
    assert float(total_variation(steps)) == 1
