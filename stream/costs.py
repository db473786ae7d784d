"""What each job of a recorded run took, to be asked again under other decisions. Pure.

A variant that ran on a frame costs what it cost. Otherwise the nearest run of any variant counts, scaled by the ratio
of the two variants at warm-up: it carries the load of that moment.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from stream.run import Cost, Outcome, Run, StageInfo
from stream.stage import Stage

TAIL = "tail"  # name of the stage that stands for drawing and encoding in synthetic runs
Tail = tuple[int, int, int]  # ns of drawing, of encoding, of sending


@dataclass(slots=True)
class _Series:
    """Costs of one kind, by seq in rising order."""

    seqs: list[int] = field(default_factory=list)
    values: list[tuple[int, str | None]] = field(default_factory=list)

    def at(self, seq: int) -> tuple[int, str | None] | None:
        """Return the value for exactly this frame."""
        index = bisect_right(self.seqs, seq) - 1
        return self.values[index] if index >= 0 and self.seqs[index] == seq else None

    def near(self, seq: int) -> tuple[int, int] | None:
        """Return (seq, cost) of the last frame up to this one that has a value, else of the first after it."""
        if not self.seqs:
            return None
        index = max(0, bisect_right(self.seqs, seq) - 1)
        return self.seqs[index], self.values[index][0]

    def add(self, seq: int, cost_ns: int, error: str | None) -> None:
        """Take the value of a further frame; the first one of a frame counts."""
        if not self.seqs or self.seqs[-1] < seq:
            self.seqs.append(seq)
            self.values.append((cost_ns, error))


class CostBook:
    """The costs of one run. `device_speed` 2 makes every model job take half as long.

    `period` is after how many seqs the recording starts again, 0 when it does not: frame period + 3 costs what 3 did.
    With `offset` frame 3 costs what frame offset + 3 did.
    """

    def __init__(self, run: Run, device_speed: float = 1.0, period: int = 0, offset: int = 0) -> None:
        self._speed = device_speed
        self._period = period
        self._offset = offset
        self._stages = {stage.name: stage for stage in run.info.stages}
        self._jobs: dict[tuple[str, str], _Series] = {}
        self._good: dict[tuple[str, str], _Series] = {}  # without those that failed: how fast a job fails says little
        self._tails: _Series = _Series()
        self._tail_parts: dict[int, Tail] = {}
        self._memo: dict[tuple[str, int, int], tuple[int, str | None]] = {}
        self._note_jobs(sorted(run.costs, key=lambda cost: cost.seqs[:1]))
        self._note_tails(sorted(run.outcomes, key=lambda outcome: outcome.seq))

    def job(self, stage: Stage, rung: int, seq: int) -> tuple[int, str | None]:
        """Return what a variant takes on a frame, in ns, and the error it raises; None when it works."""
        seq = self._recorded(seq)
        key = (stage.name, rung, seq)
        if (found := self._memo.get(key)) is None:
            cost_ns, error = self._find(self._stages[stage.name], rung, seq)
            found = self._memo[key] = (self.scaled(cost_ns), error)
        return found

    def tail(self, seq: int) -> Tail:
        """Return what drawing, encoding and sending a frame takes; of the frame before where it was not shown."""
        near = self._tails.near(self._recorded(seq))
        return (0, 0, 0) if near is None else self._tail_parts[near[0]]

    def scaled(self, cost_ns: int) -> int:
        """Return a recorded cost on the device as fast as asked for."""
        return round(cost_ns / self._speed)

    def _recorded(self, seq: int) -> int:
        return (seq + self._offset) % self._period if self._period else seq

    def _find(self, stage: StageInfo, rung: int, seq: int) -> tuple[int, str | None]:
        exact = self._jobs.get((stage.name, stage.ladder[rung].variant), _Series()).at(seq)
        if exact is not None:
            return exact
        series = [self._good.get((stage.name, one.variant), _Series()) for one in stage.ladder]
        others = [(index, near) for index, one in enumerate(series) if (near := one.near(seq)) is not None]
        if not others:
            return stage.ladder[rung].prior_ns, None
        index, (_, cost_ns) = min(others, key=lambda one: (abs(one[1][0] - seq), abs(one[0] - rung), one[0]))
        return round(cost_ns * self._ratio(stage, series, rung, index)), None

    def _ratio(self, stage: StageInfo, series: list[_Series], rung: int, known: int) -> float:
        """Return the cost of one variant by that of another: at warm-up, else as the run's medians tell."""
        if rung == known:
            return 1.0
        here, there = stage.ladder[rung].prior_ns, stage.ladder[known].prior_ns
        if not here or not there:
            here, there = _median(series[rung]), _median(series[known])
        return here / there if here and there else 1.0

    def _note_jobs(self, costs: Iterable[Cost]) -> None:
        for cost in costs:
            took_ns = (cost.finished_ns - cost.started_ns) // max(1, cost.batch)
            for seq in cost.seqs:
                if cost.stage == TAIL:
                    self._note_tail(seq, (0, took_ns, 0))
                    continue
                self._jobs.setdefault((cost.stage, cost.variant), _Series()).add(seq, took_ns, cost.error)
                if cost.error is None:
                    self._good.setdefault((cost.stage, cost.variant), _Series()).add(seq, took_ns, None)

    def _note_tails(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            stamps = outcome.stamps_ns
            if all(name in stamps for name in ("taken", "composed", "encoded", "sent")):
                taken, composed, encoded, sent = (stamps[name] for name in ("taken", "composed", "encoded", "sent"))
                self._note_tail(outcome.seq, (composed - taken, encoded - composed, sent - encoded))

    def _note_tail(self, seq: int, parts: Tail) -> None:
        if seq not in self._tail_parts:
            self._tails.seqs.append(seq)
            self._tails.values.append((sum(parts), None))
            self._tail_parts[seq] = parts


def _median(series: _Series) -> int:
    ordered = sorted(cost_ns for cost_ns, _ in series.values)
    return ordered[len(ordered) // 2] if ordered else 0
