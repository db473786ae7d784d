"""How far two runs could differ by chance: a moving-block bootstrap for values that come one after the other.

Frames near in time are alike, so stretches of neighbouring ones are resampled (Künsch 1989); single ones, resampled,
would promise far more than they know. Pure and seeded: the same values give the same answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from stream.summary import QUANTILES

Array: TypeAlias = npt.NDArray[np.float64]
DRAWS = 500  # resampled runs; the ends of a 95 % interval are the 13th lowest and highest
SEEDS = (20_240_229, 20_240_301)  # before, now; runs of the same clip share the first


@dataclass(frozen=True, slots=True)
class Draws:
    """A statistic of both runs: itself [K], resampled [DRAWS,K], and how much wider the truth is for so few blocks."""

    old: Array
    new: Array
    old_draws: Array
    new_draws: Array
    stretch: float


def interval(middle: float, draws: Array, stretch: float) -> tuple[float, float]:
    """Return the 95 % interval around `middle`, wider by `stretch`."""
    low, high = map(float, np.quantile(draws, (0.025, 0.975)))
    return min(middle, middle - (middle - low) * stretch), max(middle, middle + (high - middle) * stretch)


def resampled(old: Array, new: Array, statistic: Callable[[Array], Array], is_paired: bool) -> Draws:
    """Resample both runs in blocks that wrap around at the end (Politis and Romano 1992).

    Runs of the same clip are resampled at the same places: what is slow because of what is in the picture is slow in
    both and says nothing about the change. A block is sqrt(N) frames long, or three correlation times where those are
    longer, and at most a sixth of the run. For few blocks the interval is stretched as Student's t is against the
    normal distribution; for blocks cut short and for few independent frames by what made false alarms rare (measured
    in tests/test_baseline.py), since a short run hides how slowly it changes.
    """
    count = min(len(old), len(new))
    series = [_spread(old, count) - _spread(new, count)] if is_paired else [old, new]
    alike = max(map(correlation_time, series))
    wanted = max(sqrt(count), 3 * alike)
    share = max(1 / count, min(wanted / count, 1 / 6))
    stretch = (1 + 1.21 / max(1.0, 1 / share - 1)) * max(1.0, sqrt(wanted / count / share)) * (1 + 6 * alike / count)
    old_draws = _draw(old, share, statistic, SEEDS[0])
    new_draws = _draw(new, share, statistic, SEEDS[0] if is_paired else SEEDS[1])
    return Draws(statistic(old), statistic(new), old_draws, new_draws, stretch)


def _draw(values: Array, share: float, statistic: Callable[[Array], Array], seed: int) -> Array:
    """Return the statistic of DRAWS resampled runs [DRAWS,K]; a block is `share` of the run."""
    count, random = len(values), np.random.default_rng(seed)
    length = ceil(share * count)
    ring, steps = np.concatenate([values, values[:length]]), np.arange(length)
    starts = (random.random((DRAWS, ceil(1 / share))) * count).astype(int)
    return np.array([statistic(ring[(row[:, None] + steps).ravel()[:count]]) for row in starts])


def _spread(values: Array, count: int) -> Array:
    """Return `count` of the values, evenly spaced."""
    return values[np.arange(count) * len(values) // count]


def correlation_time(values: Array) -> float:
    """Return over how many frames values stay alike: 1 for independent ones, (1+r)/(1-r) for a correlation of r.

    Of the ranks, so that single spikes do not hide a slow change; summed up to five times itself (Sokal 1996).
    """
    if len(values) < 2:
        return 1.0
    _, place, amounts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(amounts) - amounts / 2)[place]  # equal values share theirs
    ranks -= ranks.mean()
    spectrum = np.fft.rfft(ranks, 2 * len(ranks))
    alike = np.fft.irfft(spectrum * np.conj(spectrum))[: len(ranks)]
    if alike[0] <= 1e-9:
        return 1.0
    sums = 2 * np.cumsum(alike / alike[0]) - 1
    return max(1.0, float(sums[np.argmax(np.arange(len(sums)) >= 5 * sums)]))


def quantiles(values: Array) -> Array:
    """Return p50, p95 and p99 by nearest rank, as stream.stats.quantile does."""
    places = [min(len(values) - 1, int(q * len(values))) for q in QUANTILES.values()]
    return np.asarray(np.partition(values, places)[places], float)


def mean(values: Array) -> Array:
    return np.array([values.mean()])
