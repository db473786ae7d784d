"""The delays between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from stream.backoff import MOST_S, backoff_s

chances = st.floats(0, 1)


def test_delays_start_at_half_a_second_and_double() -> None:
    assert [backoff_s(failures, 0.5) for failures in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(failures=st.integers(1, 10**9), chance=chances)
def test_delays_stay_between_their_bounds(failures: int, chance: float) -> None:
    assert 0.4 <= backoff_s(failures, chance) <= MOST_S


@given(failures=st.integers(1, 100), chance=chances)
def test_what_a_person_must_mend_is_tried_at_most_every_30_seconds(failures: int, chance: float) -> None:
    assert 30 <= backoff_s(failures, chance, is_slow=True) <= 36


def test_sources_lost_together_come_back_apart() -> None:
    assert len({backoff_s(3, chance / 10) for chance in range(11)}) == 11
