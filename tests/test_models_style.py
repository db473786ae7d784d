"""The style network against the original ONNX graph, and the model around it."""

import numpy as np
import onnxruntime
import pytest
import torch

from models.base import Kind, Target
from models.registry import load
from models.style import DEFAULT_STYLE, LOOKS, STYLES, Where, blend_weights, read_blend
from stream.errors import ModelError
from tests.golden import ORIGINALS, picture

CPU = Target("cpu", 2)


@pytest.fixture(scope="module")
def original():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(ORIGINALS / "multistyle26.onnx"), options)


@pytest.fixture(scope="module")
def network():
    from models.networks.style import build

    return build()


@pytest.fixture(scope="module")
def style():
    model = load("style", CPU)
    yield model
    model.close()


def psnr_db(a, b):
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-12))


@pytest.mark.parametrize("blend", ["0", "12", "25", "2:0.3+12:0.7"])
def test_network_agrees_with_the_original_graph(original, network, blend):
    weights = blend_weights(read_blend(blend))
    x = torch.from_numpy(picture("astronaut")[:96, :128].copy()).permute(2, 0, 1)[None].float() / 255
    (expected,) = original.run(None, {"image": x.numpy(), "style_weights": weights})
    with torch.no_grad():
        got = network.network(x, torch.from_numpy(weights)).numpy()
    assert np.abs(got - expected).max() < 1e-4


def test_fast_path_agrees_with_the_reference_and_with_the_original(original, style):
    image = picture("astronaut")[:192, :256].copy()
    fast = style(image)
    reference = load("style:backend=torch", CPU)(image)
    x = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (painted,) = original.run(None, {"image": x, "style_weights": style.style_weights})
    assert psnr_db(reference, painted[0].transpose(1, 2, 0) * 255) > 55  # rounding to uint8 alone gives 59
    assert psnr_db(fast, reference) >= 40


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 41), (90, 161), (96, 128)])
def test_any_size_gives_a_picture_of_that_size(style, size):
    painted = style(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    assert painted.shape == (*size, 3)
    assert painted.dtype == np.uint8


@pytest.mark.parametrize("value", [0, 255])
def test_flat_picture_gives_a_picture_without_extremes_of_nan(style, value):
    painted = style(np.full((64, 96, 3), value, np.uint8))
    assert painted.shape == (64, 96, 3)
    assert np.array_equal(painted, style(np.full((64, 96, 3), value, np.uint8)))


def test_same_picture_gives_the_same_painting(style):
    image = picture("street")
    first = style(image)
    style(255 - image)
    assert np.array_equal(first, style(image))


def test_painting_belongs_to_the_caller(style):
    image = picture("astronaut")[:96, :128].copy()
    first = style(image)
    kept = first.copy()
    style(255 - image)
    assert np.array_equal(first, kept)


def test_read_only_and_strided_pictures_are_taken(style):
    image = picture("astronaut")
    image.flags.writeable = False
    assert np.array_equal(style(image[:96, ::-1]), style(image[:96, ::-1].copy()))


def test_strength_zero_gives_the_picture_and_half_lies_between():
    image = picture("astronaut")[:96, :128].copy()
    whole = load("style:precision=fp32", CPU)(image).astype(int)
    none = load("style:precision=fp32,strength=0", CPU)(image).astype(int)
    half = load("style:precision=fp32,strength=0.5", CPU)(image).astype(int)
    assert np.abs(none - image).max() <= 1
    assert np.abs(half - (whole + image) / 2).max() <= 1.5


def test_smaller_scale_gives_the_full_size_and_a_similar_picture(style):
    image = picture("street")
    small = load("style:scale=0.5", CPU)(image)
    assert small.shape == image.shape
    assert psnr_db(small, style(image)) > 10


def test_blend_shares_are_normalised():
    assert read_blend("2:3+12:1") == ((2, 0.75), (12, 0.25))
    assert blend_weights(read_blend("2+2")).sum() == 1


@pytest.mark.parametrize("text", ["", "26", "2:-1", "a", "2:0", "2:0.5,12:0.5", "2:nan", "1e3"])
def test_blend_that_is_not_one_is_refused(text):
    with pytest.raises(ModelError, match="blend="):
        load(f"style:blend={text}", CPU)


def test_where_is_told_and_not_acted_on(style):
    background = load("style:where=background", CPU)
    assert (style.where, background.where) == (Where.ALL, Where.BACKGROUND)
    image = picture("astronaut")[:96, :128].copy()
    assert np.array_equal(style(image), background(image))


def test_default_number_and_look_are_one_style(style):
    look = LOOKS[DEFAULT_STYLE][0]
    assert len(LOOKS) == STYLES
    for name in (f"style/{DEFAULT_STYLE}", f"style/{look}"):
        model = load(name, CPU, Kind.GENERATE)
        assert model.card.name == name
        assert np.array_equal(model.style_weights, style.style_weights)


def test_closed_model_says_so(style):
    model = load("style", CPU)
    model.close()
    model.close()
    with pytest.raises(ModelError, match="after close"):
        model(np.zeros((16, 16, 3), np.uint8))


def test_a_batch_is_painted_as_its_pictures_alone_are() -> None:
    model = load("style/12:backend=torch", CPU)
    pictures = [picture("astronaut")[:64, :96], picture("street")[:64, :96], np.zeros((64, 96, 3), np.uint8)]
    together = model.many(pictures)
    assert len(together) == 3
    for one, alone in zip(together, pictures, strict=True):
        assert psnr_db(one, model(alone)) > 45
    model.close()


def test_on_a_processor_pictures_are_not_batched() -> None:
    model = load("style", CPU)
    assert (model.max_batch, model.batch_key) == (1, "")
    model.close()
