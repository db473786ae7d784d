"""Run a network with torch: the reference on the CPU, the default on CUDA."""

import logging

import numpy as np
import torch
from torch import Tensor

from models.base import Target
from models.runner import Array, Network
from stream.errors import ModelError

log = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PINNED_AT_MOST = 8  # staging buffers kept; one per shape and direction, so two or three sizes of one network


class TorchRunner:
    """Eager torch. On CUDA everything is launched on the caller's current stream; only that stream is waited for."""

    def __init__(self, network: Network, target: Target, precision: str = "auto") -> None:
        """Load `network` onto `target.device`. `target.threads` is process-wide in torch. Raises ModelError."""
        self.device = _device(target.device)
        is_cuda = self.device.type == "cuda"
        self.precision = precision if precision != "auto" else ("fp16" if is_cuda else "fp32")
        self.variant = f"torch {self.precision}" + (f" {target.device}" if is_cuda else "")
        self._dtype = _DTYPES[self.precision]
        if target.threads > 0 and not is_cuda:
            torch.set_num_threads(target.threads)
        self._module: torch.nn.Module | None = network.build().to(self.device, self._dtype)  # None when closed
        self._pinned: dict[tuple[int | str, tuple[int, ...], torch.dtype], Tensor] = {}  # staging for CUDA copies

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the network; float inputs are taken in the runner's precision, the results are copies."""
        if self._module is None:
            raise ModelError(f"{self.variant}: called after close")
        with torch.inference_mode():
            outputs = self._module(*(self._upload(i, array) for i, array in enumerate(inputs)))
            return self._download(outputs if isinstance(outputs, tuple) else (outputs,))

    def close(self) -> None:
        """Let go of the weights and the buffers."""
        self._module = None
        self._pinned.clear()

    def _upload(self, index: int, array: Array) -> Tensor:
        host = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type == "cuda":
            staged = self._staging(index, host)
            staged.copy_(host)
            host = staged.to(self.device, non_blocking=True)
        return host.to(self._dtype) if host.is_floating_point() else host

    def _download(self, outputs: tuple[Tensor, ...]) -> tuple[Array, ...]:
        results = [o.float() if o.is_floating_point() else o for o in outputs]
        if self.device.type == "cuda":
            staged = [self._staging(f"out{i}", result) for i, result in enumerate(results)]
            for host, result in zip(staged, results, strict=True):
                host.copy_(result, non_blocking=True)
            torch.cuda.current_stream(self.device).synchronize()
            results = [host.clone() for host in staged]
        return tuple(np.asarray(result.contiguous().numpy()) for result in results)

    def _staging(self, index: int | str, like: Tensor) -> Tensor:
        key = (index, tuple(like.shape), like.dtype)
        if key not in self._pinned:
            if len(self._pinned) >= _PINNED_AT_MOST:
                self._pinned.pop(next(iter(self._pinned)))
            self._pinned[key] = torch.empty(like.shape, dtype=like.dtype, pin_memory=True)
        return self._pinned[key]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r}: expected cpu or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r}: expected cpu or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices; use cpu")
    return device
