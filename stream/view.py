"""What the scheduler sees and what it says: waiting frames with their stages, and plans. Data, pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stream.budget import Forecast


class DropReason(StrEnum):
    """Why a frame was never shown."""

    SUPERSEDED = "superseded"  # a newer frame of its stream came before it could start
    NO_TIME = "no_time"  # its predicted finish was past its deadline
    WARMING = "warming"  # the models were not ready
    REFUSED = "refused"  # the stream was not admitted: the device cannot serve it
    ENCODER_BUSY = "encoder_busy"  # a newer frame came before the encoder took it
    ENCODER_ERROR = "encoder_error"  # it could not be encoded
    STOPPED = "stopped"  # the stream was stopped while it was on its way


class StageKind(StrEnum):
    """What a stage does to a frame."""

    RECOGNIZE = "recognize"
    GENERATE = "generate"


class Action(StrEnum):
    """What is done about one stage of one frame."""

    RUN = "run"  # the frame waits for it
    REFRESH = "refresh"  # runs for later frames; this one is shown with the earlier result
    REUSE = "reuse"  # shown with the earlier result
    SKIP = "skip"  # shown without


@dataclass(frozen=True, slots=True)
class Choice:
    """An action and why, in words a person understands.

    rung   index of the variant in the stage's ladder, for RUN and REFRESH
    batch  jobs of one decision with the same batch (not "") run as one
    """

    action: Action
    reason: str
    rung: int = 0
    batch: str = ""


@dataclass(frozen=True, slots=True)
class RungView:
    """One variant of a stage: its quality 0..1 and live forecasts; `batches` by the number of pictures at once."""

    variant: str
    quality: float
    forecast: Forecast
    batches: Mapping[int, Forecast] | None = None

    def batch_ns(self, count: int) -> int:
        """Return what `count` pictures at once will take; while that was never seen, one by one beyond what was.

        A single sample is no reason against a batch: the first job of a size often compiles something.
        """
        one_ns = self.forecast.predicted_ns
        if count < 2 or not self.batches:
            return one_ns * count
        found = self.batches.get(count)
        if found is None or not found.prior_ns:
            return self.batch_ns(count - 1) + one_ns
        return min(found.predicted_ns, self.batch_ns(count - 1) + one_ns) if found.jobs == 1 else found.predicted_ns


@dataclass(frozen=True, slots=True)
class StageView:
    """What the scheduler knows of one stage at this moment.

    rungs           the ladder, best variant first; `level` is the one the ladder control allows for now
    threads         how many of the device's threads it occupies while running
    max_age_ns      how old a reused result may be; 0 when results may not be reused
    result_age_ns   age of the newest result, against this frame's capture; None when there is none
    needs           names of stages of the same frame that must finish first
    unavailable     why it must be left out now, in words; "" while it may run
    batch_key       stages with the same key (not "") may run as one job, of at most `max_batch` pictures
    """

    name: str
    kind: StageKind
    lane: str
    rungs: tuple[RungView, ...]
    level: int = 0
    threads: int = 1
    max_age_ns: int = 0
    result_age_ns: int | None = None
    needs: frozenset[str] = frozenset()
    unavailable: str = ""
    batch_key: str = ""
    max_batch: int = 1

    @property
    def predicted_ns(self) -> int:
        """Cost to expect at the present level."""
        return self.rungs[self.level].forecast.predicted_ns

    @property
    def is_must(self) -> bool:
        """Whether every frame that is taken waits for it."""
        return not self.max_age_ns and not self.unavailable

    @property
    def can_reuse(self) -> bool:
        """Whether the newest result is young enough to be shown with this frame."""
        return self.result_age_ns is not None and self.result_age_ns <= self.max_age_ns


@dataclass(frozen=True, slots=True)
class Waiting:
    """The frame of one stream that is next.

    due_ns       deadline of the first frame that arrived since the stream was last served. Below full load it
                 orders the streams: a frame that replaces another inherits its turn, or a stream whose frames
                 come just after its neighbour's would be superseded again and again
    turn         start tag of fair queueing; above full load it orders the streams
    urgent_at_ns from when on the stream is below its minimum rate, and goes first
    share        of the device that this stream may plan with, 0..1
    interval_ns  time between frames of its source; 0 when unknown
    tail         time to expect after the last stage: drawing and encoding
    newer        the frame behind it; None when there is none
    """

    stream: str
    seq: int
    captured_ns: int
    deadline_ns: int
    due_ns: int
    interval_ns: int
    tail: Forecast
    stages: tuple[StageView, ...]
    share: float = 1.0
    turn: float = 0.0
    urgent_at_ns: float = math.inf
    newer: "Waiting | None" = None
    must_lanes: frozenset[str] = field(init=False)  # lanes of the stages that every frame waits for
    by_deadline: tuple[int, str] = field(init=False)  # sort keys, made once: a decision sorts many frames
    by_turn: tuple[float, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "must_lanes", frozenset([stage.lane for stage in self.stages if stage.is_must]))
        object.__setattr__(self, "by_deadline", (self.due_ns, self.stream))
        object.__setattr__(self, "by_turn", (self.turn, self.stream))


@dataclass(frozen=True, slots=True)
class Plan:
    """Take the frame now, with a choice for each stage by name. `models_ns` is the time its models should take."""

    stream: str
    seq: int
    choices: Mapping[str, Choice]
    models_ns: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """Give the frame up."""

    stream: str
    seq: int
    reason: DropReason


def lightest(stages: Iterable[StageView]) -> dict[str, int]:
    """Return the last rung of each stage that has a ladder."""
    return {stage.name: len(stage.rungs) - 1 for stage in stages if len(stage.rungs) > 1}


def must_run_ns(stages: Iterable[StageView], rungs: Mapping[str, int] | None = None) -> int:
    """Return the predicted time of the longest chain of stages that every frame waits for, at their levels or `rungs`.

    Lanes work beside each other; stages of one lane, and stages that need each other, add up. Stages whose
    results may be reused never hold a frame up.
    """
    lane_free_ns: dict[str, int] = {}
    finish_ns: dict[str, int] = {}
    for stage in stages:
        if not stage.is_must:
            continue
        rung = stage.level if rungs is None else rungs.get(stage.name, stage.level)
        start_ns = max([lane_free_ns.get(stage.lane, 0), *(finish_ns.get(need, 0) for need in stage.needs)])
        finish_ns[stage.name] = lane_free_ns[stage.lane] = start_ns + stage.rungs[rung].forecast.predicted_ns
    return max(finish_ns.values(), default=0)
