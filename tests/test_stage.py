import numpy as np
import pytest

from stream.errors import ModelError
from stream.results import Results
from stream.stage import ERRORS_TO_OPEN, RETRY_AFTER_NS, Breaker, Stage, StageState
from stream.view import StageKind
from tests.fakes import make_frame


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (StageKind.GENERATE, None, "expected a uint8 (4, 8, 3) picture, got NoneType"),
        (StageKind.GENERATE, np.zeros((4, 8, 3), np.float32), "got float32 (4, 8, 3)"),
        (StageKind.GENERATE, np.zeros((2, 2, 3), np.uint8), "got uint8 (2, 2, 3)"),
        (StageKind.RECOGNIZE, [1, 2], "expected Results, got list"),
        (StageKind.RECOGNIZE, None, "expected Results, got NoneType"),
        (StageKind.RECOGNIZE, Results(classes=(("cup", float("nan")),)), "x: expected classes as (label, finite"),
        (
            StageKind.RECOGNIZE,
            Results(mask=np.zeros((8, 4), np.uint8)),
            "expected a mask [4,8] uint8, got [8, 4] uint8",
        ),
    ],
)
def test_a_value_outside_the_contract_names_what_was_expected_and_got(kind, value, says: str) -> None:
    with pytest.raises(ModelError) as caught:
        Stage("x", kind, lambda image: value).apply(make_frame())
    assert says in str(caught.value)


def test_a_stage_with_needs_is_given_the_results() -> None:
    frame = make_frame()
    frame.results["mask"] = Results(labels=())
    seen = []
    stage = Stage(
        "x", StageKind.RECOGNIZE, lambda image, found: seen.append(found) or Results(), needs=frozenset({"mask"})
    )
    stage.apply(frame)
    assert set(seen[0]) == {"mask"}


def test_the_breaker_opens_after_errors_in_a_row_and_tries_again() -> None:
    breaker = Breaker()
    for _ in range(ERRORS_TO_OPEN - 1):
        breaker.failed(0)
    breaker.succeeded()
    for _ in range(ERRORS_TO_OPEN - 1):
        breaker.failed(0)
    assert breaker.is_closed(0)
    breaker.failed(0)
    assert not breaker.is_closed(0)
    assert breaker.is_closed(RETRY_AFTER_NS)
    breaker.failed(RETRY_AFTER_NS)
    assert not breaker.is_closed(RETRY_AFTER_NS + 1)


def test_results_that_come_late_do_not_replace_newer_ones() -> None:
    state = StageState(Stage("x", StageKind.RECOGNIZE, len))
    newer, older = Results(classes=(("new", 1.0),)), Results(classes=(("old", 1.0),))
    state.succeeded(0, newer, captured_ns=20)
    state.succeeded(0, older, captured_ns=10)
    assert state.latest is not None and state.latest.results is newer
    assert state.age_ns(25) == 5
