import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest

from stream.clock import MonotonicClock
from stream.device import CpuDevice, device_text, open_device, open_devices
from stream.errors import ConfigError
from stream.view import StageKind
from tests.fake_cuda import FakeCuda


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


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cuda:0,tpu", "cuda:-1", "mps:0"])
def test_an_unknown_device_says_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match="is unknown; allowed: auto, cpu, cuda"):
        open_device(name, MonotonicClock())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda", "cuda:0 is not there \\(0 CUDA devices found\\); use --device cpu or auto"),
        ("xpu", "xpu:0 is not there \\(0 XPU devices found\\)"),
        ("xpu:3", "xpu:3 is not there"),
        ("mps", "mps is not there \\(torch finds no Apple GPU\\); use --device cpu or auto"),
        ("cuda:1,cuda:0", "cuda:1 is not there"),
        ("cuda:1,cuda:01", "names cuda:1 twice"),
    ],
)
def test_a_gpu_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    monkeypatch.setattr("stream.device._count", lambda kind: 0)
    monkeypatch.setattr("stream.device._has_mps", lambda: False)
    with pytest.raises(ConfigError, match=said):
        open_devices(name, MonotonicClock())


def test_cuda_alone_is_every_card_and_one_of_them_where_one_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(count=3)
    monkeypatch.setattr("torch.cuda", cuda)
    opened = open_devices("cuda", MonotonicClock())
    assert [device.name for device in opened] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [device_text(device) for device in opened][1] == "Fake GPU (cuda:1)"
    assert [device.name for device in open_devices("cuda:2,cuda:0", MonotonicClock())] == ["cuda:2", "cuda:0"]
    with pytest.raises(ConfigError, match="names 3 devices, and this takes one; say --device cuda:0"):
        open_device("cuda", MonotonicClock())


def test_xpu_goes_the_way_of_cuda_and_mps_has_one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.xpu", FakeCuda())
    device = open_device("xpu:0", MonotonicClock())
    assert device.lane(StageKind.GENERATE, "a") != device.lane(StageKind.RECOGNIZE, "b")
    monkeypatch.setattr("stream.device._has_mps", lambda: True)
    device = open_device("mps", MonotonicClock())
    assert device.lane(StageKind.GENERATE, "a") == device.lane(StageKind.RECOGNIZE, "b")
    assert (device.capacity, device_text(device)) == (1, "Apple GPU (mps)")


def test_the_processor_has_ordinary_buffers_and_no_memory_of_its_own() -> None:
    device = CpuDevice(MonotonicClock(), 2)
    assert device.memory() == {}
    assert device.pool().take((2, 3)).shape == (2, 3)
    assert device_text(device) == "CPU, 2 cores"


def test_a_cuda_device_that_is_not_there_says_so() -> None:
    with pytest.raises(ConfigError, match="cuda:99 is not there"):
        open_device("cuda:99", MonotonicClock())
