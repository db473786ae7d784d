"""What the machine was like during a run: kept in its summary, so that a slower machine is no slower program."""

import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

# The fastest round counts, since other programs only ever make one slower. A round is far shorter than what a system
# gives a program at a time, so that one that nobody interrupts is found on a loaded machine too.
PROBE_ROUNDS = 90  # of about 0.5 ms
PROBE_LIMIT_NS = 150_000_000  # on a machine too busy for that, fewer rounds; at least 5
LEAST_TICKS = 50.0  # of all cores together; fewer ticks of 10 ms are too coarse to tell a share from
STAT = Path("/proc/stat")  # Linux only
_IDLE = (3, 4)  # places in its first line: idle, and idle while waiting for a disk
_TOLD = 8  # user, nice, system, idle, iowait, irq, softirq, steal; time of guests is within user and nice


@dataclass(frozen=True, slots=True)
class Ticks:
    """What the processor did since the machine started, in clock ticks of all cores together.

    total  in all
    busy   not idle, whoever had it: programs, the system, another machine on the same processor
    own    in this process, and in those of its children that have ended
    """

    total: float
    busy: float
    own: float


def read_ticks(stat: Path = STAT) -> Ticks | None:
    """Return what the processor did so far; None where the system does not tell."""
    try:
        with stat.open(encoding="ascii") as lines:
            told = [float(word) for word in lines.readline().split()[1 : _TOLD + 1]]
    except (OSError, ValueError):
        return None
    if len(told) < _TOLD:
        return None
    own_s = sum(os.times()[:4])
    return Ticks(sum(told), sum(told) - sum(told[place] for place in _IDLE), own_s * os.sysconf("SC_CLK_TCK"))


def other_load(start: Ticks | None, end: Ticks | None) -> float | None:
    """Return the share of all cores that other programs took between two readings, 0..1; None when not known.

    A limit of a container on its processor time is no program, and is not seen.
    """
    if start is None or end is None or end.total - start.total < LEAST_TICKS:
        return None
    others = (end.busy - start.busy) - (end.own - start.own)
    return round(min(1.0, max(0.0, others / (end.total - start.total))), 3)


def speed_probe() -> float:
    """Return how many milliseconds one thread takes for fixed numpy and cv2 work. Blocks for about 50 ms.

    BLAS and OpenCV share work among threads from a size on, and wait for the slowest: on a loaded machine that took
    seventy times as long. The matrices and the picture here are below that size.
    """
    grain = np.arange(48 * 48, dtype=np.float32).reshape(48, 48) % 7 / 7
    picture = (np.arange(96 * 96 * 3, dtype=np.uint32).reshape(96, 96, 3) % 251).astype(np.uint8)
    best_ns, end_ns = 10**12, time.perf_counter_ns() + PROBE_LIMIT_NS
    for done in range(PROBE_ROUNDS):
        start_ns = time.perf_counter_ns()
        if done >= 5 and start_ns > end_ns:
            break
        layer = grain
        for _ in range(16):
            cv2.resize(picture, (64, 64), interpolation=cv2.INTER_LINEAR)
            for _ in range(4):
                layer = np.tanh(layer @ grain * np.float32(0.01))
        best_ns = min(best_ns, time.perf_counter_ns() - start_ns)
    return round(best_ns / 1e6, 4)


def peak_memory_mb() -> float | None:
    """Return the highest resident memory of this process; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage: bytes on macOS, KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def processor_name(told: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor as its maker calls it, and whether it computes in bf16; less where the system tells less."""
    try:
        lines = told.read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    words = [word for flag, word in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 bf16")) if flag in flags]
    return f"{name} ({', '.join(words)})" if words else name
