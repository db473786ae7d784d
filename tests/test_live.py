import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from stream.clock import MonotonicClock, ms_to_ns
from stream.device import CpuDevice
from stream.live import LiveStream, StreamParts
from stream.pipeline import Pipeline
from stream.results import Results
from stream.stage import Stage
from stream.status import without_folders
from stream.view import StageKind
from tests.fakes import ScriptedSource


class Loaded:
    """A loaded stage around a function."""

    def __init__(self, name: str, kind: StageKind, model: Callable[[Any], Any], max_age_ms: float = 0) -> None:
        self.stage = Stage(name, kind, model, "fake", max_age_ns=ms_to_ns(max_age_ms))
        self.is_closed = False

    def warm(self, height: int, width: int) -> list[int]:
        self.stage.model(np.zeros((height, width, 3), np.uint8))
        return [1_000_000]

    def close(self) -> None:
        self.is_closed = True


class Stand:
    """A live stream over a scripted source."""

    def __init__(self, *loaded: Loaded, budget_ms: float = 10_000) -> None:
        self.clock = MonotonicClock()
        self.device = CpuDevice(self.clock, 2)
        self.pipeline = Pipeline(self.device, self.clock)
        self.source: ScriptedSource
        loaders = [lambda one=one: one for one in loaded]
        self.stream = LiveStream(
            StreamParts("s", ms_to_ns(budget_ms), loaders, self._open), self.pipeline, self.device, self.clock
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

    async def show(self, count: int) -> None:
        """Give frames one by one, each once the one before is accounted for."""
        for _ in range(count):
            accounted = self.accounted() + 1
            self.source.give(self.clock.now_ns())
            async with asyncio.timeout(10):
                while self.accounted() < accounted:
                    await asyncio.sleep(0.001)

    def accounted(self) -> int:
        return self.stream.counts.shown + self.stream.counts.dropped.total()


@pytest.fixture
async def stands() -> AsyncIterator[list[Stand]]:
    made: list[Stand] = []
    yield made
    for stand in made:
        await stand.stream.stop()
        stand.device.close()


def double(image: np.ndarray) -> np.ndarray:
    return np.full_like(image, 200)


async def test_frames_before_the_models_are_warm_are_counted_as_warming(stands: list[Stand]) -> None:
    stand = await Stand(Loaded("style", StageKind.GENERATE, double)).open()
    stands.append(stand)
    await stand.show(3)
    counts = stand.stream.counts
    assert (counts.captured, counts.shown, counts.dropped) == (4, 3, {"warming": 1})


async def test_frames_past_their_deadline_are_shown_as_late(stands: list[Stand]) -> None:
    slow = Loaded("style", StageKind.GENERATE, lambda image: time.sleep(0.03) or image)
    stand = await Stand(slow, budget_ms=5).open()
    stands.append(stand)
    await stand.show(4)
    counts = stand.stream.counts
    assert counts.late == counts.shown > 0


async def test_a_frame_shown_with_an_earlier_result_counts_as_reused(stands: list[Stand]) -> None:
    slow = Loaded("boxes", StageKind.RECOGNIZE, lambda image: time.sleep(0.2) or Results(), max_age_ms=5000)
    stand = await Stand(slow).open()
    stands.append(stand)
    for _ in range(100):
        stand.source.give(stand.clock.now_ns())
        await asyncio.sleep(0.01)
    assert stand.stream.counts.reused > 10


async def test_status_says_what_each_stage_did(stands: list[Stand]) -> None:
    stand = await Stand(
        Loaded("style", StageKind.GENERATE, double), Loaded("boxes", StageKind.RECOGNIZE, lambda image: Results())
    ).open()
    stands.append(stand)
    await stand.show(5)
    status = stand.stream.status()
    assert {s["name"]: (s["runs"], s["errors"]) for s in status["stages"]} == {"style": (5, 0), "boxes": (5, 0)}
    assert {s["name"]: s["latest"] for s in status["stages"]} == {"style": None, "boxes": {"boxes": []}}
    assert (status["width"], status["height"]) == (64, 32)
    assert status["source"]["codec"] == "scripted"


async def test_a_model_that_fails_while_warming_may_still_work_on_a_picture(stands: list[Stand]) -> None:
    def picky(image: np.ndarray) -> np.ndarray:
        if not image.any() and len(calls) < 1:
            calls.append(1)
            raise ValueError("an empty picture")
        return image

    calls: list[int] = []
    stand = await Stand(Loaded("style", StageKind.GENERATE, picky)).open()
    stands.append(stand)
    await stand.show(2)
    assert stand.stream.problem is None
    assert stand.stream.counts.shown == 2


async def test_stopping_closes_source_models_and_output_even_before_the_first_frame() -> None:
    loaded = Loaded("style", StageKind.GENERATE, double)
    stand = Stand(loaded)
    stand.stream.start()
    warming = asyncio.create_task(stand.stream.warm_up())
    await asyncio.sleep(0.1)
    warming.cancel()
    await stand.stream.stop()
    assert stand.source.is_stopped and loaded.is_closed
    stand.device.close()


async def test_status_can_be_asked_for_after_the_stop() -> None:
    stand = await Stand(Loaded("style", StageKind.GENERATE, double)).open()
    await stand.show(2)
    await stand.stream.stop()
    assert stand.stream.status()["frames"]["shown"] == 2
    stand.device.close()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/home/me/secret/m.py:Name: ValueError: boom (m.py, line 2)", "m.py:Name: ValueError: boom (m.py, line 2)"),
        ("../x/m.py:Name: no file ../x/m.py", "m.py:Name: no file m.py"),
        ("boxes/coco: needs bf16/fp16", "boxes/coco: needs bf16/fp16"),
        (None, None),
    ],
)
def test_viewers_see_the_name_of_a_models_file_and_not_its_folder(said: str | None, shown: str | None) -> None:
    assert without_folders(said) == shown
