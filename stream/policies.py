"""The policies that ours is compared with in `livelens simulate` and the bench. Pure, as stream/scheduler.py.

They stand for what servers do today: every model on every frame at its best variant, in some order, nothing planned.
"""

from collections.abc import Callable, Iterable

from stream.errors import ConfigError
from stream.scheduler import DeadlineScheduler, Scheduler
from stream.view import Action, Choice, Drop, Plan, Waiting, must_run_ns

QUEUE = 10_000  # frames that may wait under fifo and edf: five minutes at 30 fps, more than any run here falls behind


class PlainScheduler:
    """Takes the first frame by `order` whose lanes are free, and runs every stage on it."""

    has_ladder = False

    def __init__(self, order: Callable[[Waiting], int], inbox_bound: int) -> None:
        self.inbox_bound = inbox_bound
        self._order = order

    def decide(
        self, now_ns: int, waiting: Iterable[Waiting], busy_lanes: frozenset[str], *, is_overloaded: bool = False
    ) -> list[Plan | Drop]:
        """Return the frames to start now; see `stream.scheduler.Scheduler`."""
        busy = set(busy_lanes)
        plans: list[Plan | Drop] = []
        for frame in sorted(waiting, key=lambda f: (self._order(f), f.stream)):
            lanes = {stage.lane for stage in frame.stages if not stage.unavailable}
            if busy.isdisjoint(lanes):
                busy |= lanes
                plans.append(Plan(frame.stream, frame.seq, _run_all(frame), must_run_ns(frame.stages)))
        return plans


def _run_all(frame: Waiting) -> dict[str, Choice]:
    run = Choice(Action.RUN, "every frame")
    return {s.name: Choice(Action.SKIP, s.unavailable) if s.unavailable else run for s in frame.stages}


POLICIES: dict[str, Callable[[int], Scheduler]] = {
    "fifo": lambda capacity: PlainScheduler(lambda f: f.captured_ns, QUEUE),  # a queue before the model
    "newest": lambda capacity: PlainScheduler(lambda f: f.due_ns, 1),  # a leaky queue of one
    "edf": lambda capacity: PlainScheduler(lambda f: f.deadline_ns, QUEUE),  # earliest deadline, nothing shed
    "livelens": DeadlineScheduler,
}


def policy(name: str, capacity: int) -> Scheduler:
    """Return a fresh scheduler. Raises ConfigError for a name that is none."""
    if name not in POLICIES:
        raise ConfigError(f"--policy {name}: there is no such policy; known are {', '.join(POLICIES)}")
    return POLICIES[name](capacity)
