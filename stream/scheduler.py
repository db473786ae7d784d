"""Which waiting frame runs now, with which stages, and which is given up. Pure: no clock, no await, no torch.

Asked whenever a lane of the device becomes free or a frame arrives (pull, not push), so it always
sees the newest frame of each stream. Earliest deadline first across streams; a frame that cannot
finish in time is given up before it wastes the device, because plain EDF collapses under overload
(Liu and Layland 1973 hold only up to full load; Locke 1986 on shedding beyond it).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

HEADROOM = 0.8  # share of the device that every-frame recognition may fill; the rest is encoder and system


class DropReason(StrEnum):
    """Why a frame was never shown."""

    SUPERSEDED = "superseded"  # a newer frame of its stream came before it could start
    NO_TIME = "no_time"  # its predicted finish was past its deadline
    WARMING = "warming"  # the models were not ready
    ENCODER_BUSY = "encoder_busy"  # a newer frame came before the encoder took it
    ENCODER_ERROR = "encoder_error"  # it could not be encoded


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
    """An action and why, in words a person understands."""

    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class StageView:
    """What the scheduler knows of one stage at this moment.

    predicted_ns    cost to expect on the device
    threads         how many of the device's threads it occupies while running
    max_age_ns      how old a reused result may be; 0 when results may not be reused
    result_age_ns   age of the newest result, against this frame's capture; None when there is none
    needs           names of stages of the same frame that must finish first
    unavailable     why it must be left out now, in words; "" while it may run
    """

    name: str
    kind: StageKind
    lane: str
    predicted_ns: int
    threads: int = 1
    max_age_ns: int = 0
    result_age_ns: int | None = None
    needs: frozenset[str] = frozenset()
    unavailable: str = ""

    @property
    def work_ns(self) -> int:
        """Predicted time on all threads together."""
        return self.predicted_ns * self.threads

    @property
    def can_reuse(self) -> bool:
        """Whether the newest result is young enough to be shown with this frame."""
        return self.result_age_ns is not None and self.result_age_ns <= self.max_age_ns


@dataclass(frozen=True, slots=True)
class Waiting:
    """The newest frame of one stream.

    due_ns       deadline of the first frame that arrived since the stream was last served. It orders the
                 streams: a frame that replaces another inherits its turn, or a stream whose frames come
                 just after its neighbour's would be superseded again and again
    share        of the device that this stream may plan with, 0..1: one part for each stream
    interval_ns  time between frames of its source; 0 when unknown
    tail_ns      predicted time after the last stage: drawing and encoding
    """

    stream: str
    seq: int
    captured_ns: int
    deadline_ns: int
    due_ns: int
    interval_ns: int
    tail_ns: int
    stages: tuple[StageView, ...]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Take the frame now, with a choice for each stage by name."""

    stream: str
    seq: int
    choices: Mapping[str, Choice]


@dataclass(frozen=True, slots=True)
class Drop:
    """Give the frame up."""

    stream: str
    seq: int
    reason: DropReason


class DeadlineScheduler:
    """Earliest deadline first, newest frame wins, no frame started that cannot finish in time.

    `capacity` is how many threads the device runs at once.
    """

    def __init__(self, capacity: int = 1) -> None:
        self._capacity = capacity

    def decide(self, now_ns: int, waiting: Iterable[Waiting], busy_lanes: frozenset[str]) -> list[Plan | Drop]:
        """Return what to do now; a frame not mentioned goes on waiting. Same input, same answer."""
        decisions: list[Plan | Drop] = []
        busy = set(busy_lanes)
        for frame in sorted(waiting, key=lambda f: (f.due_ns, f.stream)):
            if self._is_hopeless(now_ns, frame):
                decisions.append(Drop(frame.stream, frame.seq, DropReason.NO_TIME))
            elif (choices := self._choose(frame, busy)) is not None:
                decisions.append(Plan(frame.stream, frame.seq, choices))
                busy |= {s.lane for s in frame.stages if choices[s.name].action in (Action.RUN, Action.REFRESH)}
        return decisions

    def _is_hopeless(self, now_ns: int, frame: Waiting) -> bool:
        """Whether the frame is too late although a fresh one would make it.

        When even a fresh frame cannot, late frames are all the stream can have: best effort. The same when
        nothing was served for a whole budget: the prediction must be wrong, and only a run can correct it.
        """
        needed_ns = must_run_ns(frame.stages) + frame.tail_ns
        fits_when_fresh = frame.captured_ns + needed_ns <= frame.deadline_ns
        is_starving = now_ns > frame.due_ns
        return fits_when_fresh and not is_starving and now_ns + needed_ns > frame.deadline_ns

    def _choose(self, frame: Waiting, busy: set[str]) -> dict[str, Choice] | None:
        """Return a choice per stage; None when a stage the frame must run has to be waited for."""
        affordable = self._affordable(frame)
        choices: dict[str, Choice] = {}
        for stage in frame.stages:
            choice = _choose_stage(stage, stage.lane in busy, stage.name in affordable)
            if choice is None:
                return None
            choices[stage.name] = choice
        return choices

    def _affordable(self, frame: Waiting) -> frozenset[str]:
        """Return the reusable stages that can run on every frame without starving the rest, cheapest first.

        While the frame interval is unknown, all of them.
        """
        reusable = sorted((s for s in frame.stages if s.max_age_ns), key=lambda s: (s.work_ns, s.name))
        if frame.interval_ns == 0:
            return frozenset(s.name for s in reusable)
        room_ns = HEADROOM * self._capacity * frame.share * frame.interval_ns - frame.tail_ns
        room_ns -= sum(s.work_ns for s in frame.stages if not s.max_age_ns)
        affordable = set()
        for stage in reusable:
            room_ns -= stage.work_ns
            if room_ns >= 0 and stage.predicted_ns <= frame.interval_ns:
                affordable.add(stage.name)
        return frozenset(affordable)


def must_run_ns(stages: Iterable[StageView]) -> int:
    """Return the predicted time of the longest chain of stages that every frame waits for.

    Lanes work beside each other; stages of one lane, and stages that need each other, add up. Stages whose
    results may be reused never hold a frame up.
    """
    lane_free_ns: dict[str, int] = {}
    finish_ns: dict[str, int] = {}
    for stage in stages:
        if stage.unavailable or stage.max_age_ns:
            continue
        start_ns = max([lane_free_ns.get(stage.lane, 0), *(finish_ns.get(need, 0) for need in stage.needs)])
        finish_ns[stage.name] = lane_free_ns[stage.lane] = start_ns + stage.predicted_ns
    return max(finish_ns.values(), default=0)


def _choose_stage(stage: StageView, is_busy: bool, has_room: bool) -> Choice | None:
    """Return what to do about one stage; None when its lane is busy and nothing can stand in."""
    if stage.unavailable:
        return Choice(Action.SKIP, stage.unavailable)
    if stage.max_age_ns == 0:
        return None if is_busy else Choice(Action.RUN, "needed on every frame")
    if is_busy:
        return _stand_in(stage, "busy with an earlier frame")
    if has_room:
        return Choice(Action.RUN, "fits every frame")
    return _when_short_of_room(stage)


def _when_short_of_room(stage: StageView) -> Choice:
    """Refresh only when the result has passed half of its life: enough to keep it valid, and no more."""
    if stage.result_age_ns is not None and stage.result_age_ns * 2 <= stage.max_age_ns:
        return Choice(Action.REUSE, "no room on every frame; result is young")
    return Choice(Action.REFRESH, "no room on every frame; result is ageing")


def _stand_in(stage: StageView, why: str) -> Choice:
    if stage.can_reuse:
        return Choice(Action.REUSE, why)
    return Choice(Action.SKIP, f"{why}; no result young enough")
