"""Runs made up by rule, the same on every machine: `synthetic:lognormal,overload=2,ladder=4`."""

import math
import random
from collections.abc import Callable, Mapping

from stream.clock import NS_PER_S, ms_to_ns
from stream.costs import TAIL
from stream.errors import ConfigError
from stream.run import Arrival, Cost, Run, RungInfo, RunInfo, StageInfo, check_frames

LADDER = ((1.0, 1.0), (0.9, 0.55), (0.75, 0.3), (0.6, 0.16))  # (quality, cost) of a made-up model, against its best
PTS_HZ = 90_000  # ticks of a pts, as in stream/virtual.py
DECODE_NS = 2_000_000  # from capture to the mailbox
TAIL_NS = 4_000_000  # drawing and encoding at 640x360
BURST = 15  # frames of a burst: half a second at 30 fps
DEFAULTS: Mapping[str, float] = {
    "overload": 2.0,  # mean cost of the best variant, in frame intervals
    "seconds": 20.0,
    "fps": 30.0,
    "seed": 1.0,
    "budget": 150.0,  # ms
    "ladder": 1.0,  # variants
    "sigma": 0.5,  # of lognormal costs
    "jitter": 0.0,  # of arrivals, in frame intervals
}
_RANGES = {"overload": (0.01, 100), "seconds": (1, 36_000), "fps": (1, 240), "seed": (0, 2**31), "budget": (1, 60_000)}
_RANGES |= {"ladder": (1, len(LADDER)), "sigma": (0, 2), "jitter": (0, 1)}
_WHOLE = ("seed", "ladder")


def _constant(index: int, count: int, draw: random.Random, sigma: float) -> float:
    return 1.0


def _bursty(index: int, count: int, draw: random.Random, sigma: float) -> float:
    """Return a high cost in every fourth half second; the mean is 1."""
    return 2.2 if index // BURST % 4 == 0 else 0.6


def _lognormal(index: int, count: int, draw: random.Random, sigma: float) -> float:
    """Return a cost with a heavy tail, each frame's on its own; the mean is 1."""
    return math.exp(draw.gauss(-sigma * sigma / 2, sigma))


def _step(index: int, count: int, draw: random.Random, sigma: float) -> float:
    """Return a cost that rises fourfold for the middle third; the mean is 1."""
    return 2.0 if count / 3 <= index < 2 * count / 3 else 0.5


KINDS: Mapping[str, Callable[[int, int, random.Random, float], float]] = {
    "constant": _constant,
    "bursty": _bursty,
    "lognormal": _lognormal,
    "step": _step,
}


def synthetic_run(text: str) -> Run:
    """Return the run that `synthetic:KIND[,key=value...]` describes: one stage, with its costs in every variant.

    Raises ConfigError that names what is known. Costs are whole microseconds, so that
    no processor's last digit tells.
    """
    kind, values = _parse(text)
    interval_ns = NS_PER_S / values["fps"]
    base_ns = values["overload"] * interval_ns
    ladder = tuple(RungInfo(f"v{n}", q, round(base_ns * c)) for n, (q, c) in enumerate(LADDER[: int(values["ladder"])]))
    stage = StageInfo("paint", "generate", "generate", 1, 0, (), ladder)
    budget_ns = ms_to_ns(values["budget"])
    run = Run(RunInfo("s", "", "virtual", text, 1, budget_ns, (stage,), pace="virtual", tail_ns=TAIL_NS))
    draw, count = random.Random(int(values["seed"])), round(values["seconds"] * values["fps"])
    for index in range(count):
        late_ns = values["jitter"] * interval_ns * draw.random()
        captured_ns = round(index * interval_ns + late_ns)
        pts = round(index * PTS_HZ / values["fps"])
        run.add(Arrival(index, pts, captured_ns, captured_ns + DECODE_NS, 360, 640))
        load = KINDS[kind](index, count, draw, values["sigma"])
        for rung, (_, share) in zip(ladder, LADDER, strict=False):
            run.add(
                Cost(
                    "paint",
                    rung.variant,
                    (index,),
                    1,
                    "generate",
                    0,
                    max(1000, round(base_ns * share * load / 1000) * 1000),
                )
            )
        run.add(Cost(TAIL, "", (index,), 1, "encoder", 0, round(TAIL_NS * draw.uniform(0.9, 1.1) / 1000) * 1000))
    return run


def _parse(text: str) -> tuple[str, dict[str, float]]:
    kind, *options = text.removeprefix("synthetic:").split(",")
    if kind not in KINDS:
        raise ConfigError(f"{text}: there is no kind {kind!r}; known are {', '.join(KINDS)}")
    values = dict(DEFAULTS)
    for option in options:
        key, equals, value = option.partition("=")
        if key not in DEFAULTS or not equals:
            raise ConfigError(f"{text}: {option!r} is not understood; known are {', '.join(f'{k}=' for k in DEFAULTS)}")
        values[key] = _number(text, key, value)
    check_frames(round(values["seconds"] * values["fps"]), f"{text}: take fewer seconds= or a lower fps=")
    return kind, values


def _number(text: str, key: str, value: str) -> float:
    low, high = _RANGES[key]
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not low <= number <= high or (key in _WHOLE and number != int(number)):
        whole = " whole" if key in _WHOLE else ""
        raise ConfigError(f"{text}: {key}={value} is not allowed; it must be a{whole} number from {low:g} to {high:g}")
    return number
