"""A check on models whose faults are known: what is measured, what is refused, and what is kept for the ladders."""

import json

import cv2
import numpy as np
import pytest

from models import check as module
from models import stability
from models.base import Card, Kind, Target
from models.check import STREET, as_json, check, likeness, variants
from models.labelled import Data, Example
from models.registry import parse
from models.stability import CONDITIONS
from stream.errors import ModelError
from stream.results import Results

NOISE = [np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8) for i in range(3)]
PICTURES = [cv2.GaussianBlur(noise, (0, 0), 2) for noise in NOISE]


class Painter:
    """Paints the picture darker; a variant adds what it does wrong."""

    kind, gives = Kind.GENERATE, frozenset()

    def __init__(self, options):
        self.options = options
        self.variant = f"{options.get('backend', 'openvino')} {options.get('precision', 'bf16')}"
        self.card = Card("style", self.kind, "", "", "", gives=self.gives)
        self.is_closed = False

    def __call__(self, image):
        assert not self.is_closed
        painting = image // 2
        if self.options.get("scale"):
            painting = cv2.blur(painting, (15, 15))
        return painting + 20 if self.options.get("precision") == "int8" else painting

    def close(self):
        self.is_closed = True


class Labeller(Painter):
    """Says cup for dark pictures and cat for others; a variant in int8 says cup for all."""

    kind, gives, labels = Kind.RECOGNIZE, frozenset({"classes"}), ("cat", "cup")

    def __call__(self, image):
        is_dark = image.mean() < 127.5 or self.options.get("precision") == "int8"
        best, other = ("cup", "cat") if is_dark else ("cat", "cup")
        return Results(classes=((best, 0.9), (other, 0.1)))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Have names of ours open doubles; returns all that were opened, and takes what to change in them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    opened: list[Painter] = []
    kinds = {"style": Painter, "classify/imagenet": Labeller}

    def load(name, target, kind=None):
        parsed = parse(name, kind)
        opened.append(kinds[parsed.where](dict(parsed.options)))
        return opened[-1]

    monkeypatch.setattr(module, "load", load)
    monkeypatch.setattr(module, "missing", lambda backend, device: None)
    monkeypatch.setattr(module, "sample_pictures", lambda every: [p for p in PICTURES for _ in range(120 // every)])
    monkeypatch.setattr(module, "open_data", lambda where, labels, limit: Data("no more", ()))
    quick = tuple(condition for condition in CONDITIONS if "8K" not in condition.name)
    monkeypatch.setattr(stability, "CONDITIONS", quick)
    monkeypatch.setattr(module, "CONDITIONS", quick)
    return opened, kinds


def row_of(report, text):
    [row] = [row for row in report.rows if text in row.name]
    return row


def test_what_is_looked_at_is_what_would_run_other_ways_and_the_ladder(monkeypatch):
    monkeypatch.setattr(module, "missing", lambda backend, device: None if backend.name == "openvino" else "not here")
    assert variants("boxes/coco", (), "cpu") == [
        "boxes/coco",
        "boxes/coco:backend=openvino,precision=int8",
        "boxes/coco:size=320",
    ]
    assert variants("style/night", (), "cpu")[1:] == ["style/night:backend=openvino,precision=int8"]  # no rung is alike
    assert variants("mask/person:precision=fp32", (), "cpu") == ["mask/person:precision=fp32"]


def test_one_way_to_run_is_nothing_to_compare():
    for name in ("background/blur", "mask/person:backend=torch,precision=fp32"):
        with pytest.raises(ModelError, match="there is one way to run it"):
            check(name)


def test_against_takes_names_and_options():
    assert variants("boxes/coco:score=0.3", ["precision=fp32", "boxes/coco:size=640"], "cpu") == [
        "boxes/coco:score=0.3",
        "boxes/coco:score=0.3,precision=fp32",
        "boxes/coco:size=640",
    ]
    for wrong, says in [
        ("style", "expected a variant of boxes/coco"),
        ("nothing=1", "no option 'nothing'"),
        ("precision=fp99", "not allowed"),
    ]:
        with pytest.raises(ModelError, match=says):
            variants("boxes/coco", [wrong], "cpu")


def test_a_variant_below_its_floor_is_refused_with_the_numbers(models):
    told = []
    report = check("style", tell=lambda done, total: told.append((done, total)))
    int8 = row_of(report, "int8")
    assert "PSNR 22.1 dB is below the floor of 35" in int8.reason  # 20 of 255 off
    assert not report.is_good and not row_of(report, "onnxruntime").reason and not report.rows[0].reason
    assert report.rows[0].quality == pytest.approx(1) and report.rows[0].speed == 1
    assert {m.name for m in report.rows[0].measures} == {"psnr", "ssim"}  # noise never stands still: no flicker
    assert told[-1][0] == told[-1][1] == len(told)
    assert all(model.is_closed for model in models[0])


def test_flicker_is_held_against_the_references(models, monkeypatch):
    still = np.full((40, 60, 3), 100, np.uint8)
    monkeypatch.setattr(module, "sample_pictures", lambda every: [still + i % 2 for i in range(STREET.stop)][::every])

    class Trembling(Painter):
        def __call__(self, image):
            self.calls = getattr(self, "calls", 0) + 1
            return image // 2 + (2 * (self.calls % 2) if self.variant == "openvino bf16" else image % 2)

    models[1]["style"] = Trembling
    report = check("style", against=["precision=fp32"])
    assert report.rows[0].reason.startswith("flicker against the reference's")
    assert report.rows[1].reason == ""


def test_a_lighter_variant_is_told_with_its_quality_and_refused_only_as_another_picture(models):
    row = row_of(check("style", against=["scale=0.75"]), "scale")
    assert row.is_lighter and row.reason == "" and 0.3 < row.quality < 0.95
    assert any(measure.name == "psnr" and measure.value < 35 for measure in row.measures)

    class Blind(Painter):
        def __call__(self, image):
            return image * 0 if self.options.get("scale") else image

    models[1]["style"] = Blind
    row = row_of(check("style", against=["scale=0.75"]), "scale")
    assert "is below 0.3: it shows another picture" in row.reason


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda image: image[:-1], "expected a picture [40, 60, 3] uint8, got [39, 60, 3] uint8"),
        (lambda image: None, "expected a picture or Results, got NoneType"),
        (lambda image: 1 / 0, "ZeroDivisionError"),
        (
            lambda image: image if min(image.shape[:2]) > 1 else image[:0],
            "one pixel, 1x1: expected a picture [1, 1, 3]",
        ),
    ],
)
def test_an_unsound_answer_refuses_whatever_the_floors_say(models, answer, says):
    class Odd(Painter):
        def __call__(self, image):
            return answer(image) if self.options.get("precision") == "int8" else image

    models[1]["style"] = Odd
    row = row_of(check("style"), "int8")
    assert says in row.reason and row.measures == ()


def test_a_reference_that_is_not_sound_is_an_error(models):
    class Broken(Painter):
        def __call__(self, image):
            return image if self.options.get("backend") != "torch" else None

    models[1]["style"] = Broken
    with pytest.raises(ModelError, match="the reference itself gives no sound answer"):
        check("style")


def test_a_variant_that_cannot_be_loaded_is_a_row_that_says_why(models, monkeypatch):
    whole = module.load

    def load(name, target, kind=None):
        if "int8" in name:
            raise ModelError("nncf is not installed: pip install nncf")
        return whole(name, target, kind)

    monkeypatch.setattr(module, "load", load)
    report = check("style")
    assert row_of(report, "int8").why_not == "nncf is not installed: pip install nncf"
    assert report.is_good and len(report.findings()) == len(report.rows) - 1


def test_top_1_is_of_the_pictures_whose_truth_is_known(models, monkeypatch):
    pictures = [np.full((20, 20, 3), level, np.uint8) for level in (10, 240, 250)]
    truths = [frozenset({"cup"}), frozenset({"cat"}), frozenset({"cat"})]
    data = Data("3 pictures", tuple(Example(lambda p=p: p, t) for p, t in zip(pictures, truths, strict=True)))
    monkeypatch.setattr(module, "open_data", lambda where, labels, limit: data if labels == ("cat", "cup") else None)
    report = check("classify/imagenet", "somewhere")
    found = {measure.name: measure.value for measure in row_of(report, "int8").measures}
    assert found["top1_reference"] == 100 and found["top1"] == pytest.approx(100 / 3)
    assert "top-1 lost 66.7 points is above the most allowed, 1" in row_of(report, "int8").reason
    assert report.data == "3 pictures"
    assert all(model.options["top"] == "5" for model in models[0])


def test_a_report_is_plain_values(models):
    found = json.loads(json.dumps(as_json(check("style", target=Target("cpu", 1))), allow_nan=False))
    assert found["reference"]["name"] == "style:backend=torch,precision=fp32"
    assert found["floors"]["psnr"] == {"limit": 35.0, "is_most": False}
    assert [row["name"] for row in found["variants"]][:2] == ["style", "style:backend=openvino,precision=int8"]
    assert found["variants"][0]["stability"][0]["condition"] == "as it is"
    assert found["is_good"] is False and found["versions"]["torch"]


def test_likeness_is_what_a_ladder_goes_by():
    from models.accuracy import Measure

    assert likeness([]) == 1
    assert likeness([Measure("psnr", 40, 1), Measure("ssim", 0.7, 1)]) == 0.7
    assert likeness([Measure("map50", 0.5, 1), Measure("box_f1", 0.6, 1)]) == 0.6
    assert likeness([Measure("point_distance", 0.5, 1), Measure("points_near", 0.9, 1)]) == 0.9


@pytest.mark.slow
def test_real_variants_of_the_mask_on_this_machine(tmp_path, monkeypatch):
    """The one that a server runs, on few pictures: near torch, sound on every bad picture."""
    monkeypatch.setattr(module, "CLIP_EVERY", 120)
    report = check("mask/person", against=["precision=fp32"], target=Target("cpu", 1))
    assert [row.why_not for row in report.rows] == ["", ""]
    assert all(one.fault == "" for row in report.rows for one in row.stability)
    assert report.rows[1].quality > 0.999
