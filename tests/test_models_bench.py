"""The speed lab on small models of one's own, each in its real process. No number is asserted that a machine makes."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models import bench
from models.base import Kind
from models.bench import ROUNDS, Plan, Report, measure, quantile, summarize
from models.bench_worker import Round
from models.quality import sample_pictures
from models.variants import Role
from stream.errors import ModelError

PICTURES = [np.full((16, 24, 3), grey, np.uint8) for grey in (10, 60, 110)]

OWN = """
import os, signal
from pathlib import Path

LOG = Path(__file__).with_suffix(".log")

class Film:
    ladder = (("how=lighter", 0.9), ("how={how}", 0.8))
    max_batch = 4
    def __init__(self, how="full"):
        self.how = how
        if how == "unloadable":
            raise ValueError("no such film\\nanywhere")
    def __call__(self, image):
        with LOG.open("a") as log:
            log.write(self.how + "\\n")
        if self.how == "crashing" and image[0, 0, 0] == 60:
            os.write(2, b"libfilm: the reel is torn\\n")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "wrong":
            return image[:2]
        return image + (self.how == "lighter")
"""


def own(folder: Path, how: str = "lighter2") -> str:
    path = folder / "film.py"
    path.write_text(OWN.replace("{how}", how))
    return f"{path}:Film"


def measured(name: str, **more: Any) -> Report:
    return measure(Plan(name, (16, 24), seconds=0.05, kind=Kind.GENERATE, **more), PICTURES)


def test_quantile_is_a_measured_value() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0, 0.5, 0.95, 1)] == [1.0, 3.0, 4.0, 4.0]


def test_rounds_become_medians_with_their_spread() -> None:
    rounds = [Round((10_000_000, 12_000_000, 11_000_000), 90.0), Round((30_000_000,), 33.0), Round((12_000_000,), 80.0)]
    found = summarize(2, rounds)
    assert (found.batch, found.calls) == (2, 5)
    assert (found.p50_ms, found.low_ms, found.high_ms) == (12.0, 11.0, 30.0)
    assert (found.rate, found.rate_low, found.rate_high) == (80.0, 33.0, 90.0)
    assert (found.p95_ms, found.p99_ms) == (30.0, 30.0)


def test_variants_are_timed_in_turn_and_compared_with_the_reference(tmp_path: Path) -> None:
    name = own(tmp_path)
    told: list[tuple[float, float]] = []
    plan = Plan(name, (16, 24), seconds=0.05, kind=Kind.GENERATE)
    report = measure(plan, PICTURES, lambda done, total, what: told.append((done, total)))
    full, lighter, same = report.variants
    assert report.is_complete and report.groups == 1 and report.reference() is full
    assert (full.role, full.label, full.rung, full.likeness) == (Role.DEFAULT, "own code", "", None)
    assert (lighter.role, lighter.label, lighter.rung) == (Role.LIGHTER, "own code, how=lighter", "how=lighter")
    assert lighter.likeness is not None and lighter.likeness.is_less and lighter.likeness.value < 50
    assert same.likeness is not None and not same.likeness.is_less
    for one in report.variants:
        timing = one.at(1)
        assert one.error is None and timing is not None and timing.calls >= ROUNDS
        assert timing.low_ms <= timing.p50_ms <= timing.high_ms and timing.p50_ms <= timing.p95_ms <= timing.p99_ms
        assert one.load_ms is not None and one.warm_ms is not None and one.load_ms > 0
        assert one.memory.device is None
    lines = (tmp_path / "film.log").read_text().splitlines()
    turns = [how for place, how in enumerate(lines) if how != lines[place - 1]]
    there_and_back = ["full", "lighter", "lighter2", "lighter"]  # who ends a round begins the next
    assert turns[-(2 * ROUNDS + 1) :] == [*there_and_back, *there_and_back, "full", "lighter", "lighter2"]
    assert all(done <= total for done, total in told) and told[-1][0] > told[0][0]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("unloadable", "ValueError: no such film anywhere"),
        ("crashing", r"its process ended by itself \(signal 9: libfilm: the reel is torn\)"),
        ("wrong", r"expected a picture \[16,24,3\]"),
    ],
)
def test_a_variant_that_fails_is_a_row_with_its_reason(tmp_path: Path, how: str, reason: str) -> None:
    full, lighter, bad = measured(own(tmp_path, how)).variants
    assert bad.error is not None and "\n" not in bad.error
    assert re.search(reason, bad.error), bad.error
    assert bad.timings == [] and full.timings and lighter.timings


def test_what_was_measured_before_ctrl_c_is_kept(tmp_path: Path) -> None:
    def stop(done: float, total: float, what: str) -> None:
        if what.startswith("round 2") and "lighter2" in what:
            raise KeyboardInterrupt

    plan = Plan(own(tmp_path), (16, 24), seconds=0.05, kind=Kind.GENERATE)
    report = measure(plan, PICTURES, stop)
    assert not report.is_complete
    assert all(one.timings and one.error is None for one in report.variants)


def test_what_was_not_reached_before_ctrl_c_says_so(tmp_path: Path) -> None:
    def stop(done: float, total: float, what: str) -> None:
        if what == "loading how=lighter":
            raise KeyboardInterrupt

    report = measure(Plan(own(tmp_path), (16, 24), kind=Kind.GENERATE), PICTURES, stop)
    assert {one.error for one in report.variants} == {"not measured: stopped before its turn"}


def test_models_that_take_one_picture_at_a_time_are_not_given_batches(tmp_path: Path) -> None:
    full = measured(own(tmp_path), batches=(1, 2)).variants[0]
    assert [one.batch for one in full.timings] == [1]
    assert full.notes == ["takes one picture at a time"]


def test_little_memory_measures_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "free_bytes", lambda: 0)
    report = measured(own(tmp_path))
    assert report.groups == 3 and all(one.timings for one in report.variants)
    assert report.variants[1].likeness is not None, "the reference's answers are kept"


def test_a_wrong_name_or_word_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean style"):
        measured("stile")
    with pytest.raises(ModelError, match="no variant has 'int7'"):
        measured("style", words=("int7",))


def test_batches_are_measured_where_a_variant_takes_them() -> None:
    plan = Plan("style", (32, 48), batches=(1, 2), seconds=0.1, threads=1, words=("reference",))
    report = measure(plan, [cv2.resize(picture, (48, 32)) for picture in sample_pictures(180)])
    reference, default = report.variants
    assert [one.error for one in report.variants] == [None, None]
    assert [one.batch for one in reference.timings] == [1, 2]
    assert default.at(1) is not None
    assert default.at(2) is not None or default.notes[0].startswith("batch 2 does not run: ")
    assert default.likeness is not None and default.likeness.measure == "PSNR" and default.likeness.value > 30
    assert reference.memory.weights is not None and reference.memory.weights >= 4 * 166_104
    assert default.memory.weights is not None and default.memory.weights > 2 * 166_104
