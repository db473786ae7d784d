"""Whether a replay passes: its limits, and how it compares with a baseline. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream.baseline import Comparison


@dataclass(frozen=True, slots=True)
class Limits:
    """What a replay must keep. None is no limit; without any, p99 must be within the budget, save at full speed."""

    max_p99_ms: float | None = None
    min_on_time_percent: float | None = None


def failures(summary: Mapping[str, Any], limits: Limits, comparisons: Sequence[Comparison] | None) -> list[str]:
    """Return why a replay fails, a line each; none when it passes.

    With a baseline and no limits of its own, only what got worse counts: a budget may have been missed before. At
    pace max the budget is not asked for either: frames come faster than they would from a camera, and wait.
    """
    frames = summary["frames"]
    found = [_incomplete(frames)] if summary["is_complete"] is False else []
    if not frames["shown"]:
        return [*found, "not one frame was shown"]
    p99 = summary["latency_ms"]["capture_to_send"]["p99"]
    if limits == Limits() and comparisons is None and summary["pace"] != "max":
        limits = Limits(max_p99_ms=summary["budget_ms"])
    if limits.max_p99_ms is not None and p99 > limits.max_p99_ms:
        found.append(f"p99 from capture to send is {p99:.1f} ms, more than {limits.max_p99_ms:g} ms")
    on_time = 100 * frames["on_time"] / frames["shown"]
    if limits.min_on_time_percent is not None and on_time < limits.min_on_time_percent:
        found.append(f"{on_time:.1f} % of the shown frames were on time, less than {limits.min_on_time_percent:g} %")
    found += [_worse(one) for one in comparisons or () if one.verdict == "worse"]
    return found


def passed_but(comparisons: Sequence[Comparison]) -> str:
    """Return what a person should know of a pass, to stand behind the word; "" when there is nothing."""
    unsure = [one.name for one in comparisons if one.verdict == "can't tell"]
    if not unsure:
        return ""
    which = f"{len(unsure)} of {len(comparisons)} numbers nobody can tell ({', '.join(unsure)})"
    return f", but of {which}: play it oftener, with --loop"


def _incomplete(frames: Mapping[str, Any]) -> str:
    played = f"only {frames['captured']} of {frames['expected']} frames of the clip were played"
    return f"{played}: the rest could not be read or decoded; play it with ffplay to check it"


def _worse(one: Comparison) -> str:
    assert one.change is not None and one.low is not None and one.high is not None
    what = f"{one.name} is worse than the baseline: {one.change:+.1%} ({one.low:+.1%} to {one.high:+.1%})"
    return f"{what}; {one.note}" if one.note else what
