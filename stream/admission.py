"""Whether a stream can be served at all, beside those that play: asked once, before it is shown. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream.clock import NS_PER_S, ns_to_ms

FULL = 0.95  # of a lane's time that may be promised; the rest is the system's


@dataclass(frozen=True, slots=True)
class Ask:
    """The least a stream needs: every stage at its lightest variant.

    models_ns  the longest chain of stages that each frame waits for
    tail_ns    drawing and encoding
    lanes_ns   time on each lane for one frame
    """

    stream: str
    budget_ns: int
    models_ns: int
    tail_ns: int
    min_fps: float
    lanes_ns: Mapping[str, int] = field(default_factory=dict)
    min_quality: float = 0.0  # below which no variant was considered


def refusal(new: Ask, others: Iterable[Ask]) -> str | None:
    """Return why a stream cannot be served, with the numbers and what to do; None when it can."""
    needed_ns = new.models_ns + new.tail_ns
    floor = "a lower --min-quality, " if new.min_quality else ""
    if needed_ns > new.budget_ns:
        return (
            f"at its lightest a frame takes {ns_to_ms(needed_ns):.0f} ms, and the budget is "
            f"{ns_to_ms(new.budget_ns):.0f} ms; give --budget {_budget_ms(needed_ns)} or more, {floor}a lighter model "
            "or a smaller --size, or --allow-late to see late pictures"
        )
    asks = [*others, new]
    for lane in new.lanes_ns:
        promised = sum(ask.lanes_ns.get(lane, 0) * ask.min_fps / NS_PER_S for ask in asks)
        if promised > FULL and new.min_fps:
            rates = ", ".join(f"{ask.stream} {ask.min_fps:g}" for ask in asks if lane in ask.lanes_ns)
            return (
                f"the least rates of all streams together ({rates} frames a second) fill lane {lane} to "
                f"{promised:.0%} even at the lightest variants; lower a min_fps, stop a stream, or take lighter models"
            )
    return None


def _budget_ms(needed_ns: int) -> int:
    """Return a budget that would do, in steps of ten: as much again for waiting, drawing and encoding."""
    return math.ceil(ns_to_ms(needed_ns) * 2 / 10) * 10
