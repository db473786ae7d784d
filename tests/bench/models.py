"""The models: how fast each is at 640x360 beside torch fp32, what that costs in quality, what int8 brings, the start.

The numbers are the speed lab's own (`livelens bench`). Two threads, as the aims were set on two cores.
"""

import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from models.bench import Measured, Plan, Report, measure
from models.ladder import ladder
from models.variants import Role
from stream.bench_cli import sample
from stream.errors import ModelError
from stream.machine import other_load, read_ticks
from tests.bench.rows import Row

SIZE = (360, 640)
THREADS = 2
SECONDS, QUICK_SECONDS = 3.0, 0.5  # for each variant
INT8_GAIN = 1.3  # times as fast as bf16, or it is not worth what it loses
START_LIMIT_S, STARTS = 3.0, 3
START = """
import numpy as np
from models.base import Target
from models.registry import load
from stream.results import Results
image = np.full((360, 640, 3), 127, np.uint8)
for name, threads in (("style:where=background", 2), ("mask/person", 1), ("boxes/coco", 1)):
    load(name, Target("cpu", threads))(image)
print("first", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Aim:
    """What one model should reach; None where nothing is asked."""

    name: str
    most_ms: float | None = None
    least_times: float | None = None  # as fast as torch fp32
    least_db: float | None = None


AIMS = (
    Aim("style", 25.0, 4.0, 40.0),
    Aim("boxes/coco", 12.0),
    Aim("mask/person", 2.5),
    Aim("pose/person", 5.0),
    Aim("classify/imagenet", 4.0),
    Aim("faces"),
)


def measure_models(is_quick: bool) -> list[Row]:
    """Return the rows of every model and of the start."""
    pictures, rows = sample(SIZE), []
    seconds = QUICK_SECONDS if is_quick else SECONDS
    for aim in AIMS:
        start = read_ticks()
        plan = Plan(aim.name, SIZE, threads=THREADS, seconds=seconds, words=("int8",))
        try:
            report = measure(plan, pictures)
        except ModelError as error:
            rows.append(_missing(aim.name, str(error)))
            continue
        load = other_load(start, read_ticks())
        rows += of_model(aim, report, "" if load is None else f"others took {load:.0%} of the processor")
    return [*rows, start_row()]


def of_model(aim: Aim, report: Report, note: str) -> list[Row]:
    """Return the rows of one model; a variant that could not be measured is a row that says why."""
    by_role = {one.role: one for one in report.variants if one.role is not Role.WAY and not one.rung}
    default, reference = by_role[Role.DEFAULT], by_role.get(Role.REFERENCE)
    timing = default.at(1)
    if timing is None:
        return [_missing(aim.name, default.error or "no timing")]
    spread = f"rounds {timing.low_ms:.2f} to {timing.high_ms:.2f} ms, p95 {timing.p95_ms:.2f}; {note}"
    quality = _quality(default)
    limit = "" if aim.most_ms is None else f"<= {aim.most_ms:g} ms"
    is_fast = None if aim.most_ms is None else timing.p50_ms <= aim.most_ms
    rows = [Row(f"{aim.name}, {default.variant}", round(timing.p50_ms, 2), "ms", limit, is_fast, quality, spread)]
    if reference is not None and (base := reference.at(1)) is not None:
        times = round(base.p50_ms / timing.p50_ms, 2)
        wanted = "" if aim.least_times is None else f">= {aim.least_times:g} times"
        is_met = None if aim.least_times is None else times >= aim.least_times
        slow = f"torch fp32: {base.p50_ms:.1f} ms, rounds {base.low_ms:.1f} to {base.high_ms:.1f}"
        rows.append(Row(f"{aim.name} / torch fp32", times, "times as fast", wanted, is_met, note=slow))
    if aim.least_db is not None and default.likeness is not None:
        value = round(default.likeness.value, 1)
        rows.append(Row(f"{aim.name}, PSNR", value, "dB", f">= {aim.least_db:g} dB", value >= aim.least_db, quality))
    return rows + _int8_rows(aim.name, default, report)


def _int8_rows(name: str, default: Measured, report: Report) -> list[Row]:
    found = next((one for one in report.variants if "int8" in (one.variant or one.label)), None)
    if found is None:
        return []
    is_rung = any("precision=int8" in rung.name for rung in ladder(name)[1:])
    timing, base = found.at(1), default.at(1)
    if timing is None or base is None:
        return [_missing(f"{name}, int8", found.error or "no timing")]
    times = round(base.p50_ms / timing.p50_ms, 2)
    place = "in the ladder" if is_rung else "not in the ladder"
    aim = f">= {INT8_GAIN:g}, or not in the ladder"
    quality = _quality(found)
    is_met = times >= INT8_GAIN or not is_rung
    what = f"{name}, int8 / {default.variant}"
    return [Row(what, times, "times as fast", aim, is_met, quality, f"{timing.p50_ms:.2f} ms; {place}")]


def _quality(one: Measured) -> str:
    if one.likeness is None:
        return ""
    return f"{one.likeness.text}; below its floor" if one.likeness.below else one.likeness.text


def start_row() -> Row:
    """Return what a new process takes from its start to a first answer of each default model, the cache being warm."""
    took_s: list[float] = []
    for _ in range(STARTS + 1):  # the first one makes what the others find
        started = perf_counter()
        done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, timeout=120)
        took_s.append(perf_counter() - started)
        if "first" not in done.stdout:
            return _missing("start", done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    warm_s = round(median(took_s[1:]), 2)
    spread = f"{STARTS} starts, {min(took_s[1:]):.2f} to {max(took_s[1:]):.2f} s; process start included"
    what = "style, mask/person, boxes/coco: process start to first answers"
    return Row(what, warm_s, "s", f"<= {START_LIMIT_S:g} s", warm_s <= START_LIMIT_S, note=spread)


def _missing(what: str, why: str) -> Row:
    return Row(f"{what}: not measured", 0.0, "", note=why)
