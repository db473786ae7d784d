from hypothesis import given
from hypothesis import strategies as st

from stream.clock import NS_PER_S
from stream.stats import WINDOW, Distribution, FrameCounts, Latency, Rate


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=800))
def test_quantiles_are_ordered_samples_of_the_window(values: list[float]) -> None:
    samples = Distribution()
    for value in values:
        samples.add(value)
    found = samples.summary()
    assert found["p50"] <= found["p95"] <= found["p99"] <= found["max"]
    assert found["max"] == round(max(values[-WINDOW:]), 2)
    assert samples.count == len(values)


def test_no_samples_no_summary() -> None:
    assert Distribution().summary() == {}


def test_rate_is_of_the_last_two_seconds() -> None:
    rate = Rate()
    for index in range(300):
        rate.add(index * NS_PER_S // 30)
    assert abs(rate.per_second(299 * NS_PER_S // 30) - 30) < 0.2
    assert rate.per_second(20 * NS_PER_S) == 0.0


def test_in_flight_is_what_is_neither_shown_nor_dropped() -> None:
    counts = FrameCounts(captured=10, shown=6)
    counts.dropped["superseded"] += 3
    assert counts.in_flight == 1


def test_latency_keeps_each_step_apart() -> None:
    latency = Latency()
    latency.add(40_000_000, [("models", 30.0), ("encode", 2.0)])
    found = latency.summary()
    assert found["capture_to_send"]["p50"] == 40.0
    assert set(found["steps"]) == {"models", "encode"}
