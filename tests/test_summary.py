import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.run import Arrival, Cost, Decision, Outcome, Run
from stream.summary import MAX_MISSES, MAX_SAMPLES, decisions_sha256, steps_ms, summarize, thinned
from stream.trace import STEP_NAMES
from tests.made_run import BUDGET_NS, INFO, MS, START_NS, empty_run, made_run


def arrived(seq: int, at_ns: int) -> Arrival:
    return Arrival(seq, seq, at_ns, at_ns + 1 * MS, 360, 640)


def shown(seq: int, at_ns: int, age_ns: int, **more: object) -> Outcome:
    stamps = {"captured": at_ns, "decoded": at_ns + 4 * MS, "finished": at_ns + age_ns - MS, "sent": at_ns + age_ns}
    fields = {"decisions": {"style": Decision("run", "640 bf16", "fits")}, "late_ns": age_ns - BUDGET_NS, **more}
    return Outcome(seq, "", at_ns + age_ns, at_ns + BUDGET_NS, stamps, **fields)  # type: ignore[arg-type]


def dropped(seq: int, at_ns: int, reason: str = "superseded") -> Outcome:
    return Outcome(seq, reason, at_ns + 30 * MS, at_ns + BUDGET_NS, {"captured": at_ns}, cause="waiting")


def run_of(*records: Arrival | Cost | Outcome) -> Run:
    run = Run(INFO)
    for record in records:
        run.add(record)
    return run


def test_the_numbers_of_a_small_run_are_those_counted_by_hand() -> None:
    run = run_of(
        arrived(0, START_NS),
        arrived(1, START_NS + 500 * MS),
        arrived(2, START_NS + 1000 * MS),
        arrived(3, START_NS + 1900 * MS),
        Cost("style", "640 bf16", (0,), 1, "generate", START_NS, START_NS + 9),
        Cost("style", "480 bf16", (1,), 1, "generate", START_NS, START_NS + 9),
        Cost("style", "480 bf16", (2,), 1, "generate", START_NS, START_NS + 9, error="ValueError: no"),
        shown(0, START_NS, 100 * MS),
        shown(1, START_NS + 500 * MS, 170 * MS, cause="model"),
        dropped(2, START_NS + 1000 * MS),
        Outcome(3, "", START_NS + 2000 * MS, 0, {"captured": START_NS + 1900 * MS}, late_ns=-1),  # nobody watched
    )
    found = summarize(run, memory_mb=812.5)
    assert found["frames"] == {
        "captured": 4,
        "shown": 3,
        "on_time": 2,
        "late": 1,
        "reused": 0,
        "skipped": 0,
        "dropped": {"superseded": 1},
        "unsettled": 0,
        "expected": None,
    }
    assert (found["duration_s"], found["fps"]) == (2.0, {"shown": 1.5, "captured": 2.0})
    assert found["variants"] == {"style": {"640 bf16": 1, "480 bf16": 1}, "boxes": {}}
    assert found["ips"] == {"style": 1.0, "boxes": 0.0}
    assert found["latency_ms"]["capture_to_send"] == {"p50": 170.0, "p95": 170.0, "p99": 170.0, "max": 170.0}
    assert found["latency_ms"]["decode"]["max"] == 4.0
    assert found["latency_ms"]["models"]["max"] == 165.0
    assert found["misses"] == [{"seq": 1, "late_ms": 20.0, "cause": "model"}]
    assert found["causes"] == {"model": 1, "waiting": 1}
    assert found["utility"] == 0.25  # frame 0 at full quality; frame 3 has no style at all
    assert (found["samples_ms"], found["outcomes"]) == ([100.0, 170.0], "oldo")
    assert found["shown_at_ms"] == [100.0, 670.0, 2000.0]
    assert (found["memory_mb"], found["machine_probe_ms"], found["budget_ms"]) == (812.5, None, 150.0)


@pytest.mark.parametrize(("expected", "is_complete"), [(None, None), (59, True), (60, True), (61, False)])
def test_run_is_complete_when_every_frame_came(expected: int | None, is_complete: bool | None) -> None:
    found = summarize(made_run(60), expected_frames=expected)
    assert (found["frames"]["expected"], found["is_complete"]) == (expected, is_complete)


def test_steps_are_named_and_counted_as_the_trace_does() -> None:
    outcome = made_run(1, seed=1).outcomes[0]
    assert set(steps_ms(outcome)) <= set(STEP_NAMES.values())
    assert round(sum(steps_ms(outcome).values()), 6) == (outcome.stamps_ns["sent"] - START_NS) / MS
    assert steps_ms(replace(outcome, stamps_ns={})) == {}


def test_a_lighter_variant_and_a_late_or_skipped_frame_cost_utility() -> None:
    light = {"style": Decision("run", "480 bf16", "")}
    skip = {"style": Decision("skip", "", "circuit open")}
    run = run_of(
        shown(0, START_NS, MS),
        shown(1, START_NS, MS, decisions=light),
        shown(2, START_NS, MS, decisions=skip),
        shown(3, START_NS, BUDGET_NS + 1),
    )
    assert summarize(run)["utility"] == (1.0 + 0.8) / 4
    assert summarize(run)["frames"]["skipped"] == 1


def test_the_age_of_a_reused_result_is_told_per_stage() -> None:
    old = {"style": Decision("run", "640 bf16", ""), "boxes": Decision("reuse", "416 bf16", "young enough", 66 * MS)}
    found = summarize(run_of(shown(0, START_NS, MS, decisions=old), shown(1, START_NS, MS)))
    assert found["reused_age_ms"] == {"boxes": {"p50": 66.0, "p95": 66.0, "p99": 66.0, "max": 66.0}}
    assert found["frames"]["reused"] == 1


def test_a_run_in_which_nothing_came_is_all_zeros() -> None:
    found = summarize(empty_run())
    assert found["frames"]["captured"] == found["frames"]["shown"] == found["utility"] == 0
    assert found["fps"] == {"shown": 0.0, "captured": 0.0}
    assert (found["latency_ms"], found["samples_ms"], found["outcomes"]) == ({"capture_to_send": {}}, [], "")
    assert (found["causes"], found["misses"], found["misses_total"], found["ladder"]) == ({}, [], 0, [])
    json.dumps(found, allow_nan=False)


def test_a_run_in_which_nothing_was_shown_counts_its_drops() -> None:
    found = summarize(run_of(arrived(0, START_NS), dropped(0, START_NS, "warming"), arrived(1, START_NS)))
    assert found["frames"]["dropped"] == {"warming": 1}
    assert found["frames"]["unsettled"] == 1
    assert (found["latency_ms"], found["outcomes"]) == ({"capture_to_send": {}}, "du")


def test_long_runs_are_thinned_and_say_so() -> None:
    run = made_run(MAX_SAMPLES + 2000)
    found = summarize(run)
    assert found["samples_thinned"]
    assert len(found["outcomes"]) == MAX_SAMPLES
    assert max(len(found["samples_ms"]), len(found["shown_at_ms"])) <= MAX_SAMPLES
    assert len(found["misses"]) == MAX_MISSES < found["misses_total"]
    assert not summarize(made_run(50))["samples_thinned"]


@given(st.lists(st.integers(), max_size=300), st.integers(1, 50))
def test_thinning_keeps_order_and_bound(values: list[int], limit: int) -> None:
    kept = thinned(list(enumerate(values)), limit)
    assert len(kept) == min(limit, len(values))
    assert kept == sorted(set(kept))


@given(st.integers(0, 60), st.integers(0, 5))
def test_every_frame_is_counted_once(frames: int, seed: int) -> None:
    found = summarize(made_run(frames, seed))
    counts = found["frames"]
    assert counts["captured"] == counts["shown"] + sum(counts["dropped"].values()) + counts["unsettled"] == frames
    assert counts["shown"] == counts["on_time"] + counts["late"]
    assert counts["late"] == found["misses_total"]
    assert len(found["outcomes"]) == frames
    assert 0 <= found["utility"] <= 1
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@given(st.integers(1, 40), st.integers(0, 10**15), st.randoms(use_true_random=False))
def test_the_digest_knows_neither_the_clock_nor_the_order_of_records(
    frames: int, start_ns: int, chance: random.Random
) -> None:
    run, moved = made_run(frames), made_run(frames, start_ns=start_ns)
    for outcome in moved.outcomes:  # the same decisions, entered the other way round
        names = list(outcome.decisions)[::-1]
        object.__setattr__(outcome, "decisions", {name: outcome.decisions[name] for name in names})
    chance.shuffle(moved.outcomes)
    assert decisions_sha256(moved) == decisions_sha256(run)
    assert summarize(moved)["samples_ms"] == summarize(run)["samples_ms"]


def test_the_digest_changes_with_each_thing_that_was_decided() -> None:
    base = Decision("run", "a", "fits", 5)
    changed = [
        replace(base, action="skip"),
        replace(base, variant="b"),
        replace(base, reason="x"),
        replace(base, age_ns=6),
    ]
    digests = {decisions_sha256(run_of(shown(0, 0, MS, decisions={"style": one}))) for one in [base, *changed]}
    digests.add(decisions_sha256(run_of(shown(1, 0, MS, decisions={"style": base}))))
    digests.add(decisions_sha256(run_of(shown(0, 0, MS, decisions={"boxes": base}))))
    digests.add(decisions_sha256(run_of(dropped(0, 0))))
    assert len(digests) == len(changed) + 4
