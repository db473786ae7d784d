"""Models are compiled beside what plays: never in a lane, and never for a size that a frame has to wait for."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest

from stream.inflow import Terms
from stream.stage import Variant
from stream.view import StageKind
from tests.stand import Loaded, Stand

SMALL, LARGE, TALL = (32, 64), (64, 128), (96, 48)


class Compiling(Loaded):
    """A painter whose compiling takes `first_s` for the first size, and for others until `go` is set."""

    def __init__(self, first_s: float = 0.3, **more: object) -> None:
        super().__init__("style", StageKind.GENERATE, lambda image: np.full_like(image, 200), **more)  # type: ignore[arg-type]
        self.first_s = first_s
        self.go = threading.Event()
        self.threads: dict[tuple[int, int], str] = {}

    def warm(self, height: int, width: int, rung: int = 0) -> list[int]:
        if self.warmed:
            self.go.wait(20)
        else:
            time.sleep(self.first_s)
        self.threads[height, width] = threading.current_thread().name
        return super().warm(height, width, rung)


@pytest.fixture
async def stands() -> AsyncIterator[list[Stand]]:
    made: list[Stand] = []
    yield made
    for stand in made:
        await stand.stream.stop()
        stand.device.close()


async def until(stand: Stand, loaded: Loaded, size: tuple[int, int]) -> None:
    async with asyncio.timeout(20):
        while size not in loaded.sizes:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)  # the loop hears of it


async def opened(stands: list[Stand], loaded: Loaded, **more: object) -> Stand:
    stand = await Stand(loaded, **more).open()  # type: ignore[arg-type]
    stands.append(stand)
    await stand.show(5)
    return stand


def skips(stand: Stand) -> int:
    return stand.stream.stage_states()["style"].skips


async def test_frames_of_a_new_size_are_shown_while_the_model_is_compiled_for_them(stands: list[Stand]) -> None:
    loaded = Compiling()
    stand = await opened(stands, loaded)
    await stand.show(4, LARGE)
    assert (stand.stream.counts.shown, skips(stand)) == (9, 4)
    assert stand.stream.stage_states()["style"].preparing == "is being compiled for 128x64"
    loaded.go.set()
    await until(stand, loaded, LARGE)
    await stand.show(3, LARGE)
    assert (stand.stream.counts.shown, skips(stand)) == (12, 4)
    assert loaded.threads[LARGE] == "lane aside"  # a thread of its own


async def test_a_size_that_was_there_before_runs_at_once(stands: list[Stand]) -> None:
    loaded = Compiling()
    loaded.go.set()
    stand = await opened(stands, loaded)
    await stand.show(1, LARGE)
    await until(stand, loaded, LARGE)
    before = skips(stand)
    for size in (SMALL, LARGE, SMALL):
        await stand.show(2, size)
    assert skips(stand) == before
    assert loaded.sizes == [SMALL, LARGE]


async def test_a_size_that_goes_again_at_once_leaves_the_last_one_compiled(stands: list[Stand]) -> None:
    loaded = Compiling()
    stand = await opened(stands, loaded)
    await stand.show(1, LARGE)
    await stand.show(1, TALL)
    loaded.go.set()
    await until(stand, loaded, TALL)
    before = skips(stand)
    await stand.show(2, TALL)
    assert skips(stand) == before


async def test_pictures_further_apart_than_compiling_takes_lose_no_model(stands: list[Stand]) -> None:
    loaded = Compiling(first_s=0)
    stand = await opened(stands, loaded)
    for _ in range(9):
        await asyncio.sleep(0.03)
        await stand.show(1)
    await stand.show(1, LARGE)
    assert skips(stand) == 0
    assert LARGE not in loaded.sizes  # the lane did it, with the picture itself


async def test_offline_work_leaves_nothing_out(stands: list[Stand]) -> None:
    loaded = Compiling()
    stand = await opened(stands, loaded, terms=Terms(waits=True))
    await stand.show(2, LARGE)
    assert skips(stand) == 0


async def test_lighter_variants_of_a_new_size_are_used_once_they_are_compiled_too(stands: list[Stand]) -> None:
    loaded = Compiling(lighter=(Variant("half", 0.5, lambda image: image),), costs_ms=(4, 2))
    loaded.go.set()
    stand = await opened(stands, loaded)
    await stand.show(1, LARGE)
    await until(stand, loaded, LARGE)
    async with asyncio.timeout(10):
        while stand.stream.stage_states()["style"].ready < 2:
            await asyncio.sleep(0.005)
    assert loaded.warmed == [0, 1, 0, 1]


async def test_stopping_does_not_wait_for_what_is_compiled() -> None:
    loaded = Compiling()
    stand = await Stand(loaded).open()
    await stand.show(5)
    await stand.show(1, LARGE)
    async with asyncio.timeout(5):
        await stand.stream.stop()
    loaded.go.set()
    stand.device.close()
