"""Copies to and from a GPU: what waits for what, and that no buffer is used again before its copy is done."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.base import Target
from models.registry import load
from models.transfer import Transfer, page_locked
from tests.fake_cuda import FakeCuda

COPY_NS = 5


def transfer_on(cuda: FakeCuda) -> Transfer:
    """Return the copies of a processor that is taken for a GPU: the numbers are real, the times virtual."""

    def copy(target: torch.Tensor, source: torch.Tensor) -> None:
        target.copy_(source)
        cuda.launch("copy", COPY_NS)

    return Transfer(torch.device("cpu"), cuda, np.empty, copy)


def test_an_upload_returns_at_once_and_only_the_computing_stream_waits_for_it() -> None:
    cuda = FakeCuda()
    transfer, compute, other = transfer_on(cuda), cuda.Stream(), cuda.Stream()
    with cuda.stream(compute):
        tensor = transfer.upload(np.arange(6, dtype=np.uint8).reshape(2, 3))
        kernel = cuda.launch("kernel", 10)
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert cuda.waits == 0 and cuda.clock.now_ns() == 0
    assert kernel.start_ns == COPY_NS
    assert other.free_ns == 0


def test_the_next_upload_runs_beside_the_computing_of_this_one() -> None:
    cuda = FakeCuda()
    transfer, compute = transfer_on(cuda), cuda.Stream()
    with cuda.stream(compute):
        transfer.upload(np.zeros(4, np.uint8))
        kernel = cuda.launch("kernel", 100)
        transfer.upload(np.zeros(4, np.uint8))
    upload = [op for op in cuda.ops if op.what == "copy"][1]
    assert upload.overlaps(kernel)
    assert upload.stream != compute.name


def test_a_download_waits_for_the_computing_and_the_host_only_for_its_own_event() -> None:
    cuda = FakeCuda()
    transfer, compute = transfer_on(cuda), cuda.Stream()
    with cuda.stream(compute):
        cuda.launch("kernel", 100)
        coming = transfer.download([torch.tensor([1.5, 2.5]), torch.tensor([7], dtype=torch.int64)])
        after = cuda.launch("next kernel", 100)
    copies = [op for op in cuda.ops if op.what == "copy"]
    assert [op.start_ns for op in copies] == [100, 100 + COPY_NS]
    assert after.overlaps(copies[0])  # the GPU computes on while the result comes down
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (coming.wait(), ended.set()))
    thread.start()
    cuda.clock.advance_to(109)
    assert not ended.wait(0.05)
    cuda.clock.advance_to(110)
    assert ended.wait(10)
    thread.join(10)
    values, ids = coming.result()
    assert (values.tolist(), ids.tolist()) == ([1.5, 2.5], [7])
    assert (values.dtype, ids.dtype) == (np.float32, np.int64)


def test_each_computing_stream_has_its_own_way_down() -> None:
    """With one for all, the small result of recognition stood behind a picture that was still being made."""
    cuda = FakeCuda()
    transfer, slow, fast = transfer_on(cuda), cuda.Stream(), cuda.Stream()
    for stream, ns in ((slow, 1000), (fast, 10), (slow, 1000)):
        with cuda.stream(stream):
            cuda.launch("kernel", ns)
            transfer.download([torch.zeros(2)])
    copies = [op for op in cuda.ops if op.what == "copy"]
    assert copies[1].end_ns == 10 + COPY_NS
    assert copies[0].stream == copies[2].stream != copies[1].stream


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=40))
def test_a_buffer_is_not_written_again_before_its_copy_is_done(steps: list[tuple[int, int]]) -> None:
    cuda = FakeCuda()
    busy: list[tuple[int, int]] = []  # (address, copy's end) of the buffers that uploads read from

    def copy(target: torch.Tensor, source: torch.Tensor) -> None:
        now_ns, at = cuda.clock.now_ns(), source.data_ptr()
        assert all(end_ns <= now_ns for address, end_ns in busy if address == at)
        target.copy_(source)
        busy.append((at, cuda.launch("copy", COPY_NS).end_ns))

    transfer = Transfer(torch.device("cpu"), cuda, np.empty, copy)
    for index, (count, wait_ns) in enumerate(steps):
        for _ in range(count):
            assert transfer.upload(np.full((8, 8), index, np.uint8))[0, 0] == index
        cuda.clock.advance_to(cuda.clock.now_ns() + wait_ns)
    assert transfer.pool.counts().held_bytes <= 64 * max(sum(count for count, _ in steps), 1)


def test_what_came_down_belongs_to_the_caller() -> None:
    cuda = FakeCuda()
    transfer, kept = transfer_on(cuda), []
    for value in range(20):
        coming = transfer.download([torch.full((4, 4), float(value))])
        cuda.clock.advance_to(cuda.clock.now_ns() + 1000)
        coming.wait()
        (array,) = coming.result()
        if value % 3 == 0:
            kept.append((value, array[1:]))
        del coming, array
    assert all((array == value).all() for value, array in kept)
    assert transfer.pool.counts().misses <= len(kept) + 2  # the others were used again


def test_float16_and_strides_survive() -> None:
    transfer = transfer_on(FakeCuda())
    array = np.arange(12, dtype=np.float16).reshape(3, 4)[:, ::2]
    assert transfer.upload(array).tolist() == array.tolist()


def test_a_launched_style_gives_what_a_called_one_gives_and_waits_for_nothing() -> None:
    """The processor is taken for a GPU: the network is real, and so are launch, copies and the finishing."""
    model: Any = load("style:backend=torch,strength=0.6", Target("cpu", 1))
    image = np.random.default_rng(0).integers(0, 255, (46, 66, 3)).astype(np.uint8)
    called = model(image)
    cuda = FakeCuda()
    model._runner._transfer = transfer_on(cuda)
    launched = model.launch([image])
    assert cuda.waits == 0
    cuda.clock.advance_to(1000)
    launched.wait()
    (found,) = launched.result()
    assert cuda.waits == 1 and (found == called).all()
    model.close()


def test_what_a_cuda_graph_returns_is_copied_before_it_is_brought_down() -> None:
    """Its next replay overwrites it, perhaps while it is being copied to the host."""
    runner: Any = load("mask/person:backend=torch", Target("cpu", 1))._runner  # type: ignore[attr-defined]
    static = torch.zeros(1, 4)
    runner._run, runner._is_graph = (lambda *inputs: static), True
    (first,) = runner(np.zeros((1, 4), np.uint8))
    static.fill_(9)
    assert (first == 0).all()
    runner.close()


# ---- on a real GPU


@pytest.mark.gpu
def test_gpu_page_locked_memory_is_read_in_place_and_comes_back() -> None:
    from models.transfer import transfer

    copies, array = transfer("cuda:0"), page_locked((64, 64, 3), np.uint8)
    array[:] = 7
    tensor = copies.upload(array)
    coming = copies.download([tensor + 1])
    coming.wait()
    assert (coming.result()[0] == 8).all()
    assert copies.pool.counts().misses == 1  # for the way down only


@pytest.mark.gpu
def test_gpu_the_upload_of_the_next_frame_overlaps_the_work_on_this_one() -> None:
    """Real events with times: the copy of 100 MB begins before a long computation launched earlier has ended."""
    from models.transfer import transfer

    copies, compute = transfer("cuda:0"), torch.cuda.Stream()
    big = torch.ones(8192, 8192, device="cuda:0", dtype=torch.float16)
    array = page_locked((100 << 20,), np.uint8)
    copies.upload(array)  # the first one allocates
    torch.cuda.current_stream().synchronize()
    marks: dict[str, Any] = {name: torch.cuda.Event(enable_timing=True) for name in ("zero", "computed", "uploaded")}
    marks["zero"].record(compute)
    with torch.cuda.stream(compute):
        for _ in range(40):
            big = (big @ big).clamp_(0, 1)
        marks["computed"].record(compute)
        other = torch.cuda.Stream()
        with torch.cuda.stream(other):
            copies.upload(array)
            marks["uploaded"].record(other)
    for mark in marks.values():
        mark.synchronize()
    assert marks["zero"].elapsed_time(marks["uploaded"]) < marks["zero"].elapsed_time(marks["computed"])


@pytest.mark.gpu
def test_gpu_a_launched_style_gives_what_a_called_one_gives() -> None:
    model: Any = load("style", Target("cuda:0"))
    image = np.random.default_rng(0).integers(0, 255, (360, 640, 3)).astype(np.uint8)
    model.warm(360, 640)
    launched = model.launch([image])
    launched.wait()
    assert np.abs(launched.result()[0].astype(int) - model(image)).max() <= 1
    model.close()
