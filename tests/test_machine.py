"""machine.py: the probe measures the processor, whoever else uses it; the load of others is told from one's own."""

import subprocess
import sys
from pathlib import Path

import pytest

from stream.machine import LEAST_TICKS, Ticks, other_load, processor_name, read_ticks, speed_probe
from tests.server import ROOT


def in_a_process_of_its_own(code: str) -> str:
    """Return what a program prints, with no other thread in it."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_speed_probe_measures_something() -> None:
    assert 0 < speed_probe() < 10_000


def test_speed_probe_works_in_one_thread() -> None:
    """Threads that share work wait for each other: on a loaded machine that measured the load, not the processor."""
    code = """
import time
from stream.machine import speed_probe
for _ in range(5):
    whole, own = time.process_time_ns(), time.thread_time_ns()
    speed_probe()
    print((time.process_time_ns() - whole) / (time.thread_time_ns() - own))
"""
    # At the start the threads of BLAS wait for work for a tenth of a second, and take the processor for it.
    assert min(map(float, in_a_process_of_its_own(code).split())) < 1.2


# ---- other programs

START = Ticks(10_000.0, 4_000.0, 1_000.0)


@pytest.mark.parametrize(
    ("total", "busy", "own", "share"),
    [
        (1000, 500, 500, 0.0),  # nobody else
        (1000, 700, 200, 0.5),
        (1000, 1000, 0, 1.0),
        (1000, 498, 500, 0.0),  # ticks are coarse
        (LEAST_TICKS - 1, 40, 0, None),
        (0, 0, 0, None),
    ],
)
def test_other_load_is_what_is_neither_idle_nor_ours(total: int, busy: int, own: int, share: float | None) -> None:
    end = Ticks(START.total + total, START.busy + busy, START.own + own)
    assert other_load(START, end) == share
    assert other_load(None, end) is other_load(START, None) is None


def test_ticks_are_read_without_those_that_guests_count_twice(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 400 50 6 7 8 90 10\ncpu0 1 2 3\n")
    ticks = read_ticks(stat)
    assert ticks is not None
    assert (ticks.total, ticks.busy, ticks.own > 0) == (621.0, 171.0, True)


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", "intr nothing here to be read as numbers\n"])
def test_ticks_of_another_system_are_not_known(text: str, tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(text)
    assert read_ticks(tmp_path / "stat") is read_ticks(tmp_path / "none") is None


@pytest.mark.skipif(read_ticks() is None, reason="this system does not tell")
def test_own_work_is_not_that_of_others() -> None:
    """A second of work in this process adds to `own` what it adds to `busy`."""
    code = """
import time
from stream.machine import read_ticks
start, until = read_ticks(), time.thread_time_ns() + 10**9
while time.thread_time_ns() < until:
    pass
end = read_ticks()
print(end.own - start.own, end.busy - start.busy)
"""
    own, busy = map(float, in_a_process_of_its_own(code).split())
    assert 90 <= own <= busy + 10


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: sse avx512_bf16 x\n", "AMD EPYC (AVX-512 bf16)"),
        ("model name\t: Xeon\nflags\t\t: amx_bf16 avx512_bf16\n", "Xeon (AMX, AVX-512 bf16)"),
        ("model name\t: Old one\nflags\t: sse\nmodel name\t: Old one\n", "Old one"),
    ],
)
def test_the_processor_has_its_makers_name(text: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor_name(tmp_path / "cpuinfo") == name


def test_a_processor_that_is_not_told_still_has_some_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("nothing here\n")
    assert processor_name(tmp_path / "cpuinfo") and processor_name(tmp_path / "none")
