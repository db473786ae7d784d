"""`make bench-gpu`: models, copies, the flagship picture and one-step image-to-image on an NVIDIA GPU.

python -m tests.bench.gpu [--quick] [--device cuda:0]

Exit code 2, with one line, where torch finds no NVIDIA GPU: nothing is measured then, and nothing is stored.
"""

import argparse
import asyncio
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from models.base import Kind, Target
from models.bench import Measured, Plan, Report, measure
from models.registry import load
from stream.encoder import NVENC, EncoderSettings, VideoEncoder
from stream.errors import SinkError
from stream.view import StageKind
from stream.wiring import WarmStage
from tests.bench.rig import Rig, clip_pictures, running
from tests.bench.rows import Row, show, store

MODELS = ("style", "mask/person", "boxes/coco", "classify/imagenet")
SIZE = (640, 360)  # as the CPU's bench
LARGE = (1280, 720)  # what a stream on a GPU works at
BATCHES = (1, 4)
ROUNDS = 5
STEPS = 16  # pictures in a row, so that launching runs ahead as it does in a stream
STREAM_DIFFUSION_FPS = 93.9  # one step of SD-Turbo, image to image, 512x512, TensorRT, RTX 4090 (arXiv 2312.12491)


def rows_of(report: Report) -> list[Row]:
    """Return a row for each variant and batch of a model, and one for each that could not be measured. Pure."""
    size = f"{report.plan.size[1]}x{report.plan.size[0]}"
    rows: list[Row] = []
    for one in report.variants:
        what = f"{report.plan.name}, {one.variant or one.label}{f', {one.rung}' if one.rung else ''}, {size}"
        if one.error is not None or not one.timings:
            rows.append(Row(what, 0, "", note=f"not measured: {one.error or 'stopped before its turn'}"))
        for timing in one.timings:
            times = f"p50 {timing.p50_ms:.2f} ms ({timing.low_ms:.2f} to {timing.high_ms:.2f}), p95 {timing.p95_ms:.2f}"
            note = "; ".join(part for part in (times, _memory_text(one)) if part)
            quality = one.likeness.text if one.likeness is not None else ""
            rows.append(
                Row(f"{what}, batch {timing.batch}", round(timing.rate, 1), "images/s", "", None, quality, note)
            )
    return rows


def _memory_text(one: Measured) -> str:
    if one.memory.device is None:
        return ""
    return f"{one.memory.device / 2**20:.0f} MB on the GPU"


def against(what: str, rates: Sequence[float], unit: str, note: str = "", aim: str = "", least: float = 0.0) -> Row:
    """Return a row of the median of several rounds with their spread. Pure."""
    value = statistics.median(rates)
    spread = f"{min(rates):.3g} to {max(rates):.3g} over {len(rates)} rounds"
    met = value >= least if least else None
    return Row(what, round(value, 3), unit, aim, met, note="; ".join(part for part in (spread, note) if part))


def overlap_share(alone_s: float, together_s: float, computing_s: float) -> float:
    """Return which share of what is not computing is hidden behind it, 0..1. Pure.

    `alone_s` one job after the other, `together_s` the same launched ahead, `computing_s` what the GPU computes of it.
    """
    hideable_s = alone_s - computing_s
    return 0.0 if hideable_s <= 0 else min(1.0, max(0.0, (alone_s - together_s) / hideable_s))


def find_gpu(device: str) -> str:
    """Return the card's name, or end with one line and exit code 2."""
    import torch

    index = int(device.partition(":")[2] or 0)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= found:
        print(
            f"bench-gpu: torch {torch.__version__} finds {found} NVIDIA GPUs and {device} was asked for; nothing was "
            "measured. Needed: an NVIDIA card with its driver, and a torch that was built for CUDA",
            file=sys.stderr,
        )
        raise SystemExit(2)
    return torch.cuda.get_device_name(index)


# ---- what is measured


def models(device: str, seconds: float) -> Iterable[Row]:
    """Yield each model's variants: every backend, number format and batch that the catalogue offers here."""
    pictures = clip_pictures(8, SIZE)
    for name in MODELS:
        plan = Plan(name, (SIZE[1], SIZE[0]), BATCHES, device, seconds=seconds, words=("all",))
        yield from rows_of(measure(plan, pictures, lambda done, total, what: None))


def copies(device: str, seconds: float) -> Iterable[Row]:
    """Yield how long a picture takes to the GPU as rgb and as I420 converted there, and what overlaps."""
    import torch

    from models.colour import i420_to_rgb
    from models.transfer import page_locked, transfer

    way = transfer(device)
    width, height = LARGE
    rgb = page_locked((1, height, width, 3), np.uint8)
    i420 = page_locked((1, height * 3 // 2, width), np.uint8)
    pageable = np.zeros_like(rgb)
    yield _timed_row(f"upload {width}x{height} as rgb, page-locked", lambda: way.upload(rgb), seconds)
    yield _timed_row(f"upload {width}x{height} as I420, rgb made there", lambda: i420_to_rgb(way.upload(i420)), seconds)
    yield _timed_row(f"upload {width}x{height} as rgb, from ordinary memory", lambda: way.upload(pageable), seconds)
    plain = lambda: torch.from_numpy(pageable).to(device)  # noqa: E731
    yield _timed_row(f"the same, torch's own blocking copy of {width}x{height}", plain, seconds)


def _timed_row(what: str, call: Callable[[], Any], seconds: float) -> Row:
    """Return the median time of a call until the current stream has done it."""
    import torch

    def once() -> float:
        started = time.perf_counter()
        call()
        done = torch.cuda.Event(blocking=False)
        done.record()
        done.synchronize()
        return (time.perf_counter() - started) * 1e3

    for _ in range(10):
        once()
    rounds = []
    for _ in range(ROUNDS):
        calls, until = [], time.perf_counter() + seconds / ROUNDS
        while time.perf_counter() < until:
            calls.append(once())
        rounds.append(statistics.median(calls))
    return against(what, rounds, "ms")


def overlap(device: str, seconds: float) -> Iterable[Row]:
    """Yield the rate of `style` one picture after the other and launched ahead, and the share of copies hidden."""
    model: Any = load("style", Target(device), kind=Kind.GENERATE)
    picture = clip_pictures(1, LARGE)[0]
    model.warm(LARGE[1], LARGE[0])

    def alone() -> None:
        for _ in range(STEPS):
            model(picture)

    def ahead() -> None:
        waiting: list[Any] = []
        for _ in range(STEPS):
            waiting.append(model.launch([picture]))
            if len(waiting) > 2:
                _finish(waiting.pop(0))
        while waiting:
            _finish(waiting.pop(0))

    alone_s, ahead_s = _seconds_of(alone, seconds), _seconds_of(ahead, seconds)
    what = f"style {LARGE[0]}x{LARGE[1]}"
    yield against(f"{what}, one after the other", [STEPS / s for s in alone_s], "images/s")
    yield against(f"{what}, launched ahead", [STEPS / s for s in ahead_s], "images/s")
    computing_s = STEPS * _computing_s(model, picture)
    shares = [overlap_share(a, b, computing_s) for a, b in zip(alone_s, ahead_s, strict=True)]
    yield against("share of copies and host work hidden behind computing", shares, "")
    model.close()


def _finish(launched: Any) -> None:
    launched.wait()
    launched.result()


def _seconds_of(run: Callable[[], None], seconds: float) -> list[float]:
    run()
    found = []
    for _ in range(max(ROUNDS, round(seconds))):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return found


def _computing_s(model: Any, picture: np.ndarray) -> float:
    """Return how long the GPU computes for one picture, by events around the launch on its stream."""
    import torch

    found = []
    for _ in range(10):
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        launched = model.launch([picture])
        after.record()
        _finish(launched)
        after.synchronize()
        found.append(before.elapsed_time(after) / 1e3)
    return statistics.median(found)


def flagship(device: str, seconds: float) -> Iterable[Row]:
    """Yield the rate of person mask, style on the background, drawing and encoding, through the live pipeline."""
    for encoder in (NVENC, ""):
        if encoder and (why := _why_no_nvenc()):
            yield Row("flagship with NVENC", 0, "", note=f"not measured: {why}")
            continue
        for size in (SIZE, LARGE):
            yield asyncio.run(_flagship(device, encoder, size, seconds))


def _why_no_nvenc() -> str:
    try:
        VideoEncoder(EncoderSettings("H264", *SIZE, 30, 2_000_000, encoder=NVENC))
    except SinkError as error:
        return str(error)
    return ""


async def _flagship(device: str, encoder: str, size: tuple[int, int], seconds: float) -> Row:
    loaders = [
        partial(_load, "mask/person", StageKind.RECOGNIZE, device),
        partial(_load, "style:where=background", StageKind.GENERATE, device),
    ]
    rig = Rig(clip_pictures(60, size), 240.0, loaders, device=device)
    async with running(rig, "H264", h264=encoder):
        await asyncio.sleep(3)
        rates = []
        for _ in range(ROUNDS):
            started, before = time.perf_counter(), rig.stream.counts.shown
            await asyncio.sleep(seconds / ROUNDS)
            rates.append((rig.stream.counts.shown - before) / (time.perf_counter() - started))
        age = rig.stream.status()["latency_ms"]["capture_to_send"]
        memory = rig.device.memory()
    name = encoder or "libx264"
    note = f"age p50 {age['p50']:g}, p95 {age['p95']:g} ms; {memory.get('allocated_peak_bytes', 0) / 2**20:.0f} MB"
    what = f"mask + style + encode by {name}, {size[0]}x{size[1]}, source 240 fps"
    return against(what, rates, "fps", f"{note} on the GPU at most")


def _load(name: str, kind: StageKind, device: str) -> WarmStage:
    return WarmStage(load(name, Target(device), kind=Kind(kind.value)), kind, 1)


def image_to_image(device: str, seconds: float) -> Iterable[Row]:
    """Yield the rate of one-step 512x512 image-to-image with random weights: eager, and as a CUDA graph."""
    if importlib.util.find_spec("diffusers") is None:
        yield Row("one-step 512x512", 0, "", note="not measured: pip install 'livelens[diffusion]'")
        return
    import torch

    from models.cuda_graph import GraphedModule
    from models.diffusion import random_pipeline

    torch.cuda.reset_peak_memory_stats(device)
    loaded = random_pipeline("sd-turbo", device, "fp16")
    inputs = one_step(loaded, 512)
    fast = loaded.network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for how, run in (("eager", fast), ("as a CUDA graph", GraphedModule(fast))):
            rates = [STEPS / s for s in _seconds_of(partial(_repeat, run, inputs), seconds)]
            peak = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f} MB on the GPU"
            note = f"float16, random weights, {peak}; published: StreamDiffusion 93.9 fps, TensorRT on an RTX 4090"
            aim = f">= {STREAM_DIFFUSION_FPS} fps"
            yield against(f"one-step 512x512 img2img, {how}", rates, "fps", note, aim, STREAM_DIFFUSION_FPS)


def one_step(loaded: Any, size: int) -> tuple[Any, ...]:
    """Return (picture, prompt, noise, steps) of one step of a square picture, on the network's device."""
    import torch

    prompt = loaded.embed("an oil painting")
    picture = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8).to(prompt.device)
    noise = torch.randn(1, *loaded.network.latent_shape(size, size)).to(prompt.device, prompt.dtype)
    steps = torch.tensor([loaded.network.times // 2 - 1], device=prompt.device)  # strength .5
    return picture, prompt, noise, steps


def _repeat(run: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
    import torch

    for _ in range(STEPS):
        run(*inputs)
    done = torch.cuda.Event(blocking=True)
    done.record()
    done.synchronize()


SECTIONS: dict[str, Callable[[str, float], Iterable[Row]]] = {
    "models": models,
    "copies": copies,
    "overlap": overlap,
    "flagship": flagship,
    "image to image": image_to_image,
}


def collect(device: str, seconds: float, sections: dict[str, Callable[[str, float], Iterable[Row]]]) -> list[Row]:
    """Return the rows of all sections; one that fails is a row that says why, and the others go on."""
    rows: list[Row] = []
    for name, section in sections.items():
        print(f"{name} ...", flush=True)
        try:
            rows += section(device, seconds)
        except Exception as error:  # hours of other numbers must not be lost to one section
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            rows.append(Row(name, 0, "", note=f"not measured: {type(error).__name__}: {line}"))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and store results/gpu.md and results/gpu.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0", help="which card, cuda:N")
    parser.add_argument("--quick", action="store_true", help="a first look; nothing is stored")
    given = parser.parse_args(arguments)
    card = find_gpu(given.device)
    rows = collect(given.device, 2.0 if given.quick else 10.0, SECTIONS)
    show(f"gpu: {card}", rows)
    if not given.quick:
        store("gpu", rows, "make bench-gpu", card=card)


if __name__ == "__main__":
    main()
