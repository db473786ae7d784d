"""A bench as a page to read and pass on: a single HTML file without a script, that asks nothing of the network."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from stream.bench_plots import Row, latency_bars, quality_scatter, throughput_lines
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
    timing_at,
)

HEADS = ("", "variant", "quality", "batch", "images/s", "p50 ms", "range", "p95", "p99", "x ref", "load", "warm")
WORDS = HEADS[:3]  # columns that hold no number
STYLES = (("report_page", "report.css"), ("bench_page", "bench.css"))  # the colours are the latency report's


def html_page(found: Document) -> str:
    """Return the page."""
    names = ", ".join(model["name"] for model in found["models"])
    parts = {
        "TITLE": escape(f"{names} · Livelens bench"),
        "NAMES": escape(names),
        "VERDICT": "".join(f"<span>{escape(verdict(model))}</span> " for model in found["models"]),
        "FACTS": escape(_facts(found)),
        "STYLE": "\n".join((files("stream") / folder / name).read_text("utf-8") for folder, name in STYLES),
        "MODELS": "\n".join(_model(found, model) for model in found["models"]),
        "FOOT": _foot(found),
    }
    template = (files("stream") / "bench_page" / "bench.html").read_text("utf-8")
    # In one pass: what is put in is not looked at again, whatever a model is called.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda place: parts[place[1]], template)


def verdict(model: Mapping[str, Any]) -> str:
    """Return what came out for one model, in a sentence."""
    best = next((one for one in model["variants"] if one["role"] == DEFAULT), None)
    if best is None:
        best = next((one for one in model["variants"] if one["role"] == REFERENCE), None)
    if best is None or not best["timings"]:
        return f"{model['name']} could not be measured."
    timing = best["timings"][0]
    text = f"{model['name']} ({best['variant']}): {ms_words(timing['p50_ms'])} ms"
    if timing["batch"] != 1:
        text += f" for {timing['batch']} pictures"
    times, is_same = best["times_reference"], any(one["role"] == REFERENCE for one in model["variants"])
    if times and is_same and best["role"] != REFERENCE:
        text += f", {times:.1f} times as fast as torch fp32"
    if best["quality"]:
        text += f", {quality_words(best)}"
    return f"{text}."


def _facts(found: Document) -> str:
    about = [
        found["device_text"],
        found["processor"],
        found["size"],
        found["created"].replace("T", " ").rstrip("Z") + " UTC",
    ]
    if not found["is_complete"]:
        about.append("stopped before its end")
    return " · ".join(about)


def _model(found: Document, model: Mapping[str, Any]) -> str:
    rows: list[Row] = [(n, one) for n, one in enumerate(model["variants"], 1) if one["timings"]]
    cards = []
    if rows:
        batch = min(timing["batch"] for _, one in rows for timing in one["timings"])
        calls = "a call" if batch == 1 else f"a call with {batch} pictures"
        legend = "bar: p50 · line: range of the rounds · dot: p95"
        cards.append(_card(f"Milliseconds {calls}", legend, latency_bars(rows, batch)))
        pair = _pair(rows, batch)
        cards.append(f'<div class="pair">{pair}</div>' if pair.count('class="card"') > 1 else pair)
        cards.append(_card("Every number", "numbers are those of the plots", _table(model, rows)))
    failed = [one for one in model["variants"] if one["error"]]
    if failed:
        lines = "".join(f"<tr><td>{escape(one['label'])}</td><td>{escape(one['error'])}</td></tr>" for one in failed)
        table = f'<div class="scroll"><table class="reasons"><tbody>{lines}</tbody></table></div>'
        cards.append(_card("Not measured", "and why", table))
    said = "".join(f'<p class="note">{escape(line)}</p>' for line in remarks(model))
    inside = "\n".join(cards)
    return f'<section class="model"><h2>{escape(heading(found, model))}</h2>{said}\n{inside}</section>'


def _pair(rows: Sequence[Row], batch: int) -> str:
    cards = ""
    if scatter := quality_scatter(rows, batch):
        cards += _card("Quality against speed", "up and to the left is better", scatter)
    if lines := throughput_lines(rows):
        cards += _card("Throughput against batch size", "bars: range of the rounds", lines)
    return cards


def _card(title: str, note: str, inside: str) -> str:
    head = f'<div class="card-head"><h3>{escape(title)}</h3><p class="note">{escape(note)}</p></div>'
    return f'<div class="card">{head}{inside}</div>'


def _table(model: Mapping[str, Any], rows: Sequence[Row]) -> str:
    has_gpu = any(one["device_peak_bytes"] is not None for _, one in rows)
    heads = [*HEADS, "memory", *(["on GPU"] if has_gpu else []), "weights"]
    head = "".join(f"<th{'' if name in WORDS else _NUMBER}>{name}</th>" for name in heads)
    body = "".join(_lines(number, one, has_gpu) for number, one in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


_NUMBER = ' class="number"'


def _lines(number: int, one: Mapping[str, Any], has_gpu: bool) -> str:
    lines = []
    for place, timing in enumerate(one["timings"]):
        times = one["times_reference"] if timing is timing_at(one, 1) else None
        numbers = [
            str(timing["batch"]),
            f"{timing['rate']:.1f}",
            ms_words(timing["p50_ms"]),
            f"{ms_words(timing['low_ms'])}..{ms_words(timing['high_ms'])}",
            ms_words(timing["p95_ms"]),
            ms_words(timing["p99_ms"]),
            "" if times is None else f"{times:.2f}",
        ]
        costs = [
            seconds_words(one["load_ms"]),
            seconds_words(one["warm_ms"]),
            bytes_words(one["host_peak_bytes"]),
            *([bytes_words(one["device_peak_bytes"])] if has_gpu else []),
            bytes_words(one["weight_bytes"]),
        ]
        numbers += costs if place == 0 else [""] * len(costs)
        cells = "".join(f"<td{_NUMBER}>{escape(text)}</td>" for text in numbers)
        first = place == 0
        words = [str(number), escape(one["label"]), _quality(one)] if first else ["", "", ""]
        name = f'<td>{words[0]}</td><td>{words[1]}</td><td class="quality">{words[2]}</td>'
        lines.append(f'<tr class="{_row_class(one)}">{name}{cells}</tr>')
    return "".join(lines)


def _quality(one: Mapping[str, Any]) -> str:
    words = escape(quality_words(one))
    return f'<span class="tone-busy">{words}</span>' if one["quality"] and one["quality"]["below"] else words


def _row_class(one: Mapping[str, Any]) -> str:
    return {DEFAULT: "is-default", REFERENCE: "is-reference"}.get(one["role"], "")


def _foot(found: Document) -> str:
    facts = {
        "command": found["command"],
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "python": found["python"],
        "timed": f"{found['seconds']:g} s for each variant and batch, in {found['rounds']} rounds in turn",
        "p50": "median of the rounds' medians; the range is the lowest and the highest round; p95 and p99 of all calls",
        "load": "in a process of its own, with the imports of its backend",
        "memory": "the most that process took beyond an empty one, libraries included",
        "quality": "against torch fp32 on the same pictures of the sample clip",
    }
    return "<dl>" + "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items()) + "</dl>"
