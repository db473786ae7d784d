"""A GPU's streams, launches, waits and memory, on a double in virtual time. Marked `gpu`: the same on a real one."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.clock import MonotonicClock
from stream.device import open_device
from stream.errors import ModelError
from stream.gpu import GpuDevice
from stream.lanes import Completed
from stream.pipeline import Pipeline, Work
from stream.stage import ERRORS_TO_OPEN, Stage, Variant
from stream.stats import FrameCounts
from stream.view import StageKind
from tests.fake_cuda import FakeCuda, Op, OutOfMemoryError
from tests.fakes import make_frame

ROOT = Path(__file__).parent.parent
GENERATE, RECOGNIZE = StageKind.GENERATE.value, StageKind.RECOGNIZE.value


@dataclass
class Launch:
    """A job that uploads, computes and downloads, each on its stream, and waits only when it is told to."""

    cuda: FakeCuda
    name: str
    upload_ns: int = 2
    compute_ns: int = 10
    download_ns: int = 3
    nbytes: int = 0
    less: "Launch | None" = None
    calls: list[str] = field(default_factory=list)

    def launch(self) -> "Launch":
        self.calls.append("launch")
        upload, downloads = COPIES[id(self.cuda)]
        download = downloads.setdefault(self.cuda.current_stream().name, self.cuda.Stream())
        if self.nbytes:
            self.cuda.allocate(self.nbytes)
        with self.cuda.stream(upload):
            self.cuda.launch(f"upload {self.name}", self.upload_ns)
            uploaded = self.cuda.Event()
            uploaded.record()
        self.cuda.current_stream().wait_event(uploaded)
        self.cuda.launch(f"compute {self.name}", self.compute_ns)
        computed = self.cuda.Event()
        computed.record()
        with self.cuda.stream(download):
            download.wait_event(computed)
            self.cuda.launch(f"download {self.name}", self.download_ns)
            self.downloaded = self.cuda.Event()
            self.downloaded.record()
        return self

    def wait(self) -> None:
        self.downloaded.synchronize()

    def result(self) -> str:
        if self.nbytes:
            self.cuda.free(self.nbytes)
        return self.name

    def __call__(self) -> str:
        self.launch()
        self.wait()
        return self.result()

    def smaller(self) -> "Launch | None":
        return self.less


COPIES: dict[int, tuple[Any, dict[str, Any]]] = {}  # the upload stream, and a download stream for each lane


@pytest.fixture
def cuda() -> FakeCuda:
    made = FakeCuda()
    COPIES[id(made)] = (made.Stream(), {})
    return made


def device_of(cuda: FakeCuda) -> GpuDevice:
    return GpuDevice("cuda:0", cuda, cuda.clock)


def ops(cuda: FakeCuda) -> dict[str, Op]:
    return {op.what: op for op in cuda.ops}


async def until(is_true: Callable[[], Any]) -> None:
    """Let threads work until something has come true."""
    async with asyncio.timeout(15):
        while not is_true():
            await asyncio.sleep(0.002)


async def test_the_upload_of_the_next_frame_overlaps_the_work_on_this_one(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    jobs = [device.submit(GENERATE, Launch(cuda, name)) for name in ("n", "n+1", "n+2")]
    await until(lambda: len(cuda.ops) == 9)  # all are launched, and nothing of it was waited for: time stands still
    found = ops(cuda)
    assert found["upload n+1"].overlaps(found["compute n"])
    assert found["compute n+1"].start_ns == found["compute n"].end_ns  # the GPU never waits for a copy
    assert found["download n"].overlaps(found["compute n+1"])
    assert found["compute n"].start_ns >= found["upload n"].end_ns  # what depends on each other is in order
    assert found["download n"].start_ns >= found["compute n"].end_ns
    assert max(op.end_ns for op in cuda.ops) == 2 + 3 * 10 + 3  # one after the other it would be 45
    cuda.clock.advance_to(1000)
    assert [done.value for done in await asyncio.gather(*jobs)] == ["n", "n+1", "n+2"]
    assert device.close(10)


async def test_recognition_and_generation_run_beside_each_other_and_complete_out_of_order(cuda: FakeCuda) -> None:
    device, order = device_of(cuda), []
    slow, fast = Launch(cuda, "slow", compute_ns=100), Launch(cuda, "fast", compute_ns=5)
    jobs = [device.submit(GENERATE, slow), device.submit(RECOGNIZE, fast)]
    for job in jobs:
        job.add_done_callback(lambda done: order.append(done.result().value))
    await until(lambda: len(cuda.ops) == 6 and cuda.waits == 2)
    found = ops(cuda)
    assert found["compute fast"].overlaps(found["compute slow"])
    cuda.clock.advance_to(50)
    await until(lambda: order)
    assert order == ["fast"] and not jobs[0].done()
    cuda.clock.advance_to(500)
    completed = await jobs[0]
    assert order == ["fast", "slow"]
    assert (completed.started_ns, completed.finished_ns) == (0, 500)
    assert device.close(10)


async def test_one_thread_launches_for_every_lane_and_the_loop_never_waits(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    jobs = [device.submit(lane, Launch(cuda, f"{lane} {n}")) for n in range(5) for lane in (GENERATE, RECOGNIZE)]
    await until(lambda: len(cuda.ops) == 30)  # the loop goes on meanwhile
    assert {op.thread for op in cuda.ops} == {"lane cuda:0 launch"}
    computed = [op.what for op in cuda.ops if op.what.startswith("compute")]
    assert computed == [f"compute {lane} {n}" for n in range(5) for lane in (GENERATE, RECOGNIZE)]  # as they came
    assert not any(job.done() for job in jobs)
    cuda.clock.advance_to(10_000)
    assert all(done.error is None for done in await asyncio.gather(*jobs))
    assert device.close(10)


async def test_a_job_that_cannot_be_launched_is_done_whole_in_its_lane_and_is_complete_when_its_kernels_are(
    cuda: FakeCuda,
) -> None:
    device = device_of(cuda)
    job = device.submit(RECOGNIZE, lambda: cuda.launch("kernel", 40).thread)
    await until(lambda: cuda.waits == 1)
    assert not job.done()
    cuda.clock.advance_to(40)
    assert (await job).value == "lane cuda:0 recognize"
    assert cuda.ops[0].stream == device._streams[RECOGNIZE].name
    assert device.close(10)


async def test_streams_are_apart_and_none_is_the_default_one(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    cuda.clock.advance_to(1)
    found = [(await device.submit(kind.value, cuda.current_stream)).value.name for kind in StageKind]
    assert len({*found, COPIES[id(cuda)][0].name, "default"}) == 4
    assert device.close(10)


async def test_an_error_of_a_launch_is_the_jobs_and_holds_no_pictures(cuda: FakeCuda) -> None:
    device = device_of(cuda)

    class Bad:
        def launch(self) -> None:
            raise ValueError("no")

    completed = await device.submit(GENERATE, Bad())
    assert str(completed.error) == "no" and completed.error.__traceback__ is None
    assert (await device.submit(GENERATE, lambda: 7)).value == 7
    assert device.close(10)


# ---- memory


async def test_memory_that_ran_out_is_freed_and_the_job_done_smaller_once(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    cuda.allocate(600)
    less = Launch(cuda, "half", nbytes=300)
    for launched in (True, False):
        work: Any = Launch(cuda, "whole", nbytes=500, less=less)
        job = device.submit(GENERATE, work if launched else Unlaunched(work))
        await until(lambda: cuda.waits)
        cuda.clock.advance_to(cuda.clock.now_ns() + 1000)
        await finish(cuda, job)
        assert (job.result().value, job.result().is_smaller) == ("half", True)
    assert len(less.calls) == 2
    assert device.memory()["out_of_memory"] == 2
    assert device.memory()["out_of_memory_saved"] == 2
    assert cuda.emptied == 2
    assert device.close(10)


async def test_freeing_what_torch_keeps_for_later_may_be_enough(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    cuda.allocate(700)
    cuda.free(700)  # in the cache, in a block too small for what comes
    job = device.submit(GENERATE, Launch(cuda, "whole", nbytes=900))
    await finish(cuda, job)
    assert (job.result().value, job.result().is_smaller) == ("whole", False)
    assert device.memory()["out_of_memory_saved"] == 1
    assert device.close(10)


async def test_memory_that_is_never_enough_is_a_failure_that_says_what_to_do(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    work = Launch(cuda, "huge", nbytes=5000, less=Launch(cuda, "still huge", nbytes=4000))
    job = device.submit(GENERATE, work)
    await finish(cuda, job)
    error = job.result().error
    assert isinstance(error, ModelError) and "\n" not in str(error)
    assert "cuda:0 is out of memory" in str(error) and "also with its cache freed and with less to do" in str(error)
    assert "--size" in str(error)
    assert len(work.calls) == 1 and len(work.less.calls) == 1  # tried once, and once smaller
    assert device.memory()["out_of_memory"] == 1 and device.memory()["out_of_memory_saved"] == 0
    assert (await device.submit(GENERATE, lambda: 1)).value == 1  # the lane works on
    assert device.close(10)


class Tight:
    """A model that takes memory when it is called, and gives it back."""

    def __init__(self, cuda: FakeCuda, nbytes: int) -> None:
        self._cuda, self._nbytes, self.calls = cuda, nbytes, 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.calls += 1
        self._cuda.allocate(self._nbytes)
        self._cuda.free(self._nbytes)
        return image + 1

    def many(self, images: list[np.ndarray]) -> list[np.ndarray]:
        self._cuda.allocate(self._nbytes * len(images))
        self._cuda.free(self._nbytes * len(images))
        return [image + 1 for image in images]


async def test_a_stage_whose_memory_ran_out_goes_on_lighter_and_says_so(cuda: FakeCuda) -> None:
    device, best, light = device_of(cuda), Tight(cuda, 5000), Tight(cuda, 100)
    stage = Stage("style", StageKind.GENERATE, best, "big", lighter=(Variant("small", 0.6, light),))
    pipeline, shown = Pipeline(device, cuda.clock), []
    stream = pipeline.attach("s", [stage], 10**12, shown.append, FrameCounts())
    pipeline.variants_ready("s", "style", 2)
    for seq in range(6):
        cuda.clock.advance_to(cuda.clock.now_ns() + 33_000_000)
        stream.put(make_frame(seq, cuda.clock.now_ns()), cuda.clock.now_ns())
        await until(lambda seq=seq: len(shown) > seq)
    assert best.calls == 1 and light.calls == 6  # tried once, and not at every frame
    assert all(frame.generated is not None for frame in shown)
    state = stream.stages["style"]
    assert (state.control.level, state.errors) == (1, 0)
    assert [(c.before, c.after, c.reason) for c in stream.ladder_events] == [
        ("big", "small", "memory ran out with the better one")
    ]
    assert device.memory()["out_of_memory_saved"] == 1
    assert device.close(10)


async def test_a_stage_without_a_lighter_variant_fails_and_the_video_goes_on(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    pipeline, shown = Pipeline(device, cuda.clock), []
    stage = Stage("style", StageKind.GENERATE, Tight(cuda, 5000))
    stream = pipeline.attach("s", [stage], 10**12, shown.append, FrameCounts())
    for seq in range(ERRORS_TO_OPEN + 3):
        cuda.clock.advance_to(cuda.clock.now_ns() + 33_000_000)
        stream.put(make_frame(seq, cuda.clock.now_ns()), cuda.clock.now_ns())
        await until(lambda seq=seq: len(shown) > seq)
    state = stream.stages["style"]
    assert state.errors == ERRORS_TO_OPEN  # then the circuit is open
    assert "cuda:0 is out of memory" in state.last_error
    assert device.close(10)


def test_the_smaller_job_of_a_batch_is_its_pictures_one_by_one(cuda: FakeCuda) -> None:
    model = Tight(cuda, 400)
    stage = Stage("style", StageKind.GENERATE, model, batch_key="k", max_batch=4)
    work = Work(stage, 0, tuple(make_frame(seq) for seq in range(3)))
    with pytest.raises(OutOfMemoryError):
        work()
    smaller = work.smaller()
    assert smaller is not None
    assert [int(picture.max()) for picture in smaller()] == [1, 1, 1]
    assert Work(stage, 0, work.frames[:1]).smaller() is None
    assert work.launch is None


async def test_a_stage_that_can_be_launched_is_and_its_results_are_checked(cuda: FakeCuda) -> None:
    class Model:
        """Launched on pictures; waits for its event."""

        def __call__(self, image: np.ndarray) -> np.ndarray:
            raise AssertionError("called and waited for")

        def launch(self, images: list[np.ndarray]) -> Launch:
            made = Launch(cuda, "frame").launch()
            made.result = lambda: [image + 1 for image in images[: self.gives]]  # type: ignore[method-assign]
            return made

        gives = 9

    device, model = device_of(cuda), Model()
    work = Work(Stage("style", StageKind.GENERATE, model), 0, (make_frame(),))
    job = device.submit(GENERATE, work)
    await finish(cuda, job)
    assert job.result().value[0].max() == 1
    model.gives = 0
    job = device.submit(GENERATE, work)
    await finish(cuda, job)
    assert "expected 1 results for as many pictures, got 0" in str(job.result().error)
    assert device.close(10)


class Unlaunched:
    """A job without `launch`."""

    def __init__(self, work: Launch) -> None:
        self._work = work
        self.smaller = work.smaller

    def __call__(self) -> Any:
        return self._work()


async def finish(cuda: FakeCuda, job: "asyncio.Future[Completed]") -> None:
    """Let time go on until a job is done."""
    async with asyncio.timeout(15):
        while not job.done():
            cuda.clock.advance_to(cuda.clock.now_ns() + 100)
            await asyncio.sleep(0.002)


def test_memory_is_counted(cuda: FakeCuda) -> None:
    device = device_of(cuda)
    cuda.allocate(100)
    cuda.free(40)
    counts = device.memory()
    assert (counts["allocated_bytes"], counts["reserved_bytes"], counts["free_bytes"]) == (60, 100, 900)


def test_its_pictures_are_made_in_memory_from_the_given_allocator() -> None:
    made: list[tuple[int, ...]] = []

    def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        made.append(shape)
        return np.empty(shape, dtype)

    pool = GpuDevice("cuda:0", FakeCuda(), FakeCuda().clock, allocate).pool()
    first = pool.take((4, 6, 3))
    del first
    pool.take((4, 6, 3))
    assert made == [(4, 6, 3)]  # bounded and used again
    assert pool.counts().hits == 1


def test_nothing_waits_for_a_whole_device() -> None:
    """By reading: no `cuda.synchronize()` and no blocking copy back in what runs models on a GPU."""
    for path in [*ROOT.glob("stream/*.py"), *ROOT.glob("models/*.py")]:
        text = path.read_text("utf-8")
        for banned in ("cuda.synchronize(", "xpu.synchronize(", "_api.synchronize(", "mps.synchronize("):
            if path.name.startswith("bench"):  # measuring needs a quiet device; no stream runs then
                continue
            assert banned not in text, f"{path.name}: wait for an event on the stream instead"


def test_the_double_has_what_torch_has() -> None:
    """Every call that the double answers is one of torch.cuda's, with its parameters."""
    import torch

    for name in ("Stream", "Event", "current_stream", "stream", "synchronize", "empty_cache", "memory_stats",
                 "mem_get_info", "device_count", "is_available", "get_device_name", "OutOfMemoryError"):  # fmt: skip
        assert hasattr(torch.cuda, name) and hasattr(FakeCuda(), name)
    for name in ("record", "query", "synchronize", "elapsed_time"):
        assert hasattr(torch.cuda.Event, name) and hasattr(FakeCuda().Event(), name)
    assert "blocking" in inspect.signature(torch.cuda.Event.__new__).parameters
    for name in ("Stream", "Event", "current_stream", "stream", "empty_cache", "memory_stats", "mem_get_info"):
        assert hasattr(torch.xpu, name)


def test_a_double_that_runs_out_says_so() -> None:
    with pytest.raises(OutOfMemoryError):
        FakeCuda(total_bytes=10).allocate(11)
    with pytest.raises(AssertionError, match="device-wide"):
        FakeCuda().synchronize()
    assert threading.active_count() < 200


# ---- on a real GPU


@pytest.mark.gpu
async def test_gpu_recognition_and_generation_have_streams_of_their_own() -> None:
    import torch

    device = open_device("cuda:0", MonotonicClock())
    found = [(await device.submit(kind.value, torch.cuda.current_stream)).value for kind in StageKind]
    assert found[0] != found[1]
    assert torch.cuda.default_stream() not in found
    device.close()


@pytest.mark.gpu
async def test_gpu_a_job_is_complete_when_its_kernels_are() -> None:
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


@pytest.mark.gpu
async def test_gpu_memory_that_runs_out_is_survived() -> None:
    import torch

    device = open_device("cuda:0", MonotonicClock())
    _, total = torch.cuda.mem_get_info(0)

    class Greedy:
        def __call__(self) -> int:
            return int(torch.empty(2 * total, dtype=torch.uint8, device="cuda:0")[0])

        def smaller(self) -> Callable[[], int]:
            return lambda: int(torch.full((8,), 3, device="cuda:0")[0])

    completed = await device.submit("generate", Greedy())
    assert (completed.value, completed.is_smaller) == (3, True)
    assert device.memory()["out_of_memory"] == 1
    device.close()


@pytest.mark.gpu
def test_gpu_pictures_are_made_in_page_locked_memory() -> None:
    import torch

    device = open_device("cuda:0", MonotonicClock())
    picture = device.pool().take((360, 640, 3))
    assert torch.from_numpy(picture).is_pinned()
    assert torch.from_numpy(picture[10:20]).is_pinned()
    device.close()
