"""Batches: stages of several frames that run as one job, as long as that leaves every deadline standing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stream.view import Choice, RungView, StageView


@dataclass(slots=True)
class Started:
    """A frame that is being started: how long its end may still be put off, and by how much it puts off that of others.

    `beside` are the frames it shares a batch with, by id.
    """

    spare_ns: int
    growth_ns: int = 0
    beside: "dict[int, Started]" = field(default_factory=dict)

    def settle(self) -> None:
        """Take from the frames beside it what it costs them."""
        for other in self.beside.values():
            other.spare_ns -= self.growth_ns
        self.beside.clear()


@dataclass(slots=True)
class _Batch:
    """A batch being gathered: who joins must leave the deadline of every member standing."""

    variant: str
    ready_ns: int  # time until what its pictures need is there
    cost_ns: int  # of all its pictures at once
    room: int  # pictures that may still join
    members: list[Started]


class Batches:
    """The batches begun in one decision, by lane and batch key."""

    def __init__(self) -> None:
        self.have_begun = False
        self._batches: dict[tuple[str, str], _Batch] = {}

    def have_room(self, stages: Sequence[StageView]) -> bool:
        """Whether each of the stages could join a batch in its lane."""
        found = [self._batches.get((stage.lane, stage.batch_key)) for stage in stages]
        return all(batch is not None and batch.room > 0 for batch in found)

    def may_join(self, stage: StageView, rung: int, started: Started, ready_ns: int) -> bool:
        """Whether a stage's picture may join the batch in its lane; if so, note what that costs in time.

        `ready_ns` is how long it has to wait for other stages of its frame.
        """
        batch = self._batches.get((stage.lane, stage.batch_key))
        return batch is not None and _joins(stage.rungs[rung], batch, started, ready_ns)

    def add(self, stage: StageView, choice: Choice, started: Started, ready_ns: int) -> None:
        """Put a stage's picture into the batch in its lane, or begin one with it."""
        rung, key = stage.rungs[choice.rung], (stage.lane, choice.batch)
        if (batch := self._batches.get(key)) is None:
            self.have_begun = True
            batch = self._batches[key] = _Batch(rung.variant, ready_ns, 0, stage.max_batch, [])
        batch.cost_ns = rung.batch_ns(len(batch.members) + 1)
        batch.ready_ns = max(batch.ready_ns, ready_ns)
        batch.room -= 1
        started.beside |= {id(member): member for member in batch.members}
        batch.members.append(started)


def _joins(rung: RungView, batch: _Batch, started: Started, ready_ns: int) -> bool:
    """Whether one more picture pays and leaves every deadline standing; if so, note what it costs in time."""
    if batch.room < 1 or batch.variant != rung.variant:
        return False
    cost_ns, own_ns = rung.batch_ns(len(batch.members) + 1), rung.forecast.predicted_ns
    least_ns = min(member.spare_ns for member in batch.members)
    more_ns = cost_ns - batch.cost_ns
    if more_ns > own_ns or more_ns > least_ns:
        batch.room = 0  # it would be no better for the frames behind this one
        return False
    growth_ns = started.growth_ns + more_ns + max(0, ready_ns - batch.ready_ns)
    spare_ns = started.spare_ns - (cost_ns - own_ns) - max(0, batch.ready_ns - ready_ns)
    if growth_ns > least_ns or spare_ns < 0:
        return False
    started.growth_ns, started.spare_ns = growth_ns, spare_ns
    return True
