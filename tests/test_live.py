import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from stream.clock import MonotonicClock, ms_to_ns
from stream.device import CpuDevice
from stream.inflow import Terms
from stream.live import LiveStream
from stream.parts import StreamParts
from stream.pipeline import Pipeline
from stream.results import Results
from stream.stage import Variant
from stream.status import without_folders
from stream.view import StageKind
from tests.fakes import ScriptedSource
from tests.stand import Loaded, Stand


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
    stand = await Stand(slow, budget_ms=5, allow_late=True).open()
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


def half(image: np.ndarray) -> np.ndarray:
    return np.full_like(image, 100)


def broken(image: np.ndarray) -> np.ndarray:
    raise RuntimeError("does not compile")


async def test_lighter_variants_are_compiled_while_the_stream_plays_and_then_ready(stands: list[Stand]) -> None:
    loaded = Loaded("style", StageKind.GENERATE, double, lighter=(Variant("half", 0.5, half),), costs_ms=(4, 2))
    stand = await Stand(loaded).open()
    stands.append(stand)
    assert loaded.warmed == [0, 1]
    [stage] = stand.stream.status()["stages"]
    assert [rung["ready"] for rung in stage["ladder"]] == [True, True]
    assert [rung["quality"] for rung in stage["ladder"]] == [1.0, 0.5]


async def test_a_lighter_variant_that_does_not_compile_is_left_out(stands: list[Stand]) -> None:
    lighter = (Variant("broken", 0.8, broken), Variant("half", 0.5, half))
    stand = await Stand(Loaded("style", StageKind.GENERATE, double, lighter=lighter, costs_ms=(4, 3, 2))).open()
    stands.append(stand)
    [stage] = stand.stream.status()["stages"]
    assert [rung["ready"] for rung in stage["ladder"]] == [True, False, False]
    await stand.show(3)
    assert stand.stream.counts.shown == 3


async def test_a_stream_too_slow_even_at_its_lightest_is_refused_with_the_numbers(stands: list[Stand]) -> None:
    loaded = Loaded("style", StageKind.GENERATE, double, lighter=(Variant("half", 0.5, half),), costs_ms=(400, 200))
    stand = await Stand(loaded, budget_ms=150).open()
    stands.append(stand)
    status = stand.stream.status()
    assert not status["ready"]
    assert "takes 200 ms, and the budget is 150 ms" in status["admission"]["reason"]
    assert status["problem"] == f"refused: {status['admission']['reason']}"
    await stand.show(2)
    assert stand.stream.counts.dropped == {"warming": 1, "refused": 2}


async def test_a_stream_that_fits_at_its_lightest_is_not_refused(stands: list[Stand]) -> None:
    loaded = Loaded("style", StageKind.GENERATE, double, lighter=(Variant("half", 0.5, half),), costs_ms=(400, 20))
    stand = await Stand(loaded, budget_ms=150).open()
    stands.append(stand)
    status = stand.stream.status()
    assert (status["ready"], status["admission"]) == (True, None)
    assert [rung["ready"] for rung in status["stages"][0]["ladder"]] == [True, True]


class Account:
    """A recorder that remembers."""

    keeps_results = True

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.is_closed = False

    def add(self, record: Any) -> None:
        self.records.append(record)

    def status(self) -> dict[str, Any]:
        return {"records": len(self.records)}

    def close(self, timeout_s: float = 2.0) -> None:
        self.is_closed = True


async def test_a_recorder_is_told_everything_and_closed_at_the_end() -> None:
    account = Account()
    stand = await Stand(Loaded("style", StageKind.GENERATE, double), recorder=account).open()
    await stand.show(3)
    assert stand.stream.status()["recording"] == {"records": len(account.records)}
    await stand.stream.stop()
    stand.device.close()
    kinds = [type(record).__name__ for record in account.records]
    assert kinds[0] == "RunInfo"
    assert [kinds.count(kind) for kind in ("Arrival", "Cost", "Outcome")] == [3, 3, 3]
    assert account.records[0].stages[0].name == "style"
    assert account.is_closed


async def test_streams_that_ask_at_the_same_moment_are_not_both_promised_the_device() -> None:
    """Each asks for 60 % of a lane at its minimum rate; the second is refused though the first shows nothing yet."""
    clock = MonotonicClock()
    device = CpuDevice(clock, 2)
    pipeline = Pipeline(device, clock)
    streams = []
    for name in ("a", "b"):
        loaded = Loaded("style", StageKind.GENERATE, double, costs_ms=(30,))
        parts = StreamParts(name, ms_to_ns(150), [lambda one=loaded: one], ScriptedSource, Terms(min_fps=20))
        streams.append(LiveStream(parts, pipeline, device, clock))
        streams[-1].set_size(32, 64)
    await asyncio.wait_for(asyncio.gather(*(stream.warm_up() for stream in streams)), 20)
    refused = [stream for stream in streams if stream.refusal is not None]
    assert len(refused) == 1 and "120%" in str(refused[0].refusal)
    for stream in streams:
        await stream.stop()
    assert not pipeline.promised
    device.close()
