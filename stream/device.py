"""Where models run: the processor, or a GPU that torch knows. One contract for all, see stream/lanes.py.

Only this file and models/ import torch, and this one only once a GPU was asked for or may be there.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stream.clock import Clock
from stream.errors import ConfigError
from stream.gpu import GpuDevice
from stream.lanes import (
    Completed,
    Device,
    Job,
    Lanes,
    LaneSet,
    Work,
    future_of_job,
    is_work_left,
    run_aside,
)
from stream.pool import BufferPool
from stream.view import StageKind

__all__ = [
    "Completed",
    "CpuDevice",
    "Device",
    "Lanes",
    "available_cores",
    "device_text",
    "is_work_left",
    "open_device",
    "open_devices",
    "run_aside",
]

ALLOWED = "auto, cpu, cuda (all of them), cuda:N, cuda:0,cuda:1 and so on, xpu, xpu:N or mps"
GPU_KINDS = ("cuda", "xpu")


class LaneDevice:
    """Lanes and nothing else: for what has no queues of its own that could be told apart."""

    def __init__(self, name: str, clock: Clock, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self._lanes = LaneSet(name, clock)

    def lane(self, kind: StageKind, stage: str) -> str:
        """Return the lane of a stage: one for everything."""
        return "gpu"

    def start(self, lane: str, work: Work, done: Callable[[Completed], None]) -> None:
        """Start a job; see `stream.lanes.Lanes`."""
        self._lanes.get(lane, self._context).submit(Job(work, done, asyncio.get_running_loop()))

    def submit(self, lane: str, work: Work) -> "asyncio.Future[Completed]":
        """Start a job and return its future; see `stream.lanes.Device`."""
        future, resolve = future_of_job()
        self.start(lane, work, resolve)
        return future

    def pool(self) -> BufferPool:
        """Return a pool of ordinary memory."""
        return BufferPool()

    def memory(self) -> dict[str, int]:
        """Return nothing: the process's own memory is all there is."""
        return {}

    def close(self, timeout_s: float = 1.0) -> bool:
        """Take no new jobs and wait for the present ones; see `stream.lanes.Device`."""
        return self._lanes.close(timeout_s)

    def _context(self) -> AbstractContextManager[Any]:
        return nullcontext()


class CpuDevice(LaneDevice):
    """The processor. Generation jobs share a lane, so that two big networks never fight for the cores."""

    def __init__(self, clock: Clock, capacity: int | None = None) -> None:
        super().__init__("cpu", clock, capacity or available_cores())

    def lane(self, kind: StageKind, stage: str) -> str:
        """Return the lane of a stage: generators share one, each recogniser has its own."""
        return "generate" if kind is StageKind.GENERATE else f"recognize {stage}"


def available_cores() -> int:
    """Return how many cores this process may run on (its affinity, where the system tells; not a quota of time)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_device(name: str, clock: Clock) -> Device:
    """Return the device called "auto", "cpu", "cuda:N", "xpu:N" or "mps". Raises ConfigError when it is not there."""
    names = _named(name)
    if len(names) > 1:
        raise ConfigError(f"device {name!r} names {len(names)} devices, and this takes one; say --device {names[0]}")
    return _open(names[0], clock)


def open_devices(name: str, clock: Clock) -> list[Device]:
    """Return the devices called by one name, or by several with commas; "cuda" is all CUDA devices.

    Raises ConfigError when one is unknown, not there, or named twice.
    """
    return [_open(one, clock) for one in _named(name)]


def device_text(device: Device) -> str:
    """Return the device as a person knows it, such as "NVIDIA H100 (cuda:0)"."""
    kind = device.name.partition(":")[0]
    if kind == "cpu":
        return f"CPU, {device.capacity} cores"
    if kind not in GPU_KINDS:
        return f"Apple GPU ({device.name})" if kind == "mps" else device.name
    import torch

    index = int(device.name.partition(":")[2])
    return f"{getattr(torch, kind).get_device_name(index)} ({device.name})"


def _named(text: str) -> list[str]:
    """Return the devices that a setting names, each in full."""
    names: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        kind, colon, index = part.partition(":")
        if part == "auto":
            names.append("cuda:0" if _has_cuda() else "cpu")
        elif part in ("cpu", "mps"):
            names.append(part)
        elif kind in GPU_KINDS and not colon:
            names += [f"{kind}:{number}" for number in range(max(1, _count(kind)))]  # none: opening it says so
        elif kind in GPU_KINDS and index.isdecimal():
            names.append(f"{kind}:{int(index)}")
        else:
            raise ConfigError(f"device {part!r} is unknown; allowed: {ALLOWED}")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"device {text!r} names {twice} twice")
    return names


def _open(name: str, clock: Clock) -> Device:
    kind, _, index = name.partition(":")
    if kind == "cpu":
        return CpuDevice(clock)
    if kind == "mps":
        if not _has_mps():
            raise ConfigError("device mps is not there (torch finds no Apple GPU); use --device cpu or auto")
        return LaneDevice("mps", clock, 1)
    found = _count(kind)
    if int(index) >= found:
        raise ConfigError(
            f"device {name} is not there ({found} {kind.upper()} devices found); use --device cpu or auto"
        )
    import torch

    return GpuDevice(name, getattr(torch, kind), clock, allocate=_page_locked)


def _page_locked(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a page-locked array with undefined content, which the GPU can read by itself."""
    import torch

    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    made: NDArray[Any] = torch.empty(shape, dtype=kind, pin_memory=True).numpy()
    return made


def _count(kind: str) -> int:
    """Return how many GPUs of a kind torch can use."""
    import torch

    api: Any = getattr(torch, kind)
    return int(api.device_count()) if api.is_available() else 0


def _has_mps() -> bool:
    import torch

    return bool(torch.backends.mps.is_available())


def _has_cuda() -> bool:
    """Whether a CUDA device can be used; torch is only imported where the driver is present."""
    if not any(os.path.exists(path) for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")):
        return False
    return _count("cuda") > 0
