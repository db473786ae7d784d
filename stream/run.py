"""The account of one run of one stream: what arrived, what each job cost, what was decided, how each frame ended.

The same account comes from a live stream, a replay and a simulation; reports, comparisons and virtual replays read it.
As a file it is JSON lines, one record a line, each with its "type" (docs/run-format.md); the first is the "run".
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Protocol, TypeAlias

from stream.errors import ConfigError

SCHEMA_VERSION = 1
MAX_FRAMES = 2_000_000  # of one account in memory: 3 to 5 GB, and 18 hours at 30 frames a second


def check_frames(frames: int, instead: str) -> None:
    """Raise ConfigError for more frames than one account may have; `instead` is what to do."""
    if frames > MAX_FRAMES:
        raise ConfigError(f"{frames} frames are too many for one account, which has {MAX_FRAMES} at most; {instead}")


@dataclass(frozen=True, slots=True)
class RungInfo:
    """One variant of a stage. `quality` 0..1 against the reference; `prior_ns` its cost at warm-up, 0 when unknown."""

    variant: str
    quality: float = 1.0
    prior_ns: int = 0


@dataclass(frozen=True, slots=True)
class StageInfo:
    """One stage as the scheduler knew it; `ladder` from the best variant to the lightest."""

    name: str
    kind: str  # "recognize" or "generate"
    lane: str
    threads: int
    max_age_ns: int
    needs: tuple[str, ...]
    ladder: tuple[RungInfo, ...]
    model: str = ""  # its name with options, as a person types it; "" when unknown
    batch_key: str = ""  # streams with the same may run it as one job, of at most `max_batch` pictures
    max_batch: int = 1


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What holds for the whole run.

    clip      name of the recording the frames came from, or that was made meanwhile; "" when there is none
    device    short name as in cost keys ("cpu", "cuda:0"); device_text as a person knows it
    capacity  threads of work the device does at once
    pace      "live", "recorded", "realtime", "max" or "virtual"
    tail_ns   predicted drawing and encoding time at the start
    """

    stream: str
    clip: str
    device: str
    device_text: str
    capacity: int
    budget_ns: int
    stages: tuple[StageInfo, ...]
    pace: str = "live"
    created: str = ""  # wall clock, ISO 8601
    versions: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0
    min_fps: float = 0.0
    tail_ns: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame came: `captured_ns` as its packet arrived, `queued_ns` decoded and in the mailbox; its working size."""

    seq: int
    pts: int
    captured_ns: int
    queued_ns: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Cost:
    """A job ran on a lane, from start to finish; `seqs` are the frames of this stream in it, `batch` all of its frames.

    `error` is what the model raised; None when it worked.
    """

    stage: str
    variant: str
    seqs: tuple[int, ...]
    batch: int
    lane: str
    started_ns: int
    finished_ns: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was done about one stage of a frame: "run", "refresh", "reuse" or "skip", with which variant and why.

    `age_ns` is the age of the result shown; None when none was, or for a picture.
    """

    action: str
    variant: str
    reason: str
    age_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a frame ended.

    dropped     the reason; "" when it was shown
    at_ns       when that was settled
    stamps_ns   trace stamps by the names of stream.trace.Step in lower case ("captured" .. "sent")
    planned_ns  predicted time of each step when it was taken: "models" and "tail" (drawing and encoding)
    late_ns     sent - deadline; above 0 is late
    cause       for a frame dropped, late or shown without a stage: source, decode, waiting, model, encode, network or
                viewer; "" when nothing was amiss
    results     findings by stage, as Results.to_json; empty when not recorded, and in a Run
    """

    seq: int
    dropped: str
    at_ns: int
    deadline_ns: int
    stamps_ns: Mapping[str, int]
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    planned_ns: Mapping[str, int] = field(default_factory=dict)
    late_ns: int = 0
    cause: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_shown(self) -> bool:
        return not self.dropped

    @property
    def is_on_time(self) -> bool:
        return not self.dropped and self.late_ns <= 0


@dataclass(frozen=True, slots=True)
class LadderChange:
    """A stage's variant was changed for the frames to come, and why."""

    at_ns: int
    stage: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class PacketArrival:
    """The next packet of the clip came."""

    arrived_ns: int
    is_keyframe: bool = False


Record: TypeAlias = RunInfo | Arrival | Cost | Outcome | LadderChange | PacketArrival

_TYPES: dict[str, type] = {
    "run": RunInfo,
    "arrival": Arrival,
    "cost": Cost,
    "outcome": Outcome,
    "ladder": LadderChange,
    "packet": PacketArrival,
}
_NAMES = {record: name for name, record in _TYPES.items()}


class RunLog(Protocol):
    """Takes the records of one stream as they come about. Event loop only; must not block.

    `keeps_results` says whether it wants the findings of each frame, which take a while to write down.
    """

    @property
    def keeps_results(self) -> bool: ...

    def add(self, record: Record) -> None: ...


@dataclass(slots=True)
class Run:
    """A whole run in memory; also a RunLog. Lists are in the order things happened.

    Findings are left out: nobody reads them here, and they would take most of the memory.
    """

    keeps_results: ClassVar[bool] = False

    info: RunInfo
    arrivals: list[Arrival] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    ladder: list[LadderChange] = field(default_factory=list)
    packets: list[PacketArrival] = field(default_factory=list)
    is_cut_short: bool = False  # the file ended in the middle of a line

    def add(self, record: Record) -> None:
        """Take a record; a further "run" replaces the first (the stages are known later than the first packet)."""
        if isinstance(record, Arrival):
            self.arrivals.append(record)
        elif isinstance(record, Outcome):
            self.outcomes.append(replace(record, results={}) if record.results else record)
        elif isinstance(record, Cost):
            self.costs.append(record)
        elif isinstance(record, PacketArrival):
            self.packets.append(record)
        elif isinstance(record, LadderChange):
            self.ladder.append(record)
        else:
            self.info = record

    def records(self) -> Iterator[Record]:
        """Yield every record, the info first."""
        yield self.info
        for records in (self.packets, self.arrivals, self.costs, self.ladder, self.outcomes):
            yield from records


def to_line(record: Record) -> str:
    """Return a record as one line of JSON, without the newline."""
    head: dict[str, Any] = {"type": _NAMES[type(record)]}
    if isinstance(record, RunInfo):
        head["schema_version"] = SCHEMA_VERSION
    return json.dumps(head | asdict(record), separators=(",", ":"))


def from_line(line: str) -> Record:
    """Return the record of one line. Raises ConfigError that says what is wrong with it."""
    try:
        found = json.loads(line)
        kind = found.pop("type")
        if kind == "run" and (version := found.pop("schema_version")) != SCHEMA_VERSION:
            raise ConfigError(f"is of schema version {version!r:.40}; this release reads version {SCHEMA_VERSION}")
        return _build(_TYPES[kind], found)
    except RecursionError as error:
        raise ConfigError("is not a record of a run: brackets within brackets") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"is not a record of a run: {type(error).__name__}: {error}") from error


def read_run(lines: Iterable[str], name: str) -> Run:
    """Return the run that `lines` hold; `name` is for messages. A last line that was cut off is left out and noted.

    Raises ConfigError for a file that is none, is of another schema, or is damaged in the middle.
    """
    run: Run | None = None
    failed: ConfigError | None = None  # of the line before; only the last line may fail
    for number, line in enumerate(lines, 1):
        if failed is not None:
            raise failed
        try:
            record = from_line(line)
        except ConfigError as error:
            failed = ConfigError(" ".join(f"{name}: line {number} {error}".split()))
            failed.__cause__ = error
            continue
        if run is None:
            if not isinstance(record, RunInfo):
                raise ConfigError(f"{name}: the first line is no header of a run; is it the side file of a recording?")
            run = Run(record)
        else:
            run.add(record)
    if run is None:
        raise failed or ConfigError(f"{name}: is empty; was it written by `livelens record`?")
    run.is_cut_short = failed is not None
    return run


def _build(kind: type, found: dict[str, Any]) -> Record:
    if kind is RunInfo:
        found["stages"] = tuple(_stage(stage) for stage in found["stages"])
    elif kind is Cost:
        found["seqs"] = tuple(found["seqs"])
    elif kind is PacketArrival and not isinstance(found.get("is_keyframe", False), bool):
        raise TypeError(f"is_keyframe is {found['is_keyframe']!r}, not true or false")
    elif kind is Outcome:
        found["decisions"] = {name: Decision(**one) for name, one in found["decisions"].items()}
    record: Record = kind(**found)
    return record


def _stage(found: dict[str, Any]) -> StageInfo:
    ladder = tuple(RungInfo(**rung) for rung in found.pop("ladder"))
    return StageInfo(**{**found, "needs": tuple(found["needs"]), "ladder": ladder})
