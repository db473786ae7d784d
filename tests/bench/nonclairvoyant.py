"""The best a policy can do that learns a job's cost only by running it: a semi-Markov decision process. Pure.

One machine, frames of one stream at even intervals, jobs that are not interrupted. A frame's load is drawn by a Markov
chain from that of the frame before it (one state: each on its own). The policy knows the chain and the costs of each
state; which state a frame is in it learns when that frame has run. It may start any waiting frame that is young enough,
in any variant, or wait for the next one. Time is cut into slots and costs are rounded down: a shorter job can always
be followed by waiting, so the value found is no less than the true one.

The rate g of worth is found by value iteration. For any values h, g is at most the greatest of (worth + next h - h) /
time over all states and actions, so the result is an upper bound wherever the iteration stops (Puterman, Markov
Decision Processes, 1994, sections 8.5 and 11.4).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLOTS = 48  # of a frame interval: 0.7 ms at 30 fps; twice as many lower the bound by 0.002 or less
TOLERANCE = 2e-4  # of the utility
SWEEPS = 4000
MOST_PER_FRAME = 2.0  # a bound to begin with: the frame that came, and older ones once
PENALTIES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.2, 2.0, 4.0)  # for a change of variant; any gives a bound

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Process:
    """What the policy knows. Times in ns, from when a frame may start.

    latest_ns    a frame must have started by then
    deadline_ns  it must have ended by then, to be worth its variant's quality
    qualities    of the variants, best first
    costs        per load state and variant: what a job takes, and how probably
    chain        [state, state]: how probably the next frame's load is in which state
    """

    interval_ns: int
    latest_ns: int
    deadline_ns: int
    qualities: tuple[float, ...]
    costs: tuple[tuple[Mapping[int, float], ...], ...]
    chain: tuple[tuple[float, ...], ...] = ((1.0,),)


def best_utility(process: Process, changes: float | None = None, slots: int = SLOTS) -> float:
    """Return an upper bound of quality in time per frame; with `changes`, of policies that change so often per frame.

    The latter as in stream/clairvoyant.py, by Lagrangian relaxation.
    """
    table = _Table(process, slots)
    if changes is None or len(process.qualities) == 1:
        return table.best(0.0)
    return min(table.best(penalty) + penalty * changes for penalty in PENALTIES)


class _Table:
    """Values by (slot since the newest frame came, variant run last, load of that frame, frames since it).

    A frame `offset` older than the newest is free while more than `offset` frames came since the last one that ran.
    """

    def __init__(self, process: Process, slots: int) -> None:
        self._slots, self._process = slots, process
        slot_ns = process.interval_ns / slots
        self._latest, self._deadline = int(process.latest_ns / slot_ns), int(process.deadline_ns / slot_ns)
        pmfs = [[_in_slots(costs, slot_ns) for costs in variants] for variants in process.costs]
        self._offsets = 1 + self._latest // slots
        longest = max(len(pmf) for variants in pmfs for pmf in variants)
        # Beyond this nothing is learned from how long ago the last job was: a single state needs only what is free.
        self._ages = self._offsets + (0 if len(process.chain) == 1 else 2 + longest // slots)
        self._powers = _powers(np.array(process.chain), self._ages)
        self._jumps = [[self._jump(pmf) for pmf in variants] for variants in pmfs]
        self._times = np.array([[pmf @ np.arange(len(pmf)) for pmf in variants] for variants in pmfs])
        self._took = [
            [self._took_by(rung, at) for at in range(self._offsets)] for rung in range(len(process.qualities))
        ]
        self._worths = [
            [self._worth(pmf, quality) for pmf, quality in zip(v, process.qualities, strict=True)] for v in pmfs
        ]

    def _jump(self, pmf: Array) -> Array:
        """Return [slot, frames that came meanwhile, slot after it]: how probably."""
        found = np.zeros((self._slots, self._ages + 1, self._slots))
        for slot in range(self._slots):
            frames, after = np.divmod(slot + np.arange(len(pmf)), self._slots)
            np.add.at(found[slot], (np.minimum(frames, self._ages), after), pmf)
        return found

    def _worth(self, pmf: Array, quality: float) -> Array:
        """Return [offset, slot]: what a start is worth; minus infinity when the frame is too old for one."""
        age = np.arange(self._offsets)[:, None] * self._slots + np.arange(self._slots)
        in_time = np.concatenate([[0.0], np.cumsum(pmf)])[np.clip(self._deadline - age + 1, 0, len(pmf))]
        worth: Array = np.where(age <= self._latest, quality * in_time, -np.inf)
        return worth

    def best(self, penalty: float) -> float:
        """Return the greatest worth per frame less `penalty` for each change of variant, or a little more."""
        states, variants = len(self._process.chain), len(self._process.qualities)
        h = np.zeros((self._slots, variants, states, self._ages + 1))
        high, low = max(self._process.qualities) * MOST_PER_FRAME / self._slots, 0.0  # of the rate per slot
        for _ in range(SWEEPS):
            rate = (high + low) / 2
            above, below, after = self._sweep(h, rate, penalty)
            high, low = min(high, above), max(low, below)
            if (high - low) * self._slots < TOLERANCE:
                break
            h = 0.5 * h + 0.5 * after  # lazily: a chain of even steps would swing for ever
            h -= h.flat[0]
        return high * self._slots

    def _sweep(self, h: Array, rate: float, penalty: float) -> tuple[float, float, Array]:
        """Return bounds of the best rate per slot, and the values after one more decision at the price `rate`."""
        waits = np.concatenate([h[0, :, :, 1:], h[0, :, :, -1:]], axis=2)  # one frame more
        left = (self._slots - np.arange(self._slots))[:, None, None, None]
        value, gain = waits - rate * left, (waits - h) / left  # the rate at which an action holds its value
        for rung in range(h.shape[1]):
            change = np.where(np.arange(h.shape[1]) == rung, 0.0, penalty)[None, :, None, None]
            for offset in range(self._offsets):
                worth, took = self._start(h, rung, offset)[:, None] - change, self._took[rung][offset]
                value = np.maximum(value, worth - rate * took)
                gain = np.maximum(gain, (worth - h) / took)
        return float(gain.max()), float(gain.min()), value

    def _start(self, h: Array, rung: int, offset: int) -> Array:
        """Return [slot, state, frames since]: the worth of starting a frame, and of what comes then."""
        ran = np.empty((self._slots, h.shape[2]))  # by the state it turns out to be in
        since = np.minimum(np.arange(self._ages + 1) + offset, self._ages)
        for state, jumps in enumerate(self._jumps):
            after = h[:, rung, state, since]  # [slot, frames that came meanwhile]
            ran[:, state] = self._worths[state][rung][offset] + np.tensordot(jumps[rung], after.T, ((1, 2), (0, 1)))
        worth = np.full((self._slots, h.shape[2], self._ages + 1), -np.inf)
        worth[:, :, offset + 1 :] = np.einsum("sk,alk->sla", ran, self._powers[1 : self._ages + 1 - offset])
        return worth

    def _took_by(self, rung: int, offset: int) -> Array:
        """Return [1, 1, state, frames since]: the mean time of a job, in slots."""
        took = np.ones((1, 1, len(self._process.chain), self._ages + 1))
        took[0, 0, :, offset + 1 :] = np.einsum(
            "k,alk->la", self._times[:, rung], self._powers[1 : self._ages + 1 - offset]
        )
        return took


def _in_slots(costs: Mapping[int, float], slot_ns: float) -> Array:
    """Return how probably a job takes so many slots, rounded down, at least one."""
    pmf = np.zeros(1 + max(max(1, int(cost / slot_ns)) for cost in costs))
    for cost, chance in costs.items():
        pmf[max(1, int(cost / slot_ns))] += chance
    return pmf / pmf.sum()


def _powers(chain: Array, count: int) -> Array:
    """Return [n, state, state]: the chain n frames on, for 0 to `count`."""
    found = [np.eye(len(chain))]
    for _ in range(count):
        found.append(found[-1] @ chain)
    return np.array(found)
