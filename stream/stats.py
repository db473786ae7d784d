"""Counters, rates and sliding distributions. Pure; one owner (the event loop); time is given."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from stream.clock import NS_PER_S, ns_to_ms

WINDOW = 600  # samples per distribution: 20 s at 30 fps
RATE_WINDOW_NS = 2 * NS_PER_S  # rates are over the last two seconds
MAX_RATE_HZ = 480  # stamps kept per rate: two seconds at 240 per second


def quantile(ordered: list[float], q: float) -> float:
    """Return the nearest-rank quantile of a sorted, non-empty list."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Distribution:
    """The last `window` samples of one quantity, in milliseconds."""

    def __init__(self, window: int = WINDOW) -> None:
        self._samples: deque[float] = deque(maxlen=window)
        self.count = 0  # samples ever added
        self.total_ms = 0.0  # their sum, for a Prometheus summary

    def add(self, value_ms: float) -> None:
        self._samples.append(value_ms)
        self.count += 1
        self.total_ms += value_ms

    def summary(self) -> dict[str, float]:
        """Return p50, p95, p99 and max of the window; empty while there are no samples."""
        if not self._samples:
            return {}
        ordered = sorted(self._samples)
        named = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        return {name: round(quantile(ordered, q), 2) for name, q in named.items()} | {"max": round(ordered[-1], 2)}

    def lows(self) -> dict[str, float]:
        """Return p50, p5, p1 and min of the window, for what should not get low; empty while there are no samples."""
        if not self._samples:
            return {}
        ordered = sorted(self._samples)
        named = {"p50": 0.5, "p5": 0.05, "p1": 0.01}
        return {name: round(quantile(ordered, q), 2) for name, q in named.items()} | {"min": round(ordered[0], 2)}


class Rate:
    """Events per second over the last two seconds."""

    def __init__(self) -> None:
        self._stamps_ns: deque[int] = deque(maxlen=MAX_RATE_HZ)

    def add(self, now_ns: int) -> None:
        self._stamps_ns.append(now_ns)

    def per_second(self, now_ns: int) -> float:
        """Return the rate; 0 once nothing happened for two seconds."""
        while self._stamps_ns and now_ns - self._stamps_ns[0] > RATE_WINDOW_NS:
            self._stamps_ns.popleft()
        if len(self._stamps_ns) < 2:
            return 0.0
        span_ns = max(now_ns, self._stamps_ns[-1]) - self._stamps_ns[0]
        return round((len(self._stamps_ns) - 1) * NS_PER_S / span_ns, 1) if span_ns else 0.0


class BusyTime:
    """How many threads were at work on average over the last two seconds."""

    def __init__(self) -> None:
        self._spans: deque[tuple[int, int]] = deque(maxlen=MAX_RATE_HZ * 8)  # (end, time of threads), oldest first

    def add(self, finished_ns: int, spent_ns: int) -> None:
        """Note that threads were at it for `spent_ns` together, until `finished_ns`."""
        self._spans.append((finished_ns, spent_ns))

    def threads(self, now_ns: int) -> float:
        """Return the mean number of threads at work; 0 once nothing ended for two seconds."""
        while self._spans and now_ns - self._spans[0][0] > RATE_WINDOW_NS:
            self._spans.popleft()
        return sum(spent_ns for _, spent_ns in self._spans) / RATE_WINDOW_NS


@dataclass(slots=True)
class FrameCounts:
    """Where the frames of a stream went: captured = shown + dropped + in flight, at every moment.

    on_time + late = shown; reused and skipped count shown frames on which at least one stage was.
    """

    captured: int = 0
    shown: int = 0
    on_time: int = 0
    late: int = 0
    reused: int = 0
    skipped: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)  # of frames dropped, late, or shown without a stage

    @property
    def in_flight(self) -> int:
        return self.captured - self.shown - self.dropped.total()


class Latency:
    """Distributions of a stream's whole path and of each step, and of the time to spare at each step."""

    def __init__(self) -> None:
        self.capture_to_send = Distribution()
        self.steps: dict[str, Distribution] = {}
        self.slack: dict[str, Distribution] = {}

    def add(
        self,
        capture_to_send_ns: int,
        steps_ms: Iterable[tuple[str, float]],
        slack_ns: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.capture_to_send.add(ns_to_ms(capture_to_send_ns))
        for name, value_ms in steps_ms:
            self.steps.setdefault(name, Distribution()).add(value_ms)
        for name, value_ns in slack_ns:
            self.slack.setdefault(name, Distribution()).add(ns_to_ms(value_ns))

    def summary(self) -> dict[str, object]:
        return {
            "capture_to_send": self.capture_to_send.summary(),
            "steps": {name: steps.summary() for name, steps in self.steps.items()},
            "slack": {name: slack.lows() for name, slack in self.slack.items()},
        }
