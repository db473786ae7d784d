from collections.abc import Mapping

import pytest

from stream.account import Account
from stream.results import Results
from stream.run import Decision, Outcome, Record, Run, RunInfo
from stream.stats import FrameCounts
from stream.trace import Step
from stream.view import DropReason
from tests.fakes import MS, make_frame


def account() -> tuple[Account, Run]:
    run = Run(RunInfo("s", "", "", "", 0, 0, ()))
    return Account(FrameCounts(), run), run


def frame_of(stamps_ms: Mapping[Step, float], deadline_ms: float = 150):
    frame = make_frame(7)
    frame.deadline_ns = round(deadline_ms * MS)
    for step, at_ms in stamps_ms.items():
        frame.trace.stamp(step, round(at_ms * MS))
    return frame


WHOLE = {Step.QUEUED: 5, Step.STARTED: 6, Step.FINISHED: 40, Step.TAKEN: 41, Step.ENCODED: 50, Step.SENT: 51}


def test_a_frame_on_time_and_whole_has_no_cause() -> None:
    found, run = account()
    frame = frame_of(WHOLE)
    found.arrived(frame)
    found.sent(frame, 51 * MS, 33 * MS, has_skipped=False)
    assert (found.counts.shown, found.counts.on_time, found.counts.late) == (1, 1, 0)
    assert not found.counts.causes
    [outcome] = run.outcomes
    assert (outcome.dropped, outcome.cause, outcome.late_ns) == ("", "", -99 * MS)
    assert outcome.stamps_ns["sent"] == 51 * MS


def test_a_frame_exactly_at_its_deadline_is_on_time() -> None:
    found, run = account()
    found.sent(frame_of(WHOLE, deadline_ms=51), 51 * MS, 0, has_skipped=False)
    assert (found.counts.on_time, run.outcomes[0].cause) == (1, "")


def test_a_late_frame_is_counted_with_its_cause() -> None:
    found, run = account()
    found.sent(frame_of(WHOLE, deadline_ms=50), 51 * MS, 33 * MS, has_skipped=False)
    assert (found.counts.late, found.counts.on_time) == (1, 0)
    assert found.counts.causes == {"model": 1}
    assert (run.outcomes[0].cause, run.outcomes[0].late_ns) == ("model", MS)


def test_a_frame_without_a_stage_is_counted_with_its_cause() -> None:
    found, _ = account()
    found.sent(frame_of(WHOLE), 51 * MS, 33 * MS, has_skipped=True)
    assert (found.counts.skipped, found.counts.on_time) == (1, 1)
    assert found.counts.causes == {"model": 1}


@pytest.mark.parametrize("reason", list(DropReason))
def test_every_drop_is_counted_under_its_reason_with_a_cause_unless_stopped(reason: DropReason) -> None:
    found, run = account()
    frame = frame_of({Step.QUEUED: 5})
    found.arrived(frame)
    found.dropped(frame, reason, 90 * MS, 33 * MS, gap_ns=33 * MS)
    assert found.counts.dropped == {reason.value: 1}
    assert found.counts.in_flight == 0
    [outcome] = run.outcomes
    assert bool(outcome.cause) == (reason is not DropReason.STOPPED)
    assert (outcome.dropped, outcome.at_ns, outcome.late_ns) == (reason.value, 90 * MS, 0)
    assert outcome.results == {}


def test_a_frame_that_waited_in_the_mailbox_until_it_was_hopeless_tells_of_waiting() -> None:
    found, run = account()
    found.dropped(frame_of({Step.DECODED: 30, Step.QUEUED: 30}), DropReason.NO_TIME, 120 * MS, 10 * MS)
    assert run.outcomes[0].cause == "waiting"


class Told:
    """A log that keeps what it was told as it is; a Run leaves findings out."""

    keeps_results = True

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.add = self.records.append


def test_results_and_their_ages_are_told_of_a_frame_that_was_shown() -> None:
    told = Told()
    found = Account(FrameCounts(), told)
    frame = frame_of(WHOLE)
    frame.results = {"boxes": Results()}
    frame.result_age_ns = {"boxes": 40 * MS}
    frame.trace.decisions = {"boxes": Decision("reuse", "b", "young"), "style": Decision("run", "v0", "needed")}
    found.sent(frame, 51 * MS, 33 * MS, has_skipped=False)
    [outcome] = told.records
    assert isinstance(outcome, Outcome)
    assert outcome.decisions["boxes"] == Decision("reuse", "b", "young", 40 * MS)
    assert outcome.decisions["style"] == Decision("run", "v0", "needed")
    assert set(outcome.results) == {"boxes"}
    assert found.counts.reused == 1


def test_a_result_of_the_frame_itself_is_not_reused() -> None:
    found, _ = account()
    frame = frame_of(WHOLE)
    frame.result_age_ns = {"boxes": 0}
    found.sent(frame, 51 * MS, 33 * MS, has_skipped=False)
    assert found.counts.reused == 0


def test_without_a_log_it_counts_all_the_same() -> None:
    found = Account(FrameCounts(), None)
    frame = frame_of(WHOLE)
    found.arrived(frame)
    found.sent(frame, 51 * MS, 33 * MS, has_skipped=False)
    assert (found.counts.captured, found.counts.shown) == (1, 1)
