from hypothesis import given
from hypothesis import strategies as st

from stream.budget import CostKey, CostModel

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
