"""`livelens models check`: what it prints, how it ends, and what it leaves for the ladders."""

import json

import numpy as np
import pytest
from rich.console import Console

from models import check as check_module
from models.accuracy import Measure
from models.check import Report, Row
from models.findings import Finding, findings, remember
from models.stability import Stability
from stream import check_cli
from stream.cli import main
from stream.errors import ModelError

GOOD = Row(
    "boxes/coco",
    "openvino bf16",
    measures=(Measure("map50", 1.0, 93), Measure("box_f1", 1.0, 93)),
    quality=1.0,
    median_ms=8.0,
    speed=1.0,
    stability=(Stability("black", "", None), Stability("small, 64x36", "", Measure("box_f1", 1.0, 4))),
)
BAD = Row(
    "boxes/coco:backend=openvino,precision=int8",
    "openvino int8",
    reason="mAP at IoU .5 against the reference 0.900 is below the floor of 0.95",
    measures=(Measure("map50", 0.9, 93), Measure("box_f1", 0.95, 93)),
    quality=0.95,
    median_ms=4.0,
    speed=2.0,
    stability=(Stability("black", "", None), Stability("small, 64x36", "it raised", None)),
)
LIGHTER = Row(
    "boxes/coco:size=320",
    "openvino bf16",
    is_lighter=True,
    measures=(Measure("map50", 0.7, 93), Measure("box_f1", 0.89, 93)),
    quality=0.89,
    median_ms=4.5,
    speed=1.8,
    stability=(Stability("black", "", None), Stability("small, 64x36", "", Measure("box_f1", 0.7, 4))),
)
GONE = Row("boxes/coco:backend=onnxruntime", why_not="onnxruntime is not installed: pip install 'livelens[onnx]'")


def report(*rows):
    return Report("boxes/coco", "boxes/coco:backend=torch,precision=fp32", 18.8, "3 pictures", rows)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["models", "check", *map(str, arguments)])
    return ended.value.code


def shown(*rows, width=160):
    console = Console(width=width, highlight=False, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    check_cli.print_report(report(*rows), console)
    return console.export_text()


def test_the_table_has_measures_floors_and_a_column_for_each_variant():
    text = shown(GOOD, BAD, LIGHTER, GONE)
    lines = {line.split("  ")[0].strip(): line.split() for line in text.splitlines()}
    assert lines["mAP at IoU .5 against the reference (93)"][-4:] == ["0.95", "1.000", "0.900", "0.700"]
    assert lines["F1 of boxes (93)"][-4:] == ["-", "1.000", "0.950", "0.890"]
    assert lines["milliseconds a picture"][-3:] == ["8.0", "4.0", "4.5"]
    assert lines["times as fast as the first"][-3:] == ["1.00", "2.00", "1.80"]
    assert "✓  openvino bf16: reaches its floors" in text
    assert (
        "✗  openvino int8: in no ladder: mAP at IoU .5 against the reference 0.900 is below the floor of 0.95" in text
    )
    assert "~  openvino bf16, size=320: lighter on purpose, quality 0.89" in text
    assert "not looked at: onnxruntime is not installed" in text
    assert lines["small, 64x36"][-3:] == ["1.000", "unsound", "0.700"]
    assert lines["black"].count("found") == 3


def test_it_fits_a_narrow_terminal():
    assert max(map(len, shown(GOOD, BAD, LIGHTER, width=80).splitlines())) <= 80


@pytest.mark.parametrize(("rows", "code"), [((GOOD, LIGHTER, GONE), 0), ((GOOD, BAD), 1)])
def test_it_ends_with_1_when_a_variant_is_below_its_floor_and_keeps_what_it_found(monkeypatch, capsys, rows, code):
    monkeypatch.setattr(check_module, "check", lambda *arguments: report(*rows))
    assert run("boxes/coco") == code
    assert "openvino bf16" in capsys.readouterr().out
    assert [one.name for one in findings()] == [row.name for row in rows if not row.why_not]


def test_what_is_asked_reaches_the_check(monkeypatch):
    seen = []

    def check(name, data, against, target, kind, limit, tell):
        seen.append((name, data, list(against), target.device, kind, limit))
        return report(GOOD)

    monkeypatch.setattr(check_module, "check", check)
    against = ("--against", "precision=int8", "--against", "size=320")
    assert run("boxes/coco", "--data", "pictures", *against, "--limit", 9, "--kind", "recognize") == 0
    assert seen == [("boxes/coco", "pictures", ["precision=int8", "size=320"], "cpu", "recognize", 9)]


def test_json_has_everything_and_what_it_was_made_on(monkeypatch, tmp_path):
    monkeypatch.setattr(check_module, "check", lambda *arguments: report(GOOD, BAD))
    assert run("boxes/coco", "--json", tmp_path / "found.json") == 1
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert found["device"].startswith("CPU") and found["is_good"] is False
    assert [row["quality"] for row in found["variants"]] == [1.0, 0.95]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no/such",), "no model 'no/such'"),
        (("boxes/coco", "--kind", "think"), "--kind 'think' is not allowed; it must be recognize or generate"),
        (("boxes/coco", "--against", "style"), "expected a variant of boxes/coco"),
        (("boxes/coco", "--limit", "1"), "--limit"),
        (("classify/imagenet", "--data", "/nowhere"), "--data /nowhere: expected a folder"),
        (("background/blur",), "there is one way to run it"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_2(capsys, arguments, says):
    assert run(*arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and says in said[0]


def test_one_category_is_refused_on_the_command_line(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "espresso").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "espresso" / "a.png")
    assert run("classify/imagenet", "--data", tmp_path) == 2
    assert "top-1 over one category says nothing" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(check_module, "check", lambda *arguments: report(GOOD))
    assert run("boxes/coco", "--json", tmp_path / "no" / "such.json") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_error_of_the_check_is_one_line(monkeypatch, capsys):
    def check(*arguments):
        raise ModelError("the reference itself gives no sound answer: NaN")

    monkeypatch.setattr(check_module, "check", check)
    assert run("boxes/coco") == 2
    assert capsys.readouterr().err.strip().endswith("NaN")


def test_the_listing_says_what_was_found_and_why_a_variant_is_refused(capsys):
    def listed():
        with pytest.raises(SystemExit) as ended:
            main(["models"])
        assert ended.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    assert "Checked on this machine: none yet" in listed()
    remember(
        [Finding("boxes/coco", "openvino bf16", "", 1.0, 1.0, "x"), Finding(BAD.name, "", BAD.reason, 0.95, 2, "x")]
    )
    text = listed()
    assert "✓ boxes/coco: quality 1.00, 1.00 times as fast" in text
    assert f"✗ {BAD.name}: in no ladder: mAP" in text
