import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.bootstrap import correlation_time, interval, mean, quantiles, resampled
from stream.stats import quantile
from tests.test_baseline import latencies


@pytest.mark.parametrize(("alike", "frames_alike"), [(0.0, 1.0), (0.5, 3.0), (0.8, 9.0)])
def test_correlation_time_is_that_of_the_process(alike: float, frames_alike: float) -> None:
    runs = latencies(3000, alike, np.random.default_rng(1), pairs=20)
    found = np.median([correlation_time(np.log(run)) for run in runs])
    assert found == pytest.approx(frames_alike, rel=0.2)


@pytest.mark.parametrize("values", [[], [3.0], [2.0] * 50])
def test_values_that_never_change_are_taken_as_independent(values: list[float]) -> None:
    assert correlation_time(np.array(values)) == 1.0


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_interval_holds_the_truth_as_often_as_it_says(alike: float) -> None:
    pairs, random = 150, np.random.default_rng(2)
    old, new = (np.log(latencies(900, alike, random, pairs=pairs)) for _ in range(2))
    held = 0
    for one, other in zip(old, new, strict=True):
        both = resampled(one, other, mean, is_paired=False)
        low, high = interval(float(both.new[0] - both.old[0]), (both.new_draws - both.old_draws)[:, 0], both.stretch)
        held += low <= 0 <= high
    assert held >= 0.91 * pairs  # 95 % less two standard errors


def test_a_run_paired_with_itself_has_no_spread() -> None:
    values = latencies(300, 0.5, np.random.default_rng(3))[0]
    both = resampled(values, values, quantiles, is_paired=True)
    assert (both.old_draws == both.new_draws).all()
    assert not (resampled(values, values, quantiles, is_paired=False).new_draws == both.old_draws).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_quantiles_are_those_of_the_summary(values: list[float]) -> None:
    ordered = sorted(values)
    assert quantiles(np.array(values)).tolist() == [quantile(ordered, q) for q in (0.5, 0.95, 0.99)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_runs_of_any_length_are_resampled_within_their_range(old: int, new: int, is_paired: bool) -> None:
    both = resampled(np.arange(float(old)), np.arange(float(new)), quantiles, is_paired)
    assert both.old_draws.min() >= 0 and both.old_draws.max() <= old - 1
    assert both.new_draws.min() >= 0 and both.new_draws.max() <= new - 1
    assert both.stretch >= 1
