import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.cause import Cause, cause_of, slack_ns
from stream.trace import Step
from stream.view import DropReason

INTERVAL = 33
DEADLINE = 150
PLANNED = {"models": 40, "tail": 8}
AS_PLANNED = {  # how long each step takes when nothing is amiss, in the unit of DEADLINE
    Step.DECODED: 20,
    Step.QUEUED: 0,
    Step.STARTED: 5,
    Step.FINISHED: 40,
    Step.TAKEN: 1,
    Step.COMPOSED: 2,
    Step.ENCODED: 5,
    Step.SENT: 1,
}


def stamps_of(*reached: Step, **more: int) -> dict[Step, int]:
    """Return stamps of a frame captured at 0; `sent=90` makes that step take 90. Only `reached`, all when none."""
    stamps, now = {Step.CAPTURED: 0}, 0
    for step, usual in AS_PLANNED.items():
        now += more.get(step.name.lower(), usual)
        if not reached or step in reached:
            stamps[step] = now
    return stamps


def cause(stamps: dict[Step, int], dropped: DropReason | None = None, **more: int | bool) -> Cause | None:
    return cause_of(stamps, PLANNED, DEADLINE, dropped=dropped, interval_ns=INTERVAL, **more)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("decoded", Cause.DECODE),
        ("queued", Cause.WAITING),
        ("started", Cause.WAITING),
        ("finished", Cause.MODEL),
        ("taken", Cause.ENCODE),
        ("composed", Cause.ENCODE),
        ("encoded", Cause.ENCODE),
        ("sent", Cause.NETWORK),
    ],
)
def test_late_frame_is_put_down_to_the_step_that_overran(step: str, expected: Cause) -> None:
    assert cause(stamps_of(**{step: 140})) is expected


def test_decoding_within_a_frame_interval_is_not_to_blame() -> None:
    stamps = stamps_of(decoded=INTERVAL, finished=70)  # the model is 30 above its plan, less than decoding took
    assert cause_of(stamps, PLANNED, 100, interval_ns=INTERVAL) is Cause.MODEL
    assert cause_of(stamps, PLANNED, 100, interval_ns=0) is Cause.DECODE  # a rate not known allows nothing


def test_long_model_that_was_planned_is_not_to_blame() -> None:
    stamps = stamps_of(finished=100, started=30)
    assert cause_of(stamps, {"models": 100, "tail": 8}, DEADLINE, interval_ns=INTERVAL) is Cause.WAITING


def test_missing_stamps_leave_their_time_to_the_next_step() -> None:
    stamps = stamps_of(Step.DECODED, Step.STARTED, Step.FINISHED, Step.SENT, sent=120)
    assert cause(stamps) is Cause.NETWORK
    assert cause({Step.CAPTURED: 0, Step.SENT: DEADLINE + 1}) is Cause.NETWORK


@pytest.mark.parametrize(
    ("gap_ns", "expected"),
    [(INTERVAL // 4, Cause.SOURCE), (INTERVAL // 4 + 1, Cause.MODEL), (INTERVAL, Cause.MODEL), (None, Cause.MODEL)],
)
def test_superseded_frame_is_the_sources_doing_only_in_a_burst(gap_ns: int | None, expected: Cause) -> None:
    found = cause_of(
        stamps_of(Step.DECODED, Step.QUEUED),
        {},
        DEADLINE,
        dropped=DropReason.SUPERSEDED,
        gap_ns=gap_ns,
        interval_ns=INTERVAL,
    )
    assert found is expected


def test_superseded_frame_of_a_source_of_unknown_rate_is_no_burst() -> None:
    assert cause_of({Step.CAPTURED: 0}, {}, DEADLINE, dropped=DropReason.SUPERSEDED, gap_ns=0) is Cause.MODEL


@pytest.mark.parametrize(("decoded", "queued", "expected"), [(90, 1, Cause.DECODE), (5, 40, Cause.WAITING)])
def test_frame_without_time_is_put_down_to_what_took_it(decoded: int, queued: int, expected: Cause) -> None:
    stamps = stamps_of(Step.DECODED, Step.QUEUED, decoded=decoded, queued=queued)
    assert cause_of(stamps, {}, DEADLINE, dropped=DropReason.NO_TIME, interval_ns=INTERVAL) is expected


def test_frame_that_waited_in_the_mailbox_until_it_had_no_time_is_put_down_to_waiting() -> None:
    """It has no stamp for that; decoding was the longest step that has one."""
    stamps = stamps_of(Step.DECODED, Step.QUEUED, decoded=40)
    assert cause(stamps, DropReason.NO_TIME, at_ns=41) is Cause.DECODE
    assert cause(stamps, DropReason.NO_TIME, at_ns=120) is Cause.WAITING


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        (DropReason.WARMING, Cause.MODEL),
        (DropReason.REFUSED, Cause.MODEL),
        (DropReason.ENCODER_BUSY, Cause.ENCODE),
        (DropReason.ENCODER_ERROR, Cause.ENCODE),
        (DropReason.STOPPED, None),
    ],
)
def test_drop_of_one_place_has_its_cause(dropped: DropReason, expected: Cause | None) -> None:
    assert cause(stamps_of(Step.DECODED, Step.QUEUED), dropped) is expected


def test_frame_shown_without_a_stage_is_the_models_doing() -> None:
    assert cause(stamps_of(), has_skipped=True) is Cause.MODEL


def test_late_frame_without_a_stage_is_put_down_to_what_made_it_late() -> None:
    assert cause(stamps_of(sent=100), has_skipped=True) is Cause.NETWORK


times = st.lists(st.integers(0, 200), min_size=len(AS_PLANNED), max_size=len(AS_PLANNED))
plans = st.fixed_dictionaries({}, optional={"models": st.integers(0, 200), "tail": st.integers(0, 200)})


@given(times, st.sets(st.sampled_from(sorted(AS_PLANNED))), plans, st.integers(0, 100), st.integers(0, 2000))
def test_shown_frame_has_a_cause_exactly_when_late(
    took: list[int], missing: set[Step], planned: dict[str, int], interval: int, deadline: int
) -> None:
    names = [step.name.lower() for step in AS_PLANNED]
    reached = set(AS_PLANNED) - missing | {Step.SENT}
    stamps = stamps_of(*reached, **dict(zip(names, took, strict=True)))
    found = cause_of(stamps, planned, deadline, interval_ns=interval)
    assert (found is not None) == (stamps[Step.SENT] > deadline)


@given(st.sampled_from([one for one in DropReason if one is not DropReason.STOPPED]), st.integers(0, 99))
def test_dropped_frame_always_has_a_cause(dropped: DropReason, gap: int) -> None:
    assert cause({Step.CAPTURED: 0}, dropped, gap_ns=gap) is not None


# ---- slack


def test_slack_leaves_out_what_is_still_planned() -> None:
    stamps = stamps_of(Step.DECODED, Step.STARTED, Step.FINISHED, Step.ENCODED, Step.SENT)
    assert slack_ns(stamps, DEADLINE, PLANNED) == {
        "decode": 150 - 20 - 48,
        "wait": 150 - 25 - 48,
        "models": 150 - 65 - 8,
        "encode": 150 - 73,
        "send": 150 - 74,
    }


def test_slack_without_a_plan_is_the_time_to_the_deadline() -> None:
    assert slack_ns({Step.CAPTURED: 0, Step.DECODED: 160}, DEADLINE, {}) == {"decode": -10}


def test_a_frame_held_up_in_sending_behind_others_is_the_viewers_doing() -> None:
    stamps = {Step.CAPTURED: 0, Step.DECODED: 5, Step.FINISHED: 40, Step.ENCODED: 48, Step.SENT: 400}
    assert cause_of(stamps, PLANNED, DEADLINE) is Cause.NETWORK
    assert cause_of(stamps, PLANNED, DEADLINE, is_viewer_behind=True) is Cause.VIEWER


def test_a_frame_superseded_while_another_stream_held_the_lane_was_waiting() -> None:
    stamps = {Step.CAPTURED: 0, Step.DECODED: 5}
    found = cause_of(stamps, {}, DEADLINE, dropped=DropReason.SUPERSEDED, gap_ns=33, interval_ns=33, is_own_busy=False)
    assert found is Cause.WAITING
