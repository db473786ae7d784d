"""The plots of a bench's page, as SVG in text. Pure.

Places along a plot are in percent of its width and heights in px, so that a plot fits a phone with letters of the same
size. Colours are the page's, by class.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from stream.bench_results import ms_words, timing_at

ROW_PX, BAR_PX, TEXT_PX = 46, 12, 14
PLOT_PX, AXIS_PX, TOP_PX = 260, 26, 14
LEFT, RIGHT = 7.0, 97.0  # percent: where the axes of a plot with two of them end
FAR = 6.0  # times the middle bar: one that is longer is cut off, and says how long it is
DIGITS = 4
TICKS_AT_MOST = 5
COLOURS = 6  # of the page, taken in turn

Row = tuple[int, Mapping[str, Any]]  # a variant with its number on the page


def svg(height_px: int, parts: Iterable[str], label: str) -> str:
    """Return an SVG as wide as its place."""
    inside = "\n".join(parts)
    return f'<svg class="plot" width="100%" height="{height_px}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def latency_bars(rows: Sequence[Row], batch: int) -> str:
    """Return a bar for each variant: p50, with the range of its rounds and p95."""
    timed = [(number, one, timing) for number, one in rows if (timing := timing_at(one, batch))]
    p50s = sorted(timing["p50_ms"] for _, _, timing in timed)
    middle = p50s[len(p50s) // 2]
    highest = max(min(timing["p95_ms"], middle * FAR) for _, _, timing in timed) * 1.02
    highest = max(highest, min(p50s[-1], middle * FAR) * 1.02)
    parts: list[str] = []
    for place, (number, one, timing) in enumerate(timed):
        parts += _bar(place * ROW_PX, number, one, timing, highest)
    return svg(len(timed) * ROW_PX + 4, parts, f"Milliseconds a call at batch {batch}, p50 of each variant")


def _bar(top: int, number: int, one: Mapping[str, Any], timing: Mapping[str, Any], highest: float) -> list[str]:
    low, high, p50, p95 = (_percent(timing[name], highest) for name in ("low_ms", "high_ms", "p50_ms", "p95_ms"))
    middle = top + 20 + BAR_PX / 2
    value = f"{ms_words(timing['p50_ms'])} ms"
    beyond, tail = timing["p50_ms"] > highest, f"p95 {ms_words(timing['p95_ms'])} ms"
    parts = [
        _text("0", top + TEXT_PX, f"{number}  {one['label']}", "start", "name"),
        _text("100%", top + TEXT_PX, value + (" »" if beyond else ""), "end", "value"),
        f'<rect class="track" x="0" y="{top + 20}" width="100%" height="{BAR_PX}" rx="4"/>',
        f'<rect class="bar role-{_slug(one["role"])}" x="0" y="{top + 20}" width="{p50}" height="{BAR_PX}" rx="4"/>',
    ]
    if not beyond:
        parts += [
            f'<line class="whisker" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>',
            *(f'<line class="whisker" x1="{x}" x2="{x}" y1="{middle - 4}" y2="{middle + 4}"/>' for x in (low, high)),
            f'<circle class="p95" cx="{p95}" cy="{middle}" r="3.5"><title>{tail}</title></circle>',
        ]
    return parts


def throughput_lines(rows: Sequence[Row]) -> str:
    """Return pictures per second against the batch size, a line for each variant that took several; "" for none."""
    lines = [(number, one) for number, one in rows if len(one["timings"]) > 1]
    if not lines:
        return ""
    batches = sorted({timing["batch"] for _, one in lines for timing in one["timings"]})
    highest = max(timing["rate_high"] for _, one in lines for timing in one["timings"]) * 1.05
    span = float(math.log2(batches[-1] / batches[0])) or 1.0

    def x(batch: int) -> float:
        return LEFT + 3 + (RIGHT - LEFT - 6) * math.log2(batch / batches[0]) / span

    def y(rate: float) -> float:
        return float(TOP_PX + PLOT_PX * (1 - rate / highest))

    parts = [*_rules(linear_ticks(0, highest, 5), y, ""), _text(f"{LEFT}%", TOP_PX - 3, "images/s", "start", "axis")]
    parts += [_text(f"{x(batch):.2f}%", TOP_PX + PLOT_PX + 18, f"batch {batch}", "middle", "axis") for batch in batches]
    for place, (number, one) in enumerate(lines):
        colour, points = f"line-{place % COLOURS}", one["timings"]
        for before, after in pairwise(points):
            ends = f'x1="{x(before["batch"]):.2f}%" y1="{y(before["rate"]):.1f}" x2="{x(after["batch"]):.2f}%"'
            parts.append(f'<line class="line {colour}" {ends} y2="{y(after["rate"]):.1f}"/>')
        for timing in points:
            at, top, bottom = x(timing["batch"]), y(timing["rate_high"]), y(timing["rate_low"])
            parts.append(
                f'<line class="line {colour} thin" x1="{at:.2f}%" x2="{at:.2f}%" y1="{top:.1f}" y2="{bottom:.1f}"/>'
            )
            parts += _dot(at, y(timing["rate"]), number, one, f"{timing['rate']:.1f} images/s", colour)
    return svg(TOP_PX + PLOT_PX + AXIS_PX, parts, "Images per second against the batch size")


def quality_scatter(rows: Sequence[Row], batch: int) -> str:
    """Return quality against milliseconds; the reference is a line, as nothing is nearer to it. "" without any."""
    found = [(n, one, timing) for n, one in rows if one["quality"] and (timing := timing_at(one, batch))]
    if not found:
        return ""
    reference = next((t for _, one in rows if one["role"] == "reference" and (t := timing_at(one, batch))), None)
    times_ms = [timing["p50_ms"] for _, _, timing in found] + ([reference["p50_ms"]] if reference else [])
    fastest, slowest = min(times_ms) / 1.25, max(times_ms) * 1.25
    values = [one["quality"]["value"] for _, one, _ in found]
    measure, unit = found[0][1]["quality"]["measure"], found[0][1]["quality"]["unit"]
    lowest, best = _range(values, unit)

    def x(time_ms: float) -> float:
        return LEFT + (RIGHT - LEFT) * math.log(time_ms / fastest) / math.log(slowest / fastest)

    def y(value: float) -> float:
        return TOP_PX + 12 + (PLOT_PX - 24) * (1 - (value - lowest) / (best - lowest))

    parts = [*_rules(linear_ticks(lowest, best, 5), y, unit)]
    parts.append(_text(f"{LEFT}%", TOP_PX - 3, f"{measure} {unit}".strip(), "start", "axis"))
    ticks = log_ticks(fastest, slowest)
    parts += [_text(f"{x(t):.2f}%", TOP_PX + PLOT_PX + 18, f"{t:g} ms", "middle", "axis") for t in ticks]
    if reference:
        at = x(reference["p50_ms"])
        ends = f'x1="{at:.2f}%" x2="{at:.2f}%" y1="{TOP_PX}" y2="{TOP_PX + PLOT_PX}"'
        parts.append(f'<line class="reference" {ends}/>')
        parts.append(_text(f"{at - 1:.2f}%", TOP_PX + PLOT_PX - 8, "torch fp32", "end", "axis"))
    for number, one, timing in found:
        text = f"{ms_words(timing['p50_ms'])} ms, {one['quality']['text']}"
        colour = f"role-{_slug(one['role'])}" + (" is-below" if one["quality"]["below"] else "")
        parts += _dot(x(timing["p50_ms"]), y(one["quality"]["value"]), number, one, text, colour)
    return svg(TOP_PX + PLOT_PX + AXIS_PX, parts, f"{measure} against milliseconds; up and to the left is better")


def linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return about so many round values within low..high."""
    rough = (high - low) / max(1, wanted)
    if rough <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{step * n:.12g}") for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values of a logarithmic axis, as many as a phone has room for."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{factor * 10.0**power:.12g}") for power in powers for factor in factors]
        found = [tick for tick in ticks if low <= tick <= high]
        if 0 < len(found) <= TICKS_AT_MOST:
            return found
    return found[:: len(found) // TICKS_AT_MOST + 1] or [float(f"{math.sqrt(low * high):.2g}")]


def _range(values: Sequence[float], unit: str) -> tuple[float, float]:
    """Return the ends of the axis of quality; of a share the upper one is 1."""
    low, high = min(values), max(values)
    if unit:
        return (low - 1, high + 1) if high - low < 1 else (low - (high - low) * 0.05, high + (high - low) * 0.05)
    return min(low, 1 - 1e-3) - (1 - low) * 0.05, 1.0


def _rules(ticks: Sequence[float], y: Any, unit: str) -> list[str]:
    parts = []
    for tick in ticks:
        height = y(tick)
        parts.append(f'<line class="rule" x1="{LEFT}%" x2="{RIGHT}%" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(_text(f"{LEFT - 1}%", height + 4, f"{tick:.{DIGITS}g}", "end", "axis"))
    return parts


def _dot(x: float, y: float, number: int, one: Mapping[str, Any], text: str, colour: str) -> list[str]:
    title = escape(f"{one['label']}: {text}")
    ink = "number on-line" if colour.startswith("line") else "number"
    return [
        f'<circle class="dot {colour}" cx="{x:.2f}%" cy="{y:.1f}" r="10"><title>{title}</title></circle>',
        f'<text class="{ink}" x="{x:.2f}%" y="{y + 4:.1f}" text-anchor="middle">{number}</text>',
    ]


def _text(x: str, y: float, text: str, anchor: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _percent(value: float, highest: float) -> str:
    return f"{min(100.0, 100 * value / highest):.2f}%"


def _slug(role: str) -> str:
    return str(role).replace(" ", "-")
