"""The best any policy could have done, knowing all arrivals and costs in advance: a dynamic programme. Pure.

One machine, jobs that are not interrupted, each in one of several variants or not at all; a job is worth its variant's
quality when it ends by its deadline, else nothing. Where deadlines come in the order of arrivals some best schedule
runs its jobs in that order (of two neighbours in the wrong order, swapping keeps both in time), so it is enough to
decide job by job, keeping every combination of (end of the last job, worth so far) that no other one beats in both
(Lawler and Moore 1969, for 1 | r_j, agreeable d_j | sum w_j U_j with a choice of mode).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LIMIT = 2000  # entries kept; beyond, neighbours are joined to the better of both, which leaves an upper bound
PENALTIES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)  # for a change of variant; any gives a bound

Times = NDArray[np.int64]
Worths = NDArray[np.float64]
Front = tuple[Times, Worths]  # ends rising, worths rising: no entry is beaten in both


@dataclass(frozen=True, slots=True)
class Job:
    """`queued_ns` is when it may start, `deadline_ns` when it must have ended; options are (cost_ns, quality).

    With `latest_ns` it must have started by then; jobs then run in the order of their deadlines, as frames of one
    stream do, for with such a limit another order may be worth more.
    """

    queued_ns: int
    deadline_ns: int
    options: tuple[tuple[int, float], ...]
    latest_ns: int = 2**62


@dataclass(frozen=True, slots=True)
class Optimum:
    """The greatest worth; when not exact, no schedule is worth more than it."""

    value: float
    is_exact: bool


def optimum(jobs: Sequence[Job], changes: int | None = None) -> Optimum:
    """Return the greatest worth of any schedule; with `changes`, of those that change variant at most so often.

    The latter only over schedules in the order of deadlines, as frames of one stream are shown, for another order might
    save a change. It is an upper bound by Lagrangian relaxation: for every penalty p, worth less p for each change, at
    its greatest, plus p times the changes allowed, is no less than what is sought; the least of these is returned.
    """
    ordered, is_agreeable = _agreeable(jobs)
    has_limit = any(job.latest_ns < job.deadline_ns for job in jobs)
    if changes is None:
        value, is_whole = _greatest_free(ordered)
        return Optimum(value, is_agreeable and is_whole and not has_limit)
    bounds = [_greatest(ordered, penalty) + penalty * changes for penalty in PENALTIES]
    return Optimum(min(bounds), is_exact=False)


def _agreeable(jobs: Sequence[Job]) -> tuple[list[Job], bool]:
    """Return the jobs in order of deadline, and whether they arrive in that order too.

    Where they do not, a job is let start as early as any behind it: that can only make more possible.
    """
    ordered = sorted(jobs, key=lambda job: (job.deadline_ns, job.queued_ns))
    earliest, relaxed = None, []
    for job in reversed(ordered):
        earliest = job.queued_ns if earliest is None else min(earliest, job.queued_ns)
        relaxed.append(replace(job, queued_ns=earliest))
    relaxed.reverse()
    return relaxed, relaxed == ordered


def _greatest_free(jobs: Sequence[Job]) -> tuple[float, bool]:
    """Return the greatest worth when a change of variant costs nothing, and whether no entries had to be joined."""
    front: Front = (np.zeros(1, np.int64) - 2**62, np.zeros(1))
    is_whole = True
    for job in jobs:
        front = _forget(front, job.queued_ns)
        added = [_add(front, job, cost_ns, quality) for cost_ns, quality in job.options]
        merged = _merge([front, *(one for one in added if one is not None)])
        assert merged is not None
        front, is_whole = _joined(merged), is_whole and len(merged[0]) <= LIMIT
    return float(front[1][-1]), is_whole


def _joined(front: Front) -> Front:
    """Return no more than LIMIT entries: of two neighbours, the earlier end with the greater worth."""
    while len(front[0]) > LIMIT:
        odd = len(front[0]) % 2
        front = (front[0][::2], np.append(front[1][1::2], front[1][-1:] if odd else front[1][:0]))
    return front


def _greatest(jobs: Sequence[Job], penalty: float) -> float:
    """Return the greatest worth less `penalty` for each change of variant."""
    rungs = max((len(job.options) for job in jobs), default=0)
    none: Front = (np.zeros(1, np.int64) - 2**62, np.zeros(1))  # nothing has run yet
    fronts: list[Front | None] = [None] * rungs  # by the variant that ran last
    for job in jobs:
        none = _forget(none, job.queued_ns)
        fronts = [front and _forget(front, job.queued_ns) for front in fronts]
        before = list(fronts)
        for rung, (cost_ns, quality) in enumerate(job.options):
            found = [_add(none, job, cost_ns, quality)]
            for last, front in enumerate(before):
                if front is not None:
                    found.append(_add(front, job, cost_ns, quality - (penalty if last != rung else 0.0)))
            merged = _merge([front for front in (before[rung], *found) if front is not None])
            fronts[rung] = merged and _joined(merged)
    return float(max([none[1][-1], *(front[1][-1] for front in fronts if front is not None)]))


def _add(front: Front, job: Job, cost_ns: int, worth: float) -> Front | None:
    """Return what comes of running the job after each entry; None when it is never in time."""
    ends = np.maximum(front[0], job.queued_ns) + cost_ns
    last_ns = min(job.deadline_ns, job.latest_ns + cost_ns)
    in_time = int(np.searchsorted(ends, last_ns, side="right"))
    return (ends[:in_time], front[1][:in_time] + worth) if in_time else None


def _forget(front: Front, now_ns: int) -> Front:
    """Join the entries that have ended by now: the next job starts no earlier, so only the greatest worth matters."""
    past = int(np.searchsorted(front[0], now_ns, side="right"))
    return front if past < 2 else (front[0][past - 1 :], front[1][past - 1 :])


def _merge(fronts: Sequence[Front]) -> Front | None:
    """Return all entries but those that another one beats in both; None when there are none."""
    if not fronts:
        return None
    if len(fronts) == 1:
        return fronts[0]
    ends, worths = (np.concatenate(part) for part in zip(*fronts, strict=True))
    order = np.lexsort((-worths, ends))
    ends, worths = ends[order], worths[order]
    best = np.maximum.accumulate(worths)
    keeps = np.ones(len(worths), bool)
    keeps[1:] = worths[1:] > best[:-1]
    return ends[keeps], worths[keeps]
