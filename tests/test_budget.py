import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.budget import FAMILIES, CostKey, CostModel, Forecast

KEY = CostKey("style", "bf16", 360, 640, "cpu")


def predict_after(samples: list[int]) -> int:
    costs = CostModel()
    for sample in samples:
        costs.observe(KEY, sample)
    return costs.predict_ns(KEY)


def test_unknown_cost_is_the_default() -> None:
    assert CostModel().predict_ns(KEY, default_ns=9) == 9


def test_one_outlier_changes_nothing() -> None:
    assert predict_after([10] * 20 + [500]) == 10
    assert predict_after([10] * 20 + [500] + [10] * 3) == 10


def test_a_step_up_is_believed_at_its_second_sample() -> None:
    assert predict_after([10] * 16 + [30, 30]) == 30


def test_a_step_down_is_believed_within_four_samples() -> None:
    assert predict_after([30] * 16 + [10] * 4) == 10


def test_keys_do_not_mix() -> None:
    costs = CostModel()
    costs.observe(KEY, 10)
    assert costs.predict_ns(CostKey("style", "fp32", 360, 640, "cpu"), default_ns=1) == 1


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60))
def test_prediction_is_a_cost_seen_in_the_window(samples: list[int]) -> None:
    assert predict_after(samples) in samples[-16:]


# ---- variants and batches of one stage share their load

BEST, LIGHT = KEY, replace(KEY, variant="half")


def known(best: int = 40, light: int = 20) -> CostModel:
    costs = CostModel()
    costs.expect(BEST, best)
    costs.expect(LIGHT, light)
    return costs


def test_a_variant_not_in_use_is_judged_by_the_load_of_the_one_that_is() -> None:
    costs = known()
    for _ in range(4):
        costs.observe(BEST, 80)
    assert costs.predict_ns(LIGHT) == 40
    for _ in range(4):
        costs.observe(LIGHT, 20)
    assert costs.predict_ns(BEST) == 40


def test_other_sizes_and_devices_share_nothing() -> None:
    costs = known()
    for other in (replace(BEST, height=720), replace(BEST, device="cuda:0"), replace(BEST, stage="mask")):
        costs.expect(other, 7)
    for _ in range(4):
        costs.observe(BEST, 400)
    assert costs.predict_ns(replace(BEST, height=720)) == 7
    assert costs.predict_ns(replace(BEST, device="cuda:0")) == 7
    assert costs.predict_ns(replace(BEST, stage="mask")) == 7


def test_a_clock_that_stood_still_is_no_error() -> None:
    costs = CostModel()
    costs.expect(LIGHT, 20)
    costs.observe(BEST, 0)
    assert costs.predict_ns(LIGHT) == 20
    for _ in range(2):
        costs.observe(BEST, 40)
    assert costs.predict_ns(BEST) == 40


def test_the_lowest_of_several_warm_ups_is_the_prior() -> None:
    costs = CostModel()
    for cost in (60, 40, 50):
        costs.expect(KEY, cost)
    assert costs.priors() == {KEY: 40}


def test_a_prior_that_comes_late_does_not_undo_what_was_measured() -> None:
    costs = CostModel()
    for _ in range(4):
        costs.observe(KEY, 80)
    costs.expect(KEY, 10)
    assert costs.predict_ns(KEY) == 80


def test_costs_of_a_batch_are_its_own() -> None:
    costs = CostModel()
    for _ in range(4):
        costs.observe(KEY, 10)
        costs.observe(replace(KEY, batch=2), 14)
    assert (costs.predict_ns(KEY), costs.predict_ns(replace(KEY, batch=2))) == (10, 14)
    assert costs.predict_ns(replace(KEY, batch=3), default_ns=-1) == -1


def test_a_batch_follows_the_load_that_single_pictures_meet() -> None:
    """Measured while the device was busy with something else, it would look dear for ever."""
    costs = CostModel()
    costs.expect(KEY, 10)
    for _ in range(4):
        costs.observe(KEY, 30)
    for _ in range(2):
        costs.observe(replace(KEY, batch=2), 42)
    for _ in range(4):
        costs.observe(KEY, 10)
    assert costs.predict_ns(replace(KEY, batch=2)) == 14


def test_chance_is_the_share_of_recent_costs_that_fit() -> None:
    forecast = Forecast(50)
    assert (forecast.chance(50), forecast.chance(49)) == (1.0, 0.0)
    for cost in (10, 20, 30, 40):
        forecast.add(cost)
    assert [forecast.chance(left) for left in (9, 10, 25, 40)] == [0, 0.25, 0.5, 1]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**9)), max_size=40), st.integers(0, 10**9))
def test_typical_is_never_above_predicted_whatever_is_observed(observed: list[tuple[bool, int]], prior: int) -> None:
    costs = CostModel()
    costs.expect(LIGHT, prior)
    for is_light, cost in observed:
        costs.observe(LIGHT if is_light else BEST, cost)
        for key in (LIGHT, BEST):
            found = costs.forecast(key)
            assert 0 <= found.typical_ns <= found.predicted_ns + 1  # rounding


def test_load_is_what_jobs_take_now_by_what_they_took_at_warm_up() -> None:
    costs = CostModel()
    assert costs.forecast(KEY).load == 1
    costs.expect(KEY, 10)
    assert costs.forecast(KEY).load == 1
    for _ in range(8):
        costs.observe(KEY, 25)
    assert costs.forecast(KEY).load == 2.5
    for _ in range(16):
        costs.observe(KEY, 5)
    assert costs.forecast(KEY).load == 1


def test_a_prior_measured_under_load_is_put_right_by_use() -> None:
    """The lighter variant was warmed while others used the machine: it seems dearer than the full one."""
    costs, light = CostModel(), CostKey("style", "light", 360, 640, "cpu")
    costs.expect(KEY, 100)
    costs.expect(light, 160)
    for _ in range(10):
        for _ in range(20):
            costs.observe(KEY, 100)
        for _ in range(20):
            costs.observe(light, 40)
    ratio = costs.forecast(light).prior_ns / costs.forecast(KEY).prior_ns
    assert 0.4 / 1.3 <= ratio <= 0.4 * 1.3  # nearer than that is noise


def test_an_outlier_in_the_first_job_changes_nothing() -> None:
    costs = known()
    costs.observe(BEST, 400)
    assert costs.predict_ns(BEST) == 40


def test_an_outlier_right_after_a_change_of_variant_changes_nothing() -> None:
    costs = known()
    for _ in range(16):
        costs.observe(BEST, 40)
    costs.observe(LIGHT, 400)
    assert (costs.predict_ns(LIGHT), costs.predict_ns(BEST)) == (20, 40)


@pytest.mark.parametrize("factor", [1.3, 1.5, 2.0, 3.0])
def test_the_mean_follows_a_step_up_within_three_jobs(factor: float) -> None:
    costs = CostModel()
    for _ in range(20):
        costs.observe(KEY, 100)
    for _ in range(3):
        costs.observe(KEY, round(100 * factor))
    assert costs.forecast(KEY).typical_ns == round(100 * factor)


def test_sizes_without_end_are_forgotten() -> None:
    costs = CostModel()
    for height in range(2 * FAMILIES):
        costs.observe(replace(KEY, height=height), 10)
    assert len(costs.priors()) == FAMILIES
    assert costs.predict_ns(replace(KEY, height=2 * FAMILIES - 1)) == 10


def test_the_mean_of_a_load_that_scatters_is_that_of_many_jobs() -> None:
    """A choice between variants would otherwise follow the chance of 16 jobs."""
    chance, costs = random.Random(3), CostModel()
    found = []
    for _ in range(2000):
        costs.observe(KEY, round(1000 * math.exp(chance.gauss(-0.125, 0.5))))
        found.append(costs.forecast(KEY).typical_ns)
    assert sum(mean > 1300 for mean in found[100:]) <= len(found) / 100
