"""Tuning a style for a smaller scale: it comes nearer to the full one, on pictures it did not see, and is then used."""

import hashlib
import json

import numpy as np
import pytest
import torch

from models import checkpoint, stylefile
from models.base import Target
from models.ladder import Rung, _falling, ladder
from models.perceptual import structural_similarity
from models.quality import compare_paintings, ssim
from models.registry import load
from models.stylefile import SHAPES, StyleFile
from models.tune import Task, Tuner
from stream.clock import MonotonicClock
from tests.golden import picture

CPU = Target("cpu", 1)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    yield
    torch.set_num_threads(2)


def tensor(image):
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def test_similarity_is_that_of_the_quality_module():
    image = picture("astronaut")[:96, :128]
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 20, image.shape), 0, 255).astype(np.uint8)
    assert float(structural_similarity(tensor(image), tensor(noisy))) == pytest.approx(ssim(noisy, image), abs=0.005)
    assert float(structural_similarity(tensor(image), tensor(image))) == pytest.approx(1)


def tuned(**changed):
    pictures = [picture("astronaut")[:96, :160], picture("street")[60:156, :160]]
    model = load("style/2:scale=1", CPU)
    row = stylefile.row_of(checkpoint.arrays("style"), 2)
    given = {"steps": 20, "seconds": 300.0, "threads": 1}
    tuner = Tuner(Task(row, 0.5, pictures, [model(one) for one in pictures], **{**given, **changed}))
    progress = list(tuner.learn(MonotonicClock()))
    return tuner.row(), progress


def quality(name, image):
    return compare_paintings([load(name, CPU)(image)], [load("style/2:scale=1", CPU)(image)]).value


def test_tuned_numbers_are_used_at_their_scale_only_and_are_better_on_a_picture_not_seen():
    unseen = picture("coffee")[:96, :160].copy()
    before, other = quality("style/2:scale=0.5", unseen), load("style/2:scale=0.75", CPU)(unseen)
    blended = load("style/2:scale=0.5,blend=2", CPU)(unseen)
    row, progress = tuned()
    assert progress[-1].step == 20
    stylefile.write(stylefile.tuned_path("2", 0.5), StyleFile(row, {}))
    assert quality("style/2:scale=0.5", unseen) > before + 0.02
    assert quality("style/sketch:scale=0.5", unseen) > before + 0.02, "the same style by its other name"
    assert np.array_equal(load("style/2:scale=0.75", CPU)(unseen), other)
    assert np.array_equal(load("style/2:scale=0.5,blend=2", CPU)(unseen), blended)
    stylefile.forget_tuned("2")
    assert quality("style/2:scale=0.5", unseen) == before


def test_same_seed_gives_the_same_numbers():
    (one, _), (same, _), (other, _) = tuned(steps=3), tuned(steps=3), tuned(steps=3, seed=1)
    assert all(np.array_equal(one[key], same[key]) for key in SHAPES)
    assert any(not np.array_equal(one[key], other[key]) for key in SHAPES)


def keep(word, scale, value):
    row = stylefile.row_of(checkpoint.arrays("style"), 0)
    about = {"qualities": json.dumps({f"scale={scale:g}": value})}
    stylefile.write(stylefile.tuned_path(word, scale), StyleFile(row, about))


def scales(name):
    return [(rung.name, rung.quality) for rung in ladder(name)]


def test_ladder_has_the_quality_that_tuning_measured():
    keep("2", 0.75, 0.7)
    assert scales("style/2") == [("style/2", 1.0), ("style/2:scale=0.75", 0.7), ("style/2:scale=0.5", 0.56)]
    assert ladder("style:blend=0+2")[1].quality == 0.61, "a blend is not tuned"
    keep("19", 0.5, 0.2)
    assert scales("style/19") == [("style/19", 1.0)], "better, and still another picture"


def test_lighter_variant_that_became_the_better_one_leaves_no_room_for_the_dearer():
    keep("2", 0.5, 0.68)
    assert scales("style/sketch") == [("style/sketch", 1.0), ("style/sketch:scale=0.5", 0.68)]
    assert _falling([Rung("a", 0.5), Rung("b", 0.5), Rung("c", 0.4)]) == (Rung("b", 0.5), Rung("c", 0.4))


def test_default_style_ships_tuned_and_a_person_may_tune_it_further():
    assert [quality for _, quality in scales("style")] == [1.0, 0.71, 0.64]
    keep("0", 0.5, 0.66)
    assert ladder("style/0")[2].quality == 0.66
    stylefile.forget_tuned("0")
    assert ladder("style/0")[2].quality == 0.64


@pytest.mark.parametrize("scale", ["0.75", "0.5"])
def test_what_ships_is_listed_with_its_checksum_and_is_better_on_a_picture_not_seen(scale, monkeypatch, tmp_path):
    file = stylefile.SHIPPED / f"style_0@{scale}.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"{digest}  {file.name}" in (stylefile.SHIPPED / "SHA256SUMS").read_text().splitlines()
    unseen = [picture("coffee")]
    full = [load("style/0:scale=1", CPU)(unseen[0])]
    shipped = compare_paintings([load(f"style/0:scale={scale}", CPU)(unseen[0])], full).value
    monkeypatch.setattr(stylefile, "SHIPPED", tmp_path)
    plain = compare_paintings([load(f"style/0:scale={scale}", CPU)(unseen[0])], full).value
    assert shipped > plain + 0.04


def test_what_was_tuned_for_another_style_of_the_name_is_forgotten():
    keep("mine", 0.5, 0.6)
    keep("mine2", 0.5, 0.6)
    stylefile.forget_tuned("mine")
    assert not stylefile.tuned_path("mine", 0.5).exists()
    assert stylefile.tuned_path("mine2", 0.5).exists()
    assert stylefile.names() == [], "they are no styles of their own"
