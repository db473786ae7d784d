"""What `livelens bench` prints: a table for each model, or two that fit a narrow terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.bench_results import (
    DEFAULT,
    REFERENCE,
    Document,
    bytes_words,
    heading,
    ms_words,
    quality_words,
    remarks,
    seconds_words,
)

WIDE, NARROW = 150, 72  # columns of a terminal: everything fits one table from here; below, a table fits no more
MEANINGS = (
    "p50 is the median of the rounds' medians, lowest and highest its range; p95 and p99 are of all calls.",
    "load: with the imports of its backend. memory: the most it took beyond an empty process, libraries included.",
    "quality: against torch fp32 on the same pictures.",
)


def print_bench(found: Document, console: Console | None = None) -> None:
    """Print every model of a document, and what to know before believing it."""
    console = console or Console(highlight=False, emoji=False)
    for model in found["models"]:
        console.print(f"[bold]{escape(heading(found, model))}[/]")
        if console.width < NARROW:
            _print_lines(model, console)
        else:
            for table in [_whole(model)] if console.width >= WIDE else [_speed(model), _costs(model)]:
                console.print(table)
        for one in model["variants"]:
            if one["error"]:
                console.print(f"[yellow]{escape(one['label'])}:[/] {escape(one['error'])}")
        for line in remarks(model):
            console.print(line, markup=False)
        console.print()
    for line in MEANINGS:
        console.print(line, style="dim")


def _print_lines(model: Mapping[str, Any], console: Console) -> None:
    """Print each variant as a paragraph."""
    heads, has_gpu = _speed_columns(model)[1:], _has_gpu(model)
    for one in model["variants"]:
        for timing in one["timings"]:
            cells = [*zip(heads, _speed_cells(model, one, timing)[1:], strict=True)]
            if timing is one["timings"][0]:
                console.print(f"[bold]{escape(one['label'])}[/]")
                cells += zip(_cost_columns(has_gpu), _cost_cells(one, has_gpu), strict=True)
            console.print("  " + ", ".join(f"{head} {cell}" for head, cell in cells if cell))


def _whole(model: Mapping[str, Any]) -> Table:
    has_gpu = _has_gpu(model)
    table = _table(*_speed_columns(model), *_cost_columns(has_gpu)[:-1])
    table.add_column("quality")
    for one in model["variants"]:
        for place, timing in enumerate(one["timings"]):
            costs = _cost_cells(one, has_gpu) if place == 0 else [""] * (5 + has_gpu)
            table.add_row(*_speed_cells(model, one, timing), *costs, style=_style(one))
    return table


def _speed(model: Mapping[str, Any]) -> Table:
    table = _table(*_speed_columns(model))
    for one in model["variants"]:
        for timing in one["timings"]:
            table.add_row(*_speed_cells(model, one, timing), style=_style(one))
    return table


def _costs(model: Mapping[str, Any]) -> Table:
    has_gpu = _has_gpu(model)
    table = _table("variant", *_cost_columns(has_gpu)[:-1])
    table.add_column("quality")
    for one in model["variants"]:
        if one["timings"]:
            table.add_row(escape(one["label"]), *_cost_cells(one, has_gpu), style=_style(one))
    return table


def _speed_columns(model: Mapping[str, Any]) -> list[str]:
    batch = ["batch"] if _has_batches(model) else []
    return ["variant", *batch, "images/s", "p50 ms", "range", "p95", "p99", "x ref"]


def _speed_cells(model: Mapping[str, Any], one: Mapping[str, Any], timing: Mapping[str, Any]) -> list[str]:
    times = one["times_reference"] if timing["batch"] == 1 else None
    return [
        escape(one["label"]),
        *([str(timing["batch"])] if _has_batches(model) else []),
        f"{timing['rate']:.1f}",
        ms_words(timing["p50_ms"]),
        f"{ms_words(timing['low_ms'])}..{ms_words(timing['high_ms'])}",
        ms_words(timing["p95_ms"]),
        ms_words(timing["p99_ms"]),
        "" if times is None else f"{times:.2g}" if times < 10 else f"{times:.0f}",
    ]


def _cost_columns(has_gpu: bool) -> list[str]:
    return ["load", "warm", "memory", *(["on GPU"] if has_gpu else []), "weights", "quality"]


def _cost_cells(one: Mapping[str, Any], has_gpu: bool) -> list[str]:
    quality = one["quality"]
    words = escape(quality_words(one))
    return [
        seconds_words(one["load_ms"]),
        seconds_words(one["warm_ms"]),
        bytes_words(one["host_peak_bytes"]),
        *([bytes_words(one["device_peak_bytes"])] if has_gpu else []),
        bytes_words(one["weight_bytes"]),
        f"[yellow]{words}[/]" if quality and quality["below"] else words,
    ]


def _has_batches(model: Mapping[str, Any]) -> bool:
    return any(timing["batch"] != 1 for one in model["variants"] for timing in one["timings"])


def _has_gpu(model: Mapping[str, Any]) -> bool:
    return any(one["device_peak_bytes"] is not None for one in model["variants"])


def _style(one: Mapping[str, Any]) -> str:
    return {DEFAULT: "bold", REFERENCE: "dim"}.get(one["role"], "")


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
