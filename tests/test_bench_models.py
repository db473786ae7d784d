"""The rows of `python -m tests.bench models`, from made reports."""

import pytest

from models.bench import Measured, Plan, Report, Timing
from models.likeness import Likeness
from models.variants import Role
from tests.bench import models
from tests.bench.models import Aim, of_model


def timing(p50_ms: float) -> Timing:
    return Timing(1, 40, p50_ms, p50_ms, p50_ms, p50_ms, p50_ms, 1000 / p50_ms, 1000 / p50_ms, 1000 / p50_ms)


def measured(role: Role, variant: str, p50_ms: float | None, psnr_db: float | None = None) -> Measured:
    found = Measured("style", variant, role, variant)
    if p50_ms is not None:
        found.timings.append(timing(p50_ms))
    if psnr_db is not None:
        found.likeness = Likeness("PSNR", psnr_db, "dB", f"{psnr_db} dB", True, "" if psnr_db > 35 else "too low")
    return found


def report(*variants: Measured) -> Report:
    return Report(Plan("style", (360, 640)), 12, list(variants))


REFERENCE = measured(Role.REFERENCE, "torch fp32", 100.0)
STYLE = Aim("style", 25.0, 4.0, 40.0)


def test_each_aim_is_a_row_that_says_whether_it_is_met() -> None:
    rows = of_model(STYLE, report(REFERENCE, measured(Role.DEFAULT, "openvino bf16", 20.0, 51.0)), "quiet")
    assert [(row.value, row.is_met) for row in rows] == [(20.0, True), (5.0, True), (51.0, True)]
    rows = of_model(STYLE, report(REFERENCE, measured(Role.DEFAULT, "openvino bf16", 50.0, 39.0)), "quiet")
    assert [(row.value, row.is_met) for row in rows] == [(50.0, False), (2.0, False), (39.0, False)]
    assert all("quiet" in row.note for row in rows[:1])


@pytest.mark.parametrize(
    ("int8_ms", "is_rung", "is_met"), [(10.0, True, True), (18.0, True, False), (18.0, False, True)]
)
def test_int8_pays_or_is_in_no_ladder(
    monkeypatch: pytest.MonkeyPatch, int8_ms: float, is_rung: bool, is_met: bool
) -> None:
    from models.ladder import Rung

    rungs = (Rung("style", 1.0), *([Rung("style:backend=openvino,precision=int8", 0.9)] if is_rung else []))
    monkeypatch.setattr(models, "ladder", lambda name: rungs)
    int8 = measured(Role.WAY, "openvino int8", int8_ms, 30.0)
    row = of_model(STYLE, report(REFERENCE, measured(Role.DEFAULT, "openvino bf16", 20.0, 51.0), int8), "")[-1]
    assert (row.value, row.is_met) == (round(20.0 / int8_ms, 2), is_met)
    assert row.quality == "30.0 dB; below its floor"
    assert ("not in the ladder" in row.note) != is_rung


def test_what_could_not_be_measured_says_why() -> None:
    broken = measured(Role.DEFAULT, "openvino bf16", None)
    broken.error = "openvino is not installed"
    [row] = of_model(STYLE, report(REFERENCE, broken), "")
    assert row.what == "style: not measured" and row.note == "openvino is not installed" and row.is_met is None


def test_a_model_that_is_not_there_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "AIMS", (Aim("pose/nobody"),))
    monkeypatch.setattr(models, "start_row", lambda: models._missing("start", "not now"))
    rows = models.measure_models(True)
    assert [row.what for row in rows] == ["pose/nobody: not measured", "start: not measured"]
    assert "no model 'pose/nobody'" in rows[0].note
