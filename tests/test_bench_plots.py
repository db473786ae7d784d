"""The plots are SVG that a parser reads, and their marks stand where the numbers say."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from stream.bench_plots import (
    LEFT,
    RIGHT,
    TICKS_AT_MOST,
    latency_bars,
    linear_ticks,
    log_ticks,
    quality_scatter,
    throughput_lines,
)
from tests.made_bench import made_model, quality, timing, variant


def rows(*variants: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(n, one) for n, one in enumerate(made_model(*variants)["variants"], 1) if one["timings"]]


def parts(svg: str, name: str, kind: str) -> list[dict[str, str]]:
    root = ElementTree.fromstring(svg)
    return [dict(one.attrib) for one in root.iter(name) if kind in one.attrib.get("class", "").split()]


def percent(text: str) -> float:
    return float(text.rstrip("%"))


def test_bars_are_as_long_as_their_times() -> None:
    bars = parts(latency_bars(rows(), 1), "rect", "bar")
    widths = [percent(bar["width"]) for bar in bars]
    assert len(widths) == 4
    assert widths[1] / widths[2] == pytest.approx(2.5, rel=1e-3)
    assert [bar["class"] for bar in bars] == [
        "bar role-reference",
        "bar role-as-it-is",
        "bar role-lighter",
        "bar role-way",
    ]


def test_the_range_and_p95_are_marked() -> None:
    svg = latency_bars(rows(variant("a", "as it is", timing(10.0)), variant("b", "way", timing(20.0))), 1)
    widths = [percent(bar["width"]) for bar in parts(svg, "rect", "bar")]
    lines = [one for one in parts(svg, "line", "whisker") if one["x1"] != one["x2"]]
    assert percent(lines[0]["x1"]) == pytest.approx(widths[0] * 0.9, rel=1e-3)
    assert percent(lines[0]["x2"]) == pytest.approx(widths[0] * 1.1, rel=1e-3)
    assert percent(parts(svg, "circle", "p95")[1]["cx"]) == pytest.approx(widths[1] * 1.2, rel=1e-3)


def test_a_bar_far_longer_than_the_others_is_cut_and_says_so() -> None:
    many = [variant(name, "way", timing(10.0)) for name in "abc"]
    svg = latency_bars(rows(*many, variant("slow", "reference", timing(5000.0))), 1)
    assert "5000 ms »" in svg
    assert [percent(bar["width"]) for bar in parts(svg, "rect", "bar")][3] == 100
    assert len([one for one in parts(svg, "line", "whisker") if one["x1"] != one["x2"]]) == 3


def test_throughput_needs_two_batch_sizes() -> None:
    assert throughput_lines(rows(variant("a", "as it is", timing(5.0)))) == ""
    svg = throughput_lines(rows(variant("a", "as it is", timing(5.0), timing(8.0, 2), timing(20.0, 8))))
    dots = parts(svg, "circle", "dot")
    x = [percent(dot["cx"]) for dot in dots]
    assert x[0] > LEFT and x[2] < RIGHT and (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(1 / 3, rel=0.01)
    y = [float(dot["cy"]) for dot in dots]  # 200, 250 and 400 images a second
    assert (y[0] - y[1]) / (y[0] - y[2]) == pytest.approx(50 / 200, rel=0.02)


def test_quality_stands_against_speed() -> None:
    svg = quality_scatter(rows(), 1)
    dots = parts(svg, "circle", "dot")
    assert [dot["class"].split()[1:] for dot in dots] == [["role-as-it-is"], ["role-lighter"], ["role-way", "is-below"]]
    default, lighter, int8 = [(percent(dot["cx"]), float(dot["cy"])) for dot in dots]
    assert lighter[0] < int8[0] < default[0] and default[1] < int8[1] < lighter[1]
    [reference] = parts(svg, "line", "reference")
    assert percent(reference["x1"]) > default[0]


def test_without_quality_there_is_no_scatter() -> None:
    assert quality_scatter(rows(variant("a", "as it is", timing(5.0))), 1) == ""


def test_a_share_has_one_as_its_best() -> None:
    same = quality(1.0, "F1 1", measure="F1", unit="")
    svg = quality_scatter(
        rows(variant("r", "reference", timing(9.0)), variant("a", "as it is", timing(5.0), likeness=same)), 1
    )
    assert ">1</text>" in svg and "F1" in svg


def test_names_are_escaped() -> None:
    hostile = '</svg><script>alert(1)</script>"&'
    found = [variant(hostile, "as it is", timing(5.0), timing(9.0, 2), likeness=quality(1.0, hostile))]
    for svg in (latency_bars(rows(*found), 1), throughput_lines(rows(*found)), quality_scatter(rows(*found), 1)):
        ElementTree.fromstring(svg)
        assert "<script" not in svg


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.975, 1.0, [0.975, 0.98, 0.985, 0.99, 0.995, 1.0]), (3, 3, [3])],
)
def test_linear_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert linear_ticks(low, high, 5) == ticks


@pytest.mark.parametrize(("low", "high"), [(1, 2), (0.4, 7000), (7.1, 7.9), (1, 1e9), (1e-3, 2e-3)])
def test_log_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = log_ticks(low, high)
    assert 1 <= len(found) <= TICKS_AT_MOST and all(low <= tick <= high for tick in found)
    assert found == sorted(found)


def test_places_are_numbers() -> None:
    for svg in (latency_bars(rows(), 1), quality_scatter(rows(), 1)):
        assert not re.search(r"nan|inf", svg)
