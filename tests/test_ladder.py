import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.budget import Forecast
from stream.clock import NS_PER_S
from stream.ladder import UP_AFTER_NS, LadderControl, Room, Step
from stream.pipeline import Pipeline
from stream.stage import Stage
from tests.fakes import MS
from tests.test_pipeline import Rig, of_cost, times

QUALITIES = (1.0, 0.9, 0.75, 0.6)
COSTS = (1.0, 0.55, 0.3, 0.16)  # of the best variant's
INTERVAL_MS = 100 / 3
ROOM = Room(round(INTERVAL_MS * MS), 140 * MS)


def forecasts(best_ms: float, count: int = 4) -> list[Forecast]:
    return [Forecast(round(best_ms * share * MS)) for share in COSTS[:count]]


def steady(control: LadderControl, best_ms: float, from_s: float, until_s: float, count: int = 4) -> list[Step]:
    """Ask at 30 frames a second; return the changes."""
    found = []
    for index in range(round(from_s * 30), round(until_s * 30)):
        step = control.update(index * NS_PER_S // 30, forecasts(best_ms, count), ROOM)
        found += [step] if step else []
    return found


def laddered(rig: Rig, load: Callable[[], float], best_ms: float, min_quality: float = 0) -> Stage:
    """Return a stage with a ladder, costs times `load()` at each call, and priors as at warm-up."""
    kept = [cost for quality, cost in zip(QUALITIES, COSTS, strict=True) if quality >= min_quality]
    stage = of_cost("style", lambda call: best_ms * load(), *[best_ms * cost for cost in kept[1:]])
    lighter = tuple(replace(v, quality=q) for v, q in zip(stage.lighter, QUALITIES[1:], strict=False))
    stage = Stage(stage.name, stage.kind, stage.model, "v0", lighter=lighter, cost_name="style")
    for rung, (variant, cost) in enumerate(zip(stage.ladder, kept, strict=True)):
        variant.model._cost_ms = lambda call, cost=cost: best_ms * cost * load()
        rig.pipeline.expect(stage, 4, 8, round(best_ms * cost * MS), rung)
    return stage


def changes_of(load: Callable[[], float], best_ms: float, budget_ms: float, until_s: int = 60) -> list[float]:
    """Return when the ladder changed, in s."""
    rig = Rig()
    rig.add("s", laddered(rig, load, best_ms), budget_ms=budget_ms, tail_ms=4)
    rig.feed("s", times(INTERVAL_MS, until_s * 1000))
    rig.run(until_s * 1000 + 500)
    rig.finish()
    return [change.at_ns / NS_PER_S for change in rig.runs["s"].ladder]


# ---- the rules


def test_a_level_that_takes_too_long_is_left_at_once_for_the_one_worth_most() -> None:
    control = LadderControl(QUALITIES)
    step = control.update(0, forecasts(60), ROOM)
    assert step is not None and (step.before, step.after, control.level) == (0, 1, 1)
    assert control.changes == 1


def test_it_goes_up_again_after_a_second_of_room_and_no_sooner() -> None:
    control = LadderControl(QUALITIES)
    control.update(0, forecasts(60), ROOM)
    assert steady(control, 60, 0.1, 10) == []
    start_s = 10.0
    assert steady(control, 30, start_s, start_s + UP_AFTER_NS / NS_PER_S) == []
    [step] = steady(control, 30, start_s + 1, start_s + 2)
    assert (step.before, step.after) == (1, 0)


def test_room_for_a_moment_only_changes_nothing() -> None:
    control = LadderControl(QUALITIES)
    control.update(0, forecasts(60), ROOM)
    for second in range(1, 30):
        assert steady(control, 30, second, second + 0.8) == []
        assert steady(control, 60, second + 0.8, second + 1) == []


def test_a_level_the_budget_has_no_time_for_is_left_whatever_the_rate() -> None:
    control = LadderControl(QUALITIES)
    step = control.update(0, forecasts(60), Room(1000 * MS, 40 * MS))
    assert step is not None and step.after == 1
    assert step.reason == "the better one takes 60 ms, and the budget leaves it 40"


def test_when_no_level_fits_the_lightest_is_taken() -> None:
    control = LadderControl(QUALITIES)
    step = control.update(0, forecasts(900), Room(33 * MS, 40 * MS))
    assert step is not None and step.after == 3


def test_light_variants_of_little_quality_are_not_taken() -> None:
    control = LadderControl((1.0, 0.2))
    assert control.update(0, forecasts(66, 2), ROOM) is None  # every second frame at 1.0 is worth more


def test_a_variant_that_is_not_ready_is_not_taken() -> None:
    control = LadderControl(QUALITIES)
    step = control.update(0, forecasts(900, 2), ROOM)
    assert step is not None and step.after == 1


def test_with_nothing_known_it_stays_at_the_best() -> None:
    control = LadderControl(QUALITIES)
    assert control.update(0, forecasts(0), Room(0, 140 * MS)) is None
    assert control.update(0, forecasts(0), ROOM) is None


def test_reasons_name_numbers() -> None:
    control = LadderControl(QUALITIES)
    down = control.update(0, forecasts(60), ROOM)
    [up] = steady(control, 30, 5, 8)
    assert down is not None
    assert all(len(re.findall(r"\d+", step.reason)) == 2 for step in (down, up))
    assert down.reason == "the better one takes 60 ms, and there are 33 for a frame"
    assert up.reason == "there is room: 30 of 33 ms"


costs_lists = st.lists(st.lists(st.integers(0, 200 * MS), min_size=4, max_size=4), min_size=1, max_size=40)


@given(costs_lists, st.integers(1, 4), st.integers(0, 60 * MS), st.integers(0, 200 * MS))
def test_whatever_the_costs_the_level_is_one_that_is_ready_and_steps_join_up(lists, ready, period_ns, spare_ns) -> None:
    control, level = LadderControl(QUALITIES), 0
    for index, costs_ns in enumerate(lists):
        found = control.update(index * 33 * MS, [Forecast(c) for c in costs_ns[:ready]], Room(period_ns, spare_ns))
        if found is not None:
            assert found.before == level != found.after
            level = found.after
        assert control.level == level < ready
    assert control.changes <= len(lists)


# ---- in a stream, in virtual time


def test_a_rise_of_load_is_answered_within_three_frames_and_a_fall_within_two_seconds() -> None:
    rig = Rig()
    now_s = lambda: rig.clock.now_ns() / NS_PER_S  # noqa: E731
    stage = laddered(rig, lambda: 3.0 if 4 <= now_s() < 8 else 1.0, 28)
    stream = rig.add("s", stage, tail_ms=4)
    rig.feed("s", times(INTERVAL_MS, 14_000))
    rig.run(14_500)
    rig.finish()
    down, *_, up = rig.runs["s"].ladder
    processed = [
        cost for cost in rig.runs["s"].costs if cost.started_ns / NS_PER_S >= 4 and cost.finished_ns <= down.at_ns
    ]
    assert len(processed) <= 3
    assert 8 < up.at_ns / NS_PER_S <= 10
    assert up.after == "v0" and stream.stages["style"].control.level == 0
    assert [event.reason for event in stream.ladder_events] == [change.reason for change in rig.runs["s"].ladder]


@pytest.mark.parametrize(("best_ms", "budget_ms"), [(30, 60), (37, 150), (50, 60), (110, 150)])
def test_a_constant_load_settles(best_ms: float, budget_ms: float) -> None:
    assert len(changes_of(lambda: 1.0, best_ms, budget_ms)) <= 2


@pytest.mark.parametrize("sigma", ["uniform", 0.3])
@pytest.mark.parametrize(("best_ms", "budget_ms"), [(34, 60), (60, 150), (67, 60), (110, 150)])
def test_a_load_that_scatters_changes_less_than_once_in_two_seconds(sigma: str | float, best_ms, budget_ms) -> None:
    chance = random.Random(7)

    def load() -> float:
        if isinstance(sigma, str):
            return chance.uniform(0.8, 1.2)
        return math.exp(chance.gauss(-sigma * sigma / 2, sigma))

    changed = changes_of(load, best_ms, budget_ms)
    assert len(changed) <= 30
    assert all(sum(at <= other < at + 1 for other in changed) <= 2 for at in changed)


@pytest.mark.parametrize("half_s", [0.5, 1.0, 2.0])
def test_a_load_that_alternates_settles_instead_of_flapping(half_s: float) -> None:
    rig = Rig()
    stage = laddered(rig, lambda: 2.2 if rig.clock.now_ns() / NS_PER_S % (2 * half_s) < half_s else 0.6, 50)
    rig.add("s", stage, tail_ms=4)
    rig.feed("s", times(INTERVAL_MS, 60_000))
    rig.run(60_500)
    rig.finish()
    at_s = [change.at_ns / NS_PER_S for change in rig.runs["s"].ladder]
    halves = 60 / half_s
    assert len(at_s) <= halves / 3
    assert sum(at > 30 for at in at_s) <= max(sum(at <= 30 for at in at_s), 12)


def test_a_ladder_shortened_by_the_least_quality_keeps_its_floor() -> None:
    rig = Rig()
    stream = rig.add("s", laddered(rig, lambda: 1.0, 400, min_quality=0.75), tail_ms=4)
    rig.feed("s", times(INTERVAL_MS, 3000))
    rig.run(4500)
    rig.finish()
    assert stream.stages["style"].control.level == 2
    assert {cost.variant for cost in rig.runs["s"].costs} <= {"v0", "v1", "v2"}


def test_a_variant_compiled_later_is_taken_from_then_on() -> None:
    rig = Rig()
    stream = rig.add("s", laddered(rig, lambda: 1.0, 100), tail_ms=4)
    stream.stages["style"].ready = 1
    pipeline: Pipeline = rig.pipeline
    rig.machine.at(2000 * MS, lambda: pipeline.variants_ready("s", "style", 3))
    rig.feed("s", times(INTERVAL_MS, 4000))
    rig.run(5000)
    rig.finish()
    assert all(change.at_ns >= 2000 * MS for change in rig.runs["s"].ladder)
    assert {c.variant for c in rig.runs["s"].costs if c.started_ns < 2000 * MS} == {"v0"}
    assert rig.runs["s"].costs[-1].variant == "v2"


loads = st.lists(st.sampled_from([0.3, 1.0, 2.5, 6.0]), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None)
@given(loads, st.integers(1, 4), st.sampled_from([60, 150]))
def test_under_any_load_only_ready_variants_run_and_every_change_is_told(loads, ready, budget_ms) -> None:
    rig = Rig()
    stage = laddered(rig, lambda: loads[int(rig.clock.now_ns() / NS_PER_S) % len(loads)], 40)
    stream = rig.add("s", stage, tail_ms=4, budget_ms=budget_ms)
    stream.stages["style"].ready = ready
    rig.feed("s", times(INTERVAL_MS, 6000))
    rig.run(7500)
    rig.finish()
    assert {cost.variant for cost in rig.runs["s"].costs} <= {f"v{index}" for index in range(ready)}
    told = rig.runs["s"].ladder
    assert len(told) == stream.stages["style"].control.changes
    assert all(a.after == b.before for a, b in pairwise(told))
    assert all(re.search(r"\d", change.reason) for change in told)


def test_a_first_step_of_little_quality_is_taken_back_when_every_frame_can_be_served() -> None:
    """Less than 5 % of quality would otherwise be given up for ever."""
    control = LadderControl((1.0, 0.97))
    room = Room(33 * MS, 120 * MS)
    assert control.update(0, [Forecast(60 * MS), Forecast(30 * MS)], room) is not None
    levels = []
    for frame in range(1, 120):
        control.update(frame * 33 * MS, [Forecast(20 * MS), Forecast(10 * MS)], room)
        levels.append(control.level)
    assert levels[-1] == 0


def test_a_step_up_that_costs_frames_does_not_speak_of_room() -> None:
    control = LadderControl((1.0, 0.53))
    room = Room(33 * MS, 120 * MS)
    assert control.update(0, [Forecast(80 * MS), Forecast(13 * MS)], room) is not None
    steps = [control.update(at * 33 * MS, [Forecast(50 * MS), Forecast(13 * MS)], room) for at in range(1, 60)]
    [up] = [step for step in steps if step is not None]
    assert up.reason == "fewer frames of it are worth more: it takes 50 ms, and there are 33"


def test_a_variant_that_memory_did_not_suffice_for_is_left_alone_for_a_while() -> None:
    control = LadderControl(QUALITIES)
    steady(control, 10, 0, 2)
    step = control.rule_out(2 * NS_PER_S, 1, "memory ran out with the better one")
    assert step == Step(0, 1, "memory ran out with the better one")
    assert control.rule_out(2 * NS_PER_S, 1, "again") is None
    assert steady(control, 10, 2, 31) == []  # there would be room all the time
    assert [(change.before, change.after) for change in steady(control, 10, 31, 36)] == [(1, 0)]


def test_a_ruled_out_variant_does_not_keep_a_heavier_load_from_going_lighter() -> None:
    control = LadderControl(QUALITIES)
    control.rule_out(0, 1, "memory")
    assert [change.after for change in steady(control, 200, 0, 3)][-1] == 3
