"""Which variant of a stage its frames get, over time: down at once when load rises, up again when there is room. Pure.

A level is worth its quality times the share of frames that the device can serve with it in time. So a lighter variant
is taken exactly when it shows more quality per second, and a ladder whose light variants are poor is hardly used.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from stream.budget import Forecast
from stream.clock import NS_PER_S

BETTER = 1.05  # a level must be worth this much more than the present one: less is noise of the prediction
PRESSING = 1.3  # so much more, and it is taken at once
SETTLE_NS = NS_PER_S  # otherwise at most one change in this time
UP_AFTER_NS = NS_PER_S  # a better variant must have had room for so long
LOOKBACK_NS = 4 * NS_PER_S  # time constant of what a level was worth lately
REVERSAL_NS = 3 * NS_PER_S  # a change that undoes the one before within this time was for a passing load
RULED_OUT_NS = 30 * NS_PER_S  # a variant that memory did not suffice for is not tried again before
UNSTEADY_NS = 30 * NS_PER_S  # reversals in this time tell how steady the load is
UNSTEADY = 3  # so many of them: decide by what levels were worth lately, and no longer by this moment


@dataclass(frozen=True, slots=True)
class Room:
    """What a stage may use, apart from its own cost.

    period_ns  device time it has for each frame that comes: the frame interval times its stream's share, without the
               other stages of its lane; 0 while unknown
    spare_ns   time it has for one frame: the budget without waiting, the other stages of the path, drawing and encoding
    """

    period_ns: int
    spare_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """A change of level, and why, in words."""

    before: int
    after: int
    reason: str


class LadderControl:
    """The level of one stage of one stream. Asked at every frame; time is given.

    In a steady load the present moment decides. The more often a change was undone lately, the longer it looks back:
    a load that comes and goes faster than one may change gets the level that is best on average.
    """

    def __init__(self, qualities: Sequence[float]) -> None:
        self.level = 0
        self.changes = 0
        self._qualities = tuple(qualities)
        self._changed_ns: int | None = None  # None before the first change
        self._was_up = False  # the last change
        self._was_pressing = False  # it did not wait for the one before to settle; the next one has to
        self._reversals_ns: deque[int] = deque(maxlen=UNSTEADY)  # when the last ones were
        self._lately = list(qualities)  # what each level was worth, smoothed
        self._updated_ns: int | None = None  # None before the first update
        self._least = 0  # no better level than this while it counts
        self._least_until_ns = 0
        self._better_since_ns: int | None = None  # since when a better variant has had room; None while none has

    def update(self, now_ns: int, costs: Sequence[Forecast], room: Room) -> Step | None:
        """Choose the level, given the forecasts of the variants that are ready, best first; return a change."""
        worth = [_worth(q, cost, room) for q, cost in zip(self._qualities, costs, strict=False)]
        self._smooth(now_ns, worth)
        values = self._blend(now_ns, worth)
        if now_ns < self._least_until_ns:
            values[: self._least] = [0.0] * len(values[: self._least])
        best = len(values) - 1 if not any(values) else max(range(len(values)), key=lambda index: values[index])
        gain = values[best] / values[self.level] if values[self.level] else math.inf
        serves_all = values[best] >= self._qualities[best]  # and then even a little more quality is worth it
        pays = gain > BETTER or (serves_all and gain > 1)
        if best >= self.level or not pays:
            self._better_since_ns = None
        is_pressing = gain > PRESSING and not self._was_pressing
        if best > self.level and (is_pressing or (gain > BETTER and self._is_settled(now_ns))):
            return self._change(now_ns, best, _why_down(costs[self.level], room))
        if best < self.level and pays and self._has_waited(now_ns):
            return self._change(now_ns, best, _why_up(costs[best], room))
        return None

    def rule_out(self, now_ns: int, least: int, reason: str) -> Step | None:
        """Use nothing better than level `least` for `RULED_OUT_NS`; return the change, None when there is none."""
        self._least, self._least_until_ns = least, now_ns + RULED_OUT_NS
        return self._change(now_ns, least, reason) if self.level < least else None

    def _smooth(self, now_ns: int, worth: Sequence[float]) -> None:
        part = 1.0 if self._updated_ns is None else 1 - math.exp((self._updated_ns - now_ns) / LOOKBACK_NS)
        for index, now in enumerate(worth):
            self._lately[index] += part * (now - self._lately[index])
        self._updated_ns = now_ns

    def _blend(self, now_ns: int, worth: Sequence[float]) -> list[float]:
        """Return what each level is worth, between this moment and lately, by how steady the load has been."""
        reversals = sum(now_ns - at_ns < UNSTEADY_NS for at_ns in self._reversals_ns)
        back = max(0, reversals - 1) / (UNSTEADY - 1)  # a single one is no pattern
        return [now + back * (lately - now) for now, lately in zip(worth, self._lately, strict=False)]

    def _has_waited(self, now_ns: int) -> bool:
        """Whether a better variant has had room for long enough."""
        if self._better_since_ns is None:
            self._better_since_ns = now_ns
        return now_ns - self._better_since_ns >= UP_AFTER_NS and self._is_settled(now_ns)

    def _is_settled(self, now_ns: int) -> bool:
        return self._changed_ns is None or now_ns - self._changed_ns >= SETTLE_NS

    def _change(self, now_ns: int, after: int, reason: str) -> Step:
        self._was_pressing = not self._is_settled(now_ns)
        step, is_up = Step(self.level, after, reason), after < self.level
        if self._changed_ns is not None and is_up is not self._was_up and now_ns - self._changed_ns < REVERSAL_NS:
            self._reversals_ns.append(now_ns)
        self.level, self._changed_ns, self._was_up, self._better_since_ns = after, now_ns, is_up, None
        self.changes += 1
        return step


def _worth(quality: float, cost: Forecast, room: Room) -> float:
    """Return quality x share of frames served; 0 when not even one frame is in time."""
    if cost.predicted_ns > room.spare_ns:
        return 0.0
    return quality * min(1.0, room.period_ns / cost.typical_ns) if cost.typical_ns and room.period_ns else quality


def _why_down(cost: Forecast, room: Room) -> str:
    if cost.predicted_ns > room.spare_ns:
        return (
            f"the better one takes {_ms(cost.predicted_ns)} ms, and the budget leaves it {_ms(max(0, room.spare_ns))}"
        )
    return f"the better one takes {_ms(cost.typical_ns)} ms, and there are {_ms(room.period_ns)} for a frame"


def _why_up(cost: Forecast, room: Room) -> str:
    if cost.typical_ns <= room.period_ns or not room.period_ns:
        return f"there is room: {_ms(cost.typical_ns)} of {_ms(room.period_ns)} ms"
    return f"fewer frames of it are worth more: it takes {_ms(cost.typical_ns)} ms, and there are {_ms(room.period_ns)}"


def _ms(value_ns: float) -> str:
    return f"{value_ns / 1e6:.0f}"
