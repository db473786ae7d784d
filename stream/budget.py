"""Predicted costs: what a stage will take, from what it took lately. Pure; no clock, no threads."""

from collections import deque
from dataclasses import dataclass

WINDOW = 16  # samples kept: half a second at 30 fps, short enough to follow a change of load
RECENT = 4  # a fall of cost is believed after this many samples in a row


@dataclass(frozen=True, slots=True)
class CostKey:
    """What a cost depends on. `height`, `width` in pixels of the picture given to the stage."""

    stage: str
    variant: str
    height: int
    width: int
    device: str


class CostModel:
    """A high quantile of recent costs per key, never an average: deadlines are missed in the tail.

    The prediction is the second highest of the last 16 samples (their 90th percentile), so one
    outlier changes nothing and a rise is believed at its second sample; but never more than the
    highest of the last 4, so a fall is believed within 4.
    """

    def __init__(self) -> None:
        self._samples_ns: dict[CostKey, deque[int]] = {}

    def observe(self, key: CostKey, cost_ns: int) -> None:
        """Add a measured cost."""
        self._samples_ns.setdefault(key, deque(maxlen=WINDOW)).append(cost_ns)

    def predict_ns(self, key: CostKey, default_ns: int = 0) -> int:
        """Return the cost to expect; `default_ns` while nothing was measured."""
        samples = self._samples_ns.get(key)
        if not samples:
            return default_ns
        ordered = sorted(samples)
        high = ordered[-2] if len(ordered) > 1 else ordered[-1]
        return min(high, max(list(samples)[-RECENT:]))
