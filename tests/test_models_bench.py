"""The measuring itself, with a clock that is told what time it is."""

import numpy as np

from models.bench import call_times_ms, quantile


def test_each_call_is_timed_and_the_times_are_sorted():
    ticks = iter([0, 3_000_000, 10_000_000, 11_000_000])
    assert call_times_ms(lambda image: None, np.zeros((1, 1, 3), np.uint8), 2, lambda: next(ticks)) == [1.0, 3.0]


def test_quantile_is_a_measured_value():
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0, 0.5, 0.95, 1)] == [1.0, 3.0, 4.0, 4.0]
