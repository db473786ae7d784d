import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest

from stream.clock import MonotonicClock
from stream.device import CpuDevice, is_work_left, open_device, run_aside
from stream.errors import ConfigError
from stream.view import StageKind


async def test_a_job_runs_off_the_loop_and_gives_its_value_and_times() -> None:
    device = CpuDevice(MonotonicClock())
    completed = await device.submit("generate", threading.get_ident)
    assert completed.value != threading.get_ident()
    assert completed.error is None
    assert completed.finished_ns >= completed.started_ns
    device.close()


async def test_an_exception_is_a_value_that_holds_no_pictures() -> None:
    device = CpuDevice(MonotonicClock())
    picture = np.zeros(8)
    seen = weakref.ref(picture)

    def work(image: object) -> None:
        raise RuntimeError("no")

    completed = await device.submit("generate", lambda image=picture: work(image))
    assert str(completed.error) == "no"
    del picture
    await device.submit("generate", int)  # the lane has let go of the job before
    gc.collect()
    assert seen() is None
    device.close()


async def test_lanes_work_beside_each_other() -> None:
    device = CpuDevice(MonotonicClock())
    meeting = threading.Barrier(2, timeout=10)
    lanes = [device.lane(StageKind.GENERATE, "style"), device.lane(StageKind.RECOGNIZE, "mask")]
    done = await asyncio.gather(*(device.submit(lane, meeting.wait) for lane in lanes))
    assert [c.error for c in done] == [None, None]
    device.close()


async def test_a_lane_does_one_job_at_a_time_in_order() -> None:
    device = CpuDevice(MonotonicClock())
    first, second = device.submit("generate", lambda: 1), device.submit("generate", lambda: 2)
    one, two = await asyncio.gather(first, second)
    assert (one.value, two.value) == (1, 2)
    assert two.started_ns >= one.finished_ns
    device.close()


async def test_generation_of_every_stage_shares_a_lane_and_recognition_has_its_own() -> None:
    device = CpuDevice(MonotonicClock())
    assert device.lane(StageKind.GENERATE, "a") == device.lane(StageKind.GENERATE, "b")
    assert device.lane(StageKind.RECOGNIZE, "a") != device.lane(StageKind.RECOGNIZE, "b")


async def test_closing_waits_for_the_job_and_ends_the_worker() -> None:
    device = CpuDevice(MonotonicClock())
    ended = threading.Event()
    device.submit("generate", lambda: time.sleep(0.1) or ended.set())
    [lane] = [t for t in threading.enumerate() if t.name == "lane cpu generate"]
    assert device.close(timeout_s=10)
    assert ended.is_set() and not lane.is_alive()


async def test_closing_does_not_wait_for_ever_for_a_job_that_hangs() -> None:
    device = CpuDevice(MonotonicClock())
    go_on = threading.Event()
    device.submit("generate", go_on.wait)
    assert not device.close(timeout_s=0.05)
    go_on.set()


async def test_run_aside_ends_its_thread() -> None:
    assert (await run_aside(MonotonicClock(), lambda: 5)).value == 5
    for thread in [t for t in threading.enumerate() if t.name == "lane aside"]:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:x", ""])
def test_an_unknown_device_says_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match="allowed: auto, cpu, cuda:N"):
        open_device(name, MonotonicClock())


def test_a_cuda_device_that_is_not_there_says_so() -> None:
    with pytest.raises(ConfigError, match="cuda:99 is not there"):
        open_device("cuda:99", MonotonicClock())


@pytest.mark.gpu
async def test_recognition_and_generation_have_streams_of_their_own() -> None:
    import torch

    device = open_device("cuda:0", MonotonicClock())
    found = [(await device.submit(kind.value, torch.cuda.current_stream)).value for kind in StageKind]
    assert found[0] != found[1]
    assert torch.cuda.default_stream() not in found
    device.close()


@pytest.mark.gpu
async def test_a_job_is_complete_when_its_kernels_are() -> None:
    import torch

    device = open_device("cuda:0", MonotonicClock())
    big = torch.ones(4096, 4096, device="cuda:0")

    def work() -> "torch.cuda.Event":
        for _ in range(20):
            big @ big
        event = torch.cuda.Event()
        event.record()
        return event

    assert (await device.submit("generate", work)).value.query()
    device.close()


async def test_work_begun_aside_is_known_until_it_ends() -> None:
    go_on = threading.Event()
    done = run_aside(MonotonicClock(), go_on.wait)
    assert is_work_left()
    go_on.set()
    await done
    for _ in range(200):
        if not is_work_left():
            break
        await asyncio.sleep(0.01)
    assert not is_work_left()
