"""Where stream/ and models/ meet: a stream's configuration becomes its source and its stages."""

import importlib.metadata
import logging
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stream.clock import Clock, ms_to_ns
from stream.config import StreamConfig
from stream.device import Device, device_text
from stream.errors import ModelError
from stream.frame import Frame
from stream.inflow import Terms
from stream.parts import StreamParts
from stream.placement import load_of
from stream.run import RunInfo, RunLog
from stream.shadow import Judge
from stream.source import Source, open_source, parse_source
from stream.stage import Stage, Variant
from stream.view import StageKind
from stream.warming import LoadedStage

if TYPE_CHECKING:
    from models.base import Model
    from stream.recorder import Recorder

log = logging.getLogger(__name__)

MAX_BATCH = 64  # pictures of one job; more would make all of them late
WARM_RUNS = 3  # measured after the backend's own warm-up; their costs are the first predictions
CPU_SIZE = (640, 360)  # the default style keeps 30 fps at this size on two cores; --size asks for another
CUDA_SIZE = (1280, 720)
USUAL_FPS = 30.0  # of a source whose rate is not known yet


VERSIONS_OF = ("livelens", "torch", "openvino", "av", "aiortc", "numpy", "opencv-python")


@dataclass(frozen=True, slots=True)
class Rung:
    """A loaded lighter variant of a stage: what sets it apart, such as "scale=0.5", and its measured quality."""

    model: "Model"
    label: str
    quality: float


class WarmStage:
    """A stage made of a model. A mask is never reused: an aged one leaves a ghost at the edge of whoever moves.

    `lighter` are further variants of it, from better to lighter.
    """

    def __init__(
        self,
        model: "Model",
        kind: StageKind,
        threads: int,
        name: str = "",
        lighter: Sequence[Rung] = (),
        cost_name: str = "",
    ) -> None:
        card = model.card
        self._models = [model, *(rung.model for rung in lighter)]
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
            enlargement=getattr(model, "enlargement", 1),
            boxes_people=card.name.startswith("boxes/"),
            lighter=tuple(
                Variant(variant_text(rung.model.variant, rung.label), rung.quality, rung.model) for rung in lighter
            ),
            cost_name=cost_name,
            batch_key=getattr(model, "batch_key", ""),
            max_batch=min(MAX_BATCH, getattr(model, "max_batch", 1)),
        )

    def warm(self, height: int, width: int, rung: int = 0) -> list[int]:
        """Compile a variant, then measure a few runs on a grey picture; returns their costs in ns."""
        import numpy as np

        from stream.results import Results

        model = self._models[rung]
        model.warm(height, width)
        picture = np.full((height, width, 3), 127, np.uint8)
        results = ({name: Results() for name in self.stage.needs},) if self.stage.needs else ()
        costs_ns = []
        for _ in range(WARM_RUNS):
            started_ns = time.monotonic_ns()
            model(picture, *results)
            costs_ns.append(time.monotonic_ns() - started_ns)
        return costs_ns

    def close(self) -> None:
        for model in self._models:
            model.close()


@dataclass(frozen=True, slots=True)
class Play:
    """How a recording is played by `livelens replay`; as it stands, as a live stream.

    pace      name of it, for the account
    schedule  recorded arrivals of its packets, in ns after the first; None goes by their timestamps
    is_paced  False as fast as the pipeline takes it, without dropping
    log       takes the account
    """

    pace: str = "live"
    schedule: Sequence[int] | None = None
    is_paced: bool = True
    log: RunLog | None = None


LIVE = Play()


def stream_parts(config: StreamConfig, device: Device, clock: Clock, play: Play = LIVE) -> StreamParts:
    """Return what a stream is made of. Raises ConfigError for an address, or a recording, that cannot be used."""
    spec = parse_source(config.source)
    names = [(name, StageKind.RECOGNIZE) for name in config.recognize]
    if config.generate:
        names.append((config.generate, StageKind.GENERATE))
    limit = config.size or (CPU_SIZE if device.name == "cpu" else CUDA_SIZE)
    clip = Path(config.record or spec.display).name if config.record or play.pace != "live" else ""
    about = about_run(config, device, play.pace, clip)
    recorder = _recorder(config, clock, about)
    pool = device.pool()

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
            tap=recorder,
            schedule=play.schedule,
            is_paced=play.is_paced,
            pool=pool,
        )

    return StreamParts(
        config.name,
        ms_to_ns(config.budget_ms),
        _loaders(names, device, config.min_quality),
        open_it,
        terms=Terms(config.weight, config.min_fps, waits=not play.is_paced, log=play.log),
        min_quality=config.min_quality,
        allow_late=config.allow_late,
        recorder=recorder,
        about=about,
        judges=_judges(names) if config.shadow_s else {},
        shadow_ns=ms_to_ns(config.shadow_s * 1000),
        pool=pool,
    )


def expected_load(config: StreamConfig) -> float:
    """Return how much work a stream is likely to be for a GPU; see `stream.placement.load_of`."""
    width, height = config.size or CUDA_SIZE
    return load_of(len(config.recognize) + bool(config.generate), width * height, config.fps or USUAL_FPS)


def about_run(config: StreamConfig, device: Device, pace: str, clip: str) -> RunInfo:
    """Return what the account of a run says of its surroundings; its stages are filled in when they are known."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return RunInfo(
        stream=config.name,
        clip=clip,
        device=device.name,
        device_text=device_text(device),
        capacity=device.capacity,
        budget_ns=ms_to_ns(config.budget_ms),
        stages=(),
        pace=pace,
        created=created,
        versions=installed_versions(),
        weight=config.weight,
        min_fps=config.min_fps,
    )


def installed_versions(*more: str) -> dict[str, str]:
    """Return the versions of what runs models and moves frames, and of `more` packages where they are installed."""
    return {name: importlib.metadata.version(name) for name in (*VERSIONS_OF, *more) if _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _recorder(config: StreamConfig, clock: Clock, about: RunInfo) -> "Recorder | None":
    if config.record is None:
        return None
    from stream.recorder import Recorder

    return Recorder(Path(config.record), clock, about)


def stage_name(model: str) -> str:
    """Return the short name of a model, as the page and the metrics show it: boxes, style, Brightness."""
    head, _, rest = model.partition(":")
    is_own = head.endswith(".py") or ("/" not in head and rest[:1].isalpha() and "=" not in rest.partition(":")[0])
    return rest.partition(":")[0] if is_own else head.partition("/")[0]


def variant_text(variant: str, label: str) -> str:
    """Return the words for a rung of a stage, under which its costs are kept: "openvino bf16, scale=0.5"."""
    return f"{variant}, {label}" if label else variant


def stage_threads(kind: StageKind, capacity: int) -> int:
    """Return how many of a device's threads a model has: generation every core, recognition one each."""
    return capacity if kind is StageKind.GENERATE else 1


def _loaders(names: list[tuple[str, StageKind]], device: Device, min_quality: float) -> list[Callable[[], LoadedStage]]:
    """Return one loader per model."""
    loaders: list[Callable[[], LoadedStage]] = []
    for name, (model, kind) in _named(names):
        threads = stage_threads(kind, device.capacity)
        loaders.append(partial(_load, model, kind, device.name, threads, name, min_quality))
    return loaders


def _named(names: list[tuple[str, StageKind]]) -> list[tuple[str, tuple[str, StageKind]]]:
    """Return each model with its stage's name; two of a kind are boxes and boxes-2."""
    found, taken = [], list[str]()
    for one in names:
        name = stage_name(one[0])
        taken.append(name)
        count = taken.count(name)
        found.append((f"{name}-{count}" if count > 1 else name, one))
    return found


def _judges(names: list[tuple[str, StageKind]]) -> dict[str, Judge]:
    """Return a reference for each stage that has one besides itself. Starts nothing. Raises ModelError."""
    from models.base import Kind
    from models.judge import Judge as Reference
    from models.judge import has_judge

    return {name: Reference(model, Kind(kind.value)) for name, (model, kind) in _named(names) if has_judge(model)}


def _load(model: str, kind: StageKind, device: str, threads: int, name: str, min_quality: float) -> LoadedStage:
    """Load a model and the lighter variants of its ladder that are good enough."""
    from models.base import Kind, Target
    from models.findings import refusal
    from models.ladder import ladder, left_out
    from models.registry import load
    from models.tracking import share_tracker

    target = Target(device, threads)
    rungs = ladder(model, Kind(kind.value), device)
    for variant, why in left_out(model, device):
        told = logging.INFO if refusal(variant, device) else logging.DEBUG  # the rest is as it always is
        told = logging.WARNING if variant == model else told  # what would run when nothing is said
        log.log(told, "%s: %s is not in the ladder: %s", name, variant, why)
    best = load(rungs[0].name, target, kind=Kind(kind.value))
    lighter = []
    for rung in rungs[1:]:
        if rung.quality >= min_quality:
            try:
                loaded = load(rung.name, target, kind=Kind(kind.value))
                share_tracker(best, loaded)
                lighter.append(Rung(loaded, _label(model, rung.name), rung.quality))
            except ModelError as error:
                log.warning("%s: the lighter variant %s is left out: %s", name, rung.name, error)
    return WarmStage(best, kind, threads, name, lighter, cost_name=model)


def _label(best: str, lighter: str) -> str:
    """Return the options that set a variant apart from the best: "scale=0.5"."""
    from models.registry import parse

    given = parse(best).options
    return ",".join(f"{key}={value}" for key, value in parse(lighter).options if (key, value) not in given)


def machine_text(*devices: Device) -> str:
    """Return what costs hold for: the devices, the processor, and what runs the models."""
    versions = [f"{name} {version}" for name, version in installed_versions().items()]
    return "; ".join([*map(device_text, devices), platform.processor() or platform.machine(), *versions])
