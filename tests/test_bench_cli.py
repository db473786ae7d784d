"""`livelens bench` from the command line to its files."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream import bench_cli
from stream.bench_cli import KindName, make_plans, read_settings, sample
from stream.budget import CostKey, CostModel
from stream.clock import MonotonicClock
from stream.config import cache_dir
from stream.coststore import load_costs
from stream.device import CpuDevice
from stream.errors import ConfigError, ModelError
from stream.wiring import machine_text
from tests.made_bench import made_document, made_model

SETTINGS = read_settings("64x48", "1", 0.1)
OWN = """
class Film:
    ladder = (("size=small", 0.9),)
    def __init__(self, size="large"):
        pass
    def __call__(self, image):
        return image
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "film.py").write_text(OWN)
    return f"{tmp_path / 'film.py'}:Film"


def livelens(*arguments: str, folder: Path, **more: Any) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stream", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=110, **more)


def test_settings_are_read() -> None:
    found = read_settings("640X360", "4,1,2,1", 2.0)
    assert found == {"size": (360, 640), "batches": (1, 2, 4), "seconds": 2.0}


@pytest.mark.parametrize(
    ("size", "batch", "seconds", "message"),
    [
        ("640", "1", 1.0, "--size 640: expected WxH such as 640x360, sides of 16 to 7680"),
        ("0x360", "1", 1.0, "--size 0x360: expected"),
        ("99999999999x2", "1", 1.0, "--size 99999999999x2: expected"),
        ("640x360", "0", 1.0, "--batch 0: expected numbers from 1 to 256 such as 1,2,4"),
        ("640x360", "1,,2", 1.0, "--batch 1,,2: expected"),
        ("640x360", "two", 1.0, "--batch two: expected"),
        ("640x360", "1", 0.0, "--seconds 0: expected 0.05 to 3600"),
        ("640x360", "1", float("nan"), "--seconds nan: expected"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(size: str, batch: str, seconds: float, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_settings(size, batch, seconds)


def test_threads_are_those_of_a_stream_unless_given() -> None:
    device = CpuDevice(MonotonicClock(), 2)
    assert [plan.threads for plan in make_plans(["style", "mask/person"], device, SETTINGS)] == [2, 1]
    assert [plan.threads for plan in make_plans(["style", "mask/person"], device, SETTINGS, threads=4)] == [4, 4]


def test_without_names_the_models_of_serve_are_measured() -> None:
    plans = make_plans(None, CpuDevice(MonotonicClock(), 2), SETTINGS)
    assert [plan.name for plan in plans] == ["style:where=background", "mask/person", "boxes/coco"]


def test_kind_is_for_models_of_your_own_only(own: str) -> None:
    device = CpuDevice(MonotonicClock(), 2)
    plans = make_plans([own, "mask/person"], device, SETTINGS, kind=KindName.GENERATE)
    assert [plan.kind for plan in plans] == ["generate", None]
    with pytest.raises(ModelError, match="--kind recognize or --kind generate"):
        make_plans([own], device, SETTINGS)


def test_pictures_are_of_the_clip_at_the_size_asked_for() -> None:
    pictures = sample((48, 64))
    assert len(pictures) == 12 and {one.shape for one in pictures} == {(48, 64, 3)}
    assert {one.dtype for one in pictures} == {np.dtype(np.uint8)}
    assert min(float(one.std()) for one in pictures) > 10, "pictures, not noise or nothing"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stile"], "no model 'stile'; did you mean style"),
        (["style", "--size", "640"], "--size 640: expected WxH"),
        (["style", "--batch", "0"], "--batch 0: expected numbers"),
        (["style", "--variants", "int7"], "style: no variant has 'int7' in its name"),
        (["style", "--device", "tpu"], "device 'tpu'"),
        (["style", "--csv", "/nowhere/at/all.csv"], "--csv /nowhere/at/all.csv: there is no folder"),
        (["style", "--csv", "a.csv", "--html", "a.csv"], "is written by --csv too"),
        (["style", "--threads", "0"], "--threads"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = livelens(*arguments, folder=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_one_command_prints_and_writes_everything(own: str, tmp_path: Path) -> None:
    names = {kind: tmp_path / f"found.{kind}" for kind in ("csv", "html", "json")}
    options = [text for kind, path in names.items() for text in (f"--{kind}", str(path))]
    arguments = [own, "--kind", "generate", "--size", "64x48", "--seconds", "0.1"]
    done = livelens(*arguments, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "own code" in done.stdout and "own code, size=small" in done.stdout and "images/s" in done.stdout
    found = json.loads(names["json"].read_text())
    assert found["size"] == "64x48" and found["is_complete"] and found["versions"]["torch"] and found["processor"]
    variants = found["models"][0]["variants"]
    assert [one["role"] for one in variants] == ["as it is", "lighter"]
    rows = list(csv.DictReader(io.StringIO(names["csv"].read_text())))
    assert [float(row["p50_ms"]) for row in rows] == [one["timings"][0]["p50_ms"] for one in variants]
    assert "own code, size=small" in names["html"].read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == [
        "film.py", "found.csv", "found.html", "found.json",
    ]  # fmt: skip
    assert "costs are kept" in done.stderr


def test_ctrl_c_prints_what_was_measured_and_ends_with_130(own: str, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "160"}
    log = tmp_path / "calls.log"
    Path(tmp_path / "film.py").write_text(
        OWN.replace("return image", f"open({str(log)!r}, 'a').write('x')\n        return image")
    )
    command = [sys.executable, "-m", "stream", "bench", own, "--kind", "generate", "--size", "64x48", "--seconds", "60"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    until = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size > 2000) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group gets it
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "Stopped before its end" in out and "own code" in out
    assert "Traceback" not in errors and "what was measured so far is above" in errors


def test_costs_of_a_stopped_bench_are_told_apart(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(bench_cli, "say", lambda text: print(text))
    monkeypatch.setattr(bench_cli, "note", lambda text: print("Note:", text))
    model = made_model(is_as_served=False, other_load=0.5)
    bench_cli._keep(made_document(model), [CpuDevice(MonotonicClock(), 2)])
    said = capsys.readouterr().out
    assert "costs of style are not kept: livelens serve gives another number of threads" in said
    assert "other programs used the processor meanwhile" in said


@pytest.mark.slow
def test_a_real_bench_is_in_the_store_that_serve_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = livelens("mask/person", "--size", "128x96", "--seconds", "0.2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "IoU" in done.stdout and "the reference" in done.stdout
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    device, costs = CpuDevice(MonotonicClock()), CostModel()
    assert load_costs(cache_dir() / "costs.json", machine_text(device), costs) >= 2
    from models.base import Target
    from models.registry import load

    variant = load("mask/person", Target("cpu", 1)).variant
    assert costs.predict_ns(CostKey("mask/person", variant, 96, 128, "cpu")) > 0
