"""A live stream over a scripted source and models that are plain functions."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from stream.clock import MonotonicClock, ms_to_ns
from stream.device import CpuDevice
from stream.live import LiveStream
from stream.parts import StreamParts
from stream.pipeline import Pipeline
from stream.stage import Stage, Variant
from stream.view import StageKind
from tests.fakes import ScriptedSource


class Loaded:
    """A loaded stage around a function."""

    def __init__(
        self,
        name: str,
        kind: StageKind,
        model: Callable[[Any], Any],
        max_age_ms: float = 0,
        lighter: tuple[Variant, ...] = (),
        costs_ms: tuple[float, ...] = (1.0,),
    ) -> None:
        self.stage = Stage(name, kind, model, "fake", max_age_ns=ms_to_ns(max_age_ms), lighter=lighter)
        self.costs_ms = costs_ms
        self.warmed: list[int] = []  # rungs, in order
        self.sizes: list[tuple[int, int]] = []  # (height, width) of each of them
        self.is_closed = False

    def warm(self, height: int, width: int, rung: int = 0) -> list[int]:
        self.stage.ladder[rung].model(np.zeros((height, width, 3), np.uint8))
        self.warmed.append(rung)
        self.sizes.append((height, width))
        return [ms_to_ns(self.costs_ms[rung])]

    def close(self) -> None:
        self.is_closed = True


class Stand:
    """A live stream over a scripted source."""

    def __init__(self, *loaded: Loaded, budget_ms: float = 10_000, **more: Any) -> None:
        self.clock = MonotonicClock()
        self.device = CpuDevice(self.clock, 2)
        self.pipeline = Pipeline(self.device, self.clock)
        self.source: ScriptedSource
        loaders = [lambda one=one: one for one in loaded]
        self.stream = LiveStream(
            StreamParts("s", ms_to_ns(budget_ms), loaders, self._open, **more), self.pipeline, self.device, self.clock
        )

    def _open(self, emit: Callable[..., None]) -> ScriptedSource:
        self.source = ScriptedSource(emit)
        return self.source

    async def open(self) -> "Stand":
        self.stream.start()
        warming = asyncio.create_task(self.stream.warm_up())
        self.source.give(self.clock.now_ns())
        await asyncio.wait_for(warming, 20)
        return self

    async def show(self, count: int, size: tuple[int, int] = (32, 64)) -> None:
        """Give frames one by one, each once the one before is accounted for."""
        for _ in range(count):
            accounted = self.accounted() + 1
            self.source.give(self.clock.now_ns(), size)
            async with asyncio.timeout(10):
                while self.accounted() < accounted:
                    await asyncio.sleep(0.001)

    def accounted(self) -> int:
        return self.stream.counts.shown + self.stream.counts.dropped.total()
