"""The shadow check: in spare time a reference judges one frame against what the stream's variant gave.

Off unless asked for. It never takes a lane: the judge is a process of its own at the lowest priority, asked only while
the device has a thread to spare by the pipeline's own account, and seldom once frames were lost beside it.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from stream.clock import NS_PER_S, Clock
from stream.device import run_aside
from stream.frame import Frame
from stream.pipeline import Pipeline

log = logging.getLogger(__name__)

ROOM = 1.25  # threads of the device that must be free: one for the reference, a quarter for what encodes
RETRY_NS = NS_PER_S  # how often spare time is looked for
SAMPLE_S = 2.0  # in which a stage gives a result, if it runs at all
SELDOM = 16  # times as long between two checks, at most, when frames were lost beside them


class Judgement(Protocol):
    """How near one answer is to the reference's; models/judge.py has the real one."""

    @property
    def measure(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def unit(self) -> str: ...
    @property
    def below(self) -> str: ...


class Judge(Protocol):
    """The reference of one stage. `ask` and `close` block; one caller at a time."""

    def ask(self, image: Any, found: Any, changed: Mapping[str, str]) -> Judgement:
        """Return how near `found` is to the reference's answer to `image`, with the options `changed` live.

        Raises ModelError.
        """
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class StageDrift:
    """What the judge of one stage found. `judgement` is None before the first, `problem` None while all is well."""

    judgement: Judgement | None = None
    variant: str = ""
    judged_ns: int = 0
    frames: int = 0
    below: int = 0  # frames that did not reach a floor
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    """A frame's picture and what a variant gave for it."""

    variant: str
    image: Any
    found: Any
    changed: Mapping[str, str]  # options that a person had changed by then


class Shadow:
    """Judges the stages of one stream in turn. Event loop only.

    judges   stage name -> its judge; nothing is started before the first question
    is_busy  says why there is no spare time now; "" when there is
    lost     how many frames were late or dropped so far, on the whole device
    """

    def __init__(
        self,
        stream: str,
        judges: Mapping[str, Judge],
        every_ns: int,
        clock: Clock,
        is_busy: Callable[[], str],
        lost: Callable[[], int],
    ) -> None:
        self.drifts = {stage: StageDrift() for stage in judges}
        self.waits_for = ""  # why the next check is put off; "" when it is not
        self._stream = stream
        self._judges = judges
        self._every_ns = every_ns
        self._slower = 1  # times as long between two checks as asked for
        self._clock = clock
        self._is_busy = is_busy
        self._lost = lost
        self._changed: dict[str, dict[str, str]] = {}  # options changed while it plays, by stage
        self._changing: set[str] = set()  # stages whose results may be from before a change or after it
        self._wanted = ""  # the stage whose next result is looked at; "" when none is
        self._sample: asyncio.Future[_Sample] | None = None  # None while none is wanted

    def offer(self, stage: str, variant: str, frame: Frame, found: object) -> None:
        """Take a stage's result, when it is wanted. Called for every result, so it does nothing else."""
        if stage != self._wanted or stage in self._changing:
            return
        if self._sample is not None and not self._sample.done():
            self._sample.set_result(_Sample(variant, frame.image, found, self._changed.get(stage, {})))

    @contextmanager
    def changing(self, stage: str, given: Mapping[str, str]) -> Iterator[None]:
        """Have the reference take new values of options too, unless the change within raises."""
        self._changing.add(stage)
        try:
            yield
            self._changed[stage] = {**self._changed.get(stage, {}), **given}
        finally:
            self._changing.discard(stage)

    async def run(self) -> None:
        """Check one stage after the other until cancelled."""
        for stage in itertools.cycle(self.drifts):
            await self._clock.sleep_until(self._clock.now_ns() + self._every_ns * self._slower)
            while not await self._check(stage):
                await self._clock.sleep_until(self._clock.now_ns() + RETRY_NS)

    async def _check(self, stage: str) -> bool:
        """Judge one frame of a stage; return False when it must be tried again, since the device is busy."""
        self.waits_for = self._is_busy()
        if self.waits_for:
            return False
        sample = await self._next_result(stage)
        self.waits_for = self._is_busy()
        if self.waits_for:
            return False
        if sample is not None:  # else the stage does not run at present, and the next one has its turn
            await self._judge(stage, sample)
        return True

    async def _next_result(self, stage: str) -> _Sample | None:
        self._wanted, self._sample = stage, asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(SAMPLE_S):
                return await self._sample
        except TimeoutError:
            return None
        finally:
            self._wanted, self._sample = "", None

    async def _judge(self, stage: str, sample: _Sample) -> None:
        before, drift, judge = self._lost(), self.drifts[stage], self._judges[stage]
        completed = await run_aside(self._clock, lambda: judge.ask(sample.image, sample.found, sample.changed))
        if completed.error is not None:
            if drift.problem is None:
                log.warning("%s: %s cannot be checked: %s", self._stream, stage, completed.error)
            drift.problem = str(completed.error)
        else:
            self._note(stage, drift, sample.variant, completed.value)
        self._slower = min(SELDOM, self._slower * 2) if self._lost() > before else 1

    def _note(self, stage: str, drift: StageDrift, variant: str, found: Judgement) -> None:
        drift.judgement, drift.variant, drift.judged_ns = found, variant, self._clock.now_ns()
        drift.problem = None
        drift.frames += 1
        if found.below:
            drift.below += 1
            log.info("%s: %s (%s) against the reference: %s", self._stream, stage, variant, found.below)

    async def close(self) -> None:
        """End the judges' processes."""
        for judge in self._judges.values():
            await run_aside(self._clock, judge.close)

    def status(self) -> dict[str, Any]:
        """Return how far each stage was from its reference, for the API."""
        now_ns = self._clock.now_ns()
        return {
            "every_s": self._every_ns * self._slower / NS_PER_S,
            "waits_for": self.waits_for or None,
            "stages": [_drift_json(stage, drift, now_ns) for stage, drift in self.drifts.items()],
        }


def _drift_json(stage: str, drift: StageDrift, now_ns: int) -> dict[str, Any]:
    found = drift.judgement
    return {
        "name": stage,
        "variant": drift.variant,
        "measure": found.measure if found else None,
        "value": found.value if found and found.measure else None,
        "unit": found.unit if found else "",
        "below": found.below if found else "",
        "at_s_ago": round((now_ns - drift.judged_ns) / NS_PER_S, 1) if found else None,
        "frames": drift.frames,
        "frames_below": drift.below,
        "problem": drift.problem,
    }


def why_busy(pipeline: Pipeline) -> str:
    """Return why a device has no spare time, by its pipeline's own account; "" when it has."""
    for stream in pipeline.streams().values():
        for name, state in stream.stages.items():
            if state.control.level:
                return f"{stream.name}: {name} runs lighter than it could"
    free = pipeline.capacity - pipeline.busy.threads(pipeline.now_ns())
    if free < ROOM:
        return f"{max(0.0, free):.1f} of {pipeline.capacity} threads are free, and it takes {ROOM:g}"
    return ""


def frames_lost(pipeline: Pipeline) -> int:
    """Return how many frames were late or dropped so far, of all streams of a device."""
    counts = [stream.account.counts for stream in pipeline.streams().values()]
    return sum(one.late + one.dropped.total() for one in counts)
