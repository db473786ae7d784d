"""One named stream, whole: source, models, pipeline, output, and the account of every frame."""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from stream.broadcast import Broadcast
from stream.clock import Clock, ns_to_ms
from stream.compose import Composer
from stream.device import Device, run_aside
from stream.errors import StreamError
from stream.frame import Frame
from stream.pipeline import Pipeline, PipelineStream
from stream.scheduler import DropReason, StageKind
from stream.source import Source, SourceKind, SourceSpec, SourceState, SourceStatus
from stream.stage import Stage, StageState
from stream.stats import FrameCounts, Latency, Rate
from stream.trace import Step

log = logging.getLogger(__name__)

STOP_MODELS_S = 1.0  # a usual model answers within a tenth of this


class LoadedStage(Protocol):
    """A stage whose model is in memory but not yet compiled for a size."""

    stage: Stage

    def warm(self, height: int, width: int) -> list[int]:
        """Compile for a size, run until steady, and return some costs in ns. Device worker; seconds."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What a stream is made of; built by the wiring, so that this file knows no model and no address.

    load_stages  called on a worker thread; may block for seconds and raise ModelError
    open_source  called with the function to give frames to
    """

    name: str
    budget_ns: int
    load_stages: Sequence[Callable[[], LoadedStage]]
    open_source: Callable[[Callable[[Frame], None]], Source]


class LiveStream:
    """Owns everything of one stream. Event loop only, but for `_emit`, which the source thread calls."""

    def __init__(self, parts: StreamParts, pipeline: Pipeline, device: Device, clock: Clock) -> None:
        self.name = parts.name
        self.is_ready = False
        self.problem: str | None = None  # which model is missing and why; None while all are there
        self.counts = FrameCounts()
        self.latency = Latency()
        self.broadcast: Broadcast | None = None  # None until the models are warm
        self._parts = parts
        self._pipeline = pipeline
        self._device = device
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._shown_rate = Rate()
        self._inner: PipelineStream | None = None  # None until the models are warm
        self._size: asyncio.Future[tuple[int, int]] = (
            self._loop.create_future()
        )  # (height, width), from the first frame
        self._newest_size: tuple[int, int] | None = None  # (height, width); a source may change it in mid-stream
        self._loaded: list[LoadedStage] = []
        self._source = parts.open_source(self._emit)

    def start(self) -> None:
        """Start the source thread."""
        self._source.start()

    async def warm_up(self, one_at_a_time: asyncio.Lock | None = None) -> None:
        """Load the models, wait for the first frame's size, compile, and open the stream.

        A model that cannot be loaded is left out and named in `problem`; the video goes on without it. The
        lock, when given, keeps streams from compiling at the same time. Safe to cancel.
        """
        try:
            await self._load()
            height, width = await self._size
            async with one_at_a_time or asyncio.Lock():
                for loaded in self._loaded:
                    await self._warm(loaded, height, width)
            await self._open()
        except Exception as error:  # the task boundary: one stream that cannot start must not end the others
            self._left_out(error)
            log.exception("%s: could not start", self.name)

    async def _load(self) -> None:
        loading = [run_aside(self._clock, load) for load in self._parts.load_stages]
        for done in loading:
            completed = await done
            if completed.error is None:
                self._loaded.append(completed.value)
            else:
                self._left_out(completed.error)

    async def stop(self) -> None:
        """Stop the source, the pipeline, the output and the models, in this order. Takes about two seconds at most."""
        await run_aside(self._clock, self._source.stop)
        if self._inner is not None:
            self._pipeline.detach(self.name)
        if self.broadcast is not None:
            self.broadcast.close()
            await run_aside(self._clock, self.broadcast.join)
        with suppress(TimeoutError):  # a model that hangs is left behind
            async with asyncio.timeout(STOP_MODELS_S):
                for loaded in self._loaded:
                    lane = self._device.lane(loaded.stage.kind, loaded.stage.name)
                    await self._device.submit(lane, loaded.close)  # after the job it may still be at

    def why_no_pictures(self) -> str | None:
        """Return why a viewer who comes now would see nothing, in one line; None when one would."""
        status = self._source.status()
        if status.state not in (SourceState.RUNNING, SourceState.STALLED):
            return public_message(self._source.spec, status) or f"the source is {status.state.value}"
        return None if self.broadcast else "the models are warming up; try again in a moment"

    def source_status(self) -> SourceStatus:
        return self._source.status()

    def stage_states(self) -> dict[str, StageState]:
        """Return the stages by name; empty until the models are warm."""
        return self._inner.stages if self._inner else {}

    def status(self) -> dict[str, Any]:
        """Return what `GET /api/streams` says of this stream."""
        now_ns = self._clock.now_ns()
        source, counts = self._source.status(), self.counts
        height, width = self._newest_size or (None, None)
        captured_rate = self._inner.captured_rate.per_second(now_ns) if self._inner else 0.0
        return {
            "name": self.name,
            "ready": self.is_ready,
            "problem": _without_folders(self.problem),
            "source": _source_json(self._source.spec, source),
            "width": width,
            "height": height,
            "budget_ms": ns_to_ms(self._parts.budget_ns),
            "fps": {"captured": captured_rate, "shown": self._shown_rate.per_second(now_ns)},
            "frames": {
                "captured": counts.captured,
                "shown": counts.shown,
                "on_time": counts.on_time,
                "late": counts.late,
                "reused": counts.reused,
                "skipped": counts.skipped,
                "in_flight": counts.in_flight,
                "dropped": dict(counts.dropped),
            },
            "latency_ms": self.latency.summary(),
            "stages": self._stages_status(now_ns),
            "viewers": self.broadcast.viewer_count() if self.broadcast else 0,
            "encoder": self.broadcast.status() if self.broadcast else None,
        }

    def _stages_status(self, now_ns: int) -> list[dict[str, Any]]:
        if self._inner is None:
            return [_stage_json(loaded.stage) for loaded in self._loaded]
        stages = []
        for state in self._inner.stages.values():
            live = {
                "ips": state.rate.per_second(now_ns),
                "predicted_ms": round(ns_to_ms(self._inner.predicted_ns.get(state.stage.name, 0)), 1),
                "runs": state.runs,
                "reuses": state.reuses,
                "skips": state.skips,
                "errors": state.errors,
                "last_error": _without_folders(state.last_error),
                "is_open": not state.breaker.is_closed(now_ns),
                "latest": state.latest.results.to_json() if state.latest else None,
            }
            stages.append(_stage_json(state.stage) | live)
        return stages

    # Starting

    async def _warm(self, loaded: LoadedStage, height: int, width: int) -> None:
        completed = await run_aside(
            self._clock, lambda: loaded.warm(height, width)
        )  # lanes belong to streams that play
        if completed.error is not None:  # it may be better on a real picture; if not, its breaker opens
            log.warning("%s: %s failed while warming up: %s", self.name, loaded.stage.name, completed.error)
            return
        for cost_ns in completed.value:
            self._pipeline.observe(loaded.stage, height, width, cost_ns)

    def _left_out(self, error: BaseException) -> None:
        """Note a model that could not be loaded."""
        self.problem = str(error) if isinstance(error, StreamError) else f"{type(error).__name__}: {error}"
        log.error("%s: a model is left out: %s", self.name, self.problem)

    async def _open(self) -> None:
        stages = [loaded.stage for loaded in self._loaded]
        boxing = frozenset(stage.name for stage in stages if stage.boxes_people)
        composer = Composer(any(stage.background for stage in stages), boxing)
        if any(stage.kind is StageKind.RECOGNIZE for stage in stages):
            await run_aside(self._clock, composer.warm)
        fps = self._source.status().fps_measured or 30.0
        self.broadcast = Broadcast(self.name, self._clock, composer, self._on_sent, self._on_dropped, fps)
        self._inner = self._pipeline.attach(self.name, stages, self._parts.budget_ns, self.broadcast.put, self.counts)
        self.is_ready = True
        log.info("%s: ready, %s", self.name, ", ".join(f"{s.name} ({s.variant})" for s in stages) or "no models")

    # Frames

    def _emit(self, frame: Frame) -> None:
        """Take a frame from the source thread; never blocks."""
        if self._inner is not None:
            self._inner.put(frame, self._clock.now_ns())
            return
        try:
            self._loop.call_soon_threadsafe(self._on_early_frame, frame.image.shape[:2])
        except RuntimeError:  # the loop has closed
            log.debug("%s: frame %d came after the end", self.name, frame.seq)

    def _on_early_frame(self, size: tuple[int, int]) -> None:
        self.counts.captured += 1
        self.counts.dropped[DropReason.WARMING.value] += 1
        self._newest_size = size
        if not self._size.done():
            self._size.set_result(size)

    def _on_dropped(self, reason: DropReason) -> None:
        self.counts.dropped[reason.value] += 1

    def _on_sent(self, frame: Frame) -> None:
        """Account for a frame that has left for every viewer."""
        sent_ns = frame.trace.stamps_ns[Step.SENT]
        counts, is_late = self.counts, sent_ns > frame.deadline_ns
        counts.shown += 1
        counts.late += is_late
        counts.on_time += not is_late
        counts.reused += any(age_ns > 0 for age_ns in frame.result_age_ns.values())
        counts.skipped += self._has_skipped(frame)
        self._shown_rate.add(sent_ns)
        self._newest_size = frame.image.shape[:2]
        if (
            Step.ENCODED in frame.trace.stamps_ns
        ):  # with nobody watching nothing is encoded, and nothing tells of latency
            self.latency.add(frame.age_ns(sent_ns), frame.trace.step_ms().items())
            self._predict_tail(frame)

    def _predict_tail(self, frame: Frame) -> None:
        finished_ns, encoded_ns = (frame.trace.stamps_ns.get(step) for step in (Step.FINISHED, Step.ENCODED))
        if self._inner is not None and finished_ns is not None and encoded_ns is not None:
            self._inner.observe_tail(encoded_ns - finished_ns)

    def _has_skipped(self, frame: Frame) -> bool:
        """Whether some stage neither ran for this frame nor lent it an earlier result."""
        return any(
            frame.generated is None if state.stage.kind is StageKind.GENERATE else name not in frame.results
            for name, state in self.stage_states().items()
        )


def _source_json(spec: SourceSpec, status: SourceStatus) -> dict[str, Any]:
    return {
        "address": _shown_address(spec),
        "kind": spec.kind.value,
        "state": status.state.value,
        "code": status.code.value if status.code else None,
        "message": "" if status.state is SourceState.RUNNING else public_message(spec, status),
        "width": status.width,
        "height": status.height,
        "fps": round(status.fps_measured, 1) if status.fps_measured else None,
        "codec": status.codec,
        **asdict(status.counters),
    }


def public_message(spec: SourceSpec, status: SourceStatus) -> str:
    """Return the source's message as viewers may see it."""
    return status.message.replace(spec.display, _shown_address(spec))


def _without_folders(message: str | None) -> str | None:
    """Return a message about someone's own model as viewers may see it: its file's name, not where it lies."""
    return message and re.sub(r"[^\s:'\"]*[/\\](?=[^\s/\\:]+\.py\b)", "", message)


def _shown_address(spec: SourceSpec) -> str:
    """Return the address for viewers: of a file its name only, for where it lies is nobody's business."""
    return Path(spec.display).name if spec.kind in (SourceKind.FILE, SourceKind.FOLDER) else spec.display


def _stage_json(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.kind.value,
        "variant": stage.variant,
        "max_age_ms": ns_to_ms(stage.max_age_ns),
    }
