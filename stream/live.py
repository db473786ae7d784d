"""One named stream, whole: source, models, pipeline, output, and the account of every frame."""

import asyncio
import itertools
import logging
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from stream import controls
from stream.admission import refusal
from stream.broadcast import Broadcast
from stream.cause import Cause, slack_ns
from stream.channel import ViewerChannel
from stream.clock import Clock, ns_to_ms
from stream.compose import Composer
from stream.device import Device, run_aside
from stream.errors import ProtocolError, StreamError
from stream.frame import Frame
from stream.glass import Glass
from stream.inflow import DOWNSTREAM, Inflow
from stream.parts import Publishes, StreamParts
from stream.pipeline import Pipeline
from stream.promise import ask, describe
from stream.publisher import PublisherReader
from stream.shadow import Shadow, frames_lost, why_busy
from stream.source import SourceState, SourceStatus
from stream.stage import StageState
from stream.stats import FrameCounts, Latency, Rate
from stream.status import (
    frames_json,
    ladder_events_json,
    public_message,
    running_stage_json,
    source_json,
    stage_json,
    without_folders,
)
from stream.trace import Step
from stream.view import DropReason, StageKind
from stream.warming import Warming

log = logging.getLogger(__name__)

STOP_MODELS_S = 1.0  # a usual model answers within a tenth of this


class LiveStream:
    """Owns everything of one stream. Event loop only, but for `_emit`, which the source thread calls."""

    def __init__(self, parts: StreamParts, pipeline: Pipeline, device: Device, clock: Clock) -> None:
        self.name = parts.name
        self.is_ready = False
        self.refusal: str | None = None  # why the device cannot serve it; None when it can
        self.problem: str | None = None  # which model is missing and why; None while all are there
        self.counts = FrameCounts()
        self.latency = Latency()
        self.glass = Glass(parts.budget_ns)  # to the screen, as viewers report it
        self.pool = parts.pool
        self.device = device
        self.broadcast: Broadcast | None = None  # None until the models are warm
        self.shadow: Shadow | None = None  # None when not asked for, and until the models are warm
        self.publishing: Publishes | None = None  # None when it is not sent on
        self._parts = parts
        self._pipeline = pipeline
        self._clock = clock
        self._changing: set[str] = set()  # stages whose options are being changed
        self._opened = asyncio.Event()
        self._viewer_numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._shown_rate = Rate()
        self._inner: Inflow | None = None  # None until the models are warm
        self._size: asyncio.Future[tuple[int, int]] = (
            self._loop.create_future()
        )  # (height, width), from the first frame
        self._newest_size: tuple[int, int] | None = None  # (height, width); a source may change it in mid-stream
        self._warming = Warming(parts.name, pipeline, device, clock)
        self._source = parts.open_source(self._emit)

    def start(self) -> None:
        """Start the source thread."""
        self._source.start()

    def set_size(self, height: int, width: int) -> None:
        """Say the working size before the first frame, so that the models can be warm when it comes."""
        self._newest_size = (height, width)
        if not self._size.done():
            self._size.set_result((height, width))

    async def warm_up(self, one_at_a_time: asyncio.Lock | None = None) -> None:
        """Load the models, wait for the first frame's size, compile, and open the stream.

        A model that cannot be loaded is left out and named in `problem`; the video goes on without it. The
        lock, when given, keeps streams from compiling at the same time. Safe to cancel.
        """
        try:
            await self._load()
            size = await self._size
            self._warming.lock = one_at_a_time or self._warming.lock
            await self._warming.best(size)
            if await self._is_admitted(size):
                await self._open()
                await self._warming.lighter(size, lambda: self._inner)
                self._describe()
        except Exception as error:  # the task boundary: one stream that cannot start must not end the others
            if self._inner is None:
                self._pipeline.promised.pop(self.name, None)
            self._left_out(error)
            log.exception("%s: could not start", self.name)

    async def check_in_spare_time(self) -> None:
        """Let the references judge frames, where that is asked for, until cancelled. After `warm_up`."""
        if self.shadow is not None:
            await self.shadow.run()

    async def _load(self) -> None:
        loading = [run_aside(self._clock, load) for load in self._parts.load_stages]
        for done in loading:
            completed = await done
            if completed.error is None:
                self._warming.loaded.append(completed.value)
            else:
                self._left_out(completed.error)

    async def stop(self) -> None:
        """Stop the source, the pipeline, the output and the models, in this order. Takes about two seconds at most."""
        if self._inner is not None:
            self._inner.inbox.close()  # a source that waits to hand a frame over must not be waited for
        await run_aside(self._clock, self._source.stop)
        await self._warming.close()
        self._pipeline.promised.pop(self.name, None)
        if self._inner is not None:
            self._pipeline.detach(self.name)
        if self.shadow is not None:
            await self.shadow.close()
        if self.broadcast is not None:
            self.broadcast.close()
            await run_aside(self._clock, self.broadcast.join)
        if self._parts.recorder is not None:
            await run_aside(self._clock, self._parts.recorder.close)
        with suppress(TimeoutError):  # a model that hangs is left behind
            async with asyncio.timeout(STOP_MODELS_S):
                for loaded in self._warming.loaded:
                    lane = self.device.lane(loaded.stage.kind, loaded.stage.name)
                    await self.device.submit(lane, loaded.close)  # after the job it may still be at

    async def output(self) -> Broadcast:
        """Return the stream's output, once its models are warm."""
        await self._opened.wait()
        assert self.broadcast is not None, "set before the event is"
        return self.broadcast

    def new_channel(self) -> ViewerChannel:
        """Return the channel of one more viewer."""
        viewer = f"{next(self._viewer_numbers)}"
        return ViewerChannel(
            self.name, self._clock, partial(self._on_shown, viewer), partial(self._on_viewer_gone, viewer)
        )

    def why_no_pictures(self) -> str | None:
        """Return why a viewer who comes now would see nothing, in one line; None when one would."""
        status = self._source.status()
        if status.state not in (SourceState.RUNNING, SourceState.STALLED):
            return public_message(self._source.spec, status) or f"the source is {status.state.value}"
        return None if self.broadcast else "the models are warming up; try again in a moment"

    def source_status(self) -> SourceStatus:
        return self._source.status()

    @property
    def publisher(self) -> PublisherReader | None:
        """Who takes what is sent to this stream; None when its source fetches its pictures itself."""
        return self._source.publisher

    def stage_states(self) -> dict[str, StageState]:
        """Return the stages by name; empty until the models are warm."""
        return self._inner.stages if self._inner else {}

    async def change(self, stage: str, body: object) -> dict[str, Any]:
        """Change options of a stage while it plays; return what they are now. Raises ProtocolError."""
        state = self.stage_states().get(stage)
        if state is None:
            if any(loaded.stage.name == stage for loaded in self._warming.loaded):
                raise ProtocolError(f"{stage} is warming up; try again in a moment", 503)
            raise ProtocolError("no such stage; GET /api/streams lists them", 404)
        given = controls.read(state.stage, body)
        if stage in self._changing:
            raise ProtocolError(f"{stage} is taking another change; try again in a moment", 503)
        self._changing.add(stage)
        try:
            with self.shadow.changing(stage, given) if self.shadow else nullcontext():
                return await controls.change(self.device, state, given)
        finally:
            self._changing.discard(stage)

    def status(self) -> dict[str, Any]:
        """Return what `GET /api/streams` says of this stream."""
        now_ns = self._clock.now_ns()
        height, width = self._newest_size or (None, None)
        captured_rate = self._inner.captured_rate.per_second(now_ns) if self._inner else 0.0
        return {
            "name": self.name,
            "device": self.device.name,
            "ready": self.is_ready,
            "problem": without_folders(self.problem),
            "admission": {"reason": self.refusal} if self.refusal else None,
            "source": source_json(self._source.spec, self._source.status()),
            "width": width,
            "height": height,
            "budget_ms": ns_to_ms(self._parts.budget_ns),
            "min_quality": self._parts.min_quality,
            "fps": {"captured": captured_rate, "shown": self._shown_rate.per_second(now_ns)},
            "frames": frames_json(self.counts),
            "causes": dict(self.counts.causes),
            "latency_ms": self.latency.summary() | self.glass.summary(),
            "downstream_ms": ns_to_ms(self.glass.downstream_ns()),
            "stages": self._stages_status(now_ns),
            "ladder_events": ladder_events_json(self._inner.ladder_events, now_ns) if self._inner else [],
            "viewers": self.broadcast.viewer_count() if self.broadcast else 0,
            "encoder": self.broadcast.status() if self.broadcast else None,
            "shadow": self.shadow.status() if self.shadow else None,
            "publishing": self.publishing.status() if self.publishing else None,
            "recording": self._parts.recorder.status() if self._parts.recorder else None,
        }

    def _stages_status(self, now_ns: int) -> list[dict[str, Any]]:
        if self._inner is None:
            return [stage_json(loaded.stage) for loaded in self._warming.loaded]
        return [running_stage_json(self._inner, state, now_ns) for state in self._inner.stages.values()]

    # Starting

    async def _is_admitted(self, size: tuple[int, int]) -> bool:
        """Whether the device can serve the stream; when it cannot even at the lightest, say so with the numbers."""
        if self._refusal(size) is None or self._parts.allow_late:
            return True
        await self._warming.lighter(size, lambda: None)  # now their cost counts, and no longer the best one's
        self.refusal = self._refusal(size)
        if self.refusal is not None:
            self.problem = f"refused: {self.refusal}"
            log.error("%s: %s", self.name, self.problem)
        return self.refusal is None

    def _refusal(self, size: tuple[int, int]) -> str | None:
        parts, stages = self._parts, [loaded.stage for loaded in self._warming.loaded]
        least = ask(self._pipeline, self.name, stages, parts.budget_ns, parts.terms, size)
        least = replace(least, min_quality=parts.min_quality)
        found = refusal(least, self._pipeline.promised.values())
        if found is None or parts.allow_late:
            self._pipeline.promised[self.name] = least  # at once: another stream may ask before this one is open
        return found

    def _left_out(self, error: BaseException) -> None:
        """Note a model that could not be loaded."""
        self.problem = str(error) if isinstance(error, StreamError) else f"{type(error).__name__}: {error}"
        log.error("%s: a model is left out: %s", self.name, self.problem)

    async def _open(self) -> None:
        stages = [loaded.stage for loaded in self._warming.loaded]
        boxing = frozenset(stage.name for stage in stages if stage.boxes_people)
        composer = Composer(any(stage.background for stage in stages), boxing, self.pool)
        if any(stage.kind is StageKind.RECOGNIZE for stage in stages):
            await run_aside(self._clock, composer.warm)
        fps = self._source.status().fps_measured or 30.0
        bound = DOWNSTREAM if self._parts.terms.waits else 1
        self.broadcast = Broadcast(
            self.name, self._clock, composer, self._on_sent, self._on_dropped, fps, bound, self.pool
        )
        terms = self._parts.terms
        if self._parts.recorder is not None:
            terms = replace(terms, log=self._parts.recorder)
        self._inner = self._pipeline.attach(
            self.name, stages, self._parts.budget_ns, self.broadcast.put, self.counts, terms
        )
        self._warming.watch(self._inner, self._describe)
        if self._parts.shadow_ns and self._parts.judges:
            self.shadow = self._make_shadow()
            self._inner.on_result = self.shadow.offer
        self._describe()
        self.is_ready = True
        self._opened.set()
        log.info("%s: ready, %s", self.name, ", ".join(f"{s.name} ({s.variant})" for s in stages) or "no models")

    def _make_shadow(self) -> Shadow:
        pipeline, parts = self._pipeline, self._parts
        return Shadow(
            self.name,
            parts.judges,
            parts.shadow_ns,
            self._clock,
            partial(why_busy, pipeline),
            partial(frames_lost, pipeline),
        )

    def _describe(self) -> None:
        """Tell the log what the stream is made of, with the costs known so far."""
        if self._inner is not None and self._inner.terms.log is not None and self._newest_size is not None:
            self._inner.terms.log.add(describe(self._pipeline, self.name, self._newest_size, self._parts.about))

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
        reason = DropReason.WARMING if self.refusal is None else DropReason.REFUSED
        self.counts.dropped[reason.value] += 1
        self.counts.causes[Cause.MODEL.value] += 1
        self._newest_size = size
        if not self._size.done():
            self._size.set_result(size)

    def _on_dropped(self, frame: Frame, reason: DropReason) -> None:
        if self._inner is not None:
            self._inner.drop(frame, reason)

    def _on_sent(self, frame: Frame) -> None:
        """Account for a frame that has left for every viewer."""
        sent_ns = frame.trace.stamps_ns[Step.SENT]
        if self._inner is not None:
            self._inner.sent(frame, sent_ns)
        self._shown_rate.add(sent_ns)
        self._newest_size = frame.image.shape[:2]
        if (
            Step.ENCODED in frame.trace.stamps_ns
        ):  # with nobody watching nothing is encoded, and nothing tells of latency
            trace = frame.trace
            slack = slack_ns(trace.stamps_ns, frame.deadline_ns, trace.planned_ns)
            self.glass.sent(frame.seq, frame.captured_ns, sent_ns)
            self.latency.add(frame.age_ns(sent_ns), trace.step_ms().items(), slack.items())
            self._predict_tail(frame)

    def _on_shown(self, viewer: str, seq: int, shown_ns: int) -> None:
        """Take a viewer's report, and have the next frames ready so much earlier."""
        self.glass.shown(viewer, seq, shown_ns)
        self._plan_downstream()

    def _on_viewer_gone(self, viewer: str) -> None:
        self.glass.left(viewer)
        self._plan_downstream()

    def _plan_downstream(self) -> None:
        if self._inner is not None:
            self._inner.downstream_ns = self.glass.downstream_ns()

    def _predict_tail(self, frame: Frame) -> None:
        finished_ns, encoded_ns = (frame.trace.stamps_ns.get(step) for step in (Step.FINISHED, Step.ENCODED))
        if self._inner is not None and finished_ns is not None and encoded_ns is not None:
            self._inner.observe_tail(encoded_ns - finished_ns)
