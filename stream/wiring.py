"""Where stream/ and models/ meet: a stream's configuration becomes its source and its stages."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from stream.clock import Clock, ms_to_ns
from stream.config import StreamConfig
from stream.device import Device
from stream.frame import Frame
from stream.live import LoadedStage, StreamParts
from stream.scheduler import StageKind
from stream.source import Source, open_source, parse_source
from stream.stage import Stage

if TYPE_CHECKING:
    from models.base import Model

WARM_RUNS = 3  # measured after the backend's own warm-up; their costs are the first predictions
CPU_SIZE = (640, 360)  # the default style keeps 30 fps at this size on two cores; --size asks for another
CUDA_SIZE = (1280, 720)


class WarmStage:
    """A stage made of a model. A mask is never reused: an aged one leaves a ghost at the edge of whoever moves."""

    def __init__(self, model: "Model", kind: StageKind, threads: int, name: str = "") -> None:
        card = model.card
        self._model = model
        self.stage = Stage(
            name=name or stage_name(card.name),
            kind=kind,
            model=model,
            variant=model.variant,
            gives=frozenset(card.gives),
            max_age_ns=0 if kind is StageKind.GENERATE or "mask" in card.gives else ms_to_ns(card.max_age_ms),
            threads=threads,
            needs=frozenset(getattr(model, "needs", ())),
            background=getattr(model, "where", "all") == "background",
            boxes_people=card.name.startswith("boxes/"),
        )

    def warm(self, height: int, width: int) -> list[int]:
        """Compile, then measure a few runs on a grey picture; returns their costs in ns."""
        import numpy as np

        from stream.results import Results

        self._model.warm(height, width)
        picture = np.full((height, width, 3), 127, np.uint8)
        results = ({name: Results() for name in self.stage.needs},) if self.stage.needs else ()
        costs_ns = []
        for _ in range(WARM_RUNS):
            started_ns = time.monotonic_ns()
            self._model(picture, *results)
            costs_ns.append(time.monotonic_ns() - started_ns)
        return costs_ns

    def close(self) -> None:
        self._model.close()


def stream_parts(config: StreamConfig, device: Device, clock: Clock) -> StreamParts:
    """Return what a stream is made of. Raises ConfigError for an address that cannot be used."""
    spec = parse_source(config.source)
    names = [(name, StageKind.RECOGNIZE) for name in config.recognize]
    if config.generate:
        names.append((config.generate, StageKind.GENERATE))
    limit = config.size or (CPU_SIZE if device.name == "cpu" else CUDA_SIZE)

    def open_it(emit: Callable[[Frame], None]) -> Source:
        return open_source(
            spec,
            stream=config.name,
            clock=clock,
            emit=emit,
            max_size=limit,
            exact=config.size is not None,
            fps=config.fps,
            loop=config.loop,
        )

    return StreamParts(config.name, ms_to_ns(config.budget_ms), _loaders(names, device), open_it)


def stage_name(model: str) -> str:
    """Return the short name of a model, as the page and the metrics show it: boxes, style, Brightness."""
    head, _, rest = model.partition(":")
    is_own = head.endswith(".py") or ("/" not in head and rest[:1].isalpha() and "=" not in rest.partition(":")[0])
    return rest.partition(":")[0] if is_own else head.partition("/")[0]


def _loaders(names: list[tuple[str, StageKind]], device: Device) -> list[Callable[[], LoadedStage]]:
    """Return one loader per model. A generation model may use every core; recognition one each."""
    loaders: list[Callable[[], LoadedStage]] = []
    taken: list[str] = []
    for model, kind in names:
        threads = device.capacity if kind is StageKind.GENERATE else 1
        name = stage_name(model)
        taken.append(name)
        if (count := taken.count(name)) > 1:  # two of a kind: boxes, boxes-2
            name = f"{name}-{count}"
        loaders.append(partial(_load, model, kind, device.name, threads, name))
    return loaders


def _load(model: str, kind: StageKind, device: str, threads: int, name: str) -> WarmStage:
    from models.base import Kind, Target
    from models.registry import load

    return WarmStage(load(model, Target(device, threads), kind=Kind(kind.value)), kind, threads, name)


def device_text(device: Device) -> str:
    """Return the device as a person knows it."""
    if not device.name.startswith("cuda"):
        return f"CPU, {device.capacity} cores"
    from stream.device import cuda_name

    return cuda_name(device.name)
