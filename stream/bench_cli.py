"""`livelens bench`: the variants of models beside each other, in speed, memory and quality.

Importing this file stays quick, as stream/cli.py: the command imports what it needs.
"""

import json
import platform
import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream import options
from stream.errors import ConfigError
from stream.outputs import check_outputs, write
from stream.progress import note, say, work_done

if TYPE_CHECKING:
    from models.bench import Plan, Tell
    from stream.device import Device
    from stream.frame import Picture

SIZE, SECONDS = "640x360", 3.0
PICTURES_EVERY = 30  # of the sample clip's 360: six of a portrait and six of a street
LARGEST_BATCH, LONGEST_S, MOST_THREADS = 256, 3600.0, 1024
BUSY = 0.1  # of the processor, taken by others: from here on a person should know before reading the numbers
_OUT = "What is written"


class KindName(StrEnum):
    """As models.base.Kind, which must not be imported before it is used."""

    RECOGNIZE = "recognize"
    GENERATE = "generate"


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME...",
        help="Models, as [cyan]livelens models[/] lists them. [dim]default: those of livelens serve[/]",
        show_default=False,
    ),
]
Variants = Annotated[
    str,
    typer.Option(
        metavar="WORDS",
        help="[cyan]all[/]: every backend, number format, layout and lighter option; [cyan]product[/]: the lighter "
        "ones in every way, too; or words that a variant must have one of: [cyan]openvino,scale=0.5[/]. [dim]default: "
        "the model with its ladder[/]",
        show_default=False,
    ),
]
Size = Annotated[str, typer.Option(metavar="WxH", help="Size of the pictures.")]
Batch = Annotated[str, typer.Option(metavar="1,2,4", help="So many pictures at once, where a model takes them.")]
Seconds = Annotated[float, typer.Option(metavar="S", help="Timed so long, for each variant and batch.")]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=MOST_THREADS,
        help="Of the processor. [dim]default: as livelens serve does it, all for generation and one for recognition[/]",
    ),
]
KindOption = Annotated[
    KindName | None, typer.Option("--kind", metavar="KIND", help="Of a model of your own: recognize or generate.")
]
Csv = Annotated[
    Path | None, typer.Option("--csv", metavar="F", rich_help_panel=_OUT, help="A row for each variant and batch.")
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="F", rich_help_panel=_OUT, help="One page with plots, to pass on.")
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="F", rich_help_panel=_OUT, help="Every number, for programs.")
]


def bench(
    names: Names = None,
    variants: Variants = "",
    size: Size = SIZE,
    batch: Batch = "1",
    device: options.Device = None,
    seconds: Seconds = SECONDS,
    threads: Threads = None,
    kind: KindOption = None,
    csv: Csv = None,
    html: Html = None,
    json_file: Json = None,
) -> None:
    """Measure models: images a second, latency, memory, time to load, and what each way costs in quality.

    [cyan]livelens bench style[/]  the model, its ladder, and torch fp32 to compare with

    [cyan]livelens bench boxes/coco --variants all --html boxes.html[/]  every way to run it

    Variants take turns, each in a process of its own. Costs are kept, and the next
    [cyan]livelens serve[/] plans with them. Ctrl-C prints what was measured so far.
    """
    from stream.bench_table import print_bench
    from stream.clock import MonotonicClock
    from stream.device import open_devices

    settings = read_settings(size, batch, seconds)
    check_outputs({"--csv": csv, "--html": html, "--json": json_file})
    devices = open_devices(device or "auto", MonotonicClock())  # as the server does; the first is measured
    opened = devices[0]
    words = tuple(word for word in variants.split(",") if word.strip())
    plans = make_plans(names, opened, settings, words, threads, kind)
    found = run(plans, opened)
    print_bench(found)
    _write(found, csv, html, json_file)
    _keep(found, devices)
    if not found["is_complete"]:
        say("[bold]Stopped[/] before the end; what was measured so far is above.")
        raise typer.Exit(130)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(short_help="Measure the variants of models: speed, memory, quality.")(bench)


# Settings


def read_settings(size: str, batch: str, seconds: float) -> dict[str, Any]:
    """Return what a plan needs of these options. Raises ConfigError."""
    from stream.config import LARGEST_PX, SMALLEST_PX

    width, _, height = size.lower().partition("x")
    sides = [int(side) if side.isascii() and side.isdecimal() and len(side) < 7 else 0 for side in (height, width)]
    if not all(SMALLEST_PX <= side <= LARGEST_PX for side in sides):
        raise ConfigError(f"--size {size}: expected WxH such as 640x360, sides of {SMALLEST_PX} to {LARGEST_PX}")
    counts = [int(word) if word.isascii() and word.isdecimal() and len(word) < 7 else 0 for word in batch.split(",")]
    if not all(1 <= count <= LARGEST_BATCH for count in counts):
        raise ConfigError(f"--batch {batch}: expected numbers from 1 to {LARGEST_BATCH} such as 1,2,4")
    if not 0.05 <= seconds <= LONGEST_S:
        raise ConfigError(f"--seconds {seconds:g}: expected 0.05 to {LONGEST_S:g}")
    return {"size": (sides[0], sides[1]), "batches": tuple(sorted(set(counts))), "seconds": seconds}


def make_plans(
    names: list[str] | None,
    device: "Device",
    settings: dict[str, Any],
    words: tuple[str, ...] = (),
    threads: int | None = None,
    kind: KindName | None = None,
) -> "list[Plan]":
    """Return a plan for each model. Raises ModelError for a name, or a word that none of its variants has."""
    from models.base import Kind
    from models.bench import Plan
    from models.variants import kind_of, offered
    from stream.config import DEFAULT_GENERATE, DEFAULT_RECOGNIZE
    from stream.view import StageKind
    from stream.wiring import stage_threads

    plans = []
    for name in dict.fromkeys(names or (DEFAULT_GENERATE, *DEFAULT_RECOGNIZE)):
        own = Kind(kind.value) if kind and _is_own(name) else None
        served = stage_threads(StageKind(kind_of(name, own).value), device.capacity)
        offered(name, device.name, words, own)
        plans.append(Plan(name, device=device.name, threads=threads or served, words=words, kind=own, **settings))
    return plans


def _is_own(name: str) -> bool:
    from models.registry import parse

    return parse(name).attribute is not None


# Measuring


def run(plans: "list[Plan]", device: "Device") -> dict[str, Any]:
    """Measure each plan, with progress; return the document. Ctrl-C ends it with what there is."""
    from stream.bench_results import document

    about = about_bench(plans[0], device)
    pictures = sample(plans[0].size)
    models: list[dict[str, Any]] = []
    with work_done() as tell:
        for number, plan in enumerate(plans):
            lead = f"{number + 1}/{len(plans)} {plan.name}: " if len(plans) > 1 else ""
            models.append(_measure(plan, device, pictures, partial(_tell_with, tell, lead)))
            if not models[-1]["is_complete"]:
                break
    return document(about, models)


def _tell_with(tell: "Tell", lead: str, done_s: float, total_s: float, what: str) -> None:
    tell(done_s, total_s, lead + what)


def _measure(plan: "Plan", device: "Device", pictures: "list[Picture]", tell: "Tell") -> dict[str, Any]:
    from dataclasses import asdict

    from models.bench import measure
    from models.variants import kind_of
    from stream.bench_results import model_entry
    from stream.machine import other_load, read_ticks, speed_probe
    from stream.view import StageKind
    from stream.wiring import stage_threads

    before_ms, start = speed_probe(), read_ticks()
    report = measure(plan, pictures, tell)
    load = other_load(start, read_ticks())  # the processes that measured have ended, so their time counts as own
    served = stage_threads(StageKind(kind_of(plan.name, plan.kind).value), device.capacity)
    is_as_served = device.name != "cpu" or plan.threads == served
    probe_ms = min(before_ms, speed_probe())
    return model_entry(asdict(report), other_load=load, speed_probe_ms=probe_ms, is_as_served=is_as_served)


def sample(size: tuple[int, int]) -> "list[Picture]":
    """Return pictures of the sample clip at a size (height, width)."""
    import cv2

    from models.quality import sample_pictures

    height, width = size
    pictures = sample_pictures(PICTURES_EVERY)
    shrinks = height <= pictures[0].shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return [_contiguous(cv2.resize(one, (width, height), interpolation=how)) for one in pictures]


def _contiguous(image: Any) -> "Picture":
    import numpy as np

    return np.ascontiguousarray(image, np.uint8)


def about_bench(plan: "Plan", device: "Device") -> dict[str, Any]:
    """Return device, versions and settings: what the numbers hold for."""
    import sys

    from models.bench import ROUNDS
    from stream.device import device_text
    from stream.machine import processor_name
    from stream.wiring import installed_versions

    return {
        "command": " ".join(["livelens", *sys.argv[1:]]),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "device": device.name,
        "device_text": device_text(device),
        "processor": processor_name(),
        "python": platform.python_version(),
        "versions": installed_versions("onnxruntime", "nncf", "tensorrt"),
        "size": f"{plan.size[1]}x{plan.size[0]}",
        "batches": list(plan.batches),
        "seconds": plan.seconds,
        "rounds": ROUNDS,
    }


# What is written


def _write(found: dict[str, Any], csv: Path | None, html: Path | None, json_file: Path | None) -> None:
    from stream.bench_report import html_page
    from stream.bench_results import csv_text

    if csv:
        write(csv, csv_text(found))
    if html:
        write(html, html_page(found))
    if json_file:
        write(json_file, json.dumps(found, indent=1) + "\n")


def _keep(found: dict[str, Any], devices: "list[Device]") -> None:
    """Put the costs where the next start finds them, and say what may be wrong with the numbers."""
    from stream.bench_costs import keep_costs
    from stream.config import cache_dir
    from stream.wiring import machine_text

    count = keep_costs(found, cache_dir() / "costs.json", machine_text(*devices))
    if count:
        say(f"[dim]{count} costs are kept: the next livelens serve plans with them.[/]")
    others = [model["name"] for model in found["models"] if not model["is_as_served"]]
    if others:
        note(f"costs of {', '.join(others)} are not kept: livelens serve gives another number of threads")
    if any((model["other_load"] or 0) > BUSY for model in found["models"]):
        note("other programs used the processor meanwhile; the range of a row says how much that may have cost")
