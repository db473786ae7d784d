"""The graph made for OpenVINO against the torch module it is a rearrangement of."""

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset13 as op

from models import checkpoint
from models.base import Target
from models.networks.style import build
from models.networks.style_fast import Builder
from models.registry import load
from models.runner import open_runner
from models.style import NETWORK, STYLES, blend_weights, read_blend
from tests.golden import picture

SIZES = [(16, 16), (20, 36), (36, 20), (64, 100), (92, 160)]  # divisible by 4, with even and odd quarters


@pytest.fixture(scope="module")
def network():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two would wait for each other where other programs use the machine
    yield build().network
    torch.set_num_threads(threads)


def psnr_db(a, b):
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-12))


def painted_in_float32(image, style_weights):
    """Return the exact graph's painting before it is rounded to bytes, `[3,H,W]`."""
    builder = Builder(checkpoint.arrays("style"), is_exact=True)
    given = op.parameter([1, *image.shape], np.uint8)
    model = ov.Model([builder.painting(given)], [given, builder.style_weights], "painting")
    phases = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image[None], style_weights])[0]
    height, width = image.shape[:2]
    pixels = phases.reshape(2, 2, 3, height // 2, width // 2).transpose(2, 3, 0, 4, 1)
    return pixels.reshape(3, height, width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("blend", ["0", "2:0.3+12:0.7"])
def test_exact_graph_agrees_with_the_reference_up_to_the_border(network, size, blend):
    image = np.ascontiguousarray(picture("astronaut")[60 : 60 + size[0], 80 : 80 + size[1]])
    weights = blend_weights(read_blend(blend))
    with torch.no_grad():
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, torch.from_numpy(weights))[0].numpy()
    assert np.abs(painted_in_float32(image, weights) - expected).max() < 1e-4


@pytest.mark.parametrize("name", ["astronaut", "coffee", "street"])
def test_default_precision_keeps_the_painting_of_every_style(network, name):
    image = np.ascontiguousarray(picture(name)[40:168, 40:200])
    fast = open_runner(NETWORK, Target("cpu", 1))
    shown = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    for style in range(STYLES):
        weights = blend_weights(((style, 1.0),))
        with torch.no_grad():
            expected = network(shown, torch.from_numpy(weights))[0].permute(1, 2, 0).numpy() * 255
        assert psnr_db(fast(image[None], weights)[0][0], expected) >= 40, style


def test_fp32_differs_from_the_reference_by_rounding_only():
    image = picture("street")
    exact, reference = load("style:precision=fp32", Target("cpu", 2)), load("style:backend=torch", Target("cpu", 2))
    difference = np.abs(exact(image).astype(int) - reference(image))
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 1e-3
