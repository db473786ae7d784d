"""verdict.py: what passes, alone and together with a baseline."""

from typing import Any

import pytest

from stream.baseline import Comparison
from stream.verdict import Limits, failures, passed_but


def summary(*, p99: float = 100.0, shown: int = 200, on_time: int = 198, budget: float = 150.0) -> dict[str, Any]:
    frames = {"shown": shown, "on_time": on_time, "captured": 210}
    latency = {"capture_to_send": {"p50": p99 / 2, "p95": p99, "p99": p99, "max": p99}}
    return {"frames": frames, "budget_ms": budget, "latency_ms": latency, "is_complete": None, "pace": "recorded"}


def compared(verdict: str, note: str = "") -> Comparison:
    return Comparison("p99", "ms", 100.0, 120.0, 0.2, 0.1, 0.3, verdict, note)


@pytest.mark.parametrize(
    ("given", "limits", "baseline", "fails"),
    [
        ({}, Limits(), None, []),
        ({"p99": 150.0}, Limits(), None, []),
        ({"p99": 150.1}, Limits(), None, ["p99 from capture to send is 150.1 ms, more than 150 ms"]),
        ({"p99": 150.1}, Limits(max_p99_ms=200), None, []),
        ({"p99": 150.1}, Limits(min_on_time_percent=90), None, []),  # the budget is not asked for then
        ({"p99": 99.0}, Limits(max_p99_ms=98.5), None, ["p99 from capture to send is 99.0 ms, more than 98.5 ms"]),
        ({}, Limits(min_on_time_percent=99), None, []),
        ({}, Limits(min_on_time_percent=99.5), None, ["99.0 % of the shown frames were on time, less than 99.5 %"]),
        ({"p99": 400.0}, Limits(), [compared("same")], []),  # as late as it was
        ({}, Limits(), [compared("can't tell"), compared("better"), compared("decisions differ")], []),
        ({}, Limits(), [compared("worse")], ["p99 is worse than the baseline: +20.0% (+10.0% to +30.0%)"]),
    ],
)
def test_limits_and_baseline(given: Any, limits: Limits, baseline: list[Comparison] | None, fails: list[str]) -> None:
    assert failures(summary(**given), limits, baseline) == fails


def test_all_limits_hold_together() -> None:
    found = failures(summary(p99=500), Limits(400, 99.9), [compared("worse", "another machine"), compared("same")])
    assert len(found) == 3
    assert found[2].endswith("; another machine")


@pytest.mark.parametrize("baseline", [None, [], [compared("same")]])
def test_nothing_shown_never_passes(baseline: list[Comparison] | None) -> None:
    nothing = summary(shown=0, on_time=0) | {"latency_ms": {"capture_to_send": {}}}
    assert failures(nothing, Limits(min_on_time_percent=0), baseline) == ["not one frame was shown"]


def test_everything_late_fails_although_p99_is_not_asked_for() -> None:
    assert failures(summary(on_time=0), Limits(min_on_time_percent=0.1), None)


@pytest.mark.parametrize("baseline", [None, [], [compared("better")]])
def test_clip_that_was_not_played_to_its_end_never_passes(baseline: list[Comparison] | None) -> None:
    broken = summary() | {"is_complete": False}
    broken["frames"] |= {"captured": 120, "expected": 360}
    [line] = failures(broken, Limits(max_p99_ms=1000), baseline)
    assert line.startswith("only 120 of 360 frames of the clip were played: ")
    assert failures(summary() | {"is_complete": True}, Limits(), baseline) == []


@pytest.mark.parametrize(
    ("limits", "fails"), [(Limits(), 0), (Limits(max_p99_ms=200), 1), (Limits(min_on_time_percent=100), 1)]
)
def test_at_full_speed_only_limits_of_its_own_are_judged(limits: Limits, fails: int) -> None:
    assert len(failures(summary(p99=400) | {"pace": "max"}, limits, None)) == fails


def test_a_pass_says_of_what_nobody_can_tell() -> None:
    sure = Comparison("p50", "ms", 1.0, 1.0, 0.0, -0.01, 0.01, "same")
    unsure = Comparison("p99", "ms", 1.0, 1.2, 0.2, -0.2, 0.6, "can't tell")
    assert passed_but([sure]) == "" == passed_but([])
    assert "1 of 2 numbers nobody can tell (p99)" in passed_but([sure, unsure])
