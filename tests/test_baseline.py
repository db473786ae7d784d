"""Comparisons are tested with simulated latencies whose truth is known: lognormal, alike from frame to frame (AR(1)).

Measured with 100 pairs each, sd 13 %, everything 10 % slower: how often a latency was called worse, and in brackets how
often one was called different when nothing had changed (three latencies, on-time share and fps together). A run of
20 s at 30 fps finds 10 % nearly always when frames are little alike, and 38 times in 100 when they are very much alike.

    frames   correlation of neighbours 0.5     0.8         0.95
       150                      62 % (1)       26 % (3)    22 % (10)
       300                      90 % (2)       50 % (0)    21 % (4)
       600                      99 % (1)       88 % (1)    38 % (7)
      1500                     100 % (0)      100 % (1)    70 % (2)
      3000                     100 % (0)      100 % (1)    84 % (2)
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.baseline import TOLERANCE, Comparison, compare, load_baseline
from stream.errors import ConfigError
from stream.summary import summarize
from tests.made_run import empty_run, made_run

Array = npt.NDArray[np.float64]
INTERVAL_MS = 1000 / 30


def latencies(frames: int, alike: float, random: np.random.Generator, sd: float = 0.13, pairs: int = 1) -> Array:
    """Return `pairs` runs of latencies around 100 ms [pairs,frames]; `alike` is the correlation of neighbours."""
    noise = random.standard_normal((frames, pairs))
    noise[1:] *= np.sqrt(1 - alike**2)
    for frame in range(1, frames):
        noise[frame] += alike * noise[frame - 1]
    return np.asarray(100 * np.exp(sd * noise.T))


def summary_of(ages_ms: Array, clip: str = "walk.mkv", budget_ms: float = 130.0, **more: Any) -> dict[str, Any]:
    """Return the part of a summary that comparisons read, of frames that were all shown."""
    ordered, count = np.sort(ages_ms), len(ages_ms)
    shown_at = np.sort(np.arange(count) * INTERVAL_MS + ages_ms)
    places = {name: min(count - 1, int(q * count)) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {
        "schema_version": 1,
        "pace": "realtime",
        "clip": clip,
        "device": "CPU",
        "budget_ms": budget_ms,
        "machine_probe_ms": None,
        "frames": {},
        "fps": {"shown": count / (shown_at[-1] + 1) * 1000},
        "latency_ms": {"capture_to_send": {name: round(float(ordered[at]), 2) for name, at in places.items()}},
        "decisions_sha256": "d",
        "samples_ms": [round(float(age), 2) for age in ages_ms],
        "shown_at_ms": [round(float(at), 2) for at in shown_at],
        "outcomes": "".join("o" if age <= budget_ms else "l" for age in ages_ms),
    } | more


def named(found: list[Comparison]) -> dict[str, Comparison]:
    return {one.name: one for one in found}


def verdicts(before: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    return {one.name: one.verdict for one in compare(before, now)}


# ---- what is there and what is not


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "alike"), [(600, 0.5), (600, 0.8), (2000, 0.8)])
@pytest.mark.parametrize("clip", ["walk.mkv", ""])
def test_two_runs_of_the_same_are_hardly_ever_called_different(frames: int, alike: float, clip: str) -> None:
    pairs = 30
    random = np.random.default_rng(frames)
    before, now = (latencies(frames, alike, random, pairs=pairs) for _ in range(2))
    called = [
        verdict
        for one, other in zip(before, now, strict=True)
        for verdict in verdicts(summary_of(one, clip), summary_of(other, clip)).values()
    ]
    assert sum(verdict in ("better", "worse") for verdict in called) <= 0.02 * len(called)


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "alike"), [(600, 0.5), (2000, 0.8)])
def test_ten_percent_slower_is_called_worse(frames: int, alike: float) -> None:
    pairs = 30
    random = np.random.default_rng(frames)
    before, now = (latencies(frames, alike, random, pairs=pairs) for _ in range(2))
    called = [verdicts(summary_of(one), summary_of(other * 1.1)) for one, other in zip(before, now, strict=True)]
    assert sum("worse" in (one["p50"], one["p95"], one["p99"]) for one in called) >= 0.95 * pairs
    assert not any("better" in one.values() for one in called)


def test_what_is_slow_in_the_clip_itself_hides_no_change() -> None:
    """Half of the clip is hard: within a run that looks like a slow drift, against the same clip it is nothing."""
    random = np.random.default_rng(2)
    hard = np.where(np.arange(1500) < 750, 1.0, 1.6)
    before, now = (latencies(1500, 0.5, random)[0] * hard for _ in range(2))
    assert verdicts(summary_of(before), summary_of(now * 1.1))["p50"] == "worse"
    assert verdicts(summary_of(before, ""), summary_of(now * 1.1, ""))["p50"] == "can't tell"


def test_long_runs_without_a_change_are_called_the_same() -> None:
    random = np.random.default_rng(1)
    found = verdicts(*(summary_of(latencies(6000, 0.5, random)[0]) for _ in range(2)))
    assert (found["p50"], found["p95"], found["shown"]) == ("same", "same", "same")


def test_faster_is_better_and_a_run_against_itself_is_the_same() -> None:
    ages = latencies(2000, 0.5, np.random.default_rng(4))[0]
    assert set(verdicts(summary_of(ages), summary_of(ages)).values()) == {"same"}
    found = named(compare(summary_of(ages), summary_of(ages * 0.8)))
    assert found["p50"].verdict == found["on time"].verdict == "better"
    assert found["p50"].change == pytest.approx(-0.2, abs=0.001)


def test_lost_frames_and_misses_are_called_worse() -> None:
    ages = latencies(1500, 0.5, np.random.default_rng(5))[0]
    before, now = summary_of(ages), summary_of(ages)
    now["shown_at_ms"] = now["shown_at_ms"][::2]
    now["fps"] = {"shown": before["fps"]["shown"] / 2}
    now["outcomes"] = "od" * 750
    found = named(compare(before, now))
    assert (found["shown"].verdict, found["on time"].verdict) == ("worse", "worse")
    assert found["shown"].change == pytest.approx(-0.5, abs=0.01)
    assert found["on time"].unit == "share"


def test_short_runs_get_no_verdict_on_their_tail() -> None:
    ages = latencies(90, 0.0, np.random.default_rng(6))[0]
    found = named(compare(summary_of(ages), summary_of(ages * 1.5)))
    assert found["p50"].verdict == "worse"
    assert (found["p95"].verdict, found["p99"].verdict) == ("can't tell", "can't tell")
    assert found["p99"].note == "90 frames are too few for a p99"


def test_no_miss_in_a_short_run_does_not_prove_that_there_are_none() -> None:
    short, long = (summary_of(np.full(frames, 50.0)) for frames in (100, 3000))
    assert named(compare(short, short))["on time"].verdict == "can't tell"
    assert named(compare(long, long))["on time"].verdict == "same"


# ---- the machine


def test_a_slower_machine_widens_the_interval_to_both_readings() -> None:
    ages = latencies(3000, 0.3, np.random.default_rng(7))[0]
    before, now = summary_of(ages, machine_probe_ms=1.0), summary_of(ages * 1.18, machine_probe_ms=1.18)
    p50 = named(compare(before, now))["p50"]
    assert p50.note == "this machine did fixed work 18 % slower than at the baseline"
    assert p50.verdict == "can't tell"
    assert p50.low is not None and p50.high is not None
    assert p50.low <= 0.0 <= 0.18 <= p50.high
    assert p50.change == pytest.approx(0.18, abs=0.001), "nothing is corrected silently"
    without = summary_of(ages * 1.18)
    assert named(compare(before, without))["p50"].verdict == "worse"


def test_a_change_past_what_the_machine_explains_is_still_called() -> None:
    ages = latencies(3000, 0.3, np.random.default_rng(8))[0]
    before, now = summary_of(ages, machine_probe_ms=1.0), summary_of(ages * 1.6, machine_probe_ms=1.18)
    assert named(compare(before, now))["p50"].verdict == "worse"


def test_probes_that_agree_say_nothing() -> None:
    ages = latencies(600, 0.3, np.random.default_rng(9))[0]
    before, now = summary_of(ages, machine_probe_ms=1.0), summary_of(ages, machine_probe_ms=1.04)
    assert {one.note for one in compare(before, now)} == {""}


@pytest.mark.parametrize(("old", "new"), [(0.02, 0.43), (0.0, 0.11)])
def test_other_programs_that_took_the_processor_are_no_loss_of_ours(old: float, new: float) -> None:
    ages = latencies(3000, 0.3, np.random.default_rng(8))[0]
    before, now = summary_of(ages, other_load=old), summary_of(ages * 1.756, other_load=new)
    now["outcomes"] = "l" * 3000
    found = named(compare(before, now))
    assert {found[name].verdict for name in ("p50", "p95", "p99", "on time")} == {"can't tell"}
    assert found["p50"].note == (
        f"other programs took {new * 100:.0f} % of the processor, {old * 100:.0f} % at the baseline: "
        "run it again on a quiet machine"
    )
    assert found["p50"].change == pytest.approx(0.756, abs=0.001), "what was measured is told all the same"


def test_baseline_of_a_loaded_machine_makes_nothing_better() -> None:
    ages = latencies(3000, 0.3, np.random.default_rng(8))[0]
    p50 = named(compare(summary_of(ages, other_load=0.43), summary_of(ages * 0.6, other_load=0.02)))["p50"]
    assert (p50.verdict, "make the baseline again" in p50.note) == ("can't tell", True)


@pytest.mark.parametrize(
    ("times", "old", "new", "verdict"),
    [
        (1.1, 0.02, 0.04, "worse"),  # a loss on an equally quiet machine fails
        (1.1, 0.40, 0.45, "worse"),
        (1.1, 0.43, 0.02, "worse"),  # in spite of a quieter machine
        (0.9, 0.02, 0.43, "better"),  # in spite of a busier one
        (1.1, None, 0.43, "worse"),
        (1.1, 0.02, None, "worse"),
    ],
)
def test_verdict_stands_where_other_programs_do_not_explain_it(
    times: float, old: float | None, new: float | None, verdict: str
) -> None:
    ages = latencies(3000, 0.3, np.random.default_rng(8))[0]
    p50 = named(compare(summary_of(ages, other_load=old), summary_of(ages * times, other_load=new)))["p50"]
    assert (p50.verdict, p50.note) == (verdict, "")


def test_virtual_runs_are_compared_by_their_decisions_and_without_the_probe() -> None:
    ages = latencies(600, 0.3, np.random.default_rng(10))[0]
    before = summary_of(ages, pace="virtual", machine_probe_ms=1.0)
    now = summary_of(ages, pace="virtual", machine_probe_ms=2.0)
    assert compare(before, now)[0] == Comparison("decisions", "", None, None, None, None, None, "same")
    assert {one.note for one in compare(before, now)} == {""}
    assert compare(before, now | {"decisions_sha256": "e"})[0].verdict == "decisions differ"
    assert "decisions" not in verdicts(before, summary_of(ages))


@pytest.mark.parametrize("frames", [1, 20, 90, 400])
def test_virtual_runs_that_decided_alike_are_the_same_in_every_number(frames: int) -> None:
    """Also where a run is too short for a verdict with noise, and without a single miss."""
    ages = latencies(frames, 0.3, np.random.default_rng(10))[0]
    run = summary_of(ages, pace="virtual")
    found = compare(run, dict(run))
    assert [one.name for one in found] == ["decisions", "p50", "p95", "p99", "on time", "shown"]
    assert {(one.verdict, one.note) for one in found} == {("same", "")}
    assert {one.change for one in found[1:]} == {0.0}
    assert verdicts(run, run | {"budget_ms": 131.0})["p99"] == "can't tell", "another budget may change anything"


def test_empty_virtual_runs_are_the_same() -> None:
    empty = summarize(empty_run()) | {"pace": "virtual"}
    assert set(verdicts(empty, dict(empty)).values()) == {"same"}


def test_virtual_runs_that_decided_alike_have_no_noise_to_hide_a_change() -> None:
    """Drawing became slower, and no decision depends on it."""
    ages = np.full(90, 50.0)
    found = named(compare(summary_of(ages, pace="virtual"), summary_of(ages * 1.04, pace="virtual")))
    assert (found["decisions"].verdict, found["p99"].verdict, found["on time"].verdict) == ("same", "worse", "same")
    assert found["p99"].low == found["p99"].high == found["p99"].change == pytest.approx(0.04)


def test_runs_of_different_things_say_so() -> None:
    ages = latencies(600, 0.3, np.random.default_rng(11))[0]
    notes = {one.note for one in compare(summary_of(ages), summary_of(ages, "other.mkv", 100.0))}
    assert notes == {
        "not the same clip: walk.mkv at the baseline, other.mkv now; "
        "not the same budget in ms: 130.0 at the baseline, 100.0 now"
    }


# ---- ends


def test_empty_runs_give_no_verdict_and_no_error() -> None:
    empty, full = summarize(empty_run()), summarize(made_run(600))
    assert set(verdicts(empty, empty).values()) == {"can't tell"}
    assert set(verdicts(empty, full).values()) == {"can't tell"}
    found = verdicts(full, empty)
    assert (found["shown"], found["p50"]) == ("worse", "can't tell")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1e4), max_size=80), st.lists(st.floats(0, 1e4), max_size=80), st.booleans())
def test_any_two_runs_can_be_compared(old: list[float], new: list[float], is_same_clip: bool) -> None:
    full = [summary_of(np.array(ages or [1.0]), "a") for ages in (old, new)]
    none = {"samples_ms": [], "shown_at_ms": [], "outcomes": "", "fps": {"shown": 0.0}, "latency_ms": {}}
    before, now = (one if ages else one | none for one, ages in zip(full, (old, new), strict=True))
    found = compare(before, now | {"clip": "a" if is_same_clip else "b"})
    assert [one.name for one in found] == ["p50", "p95", "p99", "on time", "shown"]
    for one in found:
        assert one.verdict in ("better", "worse", "same", "can't tell")
        if one.change is not None and one.low is not None and one.high is not None:
            assert one.low <= one.change <= one.high
        json.dumps(one.change, allow_nan=False)
    assert found == compare(before, now | {"clip": "a" if is_same_clip else "b"}), "the same runs give the same answer"


def test_the_tolerance_is_what_separates_worse_from_same() -> None:
    ages = latencies(3000, 0.0, np.random.default_rng(12), sd=0.001)[0]
    assert verdicts(summary_of(ages), summary_of(ages * (1 + TOLERANCE - 0.005)))["p50"] == "same"
    assert verdicts(summary_of(ages), summary_of(ages * (1 + TOLERANCE + 0.005)))["p50"] == "worse"


# ---- the file


def test_baseline_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    path.write_text(json.dumps(found := summarize(made_run(50))), "utf-8")
    assert load_baseline(path) == found


def without(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda found: json.dumps({key: value for key, value in found.items() if key != name})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda _: "{", "is no JSON"),
        (lambda _: "\xff", "is no JSON"),
        (lambda _: "[]", "is no summary of a run"),
        (lambda _: "{}", "is no summary of a run"),
        (
            lambda found: json.dumps(found | {"schema_version": 7}),
            "is of schema version 7; this release reads version 1",
        ),
        (without("samples_ms"), "missing or damaged: samples_ms"),
        (without("outcomes"), "missing or damaged: outcomes"),
        (lambda found: json.dumps(found | {"fps": 3}), "missing or damaged: fps"),
        (lambda found: json.dumps(found | {"fps": {}}), "missing or damaged: fps"),
        (lambda found: json.dumps(found | {"latency_ms": {"capture_to_send": 3}}), "missing or damaged: latency_ms"),
        (lambda found: json.dumps(found | {"machine_probe_ms": "fast"}), "missing or damaged: machine_probe_ms"),
        (lambda found: json.dumps(found | {"other_load": "much"}), "missing or damaged: other_load"),
        (lambda found: json.dumps(found | {"samples_ms": [1, None]}), "missing or damaged: samples_ms"),
        (lambda found: json.dumps(found | {"samples_ms": [float("nan")]}), "missing or damaged: samples_ms"),
        (lambda found: json.dumps(found | {"samples_ms": [-3.5]}), "missing or damaged: samples_ms"),
        (lambda found: json.dumps(found | {"samples_ms": [10**400]}), "missing or damaged: samples_ms"),
        (lambda found: json.dumps(found | {"shown_at_ms": [1.0] * 20_001}), "missing or damaged: shown_at_ms"),
        (lambda found: json.dumps(found | {"outcomes": "o" * 20_001}), "missing or damaged: outcomes"),
        (lambda found: json.dumps(found | {"fps": {"shown": -3}}), "missing or damaged: fps"),
        (lambda found: json.dumps(found | {"fps": {"shown": 5e-324}}), "missing or damaged: fps"),
        (lambda found: json.dumps(found | {"budget_ms": float("inf")}), "missing or damaged: budget_ms"),
        (lambda found: json.dumps(found | {"machine_probe_ms": -1}), "missing or damaged: machine_probe_ms"),
        (
            lambda found: json.dumps(found | {"latency_ms": {"capture_to_send": {"p50": -1}}}),
            "missing or damaged: latency_ms",
        ),
        (lambda _: "[" * 100_000, "is no JSON"),
        (lambda _: '{"schema_version":' + "9" * 5000 + "}", "is no JSON"),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(
    text: Callable[[dict[str, Any]], str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "base.json"
    path.write_text(text(summarize(made_run(5))), "latin-1")
    with pytest.raises(ConfigError, match=message) as caught:
        load_baseline(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_baseline_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read: No such file"):
        load_baseline(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_baseline(tmp_path)


ODD: tuple[Any, ...] = (
    None,
    -1,
    0,
    "x",
    "",
    [],
    {},
    ["a"],
    1e-6,
    5e-324,
    1e10,
    1e30,
    10**400,
    True,
    0.5,
    float("nan"),
    [0, 1e10] * 30,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_baseline_is_compared_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    now = summarize(made_run(60)) | {"pace": data.draw(st.sampled_from(["virtual", "recorded"]))}
    found = json.loads(json.dumps(now))
    for name in data.draw(st.lists(st.sampled_from(sorted(found)), min_size=1, max_size=3, unique=True)):
        inner = found[name]
        if isinstance(inner, dict) and inner and data.draw(st.booleans()):
            inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(st.sampled_from(ODD))
        else:
            found[name] = data.draw(st.sampled_from(ODD))
    path = tmp_path / "base.json"
    path.write_text(json.dumps(found), "utf-8")
    try:
        rows = compare(load_baseline(path), now)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        json.dumps([(row.change, row.low, row.high) for row in rows], allow_nan=False)
