"""machine.py: the probe measures the processor, whoever else uses it; the load of others is told from one's own."""

import subprocess
import sys

from stream.machine import speed_probe
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
speed_probe()
whole, own = time.process_time_ns(), time.thread_time_ns()
speed_probe()
print((time.process_time_ns() - whole) / (time.thread_time_ns() - own))
"""
    assert float(in_a_process_of_its_own(code)) < 1.2
