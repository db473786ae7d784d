"""What is shown behind people: no colour of theirs in the blur, pictures fitted, and what must be said."""

import cv2
import numpy as np
import pytest
from PIL import Image

from models.background import FALLBACK, cover
from models.base import Kind, Target
from models.registry import lacking, load
from stream.config import from_options
from stream.errors import ConfigError, ModelError
from stream.preflight import check
from stream.results import Results
from tests.golden import picture

CPU = Target("cpu", 1)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def person_before_wall(height=180, width=320):
    """Return a red person on a blue wall, and the mask of the person."""
    image = np.full((height, width, 3), BLUE, np.uint8)
    mask = np.zeros((height, width), np.uint8)
    where = slice(height // 4, None), slice(width * 3 // 8, width * 5 // 8)
    image[where], mask[where] = RED, 255
    return image, mask


@pytest.mark.parametrize("radius", [3, 10, 30, 60])
def test_blur_has_no_colour_of_the_person_in_the_background(radius):
    image, mask = person_before_wall()
    model = load(f"background/blur:radius={radius}", CPU, Kind.GENERATE)
    behind = model(image, {"mask": Results(mask=mask)})
    assert (behind.shape, behind.dtype) == (image.shape, np.uint8)
    red_share = behind[mask == 0][:, 0].max() / 255
    assert red_share <= 1.5 * FALLBACK
    plain = model(image, {})
    assert plain[mask == 0][:, 0].max() > 60  # what a blur of the whole picture does, as a halo


def test_deep_inside_a_wrong_mask_the_blur_is_the_plain_one():
    image = picture("street")
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[20:-20, 20:-20] = 255
    model = load("background/blur:radius=2", CPU)
    inside = slice(80, -80), slice(80, -80)
    plain, masked = model(image, {})[inside], model(image, {"mask": Results(mask=mask)})[inside]
    assert np.abs(plain.astype(int) - masked).max() <= 1


def test_blur_is_wider_with_a_larger_radius_and_scales_with_the_picture():
    image = picture("street")
    edges = [cv2.Laplacian(load(f"background/blur:radius={r}", CPU)(image), cv2.CV_32F).std() for r in (2, 8, 30)]
    assert edges[0] > edges[1] > edges[2]
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    model = load("background/blur:radius=20", CPU)
    smaller = cv2.resize(model(large), image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(smaller.astype(int) - model(image)).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (37, 101), (360, 640)])
def test_any_size_gives_a_picture_of_that_size(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    mask = np.full(size, 255, np.uint8)
    for name in ("background/blur", "background/blur:radius=60", "background/replace:color=#00b140"):
        model = load(name, CPU)
        model.warm(*size)
        behind = model(image, {"mask": Results(mask=mask)}) if getattr(model, "needs", ()) else model(image)
        assert (behind.shape, behind.dtype) == (image.shape, np.uint8)


def test_colour_is_shown_as_it_is_written():
    behind = load("background/replace:color=#00B140", CPU)(np.zeros((20, 30, 3), np.uint8))
    assert np.unique(behind.reshape(-1, 3), axis=0).tolist() == [[0x00, 0xB1, 0x40]]


def test_picture_fills_the_frame_and_is_not_squeezed(tmp_path):
    wide = np.zeros((100, 400, 3), np.uint8)
    wide[:, 150:250] = 255  # its middle square
    Image.fromarray(wide).save(tmp_path / "my beach, at noon.png")
    model = load(f'background/replace:image="{tmp_path / "my beach, at noon.png"}"', CPU)
    behind = model(np.zeros((50, 50, 3), np.uint8))
    assert (behind == 255).all()
    assert (model(np.zeros((50, 100, 3), np.uint8))[:, :20] == 0).all()  # another size is fitted anew


def test_background_that_is_given_again_cannot_be_written():
    model = load("background/replace:color=#102030", CPU)
    image = np.zeros((20, 30, 3), np.uint8)
    first = model(image)
    assert model(image) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 0


def test_cover_takes_the_middle_in_the_frames_aspect():
    rows = np.repeat(np.arange(100, dtype=np.uint8)[:, None], 50, 1)
    tall = np.repeat(rows[..., None], 3, 2)
    assert cover(tall, 50, 50)[[0, -1], 0, 0].tolist() == [25, 74]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("background/replace", "say either image=beach.jpg or color=#00b140"),
        ("background/replace:color=#00b140,image=a.jpg", "say either"),
        ("background/replace:color=green", "color='green' is not allowed: expected #rrggbb"),
        ("background/replace:image=gone.jpg", "background/replace: gone.jpg: there is no such file"),
        ("background/blur:radius=0", "radius='0' is not allowed: expected a number 1..60"),
    ],
)
def test_wrong_option_is_one_clear_line(name, message):
    with pytest.raises(ModelError, match=message):
        load(name, CPU)


def test_what_a_generator_lacks_is_known_before_the_start():
    assert lacking("background/blur", ()) == {"mask"}
    assert lacking("background/blur", ("boxes/coco",)) == {"mask"}
    assert lacking("background/blur", ("boxes/coco", "mask/person")) == frozenset()
    assert lacking("style", ()) == frozenset()


def test_background_without_a_mask_is_refused_before_the_start():
    stream = {"source": "test:", "generate": "background/blur", "recognize": ["boxes/coco"]}
    with pytest.raises(ConfigError, match="background/blur keeps people as they are, so it needs --recognize mask/per"):
        check(from_options({"port": 0}, stream))
    check(from_options({"port": 0}, stream | {"recognize": ["mask/person"]}))


@pytest.mark.parametrize(
    ("generate", "message"),
    [
        ("style/any:image=gone.jpg", "style/any: gone.jpg: there is no such file"),
        ("style/any", "say which painting"),
        ("background/replace:image=README.md", r"README\.md is no picture"),
        ("diffusion:model=nobody/nothing", "hf download nobody/nothing"),
    ],
)
def test_missing_files_are_told_before_the_start(generate, message):
    with pytest.raises(ModelError, match=message):
        check(from_options({"port": 0}, {"source": "test:", "generate": generate, "recognize": ["mask/person"]}))
