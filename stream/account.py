"""Where the frames of a stream went, and why: counted, and told to the log of the run when there is one. Loop only."""

from stream.cause import Cause, cause_of
from stream.frame import Frame
from stream.run import Arrival, Decision, Outcome, RunLog
from stream.stats import FrameCounts
from stream.trace import Step
from stream.view import DropReason

STEP_KEYS = {step: step.name.lower() for step in Step}


class Account:
    """Every frame that arrives is settled here exactly once: sent, or dropped with a reason."""

    def __init__(self, counts: FrameCounts, log: RunLog | None) -> None:
        self.counts = counts
        self._log = log  # None when nobody wants the account

    def arrived(self, frame: Frame) -> None:
        """Note a frame that came."""
        self.counts.captured += 1
        if self._log is not None:
            height, width = frame.image.shape[:2]
            queued_ns = frame.trace.stamps_ns[Step.QUEUED]
            self._log.add(Arrival(frame.seq, frame.pts, frame.captured_ns, queued_ns, height, width))

    def sent(self, frame: Frame, sent_ns: int, interval_ns: int, *, has_skipped: bool) -> None:
        """Note a frame that has left for every viewer; `has_skipped` when some stage gave nothing to it."""
        counts, is_late = self.counts, sent_ns > frame.deadline_ns
        counts.shown += 1
        counts.late += is_late
        counts.on_time += not is_late
        counts.reused += any(age_ns > 0 for age_ns in frame.result_age_ns.values())
        counts.skipped += has_skipped
        cause = self._cause(frame, None, interval_ns, has_skipped=has_skipped) if is_late or has_skipped else None
        self._settle(frame, "", sent_ns, cause)

    def dropped(
        self,
        frame: Frame,
        reason: DropReason,
        now_ns: int,
        interval_ns: int,
        gap_ns: int | None = None,
        *,
        is_own_busy: bool = True,
    ) -> None:
        """Note a frame that will never be shown; see `stream.cause.cause_of` for what tells why."""
        self.counts.dropped[reason.value] += 1
        self._settle(
            frame,
            reason.value,
            now_ns,
            self._cause(frame, reason, interval_ns, gap_ns, at_ns=now_ns, is_own_busy=is_own_busy),
        )

    def _cause(
        self,
        frame: Frame,
        reason: DropReason | None,
        interval_ns: int,
        gap_ns: int | None = None,
        *,
        has_skipped: bool = False,
        at_ns: int | None = None,
        is_own_busy: bool = True,
    ) -> Cause | None:
        return cause_of(
            frame.trace.stamps_ns,
            frame.trace.planned_ns,
            frame.deadline_ns,
            dropped=reason,
            has_skipped=has_skipped,
            is_viewer_behind=frame.trace.is_viewer_behind,
            is_own_busy=is_own_busy,
            gap_ns=gap_ns,
            interval_ns=interval_ns,
            at_ns=at_ns,
        )

    def _settle(self, frame: Frame, dropped: str, at_ns: int, cause: Cause | None) -> None:
        if cause is not None:
            self.counts.causes[cause.value] += 1
        if self._log is not None:
            has_results = self._log.keeps_results and not dropped
            self._log.add(_outcome(frame, dropped, at_ns, cause.value if cause else "", has_results=has_results))


def _outcome(frame: Frame, dropped: str, at_ns: int, cause: str, *, has_results: bool) -> Outcome:
    ages = frame.result_age_ns
    return Outcome(
        seq=frame.seq,
        dropped=dropped,
        at_ns=at_ns,
        deadline_ns=frame.deadline_ns,
        stamps_ns={STEP_KEYS[step]: stamp_ns for step, stamp_ns in frame.trace.stamps_ns.items()},
        decisions={
            name: Decision(one.action, one.variant, one.reason, ages[name]) if name in ages else one
            for name, one in frame.trace.decisions.items()
        },
        planned_ns=frame.trace.planned_ns,
        late_ns=0 if dropped else at_ns - frame.deadline_ns,
        cause=cause,
        results={name: found.to_json() for name, found in frame.results.items()} if has_results else {},
    )
