"""Any painting as a style: both networks against the original graphs, and the files a person may name."""

import cv2
import numpy as np
import pytest
import torch
from openvino import Core
from PIL import Image

from models.any_style import middle_square, style_of
from models.base import Kind, Target
from models.ladder import ladder
from models.networks import any_style, any_style_fast, style_predict
from models.registry import load, parse
from models.style import Where
from stream.errors import ModelError
from tests.golden import FOLDER, ORIGINALS, picture
from tests.golden.folded import folded, session

CPU = Target("cpu", 2)
COFFEE = FOLDER / "pictures" / "coffee.png"


def psnr_db(a, b):
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-12))


@pytest.fixture(scope="module")
def styles():
    with np.load(FOLDER / "styles.npz") as kept:
        return dict(kept)


@pytest.fixture(scope="module")
def original():
    return (ORIGINALS / "arbitrary_transform.onnx").read_bytes()


@pytest.fixture(scope="module")
def coffee():
    model = load(f"style/any:image={COFFEE}", CPU, Kind.GENERATE)
    yield model
    model.close()


@pytest.mark.parametrize("name", ["astronaut", "coffee", "street"])
def test_prediction_network_agrees_with_the_original_graph(styles, name):
    image = cv2.resize(picture(name), (256, 256), interpolation=cv2.INTER_LINEAR)
    with torch.no_grad():
        got = style_predict.build()(torch.from_numpy(image)[None])[0].numpy()
    assert np.abs(got - styles[f"{name}_folded"]).max() < 1e-5
    assert np.abs(got - styles[f"{name}_as_published"]).max() < 0.06  # its own 8-bit steps: 0.02 apart


@pytest.mark.parametrize("name", ["coffee", "street"])
def test_transfer_network_agrees_with_the_original_graph(original, styles, name):
    style, image = styles[f"{name}_folded"], cv2.resize(picture("astronaut"), (384, 384))
    x = image[None].astype(np.float32) / 255
    with torch.no_grad():
        got = any_style.build().network(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(style))
    painting = got.permute(0, 2, 3, 1).numpy()
    answers = []
    for data in (folded(original), original):
        graph = session(data)
        names = [given.name for given in graph.get_inputs()]
        answers.append(graph.run(None, {names[0]: x, names[1]: style.reshape(1, 1, 1, 100)})[0])
    in_float, as_published = answers
    assert np.abs(painting - in_float).max() < 1e-4
    assert psnr_db(255 * painting, 255 * as_published) > 28  # what the 8-bit steps cost the original


@pytest.mark.parametrize("size", [(16, 16), (20, 36), (36, 20), (64, 100)])
def test_graph_for_the_cpu_is_the_same_computation(styles, size):
    image, style = picture("street")[: size[0], : size[1]][None].copy(), styles["coffee_folded"]
    with torch.no_grad():
        expected = any_style.build()(torch.from_numpy(image), torch.from_numpy(style)).numpy()
    graph = any_style_fast.build(is_exact=True)
    graph.reshape({graph.inputs[0]: [1, *size, 3], graph.inputs[1]: [100]})
    compiled = Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2})
    got = compiled([image, style])[0]
    assert np.abs(got.astype(int) - expected).max() <= 1  # rounding to bytes


def test_fast_path_is_close_to_the_reference(coffee):
    image = picture("astronaut")[:192, :256].copy()
    reference = load(f"style/any:image={COFFEE},backend=torch", CPU)(image)
    assert psnr_db(coffee(image), reference) >= 40


@pytest.mark.parametrize("size", [(1, 1), (17, 41), (90, 161)])
def test_any_size_gives_a_picture_of_that_size(coffee, size):
    painted = coffee(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    assert (painted.shape, painted.dtype) == ((*size, 3), np.uint8)


def test_another_painting_gives_another_picture(coffee):
    image = picture("astronaut")[:96, :128].copy()
    other = load(f"style/any:image={FOLDER / 'pictures' / 'street.png'}", CPU)
    assert psnr_db(coffee(image), other(image)) < 25
    assert psnr_db(coffee(image), coffee(image)) > 100


def test_options_of_style_are_understood():
    name = f"style/any:image={COFFEE},strength=0,where=background,scale=0.5,precision=fp32"
    model = load(name, CPU, Kind.GENERATE)
    image = picture("astronaut")[:96, :128].copy()
    assert model.where is Where.BACKGROUND
    assert np.abs(model(image).astype(int) - image).max() <= 1


def test_ladder_is_that_of_any_style_and_keeps_the_painting():
    for rung in ladder('style/any:image="a, b.jpg"', Kind.GENERATE):
        assert dict(parse(rung.name).options)["image"] == "a, b.jpg"


def test_file_with_comma_and_spaces_is_named_in_quotes(tmp_path):
    path = tmp_path / "my painting, 1889.png"
    Image.fromarray(picture("coffee")).save(path)
    model = load(f'style/any:strength=1,image="{path}"', CPU)
    assert model(picture("street")[:64, :64].copy()).shape == (64, 64, 3)


@pytest.mark.parametrize("behind", ['image="a', 'image=a"b"', 'image="a"b'])
def test_quotes_that_do_not_close_are_refused(behind):
    with pytest.raises(ModelError, match="expected double quotes around all of a value"):
        parse(f"style/any:{behind}")


def test_missing_painting_is_one_clear_line(tmp_path):
    for name, message in (
        ("style/any", "say which painting"),
        ("style/any:image=", "image='' is not allowed"),
        (f"style/any:image={tmp_path}/gone.jpg", "gone.jpg: there is no such file"),
        (f"style/any:image={tmp_path}", "there is no such file"),
    ):
        with pytest.raises(ModelError, match=message) as caught:
            load(name, CPU)
        assert "\n" not in str(caught.value)


def test_painting_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ModelError, match="is no picture: expected JPEG, PNG"):
        load(f"style/any:image={tmp_path / 'text.jpg'}", CPU)


def test_huge_painting_is_decoded_reduced_and_a_bomb_refused(tmp_path):
    Image.new("RGB", (9000, 6000), (200, 40, 10)).save(tmp_path / "huge.jpg")
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")  # 113 kB
    assert load(f"style/any:image={tmp_path / 'huge.jpg'}", CPU)(np.zeros((16, 16, 3), np.uint8)).shape == (16, 16, 3)
    with pytest.raises(ModelError, match=r"style/any: bomb\.png has 30000x30000 pixels"):
        load(f"style/any:image={tmp_path / 'bomb.png'}", CPU)


def test_style_is_that_of_the_middle_square():
    painting = picture("coffee")
    wide = np.hstack([np.zeros((256, 100, 3), np.uint8), painting, np.zeros((256, 100, 3), np.uint8)])
    assert np.array_equal(middle_square(wide), middle_square(painting))
    assert np.abs(style_of(wide, CPU) - style_of(painting, CPU)).max() < 1e-5
