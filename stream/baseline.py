"""Whether a run is better or worse than an earlier one, or whether nobody can tell.

Every change has an interval (stream/bootstrap.py) and a tolerance; it counts only when the whole interval is past that.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import expm1, log
from pathlib import Path
from typing import Any

import numpy as np

from stream.bootstrap import interval, mean, quantiles, resampled
from stream.errors import ConfigError
from stream.summary import MAX_SAMPLES, ON_TIME, QUANTILES, SCHEMA_VERSION, UNSETTLED

# A change counts when its whole interval is past this: turbo clocks and memory layout alone move the latency of a
# program by a percent or two, and nobody acts on less than 3 % of a budget.
TOLERANCE = 0.03
TOLERANCE_POINTS = 0.01  # of on-time share: one frame in a hundred, three seconds apart at 30 fps
PROBE_TOLERANCE = 0.05  # the probe itself repeats within 5 %
OTHER_TOLERANCE = 0.10  # of all cores: a fifth of one of two; less hardly shows in a latency
BEYOND = 5  # frames a run must have past a quantile for it to be more than an anecdote: 500 for a p99, 100 for a p95
FEWEST = 30  # frames for any verdict

BETTER, WORSE, SAME, UNKNOWN, DIFFER = "better", "worse", "same", "can't tell", "decisions differ"
LEAST, MOST = 1e-6, 1e10  # of a number of a run that is not 0, in any unit
_NEEDED: Mapping[str, type | tuple[type, ...]] = {
    "pace": str,
    "clip": str,
    "device": str,
    "budget_ms": (int, float),
    "frames": dict,
    "fps": dict,
    "latency_ms": dict,
    "decisions_sha256": str,
    "samples_ms": list,
    "shown_at_ms": list,
    "outcomes": str,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number of two runs.

    unit         "ms", "fps", "share" (0..1), or "" for the decisions of two virtual runs, which have no numbers
    before, now  None when the run has no such number
    change       relative to before, + is more; of a share the difference. None when it cannot be told
    low, high    95 % interval of the change
    verdict      "better", "worse", "same", "can't tell", or "decisions differ"
    note         what to know before believing it; "" when there is nothing
    """

    name: str
    unit: str
    before: float | None
    now: float | None
    change: float | None
    low: float | None
    high: float | None
    verdict: str
    note: str = ""


def load_baseline(path: Path) -> dict[str, Any]:
    """Return the summary that `livelens replay --json` wrote. Raises ConfigError when it is none of this schema."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"baseline {path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"baseline {path}: is no JSON ({error}); was it written by `livelens replay --json`?"
        ) from error
    if not isinstance(found, dict) or "schema_version" not in found:
        raise ConfigError(f"baseline {path}: is no summary of a run; was it written by `livelens replay --json`?")
    if found["schema_version"] != SCHEMA_VERSION:
        version = json.dumps(found["schema_version"])
        raise ConfigError(
            f"baseline {path}: is of schema version {version}; this release reads version {SCHEMA_VERSION}"
        )
    if wrong := _damaged(found):
        raise ConfigError(f"baseline {path}: these are missing or damaged: {', '.join(wrong)}; make it again")
    return found


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Comparison]:
    """Return what changed between two summaries: p50, p95, p99, on-time share of all frames, shown fps.

    The runs of two "virtual" replays have no noise; whether they decided alike is told first. When they did, with the
    same clip and budget, the numbers are compared as they are: there is nothing that nobody can tell.
    """
    is_virtual = before["pace"] == now["pace"] == "virtual"
    if is_virtual and all(before[name] == now[name] for name in ("decisions_sha256", "clip", "budget_ms")):
        return _exact(before, now, "; ".join(_unlike(before, now)))
    ratio = None if is_virtual else _probe_ratio(before, now)
    note = "; ".join([*_unlike(before, now), *([_drift_note(ratio)] if ratio else [])])
    decisions = [_decisions(before, now, note)] if is_virtual else []
    found = [*_latencies(before, now, ratio, note), _on_time(before, now, note), _fps(before, now, note)]
    return [*decisions, *(_doubted(one, before, now) for one in found)]


def _damaged(found: Mapping[str, Any]) -> list[str]:
    """Return the names of fields that a comparison needs and that are missing, or not what they should be."""
    if wrong := [name for name, kind in _NEEDED.items() if not isinstance(found.get(name), kind)]:
        return wrong
    whole = found["latency_ms"].get("capture_to_send", {})
    numbers = {
        "budget_ms": [found["budget_ms"]],
        "fps": [found["fps"].get("shown")],
        "latency_ms": whole.values() if isinstance(whole, dict) else [None],
        **{name: [found[name]] for name in ("machine_probe_ms", "other_load") if found.get(name) is not None},
        "samples_ms": found["samples_ms"],
        "shown_at_ms": found["shown_at_ms"],
    }
    wrong = [name for name, values in numbers.items() if not all(map(_is_amount, values))]
    series = ("samples_ms", "shown_at_ms", "outcomes")
    return wrong + [name for name in series if name not in wrong and len(found[name]) > MAX_SAMPLES]


def _is_amount(value: object) -> bool:
    """Whether it is 0, or a number that a run can have; logarithms and ratios of such never overflow."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return value == 0 or LEAST <= value <= MOST


def _unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between the runs besides the program."""
    words = {"clip": "clip", "device": "device", "pace": "pace", "budget_ms": "budget in ms"}
    return [
        f"not the same {word}: {before[name]} at the baseline, {now[name]} now"
        for name, word in words.items()
        if before[name] != now[name]
    ]


def _probe_ratio(before: Mapping[str, Any], now: Mapping[str, Any]) -> float | None:
    """Return how much longer the machine took for fixed work than at the baseline; None when alike or not measured."""
    old, new = before.get("machine_probe_ms"), now.get("machine_probe_ms")
    if not old or not new or abs(new / old - 1) <= PROBE_TOLERANCE:
        return None
    return float(new / old)


def _drift_note(ratio: float) -> str:
    word = "slower" if ratio > 1 else "faster"
    return f"this machine did fixed work {abs(ratio - 1) * 100:.0f} % {word} than at the baseline"


def _exact(before: Mapping[str, Any], now: Mapping[str, Any], note: str) -> list[Comparison]:
    """Compare two runs without noise: an interval has no width, and a number that both lack is the same."""
    old_ms, new_ms = (run["latency_ms"].get("capture_to_send", {}) for run in (before, now))
    rows = [(name, "ms", old_ms.get(name), new_ms.get(name), WORSE) for name in QUANTILES]
    rows += [("on time", "share", _on_time_share(before), _on_time_share(now), BETTER)]
    rows += [("shown", "fps", before["fps"]["shown"], now["fps"]["shown"], BETTER)]
    return [_decisions(before, now, note), *(_exact_row(*row, note) for row in rows)]


def _exact_row(name: str, unit: str, old: float | None, new: float | None, more_is: str, note: str) -> Comparison:
    if old == new:
        change: float | None = None if old is None else 0.0
        return Comparison(name, unit, old, new, change, change, change, SAME, note)
    if old is None or new is None or (not old and unit != "share"):
        return _untold(name, unit, old, new, "only one of the runs has it", note)
    change = new - old if unit == "share" else new / old - 1
    verdict = _verdict(change, change, TOLERANCE_POINTS if unit == "share" else TOLERANCE, more_is)
    return Comparison(name, unit, old, new, change, change, change, verdict, note)


def _on_time_share(run: Mapping[str, Any]) -> float | None:
    letters = run["outcomes"].replace(UNSETTLED, "")
    return letters.count(ON_TIME) / len(letters) if letters else None


def _doubted(one: Comparison, before: Mapping[str, Any], now: Mapping[str, Any]) -> Comparison:
    """Return a comparison without its verdict when other programs had a hand in it: noise must not fail a build."""
    old, new = before.get("other_load"), now.get("other_load")
    if old is None or new is None or one.verdict != (WORSE if new > old else BETTER):
        return one
    if abs(new - old) <= OTHER_TOLERANCE:
        return one
    loads = f"other programs took {new * 100:.0f} % of the processor, {old * 100:.0f} % at the baseline"
    advice = "run it again on a quiet machine" if new > old else "make the baseline again on a quiet machine"
    return replace(one, verdict=UNKNOWN, note=_joined(f"{loads}: {advice}", one.note))


def _decisions(before: Mapping[str, Any], now: Mapping[str, Any], note: str) -> Comparison:
    verdict = SAME if before["decisions_sha256"] == now["decisions_sha256"] else DIFFER
    return Comparison("decisions", "", None, None, None, None, None, verdict, note)


def _latencies(before: Mapping[str, Any], now: Mapping[str, Any], ratio: float | None, note: str) -> list[Comparison]:
    old_ms, new_ms = (run["latency_ms"].get("capture_to_send", {}) for run in (before, now))
    fewest = min(len(run["samples_ms"]) for run in (before, now))
    if not fewest:
        reason = "a run sent no frame"
        return [_untold(name, "ms", old_ms.get(name), new_ms.get(name), reason, note) for name in QUANTILES]
    # Logarithms, since a change is relative; nothing is below 0.01 ms, to which the samples are rounded.
    logs = [np.log(np.maximum(np.asarray(run["samples_ms"], float), 0.01)) for run in (before, now)]
    found, both = [], resampled(logs[0], logs[1], quantiles, _is_same_clip(before, now))
    for place, (name, q) in enumerate(QUANTILES.items()):
        middle = float(both.new[place] - both.old[place])
        low, high = interval(middle, both.new_draws[:, place] - both.old_draws[:, place], both.stretch)
        low, high = expm1(low), expm1(high)
        if ratio:  # both readings: as it was, and as it would have been on a machine as fast as before
            low, high = min(low, (1 + low) / ratio - 1), max(high, (1 + high) / ratio - 1)
        few = f"{fewest} frames are too few for a {name}" if fewest < max(FEWEST, BEYOND / (1 - q) - 1e-6) else ""
        verdict = UNKNOWN if few else _verdict(low, high, TOLERANCE, more_is=WORSE)
        numbers = old_ms.get(name), new_ms.get(name)
        found.append(Comparison(name, "ms", *numbers, expm1(middle), low, high, verdict, _joined(few, note)))
    return found


def _on_time(before: Mapping[str, Any], now: Mapping[str, Any], note: str) -> Comparison:
    letters = [run["outcomes"].replace(UNSETTLED, "") for run in (before, now)]
    fewest = min(map(len, letters))
    if not fewest:
        return _untold("on time", "share", None, None, "a run has no frame that was settled", note)
    hits = [np.array([letter == ON_TIME for letter in one], float) for one in letters]
    both = resampled(hits[0], hits[1], mean, _is_same_clip(before, now))
    change = float(both.new[0] - both.old[0])
    low, high = interval(change, both.new_draws[:, 0] - both.old_draws[:, 0], both.stretch)
    # A run without a single miss (or hit) says only that they are rarer than 3 in its length (rule of three).
    rare = max((3 / len(one) for one in hits if one.min() == one.max()), default=0.0)
    low, high = min(low, change - rare), max(high, change + rare)
    few = f"{fewest} frames are too few" if fewest < FEWEST else ""
    verdict = UNKNOWN if few else _verdict(low, high, TOLERANCE_POINTS, more_is=BETTER)
    shares = float(both.old[0]), float(both.new[0])
    return Comparison("on time", "share", *shares, change, low, high, verdict, _joined(few, note))


def _fps(before: Mapping[str, Any], now: Mapping[str, Any], note: str) -> Comparison:
    rates = float(before["fps"]["shown"]), float(now["fps"]["shown"])
    gaps = [np.maximum(np.diff(np.asarray(run["shown_at_ms"], float)), 0.0) for run in (before, now)]
    fewest = min(map(len, gaps))
    if rates[0] and not rates[1]:
        return Comparison("shown", "fps", *rates, -1.0, -1.0, -1.0, WORSE, _joined("nothing was shown", note))
    if not all(rates) or not fewest or not all(one.sum() for one in gaps):
        return _untold("shown", "fps", *rates, "a run showed too few frames", note)
    both = resampled(gaps[0], gaps[1], mean, _is_same_clip(before, now))
    middle = log(rates[1] / rates[0])
    drawn = np.log(np.maximum(both.old_draws[:, 0], 1e-3) / np.maximum(both.new_draws[:, 0], 1e-3))
    shift = middle - log(both.old[0] / both.new[0])  # the rate is over the whole run, the gaps are within it
    low, high = map(expm1, interval(middle, drawn + shift, both.stretch))
    few = f"{fewest + 1} frames are too few" if fewest < FEWEST else ""
    verdict = UNKNOWN if few else _verdict(low, high, TOLERANCE, more_is=BETTER)
    return Comparison("shown", "fps", *rates, expm1(middle), low, high, verdict, _joined(few, note))


def _untold(name: str, unit: str, before: float | None, now: float | None, reason: str, note: str) -> Comparison:
    return Comparison(name, unit, before, now, None, None, None, UNKNOWN, _joined(reason, note))


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _verdict(low: float, high: float, tolerance: float, more_is: str) -> str:
    """Return what the whole interval says; `more_is` is "better" or "worse"."""
    less_is = BETTER if more_is == WORSE else WORSE
    if low > tolerance:
        return more_is
    if high < -tolerance:
        return less_is
    return SAME if -tolerance <= low and high <= tolerance else UNKNOWN


def _is_same_clip(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return bool(before["clip"]) and before["clip"] == now["clip"]
