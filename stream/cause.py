"""Why a frame was dropped, late, or shown without a stage: one word for a person, from its account. Pure."""

from collections.abc import Mapping
from enum import StrEnum

from stream.trace import STEP_NAMES, Step
from stream.view import DropReason

BURST = 4  # a newer frame that came within interval / BURST was one of a burst: the source's doing


class Cause(StrEnum):
    """What to look at when a frame was not as it should be."""

    SOURCE = "source"  # it delivered frames in a burst
    DECODE = "decode"
    WAITING = "waiting"  # for its turn, behind other frames or streams
    MODEL = "model"  # it takes longer than planned, or longer than frames come
    ENCODE = "encode"  # drawing and encoding, and the way there
    NETWORK = "network"  # handing packets to the transport
    VIEWER = "viewer"  # takes its packets too slowly


_OF_STEP: dict[Step, Cause] = {
    Step.DECODED: Cause.DECODE,
    Step.QUEUED: Cause.WAITING,
    Step.STARTED: Cause.WAITING,
    Step.FINISHED: Cause.MODEL,
    Step.TAKEN: Cause.ENCODE,
    Step.COMPOSED: Cause.ENCODE,
    Step.ENCODED: Cause.ENCODE,
    Step.SENT: Cause.NETWORK,
}
_OF_DROP: dict[DropReason, Cause] = {
    DropReason.WARMING: Cause.MODEL,
    DropReason.REFUSED: Cause.MODEL,
    DropReason.ENCODER_BUSY: Cause.ENCODE,
    DropReason.ENCODER_ERROR: Cause.ENCODE,
}


def cause_of(
    stamps_ns: Mapping[Step, int],
    planned_ns: Mapping[str, int],
    deadline_ns: int,
    *,
    dropped: DropReason | None = None,
    has_skipped: bool = False,
    is_viewer_behind: bool = False,
    is_own_busy: bool = True,
    gap_ns: int | None = None,
    interval_ns: int = 0,
    at_ns: int | None = None,
) -> Cause | None:
    """Return the cause; None for a frame that was shown on time and whole, or whose stream was stopped.

    planned_ns   "models" and "tail", as predicted when it was taken
    has_skipped  some stage gave nothing to it
    is_viewer_behind  a viewer still had earlier frames to take when this one was encoded
    is_own_busy  another frame of its stream was in work when it was superseded; else other streams held the lanes
    gap_ns       from its capture to that of the frame that took its place; None when none did
    interval_ns  usual time between frames; 0 when unknown
    at_ns        when it was given up: it waited until then; None when it was not
    """
    if dropped is DropReason.STOPPED:
        return None
    if dropped in _OF_DROP:
        return _OF_DROP[dropped]
    if dropped is DropReason.SUPERSEDED:
        is_burst = gap_ns is not None and gap_ns * BURST < interval_ns
        return Cause.SOURCE if is_burst else Cause.MODEL if is_own_busy else Cause.WAITING
    sent_ns = stamps_ns.get(Step.SENT)
    if dropped is DropReason.NO_TIME or (sent_ns is not None and sent_ns > deadline_ns):
        worst = _worst(stamps_ns, planned_ns, interval_ns, at_ns)
        return Cause.VIEWER if worst is Cause.NETWORK and is_viewer_behind else worst
    return Cause.MODEL if has_skipped else None


def slack_ns(stamps_ns: Mapping[Step, int], deadline_ns: int, planned_ns: Mapping[str, int]) -> dict[str, int]:
    """Return the time to spare at the end of each step: to the deadline, less what was still planned then."""
    tail_ns = planned_ns.get("tail", 0)
    models_ns = planned_ns.get("models", 0) + tail_ns
    left = {step: models_ns if step < Step.FINISHED else tail_ns if step < Step.ENCODED else 0 for step in Step}
    return {
        STEP_NAMES[step]: deadline_ns - at_ns - left[step] for step, at_ns in stamps_ns.items() if step in STEP_NAMES
    }


def _worst(
    stamps_ns: Mapping[Step, int], planned_ns: Mapping[str, int], interval_ns: int, given_up_ns: int | None
) -> Cause:
    """Return the cause with the most time above its plan; what was not planned is all above.

    Decoding may take one frame interval: it works ahead of the models, and only beyond that does it fall behind.
    """
    above = {Cause.MODEL: -planned_ns.get("models", 0), Cause.ENCODE: -planned_ns.get("tail", 0)}
    above[Cause.DECODE] = -interval_ns
    before_ns = stamps_ns[Step.CAPTURED]
    for step in STEP_NAMES:
        if (at_ns := stamps_ns.get(step)) is not None:
            cause = _OF_STEP[step]
            above[cause] = above.get(cause, 0) + at_ns - before_ns
            before_ns = at_ns
    if given_up_ns is not None:
        above[Cause.WAITING] = above.get(Cause.WAITING, 0) + given_up_ns - before_ns
    return max(above, key=lambda cause: above[cause])
