"""Names: how they are read, what is said about wrong ones, and models that other packages bring."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest

from models import registry
from models.base import Card, Kind, Model, Target
from models.entry import Option, number, one_of, resolve, whole_number
from models.registry import cards, is_built_in, load, parse
from stream.errors import ModelError

CPU = Target("cpu", 1)


def test_every_card_can_be_parsed_and_names_are_unique():
    names = [card.name for card in cards()]
    assert len(names) == len(set(names))
    assert {"style", "style/0", "style/25", "mask/person", "boxes/coco", "classify/imagenet"} <= set(names)
    for card in cards():
        assert parse(card.name, card.kind).where == card.name
        assert card.summary
        assert card.licence


def test_recognizers_say_what_they_give():
    gives = {card.name: card.gives for card in cards() if card.kind is Kind.RECOGNIZE and not card.collection}
    assert gives == {
        "mask/person": {"mask"},
        "boxes/coco": {"boxes"},
        "classify/imagenet": {"classes"},
        "pose/person": {"keypoints"},
        "faces": {"boxes", "keypoints"},
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("style", ()),
        ("style/12:strength=0.5", (("strength", "0.5"),)),
        ("style:blend=2:0.3+12:0.7,where=background", (("blend", "2:0.3+12:0.7"), ("where", "background"))),
        ("boxes/coco: score = 0.4 , classes=traffic light", (("score", "0.4"), ("classes", "traffic light"))),
        ("style:", ()),
    ],
)
def test_registry_name_is_read(name, options):
    parsed = parse(name)
    assert (parsed.attribute, parsed.options) == (None, options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stile", "no model 'stile'; did you mean style.*`livelens models`"),
        ("mask/persn", "did you mean mask/person"),
        ("coco", "did you mean boxes/coco"),
        ("style/26", "no model 'style/26'; did you mean style/"),
        ("", "no model ''"),
        ("zzz", "no model 'zzz'; `livelens models` lists them"),
        ("../../etc/passwd", "no model"),
        ("style:strenth=1", r"no option 'strenth' \(got strenth=1\).*did you mean strength"),
        ("style:strength=2", "option strength='2' is not allowed: expected a number 0..1"),
        ("style:strength=nan", "expected a number 0..1"),
        ("style:strength=", "expected a number"),
        ("style:where=front", "expected all or background"),
        ("style:strength", "expected key=value behind the name, got 'strength'"),
        ("style:strength=1,strength=0", "given twice"),
        ("boxes/coco:classes=person+unicorn", "expected COCO names"),
        ("boxes/coco:size=400", "multiple of 32"),
        ("boxes/coco:score=0", "expected a number 0.05..1"),
        ("classify/imagenet:top=2.5", "whole number"),
        ("mask/person:backend=fastest", "auto, torch, compile, .* or tensorrt"),
        ("mask/person:precision=int4", "fp16 or int8"),
        ("mask/person:layout=last", "channels_first or channels_last"),
        ("mask/person:calibration=no/such.mp4", "a video file"),
        ("my-package.x:Name", "no model"),
    ],
)
def test_wrong_name_says_what_is_allowed(name, message):
    with pytest.raises(ModelError, match=message):
        parse(name)
    with pytest.raises(ModelError, match=message):
        load(name, CPU)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mask/person", Kind.GENERATE, "mask/person recognizes; give it with --recognize, not with --generate"),
        ("style", Kind.RECOGNIZE, "style generates; give it with --generate, not with --recognize"),
    ],
)
def test_wrong_kind_says_which_option(name, kind, message):
    with pytest.raises(ModelError, match=message):
        parse(name, kind)
    with pytest.raises(ModelError, match=message):
        load(name, CPU, kind)


def test_options_have_defaults_and_values():
    options = (
        Option("size", "how large", "a whole number 1..9", whole_number(1, 9), 3),
        Option("mode", "which", "a or b", one_of("a", "b"), "a"),
        Option("share", "how much", "0..1", number(0, 1), 0.5),
    )
    assert resolve("m", options, {"size": "7", "mode": "b"}) == {"size": 7, "mode": "b", "share": 0.5}


class Plugin:
    """What a package's entry point gives."""

    variant = "test"
    card = Card("cartoon", Kind.GENERATE, "cartoon", "MIT", "a package")

    def __init__(self, target, **options):
        self.options = options

    def warm(self, height, width):
        """Nothing to warm."""

    def __call__(self, image):
        return image

    def close(self):
        """Nothing to close."""


@pytest.fixture
def plugins(monkeypatch):
    def bring(**values):
        points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)

    return bring


def test_model_of_a_package_is_listed_parsed_and_loaded(plugins):
    plugins(cartoon=f"{__name__}:Plugin", style="nothing:here")
    assert "cartoon" in [card.name for card in cards()]
    assert parse("cartoon:edges=3", Kind.GENERATE).options == (("edges", "3"),)
    model = load("cartoon:edges=3", CPU, Kind.GENERATE)
    assert isinstance(model, Model)
    assert model.options == {"edges": "3"}
    with pytest.raises(ModelError, match="--generate"):
        load("cartoon", CPU, Kind.RECOGNIZE)
    assert parse("style").where == "style"  # our own names cannot be taken


def test_broken_package_is_left_out_of_the_list_with_a_warning(plugins, caplog):
    plugins(bad="no_such_package:x", cardless="os:getcwd")
    assert not {"bad", "cardless"} & {card.name for card in cards()}
    assert "no_such_package" in caplog.text
    assert "expected `create.card`" in caplog.text
    with pytest.raises(ModelError, match="ModuleNotFoundError"):
        load("bad", CPU)


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("style/12:strength=0.5", True),
        ("boxes/coco", True),
        ("subprocess:Popen:args=true", False),
        ("os:system", False),
    ],
)
def test_only_our_own_models_are_built_in(name: str, is_ours: bool) -> None:
    assert is_built_in(name) is is_ours


@pytest.mark.parametrize("name", ["style", "mask/person", "boxes/coco", "pose/person", "faces", "classify/imagenet"])
def test_a_model_of_ours_is_ready_for_a_size_once_it_was_warmed(name: str) -> None:
    model = load(name, Target("cpu", 1))
    model.warm(48, 64)
    assert model(np.zeros((48, 64, 3), np.uint8)) is not None
    model.close()
