"""The spine: what the pipeline costs on top of a model, how old frames get under overload, the flagship picture."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from models.base import Kind, Target
from models.registry import load
from stream.clock import NS_PER_S
from stream.frame import Frame
from stream.stage import Stage
from stream.trace import Step
from stream.view import StageKind
from stream.warming import LoadedStage
from stream.wiring import WarmStage
from tests.bench.rig import Rig, clip_pictures, running
from tests.bench.rows import Row

SIZE = (640, 360)
ROUNDS = 9  # bare and pipeline take turns, and the median ratio counts: these machines are noisy
ROUND_S = 2.5


def loader(name: str, kind: StageKind, threads: int) -> Callable[[], LoadedStage]:
    """Return what loads a registry model as a stage."""
    return lambda: WarmStage(load(name, Target("cpu", threads), kind=Kind(kind.value)), kind, threads)


class SleepStage:
    """A stand-in model that takes a fixed time and no processor."""

    def __init__(self, cost_s: float) -> None:
        self._cost_s = cost_s
        self.stage = Stage("sleep", StageKind.GENERATE, self._run, "sleep")

    def warm(self, height: int, width: int, rung: int = 0) -> list[int]:
        return [round(self._cost_s * NS_PER_S)]

    def close(self) -> None:
        """Nothing to free."""

    def _run(self, image: np.ndarray) -> np.ndarray:
        time.sleep(self._cost_s)
        return image


def pipeline_against_bare(threads: int) -> list[Row]:
    """Return the pipeline's rate as a share of the same model called in a plain loop."""
    pictures = clip_pictures(8, SIZE)
    model = loader("style", StageKind.GENERATE, threads)()
    model.warm(SIZE[1], SIZE[0])
    ratios, lags = [], []
    bare = _bare_rate(model.stage.model, pictures)
    for _ in range(ROUNDS):
        through, lag_ms = asyncio.run(_pipeline_rate(model, pictures))
        before, bare = bare, _bare_rate(model.stage.model, pictures)
        ratios.append(through / ((before + bare) / 2))  # the machine's speed drifts: compare with both neighbours
        lags.append(lag_ms)
    spread = f"{min(ratios):.3f} to {max(ratios):.3f} over {ROUNDS} rounds"
    ratio = round(float(np.median(ratios)), 3)
    what = f"pipeline rate / bare rate, style 640x360, {threads} thread{'s' if threads > 1 else ''}"
    rows = [Row(what, ratio, "", ">= 0.97", ratio >= 0.97, note=spread)]
    lag = round(float(np.median(lags)), 2)
    rows.append(Row(f"loop lag p99 meanwhile, {threads} threads", lag, "ms", "< 20 ms", lag < 20))
    return rows


def _bare_rate(model: Callable[[np.ndarray], object], pictures: list[np.ndarray]) -> float:
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < ROUND_S:
        model(pictures[count % len(pictures)])
        count += 1
    return count / (time.perf_counter() - started)


async def _pipeline_rate(model: LoadedStage, pictures: list[np.ndarray]) -> tuple[float, float]:
    rig = Rig(pictures, 60, [partial(_again, model)], budget_ms=1000)
    async with running(rig):
        await asyncio.sleep(1)
        started, before = time.perf_counter(), rig.stream.counts.shown
        await asyncio.sleep(ROUND_S)
        rate = (rig.stream.counts.shown - before) / (time.perf_counter() - started)
        return rate, rig.lag.lag_ms.summary()["p99"]


class _again:
    """A loaded model that is used again: closing it does nothing."""

    def __init__(self, model: LoadedStage) -> None:
        self.stage = model.stage
        self.warm = model.warm

    def close(self) -> None:
        """Keep it: the next round uses it again."""


def overload(seconds: float) -> list[Row]:
    """Return how a 100 ms model on a 30 fps source ages its frames, and what it does to memory."""
    return asyncio.run(_overload(seconds))


async def _overload(seconds: float) -> list[Row]:
    rig = Rig(clip_pictures(8, SIZE), 30, [lambda: SleepStage(0.1)], budget_ms=200)
    ages: list[tuple[float, float]] = []
    memory: list[tuple[float, float]] = []
    async with running(rig, "H264"):
        _remember_ages(rig, ages)
        started = time.perf_counter()
        while (at := time.perf_counter() - started) < seconds + 60:  # a minute of warm-up for memory
            memory.append((at, _resident_mb()))
            await asyncio.sleep(1)
    values = [age for _, age in ages]
    p95, rate = float(np.percentile(values, 95)), len(values) / (seconds + 60)
    slope = float(np.polyfit([at for at, _ in ages], values, 1)[0])
    later = [(at, mb) for at, mb in memory if at >= 60]
    growth = float(np.polyfit([at for at, _ in later], [mb for _, mb in later], 1)[0]) * 60
    return [
        Row("100 ms model on 30 fps: age at send p95", round(p95, 1), "ms", "<= 200 ms", p95 <= 200),
        Row("its slope", round(slope, 3), "ms/s", "< 1 ms/s", slope < 1, note=f"over {seconds + 60:.0f} s"),
        Row("its rate", round(rate, 2), "fps", "", note="10 fps is the model's own"),
        Row("memory growth", round(growth, 2), "MB/min", "< 1 MB/min", growth < 1, note="after one minute"),
        Row(
            "loop lag p99 meanwhile",
            rig.lag.lag_ms.summary()["p99"],
            "ms",
            "< 20 ms",
            rig.lag.lag_ms.summary()["p99"] < 20,
        ),
    ]


def _remember_ages(rig: Rig, ages: list[tuple[float, float]]) -> None:
    broadcast = rig.stream.broadcast
    assert broadcast is not None
    account = broadcast._on_sent

    def remember(frame: Frame) -> None:
        ages.append((frame.captured_ns / NS_PER_S, (frame.trace.age_ns(Step.SENT) or 0) / 1e6))
        account(frame)

    broadcast._on_sent = remember


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def flagship(seconds: float) -> list[Row]:
    """Return the rate of mask + style on the background + encode at 640x360, and of the default picture with boxes."""
    quality = _quality()
    rows = []
    for what, names in (
        ("mask + style + encode, 640x360", ["mask/person"]),
        ("the same with boxes (the default picture)", ["mask/person", "boxes/coco"]),
    ):
        for fps in (30.0, 60.0):
            rows += asyncio.run(_flagship(what, names, fps, seconds, quality))
    return rows


async def _flagship(what: str, names: list[str], fps: float, seconds: float, quality: str) -> list[Row]:
    loaders = [loader(name, StageKind.RECOGNIZE, 1) for name in names]
    loaders.append(loader("style:where=background", StageKind.GENERATE, 2))
    rig = Rig(clip_pictures(60, SIZE), fps, loaders)
    async with running(rig, "H264"):
        await asyncio.sleep(3)
        started, before = time.perf_counter(), rig.stream.counts.shown
        await asyncio.sleep(seconds)
        rate = (rig.stream.counts.shown - before) / (time.perf_counter() - started)
        status = rig.stream.status()
    age = status["latency_ms"]["capture_to_send"]
    lag = status_lag = rig.lag.lag_ms.summary()["p99"]
    stages = ", ".join(f"{s['name']} {s['ips']:g}/s at {s['predicted_ms']:g} ms" for s in status["stages"])
    aim = ">= 20 fps (30 the aim)" if fps == 30 else ""
    note = f"age p50 {age['p50']:g}, p95 {age['p95']:g} ms; loop lag p99 {status_lag:g} ms; {stages}"
    met = None if fps != 30 or "boxes" in what else rate >= 20 and lag < 20
    return [Row(f"{what}, source {fps:g} fps", round(rate, 1), "fps", aim, met, quality, note)]


def _quality() -> str:
    """Return how near the fast variants come to the torch reference, on pictures of the sample clip."""
    pictures = clip_pictures(4, SIZE)
    fast, slow = (load(name, Target("cpu", 2), kind=Kind.GENERATE) for name in ("style", "style:backend=torch"))
    error = np.mean([np.mean((fast(p).astype(float) - slow(p)) ** 2) for p in pictures])  # type: ignore[union-attr]
    mask, reference = (
        load(n, Target("cpu", 1), kind=Kind.RECOGNIZE) for n in ("mask/person", "mask/person:backend=torch")
    )
    pairs = [(mask(p).mask > 127, reference(p).mask > 127) for p in pictures]  # type: ignore[union-attr, operator]
    union = sum((a | b).sum() for a, b in pairs)
    iou = sum((a & b).sum() for a, b in pairs) / union if union else 1.0
    return f"style PSNR {10 * np.log10(255**2 / error):.1f} dB, mask IoU {iou:.3f} against torch float32"


def measure(is_quick: bool) -> list[Row]:
    """Return every row of the spine; quick runs are a sixth as long and say so in the name of the file."""
    rows = flagship(5 if is_quick else 30)
    for threads in (1, 2):
        rows += pipeline_against_bare(threads)
    return rows + overload(10 if is_quick else 60)
