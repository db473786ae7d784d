"""The GPU bench without a GPU: its rows, its table, and how it ends where there is none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.bench import Measured, Plan, Report, Timing
from models.bench_worker import Memory
from models.diffusion import random_pipeline
from models.likeness import Likeness
from models.variants import Role
from tests.bench import rows as table
from tests.bench.gpu import SECTIONS, against, collect, one_step, overlap_share, rows_of
from tests.bench.rows import Row, store

ROOT = Path(__file__).parent.parent


def timing(batch: int, p50_ms: float, rate: float) -> Timing:
    return Timing(batch, 100, p50_ms, p50_ms + 1, p50_ms + 2, p50_ms - 0.5, p50_ms + 0.5, rate, rate - 5, rate + 5)


def report() -> Report:
    plan = Plan("style", (360, 640), (1, 4), "cuda:0", words=("all",))
    likeness = Likeness("PSNR", 51.2, "dB", "PSNR 51.2 dB", True)
    fast = Measured("style", "as it is", Role.DEFAULT, "torch fp16 cuda:0", memory=Memory(None, 300 << 20, None))
    fast.likeness, fast.timings = likeness, [timing(1, 2, 480.04), timing(4, 6, 650)]
    gone = Measured("style:backend=tensorrt", "tensorrt", Role.WAY, error="pip install torch-tensorrt")
    return Report(plan, 8, [fast, gone])


def test_each_variant_and_batch_is_a_row_and_what_could_not_run_says_why() -> None:
    one, four, gone = rows_of(report())
    assert one.what == "style, torch fp16 cuda:0, 640x360, batch 1" and four.what.endswith("batch 4")
    assert (one.value, one.unit, one.quality) == (480.0, "images/s", "PSNR 51.2 dB")
    assert one.note == "p50 2.00 ms (1.50 to 2.50), p95 3.00; 300 MB on the GPU"
    assert gone.note == "not measured: pip install torch-tensorrt"
    assert gone.value == 0


def test_a_row_has_its_spread_and_whether_it_is_what_was_aimed_at() -> None:
    row = against("x", [90, 110, 100], "fps", "float16", ">= 93.9 fps", 93.9)
    assert (row.value, row.is_met, row.note) == (100, True, "90 to 110 over 3 rounds; float16")
    assert against("x", [50], "fps", least=93.9).is_met is False
    assert against("x", [50], "fps").is_met is None


@pytest.mark.parametrize(
    ("alone", "together", "computing", "share"),
    [(10, 10, 6, 0), (10, 6, 6, 1), (10, 8, 6, 0.5), (10, 11, 6, 0), (10, 5, 6, 1), (6, 6, 6, 0)],
)
def test_the_share_of_overlap(alone: float, together: float, computing: float, share: float) -> None:
    assert overlap_share(alone, together, computing) == pytest.approx(share)


def test_a_section_that_fails_is_a_row_and_the_others_go_on() -> None:
    def fails(device: str, seconds: float) -> list[Row]:
        raise RuntimeError("no kernel image\nfor this card")

    found = collect("cuda:0", 1, {"first": fails, "second": lambda device, seconds: [Row("x", 1, "fps")]})
    assert [row.what for row in found] == ["first", "x"]
    assert found[0].note == "not measured: RuntimeError: no kernel image"


def test_the_table_is_stored_with_the_cards_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    store("gpu", rows_of(report()), "make bench-gpu", card="NVIDIA Some Card")
    assert json.loads((tmp_path / "gpu.json").read_text())["machine"]["gpu"] == "NVIDIA Some Card"
    text = (tmp_path / "gpu.md").read_text()
    assert "`make bench-gpu`" in text and "NVIDIA Some Card" in text
    assert "| style, torch fp16 cuda:0, 640x360, batch 4 | 650 images/s |" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
@pytest.mark.slow
def test_without_a_gpu_it_ends_with_one_line_and_code_2_and_stores_nothing() -> None:
    before = sorted(path.name for path in (ROOT / "tests/bench/results").iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.gpu"], capture_output=True, text=True, timeout=110, cwd=ROOT
    )
    lines = [line for line in done.stderr.splitlines() if "bench-gpu" in line]
    assert done.returncode == 2 and done.stdout == ""
    assert len(lines) == 1 and "nothing was measured" in lines[0]
    assert sorted(path.name for path in (ROOT / "tests/bench/results").iterdir()) == before


def test_every_part_the_table_promises_is_there() -> None:
    assert list(SECTIONS) == ["models", "copies", "overlap", "flagship", "image to image"]


def test_one_step_of_a_toy_network_gives_a_picture() -> None:
    loaded = random_pipeline("tiny")
    picture, prompt, noise, steps = one_step(loaded, 64)
    assert (picture.shape, noise.shape[:2], steps.tolist()) == ((1, 64, 64, 3), (1, 1), [499])
    with torch.inference_mode():
        made = loaded.network(picture, prompt, noise, steps)
    assert made.shape == (1, 64, 64, 3) and made.dtype == torch.uint8


@pytest.mark.gpu
def test_gpu_the_bench_measures_something(capsys: pytest.CaptureFixture[str]) -> None:
    sections = {name: SECTIONS[name] for name in ("copies", "overlap")}
    found = collect("cuda:0", 1.0, sections)
    assert all(row.value > 0 for row in found if "share" not in row.what), [row.note for row in found]
