"""Copies between the host and one GPU, beside its computing: a queue up, and one down for each queue that computes.

Nothing here waits but `Download.wait`, and that for one event. Host memory comes from a bounded pool of page-locked
buffers, which the GPU copies from and to by itself. A buffer is held until its copy is done, and the arrays that come
down belong to the caller: the pool takes them back once nobody looks at them (stream/pool.py).
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from stream.pool import BufferPool

Array = NDArray[Any]

PINNED_BYTES = 256 << 20  # for all networks of a GPU; a 1080p picture has 6 MB


class Transfer:
    """One GPU's copies. Any thread; the caller's current stream is the one that computes."""

    def __init__(
        self, device: torch.device, api: Any, allocate: Callable[..., Array], copy: Callable[..., Any]
    ) -> None:
        """Take a device. `api` is torch.cuda, torch.xpu or a double; `allocate(shape, dtype)` makes page-locked arrays;
        `copy(target, source)` puts a copy on the current stream."""
        self.pool = BufferPool(PINNED_BYTES, allocate=allocate)
        self._device = device
        self._api = api
        self._copy = copy
        self._upload = api.Stream(device=device.index or 0)
        self._downloads: dict[Any, Any] = {}  # computing stream -> its download stream
        self._in_flight: deque[tuple[Any, Array]] = deque()  # (done, buffer) of uploads; pruned at the next one
        self._lock = threading.Lock()

    def upload(self, array: Array) -> Tensor:
        """Return the array on the device. Returns at once; the current stream waits for the copy, nobody else does.

        A page-locked array is read in place and must not be changed until what uses it is done; another is copied
        first.
        """
        host = torch.from_numpy(np.ascontiguousarray(array))
        kept = array
        if not self._is_locked(host):
            kept = self.pool.take(array.shape, array.dtype)
            np.copyto(kept, array)
            host = torch.from_numpy(kept)
        compute = self._api.current_stream(self._device)
        done = self._api.Event()
        with self._api.stream(self._upload):
            tensor = torch.empty(host.shape, dtype=host.dtype, device=self._device)
            self._copy(tensor, host)
            done.record(self._upload)
        compute.wait_event(done)
        self._used_on(tensor, compute)
        with self._lock:
            self._in_flight.append((done, kept))
            while self._in_flight and self._in_flight[0][0].query():
                self._in_flight.popleft()
        return tensor

    def download(self, tensors: Sequence[Tensor]) -> "Download":
        """Begin to bring tensors to the host, once the current stream has made them. Returns at once."""
        compute = self._api.current_stream(self._device)
        computed, done = self._api.Event(), self._api.Event(blocking=True)
        computed.record(compute)
        stream = self._download_of(compute)
        hosts = []
        with self._api.stream(stream):
            stream.wait_event(computed)
            for tensor in tensors:
                host = self.pool.take(tuple(tensor.shape), _numpy_type(tensor.dtype))
                self._copy(torch.from_numpy(host), tensor)
                self._used_on(tensor, stream)
                hosts.append(host)
            done.record(stream)
        return Download(hosts, done)

    def _download_of(self, compute: Any) -> Any:
        with self._lock:
            if compute not in self._downloads:
                self._downloads[compute] = self._api.Stream(device=self._device.index or 0)
            return self._downloads[compute]

    def _is_locked(self, host: Tensor) -> bool:
        return self._device.type != "cpu" and host.is_pinned()

    def _used_on(self, tensor: Tensor, stream: Any) -> None:
        """Tell torch's allocator that another stream than the tensor's own uses it, or it may give its memory away."""
        if tensor.device.type != "cpu":
            tensor.record_stream(stream)


class Download:
    """Arrays on their way to the host; see `stream.lanes.Launched`."""

    def __init__(self, hosts: Sequence[Array], done: Any) -> None:
        self._hosts = tuple(hosts)
        self._done = done

    def wait(self) -> None:
        """Block until they are here, without the GIL."""
        self._done.synchronize()

    def result(self) -> tuple[Array, ...]:
        """Return the arrays, which belong to the caller. Only after `wait`."""
        return self._hosts


@cache
def transfer(device: str) -> Transfer:
    """Return the copies of a GPU such as "cuda:0"; one for all networks on it."""
    found = torch.device(device)
    return Transfer(found, getattr(torch, found.type), page_locked, _copy)


def page_locked(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return a page-locked array with undefined content."""
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    made: Array = torch.empty(shape, dtype=kind, pin_memory=True).numpy()
    return made


def _copy(target: Tensor, source: Tensor) -> None:
    target.copy_(source, non_blocking=True)


def _numpy_type(dtype: torch.dtype) -> DTypeLike:
    return torch.empty(0, dtype=dtype).numpy().dtype
