"""Predicted costs: what a stage will take, from what it took lately. Pure; no clock, no threads."""

import math
from collections import deque
from dataclasses import dataclass, replace

WINDOW = 16  # samples kept: half a second at 30 fps, short enough to follow a change of load
RECENT = 4  # a fall of cost is believed after this many samples in a row
RISE = 3  # a rise after so many that are above all before them (noise does that once in 560 times)
FAR, STEP = 2, 1.5  # or so many that are above the mean by this factor
NEAR = 1.1  # what is nearer to the mean than this changes nothing
LONG = 64  # samples that the mean of a steady load comes from: it scatters half as much as that of the window
SURE = 3.0  # standard errors by which the window must differ from that to be another load
SEED = 3  # times that a prior stands in the window when the first job comes
FAMILIES = 512  # stages at a size that costs are known of; a machine with many streams has some dozens
JUDGED_AFTER = 8  # jobs of a variant that was taken up: then its prior is held against what they took
CLEARLY = 1.3  # off by this factor is no noise
MISJUDGED = 2.0  # and by more than this it is put right in steps
FIRST = 2  # jobs of a batch that make its cost known: the first one often compiles something


@dataclass(frozen=True, slots=True)
class CostKey:
    """What a cost depends on. `height`, `width` in pixels of the picture given to the stage; `batch` in pictures."""

    stage: str
    variant: str
    height: int
    width: int
    device: str
    batch: int = 1


class Forecast:
    """The cost to expect for one key, kept current: who holds it always reads the newest prediction.

    predicted_ns  to plan with: what it will hardly exceed
    typical_ns    the mean: what many jobs take on average
    prior_ns      known before the first job (warm-up, or the store of an earlier run); 0 when unknown
    """

    __slots__ = (
        "_followed_ns",
        "_is_followed",
        "_long_count",
        "_long_ns",
        "_own",
        "_samples",
        "is_measured",
        "jobs",
        "predicted_ns",
        "prior_ns",
        "typical_ns",
    )

    def __init__(self, predicted_ns: int = 0) -> None:
        self.predicted_ns = predicted_ns
        self.typical_ns = predicted_ns
        self.prior_ns = predicted_ns
        self.is_measured = False  # by jobs of its own, rather than by a prior or another variant
        self.jobs = 0  # of its own, ever
        self._own = 0  # jobs of its own since it was taken up last
        self._is_followed = False  # the expectation comes from a variant that had run for a while
        self._followed_ns = 0  # what another variant let expect when this one was taken up; 0 once that was judged
        self._samples: deque[int] = deque(maxlen=WINDOW)
        self._long_ns = 0.0  # mean of the last 64 or so of one load
        self._long_count = 0  # samples in it

    def add(self, cost_ns: int) -> None:
        """Take a measured cost.

        The prediction is the second highest of the last 16 (their 90th percentile), so one outlier changes
        nothing and a rise is believed at its second sample; but never more than the highest of the last 4, so
        a fall is believed within 4.
        """
        if not self.is_measured:
            self._begin()
        self.jobs += 1
        samples = self._samples
        samples.append(cost_ns)
        self._own += 1
        if self._own == RECENT:  # enough to stand alone: what was only expected goes
            samples = self._samples = deque(list(samples)[-RECENT:], maxlen=WINDOW)
        self.prior_ns = self.prior_ns or cost_ns
        window = list(samples)
        ordered = sorted(window)
        high = ordered[-2] if len(ordered) > 1 else ordered[-1]
        self.predicted_ns = min(high, max(window[-RECENT:]))
        self.typical_ns = min(self._steady_ns(cost_ns, window), self.predicted_ns)
        if self._followed_ns and self._own == JUDGED_AFTER:
            self._judge_prior()

    def _steady_ns(self, cost_ns: int, window: list[int]) -> int:
        """Return the mean of the last 64, or that of the window when it is clearly another load."""
        mean, count = _mean_ns(window)
        self._long_count = min(LONG, self._long_count + 1)
        self._long_ns += (cost_ns - self._long_ns) / self._long_count
        total, n = sum(window), len(window)
        spread = (
            n * sum([one * one for one in window]) - total * total
        )  # n * n times the variance, exact in whole numbers
        off = mean - self._long_ns
        if off * off * count * n * n >= SURE * SURE * spread:
            self._long_ns, self._long_count = mean, count
        return round(self._long_ns)

    def _begin(self) -> None:
        """Go on from what was expected, so that the first job of its own may be an outlier too."""
        self.is_measured = True
        self._own = 0
        self._followed_ns = self.typical_ns if self._is_followed else 0
        if not self._samples and self.prior_ns:
            self._samples.extend([self.prior_ns] * SEED)

    def _judge_prior(self) -> None:
        """Put the prior right when the expectation from another variant was clearly off.

        A prior measured while others used the machine would misjudge every change of variant for ever. A quarter of
        it, on a scale of factors, is believed: the load may have changed just then. (Square roots, as their last
        digit is the same on every machine.)
        """
        own = list(self._samples)[-JUDGED_AFTER:]
        off = sum(own) / len(own) / self._followed_ns
        if not 1 / CLEARLY <= off <= CLEARLY:
            self.prior_ns = max(1, round(self.prior_ns * math.sqrt(math.sqrt(min(MISJUDGED, max(1 / MISJUDGED, off))))))
        self._followed_ns = 0

    def follow(self, other: "Forecast") -> None:
        """Take the load that another variant or batch of the stage has met: its samples, scaled by the priors."""
        ratio = self.prior_ns / other.prior_ns
        self.is_measured = False
        self._is_followed = other._own >= JUDGED_AFTER
        self._samples = deque((round(cost_ns * ratio) for cost_ns in other._samples), maxlen=WINDOW)
        self.predicted_ns = round(other.predicted_ns * ratio)
        self.typical_ns = round(other.typical_ns * ratio)
        self._long_ns, self._long_count = other._long_ns * ratio, other._long_count

    @property
    def load(self) -> float:
        """How much longer jobs take now than at warm-up, at least 1; 1 while nothing is known."""
        return max(1.0, self.typical_ns / self.prior_ns) if self.prior_ns else 1.0

    def chance(self, left_ns: int) -> float:
        """Return the share of recent costs that were no more than `left_ns`, 0..1."""
        if not self._samples:
            return float(self.predicted_ns <= left_ns)
        return sum(cost_ns <= left_ns for cost_ns in self._samples) / len(self._samples)


def _mean_ns(window: list[int]) -> tuple[float, int]:
    """Return the mean of the window, or of its newest part when that is another load, and of how many samples."""
    mean = sum(window) / len(window)
    if mean <= window[-1] * NEAR and window[-1] <= mean * NEAR:  # neither of the below, and the usual case
        return mean, len(window)
    for count, is_shift in ((FAR, _is_far), (RISE, _is_rise), (RECENT, _is_fall)):
        if is_shift(window[:-count], window[-count:], mean):
            return sum(window[-count:]) / len(window[-count:]), len(window[-count:])
    return mean, len(window)


def _is_far(before: list[int], newest: list[int], mean: float) -> bool:
    return min(newest) > mean * STEP


def _is_rise(before: list[int], newest: list[int], mean: float) -> bool:
    """Whether the newest costs are clearly another load: all above all before them."""
    return len(before) >= RECENT and min(newest) > max(max(before), mean * NEAR)


def _is_fall(before: list[int], newest: list[int], mean: float) -> bool:
    return max(newest) * STEP < mean or (len(before) >= RECENT and max(newest) * NEAR < min(min(before), mean))


_Family = tuple[str, int, int, str]


class CostModel:
    """A high quantile of recent costs per key, never an average: deadlines are missed in the tail.

    Variants of one stage share their load, and so do its batches: when the one in use takes twice its prior, the
    others are expected to take twice theirs. So what was not run for a while is judged by today's load, not by its
    last run.
    """

    def __init__(self) -> None:
        self._forecasts: dict[CostKey, Forecast] = {}
        self._families: dict[_Family, list[Forecast]] = {}  # variants and batches of a stage, at one size

    def forecast(self, key: CostKey) -> Forecast:
        """Return the live forecast of a key; 0 ns while nothing is known of it."""
        if (found := self._forecasts.get(key)) is None:
            found = self._forecasts[key] = Forecast()
            self._families.setdefault(_family(key), []).append(found)
            self._forget_oldest()
        return found

    def _forget_oldest(self) -> None:
        """Forget the stages and sizes that were observed longest ago, when a source changes its size without end."""
        while len(self._families) > FAMILIES:
            oldest = next(iter(self._families))
            del self._families[oldest]
            self._forecasts = {key: one for key, one in self._forecasts.items() if _family(key) != oldest}

    def expect(self, key: CostKey, cost_ns: int) -> None:
        """Take a cost as prior: measured at warm-up or kept from an earlier run. Lower ones win: noise only adds."""
        forecast = self.forecast(key)
        forecast.prior_ns = min(forecast.prior_ns or cost_ns, cost_ns)
        if not forecast.is_measured:
            forecast.predicted_ns = forecast.typical_ns = cost_ns

    def observe(self, key: CostKey, cost_ns: int) -> None:
        """Add a measured cost."""
        forecast = self.forecast(key)
        if key.batch > 1 and forecast.jobs < FIRST:
            self._expect_batch(key, cost_ns)
        forecast.add(cost_ns)
        if not forecast.prior_ns:  # a clock that stood still tells nothing of the others
            return
        family = self._families.pop(_family(key))
        self._families[_family(key)] = family  # the newest
        for sibling in family:
            if sibling is not forecast and sibling.prior_ns:
                sibling.follow(forecast)

    def _expect_batch(self, key: CostKey, cost_ns: int) -> None:
        """Take one of the first costs of a batch as prior, without the load that single pictures meet now."""
        single = self._forecasts.get(replace(key, batch=1))
        if single is not None and single.is_measured and single.prior_ns and single.typical_ns:
            cost_ns = round(cost_ns * single.prior_ns / single.typical_ns)
        forecast = self.forecast(key)
        forecast.prior_ns = min(forecast.prior_ns or cost_ns, cost_ns)

    def predict_ns(self, key: CostKey, default_ns: int = 0) -> int:
        """Return the cost to expect; `default_ns` while nothing is known."""
        found = self._forecasts.get(key)
        return found.predicted_ns if found is not None and found.prior_ns else default_ns

    def priors(self) -> dict[CostKey, int]:
        """Return what is known of each key, to start from another time: the lowest cost believed so far."""
        return {key: forecast.prior_ns for key, forecast in self._forecasts.items() if forecast.prior_ns}


def _family(key: CostKey) -> _Family:
    return key.stage, key.height, key.width, key.device
