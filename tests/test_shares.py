import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.shares import fair_shares

ONES = {"a": 1.0, "b": 1.0, "c": 1.0}


def test_equal_streams_that_ask_for_too_much_get_equal_parts() -> None:
    shares = fair_shares({"a": 0.9, "b": 0.9, "c": 0.9}, ONES)
    assert shares == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


def test_parts_go_by_weight() -> None:
    shares = fair_shares({"a": 2.0, "b": 2.0}, {"a": 3.0, "b": 1.0})
    assert shares == pytest.approx({"a": 0.75, "b": 0.25})


def test_what_a_stream_does_not_need_goes_to_the_others_by_weight() -> None:
    shares = fair_shares({"a": 0.1, "b": 5.0, "c": 5.0}, {"a": 1.0, "b": 2.0, "c": 1.0})
    assert shares == pytest.approx({"a": 0.1, "b": 0.6, "c": 0.3})


def test_what_nobody_asks_for_is_divided_too() -> None:
    assert fair_shares({"a": 0.2, "b": 0.2}, ONES) == pytest.approx({"a": 0.5, "b": 0.5})


def test_one_stream_has_it_all_and_none_has_nothing() -> None:
    assert fair_shares({"a": 0.0}, ONES) == {"a": 1.0}
    assert fair_shares({}, {}) == {}


streams = st.dictionaries(
    st.text(max_size=3), st.tuples(st.floats(0, 8), st.floats(0.01, 100)), min_size=1, max_size=12
)


@given(streams)
def test_shares_sum_to_one_and_nobody_has_less_than_the_lesser_of_wish_and_weight(found) -> None:
    demands = {name: demand for name, (demand, _) in found.items()}
    weights = {name: weight for name, (_, weight) in found.items()}
    shares, total = fair_shares(demands, weights), sum(weights.values())
    assert sum(shares.values()) == pytest.approx(1)
    for name, share in shares.items():
        assert share >= min(demands[name], weights[name] / total) - 1e-9


@given(streams)
def test_who_goes_short_has_as_much_for_its_weight_as_anyone(found) -> None:
    demands = {name: demand for name, (demand, _) in found.items()}
    weights = {name: weight for name, (_, weight) in found.items()}
    shares = fair_shares(demands, weights)
    for name in shares:
        if shares[name] < demands[name] - 1e-9:
            mine = shares[name] / weights[name]
            assert all(mine >= shares[other] / weights[other] - 1e-6 * mine for other in shares)


@given(streams, st.randoms())
def test_the_order_of_streams_changes_nothing(found, chance) -> None:
    names = list(found)
    chance.shuffle(names)
    weights = {name: weight for name, (_, weight) in found.items()}
    again = fair_shares({name: found[name][0] for name in names}, weights)
    assert again == pytest.approx(fair_shares({name: found[name][0] for name in found}, weights))
