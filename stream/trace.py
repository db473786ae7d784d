"""The account of one frame: when each step ended, and what was decided for it and why."""

from enum import IntEnum

from stream.clock import ns_to_ms
from stream.run import Decision


class Step(IntEnum):
    """A point a frame passes, in the order of its way."""

    CAPTURED = 0  # its packet arrived (camera, network), or its time in a file came
    DECODED = 1  # a picture in memory, at the working size
    QUEUED = 2  # handed to the stream's mailbox
    STARTED = 3  # taken by the scheduler: its first model starts, or it needs none
    FINISHED = 4  # every stage has run, reused or skipped
    TAKEN = 5  # taken by the encoder's thread
    COMPOSED = 6  # drawn and blended
    ENCODED = 7  # packets exist
    SENT = 8  # handed to every viewer's transport


# A step's time is from the last stamp before it, named by what the frame was doing in between.
STEP_NAMES: dict[Step, str] = {
    Step.DECODED: "decode",
    Step.QUEUED: "queue",
    Step.STARTED: "wait",
    Step.FINISHED: "models",
    Step.TAKEN: "hand_over",
    Step.COMPOSED: "compose",
    Step.ENCODED: "encode",
    Step.SENT: "send",
}


class Trace:
    """Stamps and decisions of one frame. Each step is stamped by the thread that ends it."""

    __slots__ = ("decisions", "is_viewer_behind", "planned_ns", "stamps_ns")

    def __init__(self, captured_ns: int) -> None:
        self.stamps_ns: dict[Step, int] = {Step.CAPTURED: captured_ns}
        self.decisions: dict[str, Decision] = {}  # by stage name
        self.is_viewer_behind = False  # some viewer had not taken the frames before, when this one was encoded
        self.planned_ns: dict[str, int] = {}  # predicted when it was taken: "models", and "tail" for what follows them

    def stamp(self, step: Step, now_ns: int) -> None:
        """Record that `step` ended at `now_ns`."""
        self.stamps_ns[step] = now_ns

    def step_ms(self) -> dict[str, float]:
        """Return {step name: milliseconds since the stamp before}; steps not reached are absent."""
        times: dict[str, float] = {}
        previous_ns = self.stamps_ns[Step.CAPTURED]
        for step, name in STEP_NAMES.items():
            if (at_ns := self.stamps_ns.get(step)) is not None:
                times[name] = ns_to_ms(at_ns - previous_ns)
                previous_ns = at_ns
        return times

    def age_ns(self, step: Step) -> int | None:
        """Return the frame's age when `step` ended; None when it never did."""
        at_ns = self.stamps_ns.get(step)
        return None if at_ns is None else at_ns - self.stamps_ns[Step.CAPTURED]
