"""Choose number format and thread count for a network by measuring them once on this machine.

The candidates are run in turn, so that other programs slow all of them; a candidate takes the place of the first only
when it is clearly faster. What was found is kept in a file, by processor, cores and OpenVINO, for each network and
size; no later start measures it again. A damaged file is measured anew.
"""

import importlib.metadata
import json
import logging
import math
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from models.graph_cache import cache_folder
from models.shape_cache import Shapes

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
MEASURED_FOR_NS = 400_000_000  # of running, for each choice; with compiling that is about a second a network
ROUNDS_AT_LEAST, ROUNDS_AT_MOST = 5, 25
CLEARLY = 1.1  # times as fast as the first candidate: less may be chance on a machine that does other things too
_choosing = threading.Lock()  # models are loaded on several threads; measured beside each other they would lie


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network is compiled: number format and threads."""

    precision: str
    threads: int

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.precision}, {self.threads} thread{'s' * (self.threads != 1)}"


def choose(
    network: str,
    shapes: Shapes,
    candidates: Sequence[Setting],
    prepare: Callable[[Setting], Callable[[], object]],
    now_ns: Callable[[], int] = time.perf_counter_ns,
) -> Setting:
    """Return the fastest of the candidates: the one found at an earlier start, or measured now (about a second).

    The first is the one to use when they are alike. `prepare` compiles one and returns what runs it once.
    """
    if len(candidates) == 1:
        return candidates[0]
    key = f"{network} 2^{size_class(shapes)}: {'; '.join(map(str, candidates))}"
    with _choosing:
        kept = _read()
        with suppress(KeyError, TypeError, ValueError):
            found = Setting(*kept[key]["choice"])
            if found in candidates:
                return found
        medians_ms, gains = measured([prepare(one) for one in candidates], now_ns)
        best = max(range(len(candidates)), key=gains.__getitem__)
        chosen = candidates[best if gains[best] >= CLEARLY else 0]
        told = ", ".join(f"{one}: {ms:.1f} ms" for one, ms in zip(candidates, medians_ms, strict=True))
        log.info("%s: %s, by measurement (%s)", network, chosen, told)
        _write(kept | {key: {"choice": astuple(chosen), "ms": [round(ms, 3) for ms in medians_ms]}})
    return chosen


def measured(
    runs: Sequence[Callable[[], object]], now_ns: Callable[[], int] = time.perf_counter_ns
) -> tuple[list[float], list[float]]:
    """Return each one's median ms, and how many times as fast as the first it was.

    That is the median of ratios of neighbouring runs, but no more than the ratio of the quickest runs: on a busy
    machine a second thread often waits, and the choice would still hold when the machine is quiet.
    """
    for run in runs:
        run()  # the first run still allocates
    times: list[list[int]] = [[] for _ in runs]
    started_ns = now_ns()
    while len(times[0]) < ROUNDS_AT_MOST:
        for run, found in zip(runs, times, strict=True):
            before_ns = now_ns()
            run()
            found.append(max(now_ns() - before_ns, 1))
        if len(times[0]) >= ROUNDS_AT_LEAST and now_ns() - started_ns >= MEASURED_FOR_NS:
            break
    gains = [
        min(statistics.median(a / b for a, b in zip(times[0], found, strict=True)), min(times[0]) / min(found))
        for found in times
    ]
    return [statistics.median(found) / 1e6 for found in times], gains


def size_class(shapes: Shapes) -> int:
    """Return the power of two nearest to how many numbers go in: sizes of one class are alike in what is fastest."""
    return round(math.log2(sum(math.prod(shape) for shape in shapes)))


def thread_counts(allowed: int) -> list[int]:
    """Return the counts worth trying, most first, never more than `allowed` (0: all cores this process may use).

    One per physical core, since two threads of one core share its vector unit, and half of that.
    """
    logical = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    most = min(allowed, len(logical)) if allowed else len(logical)
    physical = len({_siblings(core) for core in logical})
    return sorted({max(1, count) for count in (most, min(most, physical), most // 2)}, reverse=True)


def _siblings(core: int) -> str:
    """Return the logical cores that share a physical one with `core`; where the system does not tell, itself."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text("utf-8")
    except OSError:
        return str(core)


def tuning_file() -> Path:
    """Return where choices are kept."""
    return cache_folder() / "tuning.json"


def machine() -> str:
    """Return what choices hold for: processor, cores, OpenVINO."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}; {cores} cores; openvino {importlib.metadata.version('openvino')}"


def _processor() -> str:
    """Return the processor's name, with family, model and stepping: a virtual machine's name alone says little."""
    wanted = ("model name", "cpu family", "model", "stepping")
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    return " ".join(fields[name].strip() for name in wanted if name in fields) or platform.machine()


def _all() -> dict[str, Any]:
    """Return the choices of all machines that share this file; none when it cannot be read."""
    try:
        found = json.loads(tuning_file().read_text("utf-8"))
        if found["schema_version"] == SCHEMA_VERSION and all(
            isinstance(one, dict) for one in found["machines"].values()
        ):
            return dict(found["machines"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s: choices cannot be read and are measured anew: %s", tuning_file(), error)
    return {}


def _read() -> dict[str, Any]:
    return dict(_all().get(machine(), {}))


def _write(choices: dict[str, Any]) -> None:
    """Write this machine's choices beside their place, then rename. A place that cannot be written is a warning."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, "machines": _all() | {machine(): choices}}, indent=1)
    beside = tuning_file().with_name(f"{tuning_file().name}.{os.getpid()}")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, "utf-8")
        beside.replace(tuning_file())
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        log.warning("choices cannot be kept in %s, each start will measure again: %s", tuning_file(), error)
