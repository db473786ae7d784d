"""The speed lab: measure the variants of a model beside each other, with what each costs in quality and memory.

Every variant runs in a process of its own (models/bench_worker.py). They are loaded one after the other and then
timed in rounds, in turn, forwards and backwards: when the machine gets slower meanwhile, all of them do. A round's
number is its median; a variant's is the median of its rounds, and the lowest and highest round are kept as its spread.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from models.base import Kind, Target
from models.bench_process import Subject
from models.bench_worker import Job, Loaded, Memory, Round
from models.findings import is_equivalent
from models.likeness import Likeness, compare
from models.variants import Offered, Role, kind_of, offered
from stream.errors import ModelError
from stream.frame import Picture

ROUNDS = 5
ALIVE_AT_MOST = 12  # processes that wait for their turn at once
LEAST_FREE_BYTES = 3 * 2**30  # what must be available before another is started beside them
ANSWER_S = 120.0  # a call, beyond the time it was given
LOAD_GUESS_S = 4.0  # for the progress bar

Tell = Callable[[float, float, str], None]  # (seconds of work done, in all, what is done now)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `size` is (height, width); `seconds` are for each variant and batch, over all rounds.

    threads  of the processor; 0 leaves the choice to the backend
    words    which variants, see models/variants.py
    kind     for a model of your own, whose name does not say what it does
    """

    name: str
    size: tuple[int, int]
    batches: tuple[int, ...] = (1,)
    device: str = "cpu"
    threads: int = 0
    seconds: float = 3.0
    words: tuple[str, ...] = ()
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long calls of one batch size took, in ms, and how many pictures a second that is.

    p50_ms and rate are medians of the rounds, low and high the rounds that were furthest from them; p95_ms and p99_ms
    are of all calls together.
    """

    batch: int
    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    low_ms: float
    high_ms: float
    rate: float
    rate_low: float
    rate_high: float


@dataclass(slots=True)
class Measured:
    """What was measured of one variant; None for what was not.

    name      as a person types it
    label     what sets it apart, in words
    variant   backend and number format, as the model itself says
    rung      the lighter options of it, "" for the model's own
    error     why it could not be measured, in one line
    """

    name: str
    label: str
    role: Role
    variant: str = ""
    rung: str = ""
    load_ms: float | None = None
    warm_ms: float | None = None
    memory: Memory = field(default_factory=lambda: Memory(None, None, None))
    likeness: Likeness | None = None
    timings: list[Timing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None

    def at(self, batch: int) -> Timing | None:
        """Return the timing of a batch size; None when it was not measured."""
        return next((one for one in self.timings if one.batch == batch), None)


@dataclass(slots=True)
class Report:
    """What was measured of one model, on so many pictures.

    is_complete  False when it was stopped before its end
    groups       of variants that took turns; more than one where the memory did not bear all at once
    """

    plan: Plan
    pictures: int
    variants: list[Measured] = field(default_factory=list)
    is_complete: bool = True
    groups: int = 0

    def reference(self) -> Measured | None:
        """Return what the others are compared with; None when it could not be measured."""
        wanted = (Role.REFERENCE, Role.DEFAULT)
        return next((one for role in wanted for one in self.variants if one.role is role and one.timings), None)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the ordered values did not exceed (nearest rank, no interpolation)."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def summarize(batch: int, rounds: Sequence[Round]) -> Timing:
    """Return the numbers of the rounds of one variant and batch size."""
    calls_ms = sorted(call_ns / 1e6 for one in rounds for call_ns in one.calls_ns)
    medians_ms = [median(one.calls_ns) / 1e6 for one in rounds]
    rates = [one.rate for one in rounds]
    return Timing(
        batch=batch,
        calls=len(calls_ms),
        p50_ms=median(medians_ms),
        p95_ms=quantile(calls_ms, 0.95),
        p99_ms=quantile(calls_ms, 0.99),
        low_ms=min(medians_ms),
        high_ms=max(medians_ms),
        rate=median(rates),
        rate_low=min(rates),
        rate_high=max(rates),
    )


@dataclass(slots=True)
class _Running:
    """A variant between its start and its numbers."""

    row: Measured
    subject: Subject
    batches: list[int]
    rounds: dict[int, list[Round]] = field(default_factory=dict)


class _SameError(Exception):
    """A way turned out to be how the model runs anyway."""


class _Work:
    """Counts how much of the work is done, in seconds as far as they are known, and tells."""

    def __init__(self, total_s: float, tell: Tell) -> None:
        self._done_s, self._total_s, self._tell = 0.0, total_s, tell

    def now(self, what: str) -> None:
        self._tell(self._done_s, self._total_s, what)

    def did(self, seconds: float) -> None:
        self._done_s = min(self._total_s, self._done_s + seconds)


def measure(plan: Plan, pictures: Sequence[Picture], tell: Tell = lambda done, total, what: None) -> Report:
    """Measure the variants of a model on `pictures`, all of the size of the plan. Blocks for minutes.

    A variant that cannot be loaded or run is a row with its reason. Ctrl-C ends it with what was measured so far.
    Raises ModelError for a name or a word that cannot be used, before anything is started.
    """
    kind = kind_of(plan.name, plan.kind)
    wanted = offered(plan.name, plan.device, plan.words, plan.kind)
    report = Report(plan, len(pictures), [_row(one) for one in wanted])
    each_s = LOAD_GUESS_S + plan.seconds * len(plan.batches)
    work = _Work(each_s * sum(one.why_not is None for one in wanted), tell)
    try:
        _Bench(plan, kind, pictures, report, work).run()
    except KeyboardInterrupt:
        report.is_complete = False
        for row in report.variants:
            if not row.timings and row.error is None:
                row.error = "not measured: stopped before its turn"
    return report


def _row(one: Offered) -> Measured:
    label = ", ".join(word for word in (one.label, one.rung) if word) or "as it is"
    return Measured(one.name, label, one.role, rung=one.rung, error=one.why_not)


class _Bench:
    """Runs the variants of one plan."""

    def __init__(self, plan: Plan, kind: Kind, pictures: Sequence[Picture], report: Report, work: _Work) -> None:
        self._plan, self._kind, self._pictures, self._report, self._work = plan, kind, list(pictures), report, work
        self._answers: list[Any] | None = None  # of the reference; None while there is none

    def run(self) -> None:
        """Measure group after group: those that the memory bears beside each other are timed in turn."""
        waiting = [row for row in self._report.variants if row.error is None]
        while waiting:
            with ExitStack() as alive:
                started = list(self._start_some(waiting, alive))
                try:
                    self._time(started)
                finally:
                    for one in started:
                        one.row.timings = [summarize(batch, rounds) for batch, rounds in one.rounds.items()]
            self._report.groups += 1

    def _start_some(self, waiting: list[Measured], alive: ExitStack) -> Iterator[_Running]:
        """Take rows off the front and start them."""
        count = 0
        while waiting and (count == 0 or (count < ALIVE_AT_MOST and free_bytes() > LEAST_FREE_BYTES)):
            row = waiting.pop(0)
            self._work.now(f"loading {row.label}")
            job = Job(row.name, Target(self._plan.device, self._plan.threads), self._kind)
            count += 1
            try:
                yield self._ready(row, job, alive)
            except ModelError as error:
                row.error = str(error)
                self._work.did(self._plan.seconds * len(self._plan.batches))
            except _SameError:
                self._report.variants.remove(row)
                self._work.did(self._plan.seconds * len(self._plan.batches))
            self._work.did(LOAD_GUESS_S)

    def _loaded(self, row: Measured, job: Job, alive: ExitStack) -> tuple[Subject, Loaded]:
        """Load a variant; once more when the first load made a graph for the cache, since only that one was so slow."""
        subject = alive.enter_context(Subject(job))
        loaded: Loaded = subject.ask("load")
        if loaded.has_converted:
            row.notes.append(f"its first load took {loaded.load_ms / 1000:.1f} s, as its graph had to be made")
            subject.close()
            subject = alive.enter_context(Subject(job))
            loaded = subject.ask("load")
        if loaded.needs:
            row.notes.append(f"was given empty results of {', '.join(loaded.needs)}")
        subject.ask("pictures", self._pictures)
        return subject, loaded

    def _ready(self, row: Measured, job: Job, alive: ExitStack) -> _Running:
        """Load and warm a variant, and compare its answers with the reference's. Raises ModelError."""
        subject, loaded = self._loaded(row, job, alive)
        row.variant, row.load_ms = loaded.variant, loaded.load_ms
        if row.role is Role.WAY and self._is_known(row):
            raise _SameError
        if row.role in (Role.DEFAULT, Role.LIGHTER):
            row.label = ", ".join(word for word in (loaded.variant, row.rung) if word)
        row.warm_ms = subject.ask("warm", *self._plan.size)
        answers = subject.ask("answers")
        if self._answers is not None:
            row.likeness = compare(answers, self._answers, is_lighter=not is_equivalent(row.name, self._plan.name))
        elif row.role in (Role.REFERENCE, Role.DEFAULT):
            self._answers = answers
        batches = self._batches(row, subject, loaded)
        row.memory = subject.ask("memory")
        return _Running(row, subject, batches)

    def _batches(self, row: Measured, subject: Subject, loaded: Loaded) -> list[int]:
        """Return the batch sizes that a variant takes; of the others a note says why not."""
        if not loaded.takes_batches and max(self._plan.batches) > 1:
            row.notes.append("takes one picture at a time")
            return [1] if 1 in self._plan.batches else []
        taken = []
        for batch in self._plan.batches:
            try:
                subject.ask("prepare", batch)
                taken.append(batch)
            except ModelError as error:
                row.notes.append(f"batch {batch} does not run: {error!s:.110}")
        return taken

    def _is_known(self, row: Measured) -> bool:
        """Whether the model as it is, or a rung of it, already runs in this way."""
        others = (one for one in self._report.variants if one.role is not Role.WAY)
        return any((one.variant, one.rung) == (row.variant, row.rung) for one in others)

    def _time(self, started: list[_Running]) -> None:
        """Time each variant in turn; every second round goes backwards."""
        for number in range(ROUNDS):
            for one in started if number % 2 == 0 else started[::-1]:
                for batch in one.batches:
                    if one.row.error is None:
                        self._work.now(f"round {number + 1} of {ROUNDS}: {one.row.label}")
                        self._round(one, batch)

    def _round(self, one: _Running, batch: int) -> None:
        slice_s = self._plan.seconds / ROUNDS
        try:
            found = one.subject.ask("round", batch, slice_s, timeout_s=slice_s + ANSWER_S)
            one.rounds.setdefault(batch, []).append(found)
            one.row.memory = one.subject.ask("memory", timeout_s=ANSWER_S)
        except ModelError as error:
            one.row.error = str(error)
        self._work.did(slice_s)


def free_bytes() -> int:
    """Return the memory that could still be used; much where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return 2**62
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 2**62)
