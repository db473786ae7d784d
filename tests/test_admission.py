import re
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream.admission import FULL, Ask, refusal
from tests.fakes import MS


def ask(name: str = "new", **changes: Any) -> Ask:
    usual = {"budget_ns": 150 * MS, "models_ns": 20 * MS, "tail_ns": 5 * MS, "min_fps": 1.0}
    return Ask(name, **(usual | {"lanes_ns": {"generate": 20 * MS}} | changes))


def test_a_stream_that_fits_is_accepted() -> None:
    assert refusal(ask(), []) is None
    assert refusal(ask(), [ask(f"s{index}") for index in range(20)]) is None


def test_a_stream_whose_lightest_is_over_the_budget_is_refused_with_numbers_and_a_way_out() -> None:
    why = refusal(ask(models_ns=170 * MS), [])
    assert why is not None
    assert "takes 175 ms" in why and "budget is 150 ms" in why
    advised = int(re.findall(r"--budget (\d+)", why)[0])
    assert refusal(ask(models_ns=170 * MS, budget_ns=advised * MS), []) is None


def test_exactly_the_budget_is_enough() -> None:
    assert refusal(ask(models_ns=145 * MS), []) is None
    assert refusal(ask(models_ns=145 * MS + 1), []) is not None


def test_minimum_rates_that_do_not_fit_together_are_refused_with_every_rate_and_the_lane() -> None:
    others = [ask("front", min_fps=15), ask("back", min_fps=20)]
    why = refusal(ask(min_fps=15), others)
    assert why is not None
    assert "front 15, back 20, new 15" in why and "generate to 100%" in why
    assert refusal(ask(min_fps=10), others) is None


def test_streams_of_other_lanes_take_nothing_away() -> None:
    others = [ask("front", min_fps=45, lanes_ns={"recognize": 20 * MS})]
    assert refusal(ask(min_fps=15), others) is None


def test_a_stream_that_asks_for_no_rate_is_not_refused_for_what_others_ask() -> None:
    """Streams let in with --allow-late may ask for more than there is; that is not the newcomer's doing."""
    assert refusal(ask(min_fps=0), [ask("front", min_fps=60)]) is None


asks = st.lists(st.tuples(st.integers(1, 50), st.sampled_from([0.0, 1.0, 10.0])), max_size=8)


@given(asks, st.integers(1, 200), st.sampled_from([0.0, 1.0, 10.0]))
def test_refused_exactly_when_it_is_over_its_budget_or_the_rates_do_not_fit(others, cost_ms, min_fps) -> None:
    found = [
        ask(f"s{i}", models_ns=ms * MS, lanes_ns={"generate": ms * MS}, min_fps=fps)
        for i, (ms, fps) in enumerate(others)
    ]
    new = ask(models_ns=cost_ms * MS, lanes_ns={"generate": cost_ms * MS}, min_fps=min_fps)
    load = sum(ms * fps for ms, fps in [*others, (cost_ms, min_fps)]) / 1000
    is_refused = cost_ms + 5 > 150 or (load > FULL + 1e-9 and min_fps > 0)
    if abs(load - FULL) > 1e-6:
        assert (refusal(new, found) is not None) == is_refused


def test_a_refusal_under_a_floor_of_quality_says_that_it_may_be_lowered() -> None:
    ask = Ask("s", 100 * MS, 120 * MS, 0, 0)
    assert "--min-quality" not in str(refusal(ask, []))
    assert "a lower --min-quality" in str(refusal(replace(ask, min_quality=0.9), []))
