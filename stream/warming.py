"""Compile a stream's models: before it opens, its lighter variants while it plays, and again for a new picture size.

Never in a lane: those belong to streams that play. A stage that is not ready for a size is left out of the frames
meanwhile. Event loop only.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from stream.clock import Clock
from stream.device import Device, run_aside
from stream.inflow import Inflow
from stream.pipeline import Pipeline
from stream.stage import Stage

log = logging.getLogger(__name__)

SIZES_KEPT = 3  # sizes a model is kept compiled for; models/openvino_runner.py keeps as many

Size = tuple[int, int]  # (height, width)


class LoadedStage(Protocol):
    """A stage whose models are in memory but not yet compiled for a size."""

    stage: Stage

    def warm(self, height: int, width: int, rung: int = 0) -> list[int]:
        """Compile a variant for a size, run until steady, and return some costs in ns. Blocks for seconds."""
        ...

    def close(self) -> None: ...


class Warming:
    """Which variants of one stream's stages are compiled for which size, and the compiling of the others."""

    def __init__(self, name: str, pipeline: Pipeline, device: Device, clock: Clock) -> None:
        self.loaded: list[LoadedStage] = []
        self.lock = asyncio.Lock()  # two networks that compile at once only take each other's cores
        self._name = name
        self._pipeline = pipeline
        self._device = device
        self._clock = clock
        self._ready: OrderedDict[Size, dict[str, int]] = OrderedDict()  # variants by stage; the newest size last
        self._took_ns: dict[str, int] = {}  # what the best variant of a stage took to compile, last time
        self._task: asyncio.Task[None] | None = None  # None when nothing is compiled for a new size
        self._on_done: Callable[[], object] = lambda: None

    async def best(self, size: Size) -> None:
        """Compile every stage's best variant."""
        async with self.lock:
            for loaded in self.loaded:
                await self._warm(loaded, size)
                self._note(size, loaded, 1)

    async def lighter(self, size: Size, inflow: Callable[[], Inflow | None]) -> None:
        """Compile the lighter variants, while the stream plays if it does; each may be used once it is ready."""
        for loaded in self.loaded:
            for rung in range(self.ready(size, loaded), len(loaded.stage.ladder)):
                async with self.lock:
                    if not await self._warm(loaded, size, rung):
                        break
                self._note(size, loaded, rung + 1)
                self._apply(inflow())

    def watch(self, inflow: Inflow, on_done: Callable[[], object]) -> None:
        """Have frames of a new size wait for nobody from now on; `on_done` is called when a size is ready."""
        self._on_done = on_done
        inflow.on_size = lambda height, width: self._resized(inflow, (height, width))
        self._apply(inflow)

    async def close(self) -> None:
        """Give up what is being compiled."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def ready(self, size: Size, loaded: LoadedStage) -> int:
        """Return how many variants of a stage are compiled for a size, counted from the best."""
        return self._ready.get(size, {}).get(loaded.stage.name, 0)

    def _note(self, size: Size, loaded: LoadedStage, count: int) -> None:
        self._ready.setdefault(size, {})[loaded.stage.name] = count
        self._ready.move_to_end(size)
        while len(self._ready) > SIZES_KEPT:
            self._ready.popitem(last=False)

    def _apply(self, inflow: Inflow | None) -> None:
        """Tell the stream what is ready for the size of its newest frame."""
        if inflow is None:
            return
        size = inflow.size if inflow.size != (0, 0) else next(reversed(self._ready), (0, 0))
        for loaded in self.loaded:
            count = self.ready(size, loaded)
            inflow.stages[loaded.stage.name].preparing = "" if count else f"is being compiled for {size[1]}x{size[0]}"
            inflow.stages[loaded.stage.name].ready = max(1, count)
        inflow.changed()

    def _resized(self, inflow: Inflow, size: Size) -> None:
        """Take note of the first frame of another size: compile for it beside, unless frames are far enough apart.

        A slideshow's pictures may each be of another size: there compiling in the lane costs no frame, and leaving
        the model out would leave it out of every picture.
        """
        if size in self._ready:
            self._ready.move_to_end(size)
        elif inflow.terms.waits or self._fits_between_frames(inflow):
            for loaded in self.loaded:
                self._note(size, loaded, 1)
        self._apply(inflow)
        if size not in self._ready and self._task is None and self.loaded:
            self._task = asyncio.get_running_loop().create_task(self._follow(inflow))

    def _fits_between_frames(self, inflow: Inflow) -> bool:
        return sum(self._took_ns.values()) < inflow.interval_ns

    async def _follow(self, inflow: Inflow) -> None:
        """Compile for the newest size until that is done; a size that came and went meanwhile is passed over."""
        try:
            while inflow.size not in self._ready:
                size = inflow.size
                log.info("%s: pictures are now %dx%d; compiling the models for that", self._name, size[1], size[0])
                await self._idle()
                await self.best(size)
                self._apply(inflow)
                await self.lighter(size, lambda: inflow)
            self._on_done()
        finally:
            self._task = None

    async def _idle(self) -> None:
        """Wait until no frame of the old size is with a model: it is called from one thread at a time."""
        for loaded in self.loaded:
            lane = self._device.lane(loaded.stage.kind, loaded.stage.name)
            while self._pipeline.has_job(self._name, loaded.stage.name):
                await self._device.submit(lane, _nothing)

    async def _warm(self, loaded: LoadedStage, size: Size, rung: int = 0) -> bool:
        """Compile a variant. Return whether it worked."""
        started_ns = self._clock.now_ns()
        completed = await run_aside(self._clock, lambda: loaded.warm(*size, rung))
        if not rung:
            self._took_ns[loaded.stage.name] = self._clock.now_ns() - started_ns
        if completed.error is not None:  # it may be better on a real picture; if not, its breaker opens
            log.warning("%s: warming %s failed: %s", self._name, loaded.stage.name, completed.error)
            return False
        for cost_ns in completed.value:
            quiet_ns = self._without_load(loaded, size, cost_ns, rung) if rung else cost_ns
            self._pipeline.expect(loaded.stage, *size, quiet_ns, rung)
        return True

    def _without_load(self, loaded: LoadedStage, size: Size, cost_ns: int, rung: int) -> int:
        """Return what a lighter variant, measured while the stream plays, takes alone; no more than the next better."""
        forecast = self._pipeline.costs.forecast
        best, above = (forecast(self._pipeline.cost_key(loaded.stage, n, *size)) for n in (0, rung - 1))
        return min(round(cost_ns / best.load), above.prior_ns or cost_ns)


def _nothing() -> None:
    """Take a turn in a lane."""
