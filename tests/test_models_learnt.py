"""Learnt styles as models: by name, blended, with a ladder, in every way of running them; broken ones do no harm."""

import logging

import numpy as np
import pytest

from models import checkpoint, stylefile
from models.base import Kind, Target
from models.ladder import Rung, ladder
from models.learnt import check_name
from models.registry import cards, is_built_in, load, parse
from models.style import NETWORK, network_of
from models.stylefile import StyleFile
from stream.errors import ModelError
from tests.golden import picture

CPU = Target("cpu", 1)


@pytest.fixture(autouse=True)
def mine(monkeypatch, tmp_path):
    """A style called mine, with the numbers of style 12."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = stylefile.path_of("mine")
    about = {"painting": "lilies.jpg", "date": "2026-01-02", "qualities": '{"scale=0.75": 0.5, "scale=0.5": 0.2}'}
    stylefile.write(path, StyleFile(stylefile.row_of(checkpoint.arrays("style"), 12), about))
    return path


@pytest.fixture
def image():
    return picture("astronaut")[:96, :128].copy()


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_numbers_of_a_built_in_style_paint_as_it_does(image, backend):
    mine, built_in = (load(f"style/{one}:backend={backend}", CPU, Kind.GENERATE)(image) for one in ("mine", "12"))
    # the same numbers; openvino may blend them in another order of additions
    assert np.abs(mine.astype(int) - built_in).mean() < 0.5


def test_options_are_those_of_every_style(image):
    half = load("style/mine:strength=0.5,where=background,scale=0.5", CPU)
    assert (half.strength, half.where, half.scale) == (0.5, "background", 0.5)
    assert half(image).shape == image.shape


def test_blend_takes_it_by_its_name_and_the_others_by_number(image):
    blended = load("style/mine:blend=mine:1+0:3,precision=fp32", CPU)(image)
    same = load("style:blend=12:1+0:3,precision=fp32", CPU)(image)
    assert np.abs(blended.astype(int) - same).max() <= 1


@pytest.mark.parametrize("blend", ["other:0.5", "27", "minemine", "mine:x"])
def test_blend_of_others_is_refused(blend):
    with pytest.raises(ModelError, match=r"styles 0\.\.25 and mine"):
        parse(f"style/mine:blend={blend}")


def test_it_is_listed_with_its_painting():
    card = next(card for card in cards() if card.name == "style/mine")
    assert card.summary == "learnt from lilies.jpg, 2026-01-02"
    assert is_built_in("style/mine:scale=0.5"), "numbers only, so a recording may name it"


def test_ladder_has_what_was_measured():
    assert ladder("style/mine") == (Rung("style/mine", 1.0), Rung("style/mine:scale=0.75", 0.5))  # 0.2 is no likeness
    assert ladder("style/mine:blend=mine+13") == (Rung("style/mine:blend=mine+13", 1.0),), "13 has 0.28"
    assert ladder("style/mine:blend=0+12")[1].quality == 0.61, "the learnt one is not in it"


def test_graphs_of_the_built_in_styles_stay_as_they_are(mine):
    before = NETWORK.version()
    own = network_of(27, mine).version()
    assert own != before
    stylefile.write(mine, StyleFile(stylefile.row_of(checkpoint.arrays("style"), 3), {}))
    assert network_of(27, mine).version() != own, "a style that was learnt again is another graph"
    assert NETWORK.version() == before


def test_broken_file_is_an_error_for_who_asks_and_a_warning_for_who_lists(mine, caplog):
    mine.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"mine.safetensors: expected safetensors"):
        load("style/mine", CPU)
    with caplog.at_level(logging.WARNING):
        assert "style/mine" not in [card.name for card in cards()]
    assert "style/mine is left out" in caplog.text
    assert parse("style/12").where == "style/12"


def test_style_that_is_not_there_is_unknown_with_a_hint(mine):
    with pytest.raises(ModelError, match="did you mean style/mine"):
        load("style/mime", CPU)
    mine.unlink()
    with pytest.raises(ModelError, match="no model 'style/mine'"):
        load("style/mine", CPU)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mine", "expected 1 to 32"),
        ("", "expected 1 to 32"),
        ("../mine", "expected 1 to 32"),
        ("a" * 33, "expected 1 to 32"),
        ("7", "expected 1 to 32"),
        ("ink", "taken by the built-in style/ink"),
        ("any", "taken by"),
        ("mine", "exists already .*--overwrite"),
    ],
)
def test_name_that_cannot_be_used_is_refused(name, said):
    with pytest.raises(ModelError, match=said):
        check_name(name, may_overwrite=False)


def test_name_that_can_be_used_has_its_file(mine):
    assert check_name("mine", may_overwrite=True) == mine
    assert check_name("other", may_overwrite=False).name == "other.safetensors"


def test_file_in_the_place_of_a_built_in_style_changes_nothing(mine, image):
    before = load("style/ink", CPU)(image)
    mine.rename(mine.with_name("ink.safetensors"))
    assert np.array_equal(load("style/ink", CPU)(image), before)
    assert [card.name for card in cards()].count("style/ink") == 1
