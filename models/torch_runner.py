"""Run a network with torch: eager (the reference on a CPU), compiled, as a CUDA graph, or by way of TensorRT."""

import importlib.util
import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from models.base import Target
from models.runner import Array, Network, Way
from models.transfer import Download, transfer
from stream.errors import ModelError

log = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_RGB = 3
EAGER = Way("torch", None, None)

Outputs = Tensor | tuple[Tensor, ...]


class TorchRunner:
    """Torch. On a GPU everything is launched on the caller's current stream; only the result's copy is waited for."""

    def __init__(self, network: Network, target: Target, way: Way = EAGER) -> None:
        """Load `network` onto `target.device`, in the way that `models.runner.choose` gave. Raises ModelError."""
        self.device = _device(target.device)
        is_cuda = self.device.type == "cuda"
        self.precision = way.precision or ("fp16" if is_cuda else "fp32")
        self.variant = " ".join([way.backend, self.precision, *([way.layout] if way.layout else [])])
        self.variant += f" {target.device}" if self.device.type != "cpu" else ""
        self._dtype = torch.float16 if self.precision == "int8" else _DTYPES[self.precision]
        self._threads = target.threads if self.device.type == "cpu" else 0  # 0 leaves torch's own number
        self._is_first = way.layout == "channels_first"
        self._is_compiled = way.backend == "compile"
        module = network.build().to(self.device, self._dtype)
        if way.layout == "channels_last":
            module = module.to(memory_format=torch.channels_last)
        if self.precision == "int8":
            from models.quantize import quantise_linear

            quantise_linear(module, network.name)
        self._run: Callable[..., Outputs] | None = _arranged(module, way.backend, self.device)  # None when closed
        self._is_graph = way.backend == "cudagraph"  # its outputs last until the next call
        self._transfer = transfer(str(self.device)) if self.device.type in ("cuda", "xpu") else None

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the network; float inputs are taken in the runner's precision, the results are copies."""
        outputs = self._compute(inputs)
        if self._transfer is None:
            return tuple(np.asarray(output.contiguous().cpu().numpy()) for output in outputs)
        coming = self._transfer.download(outputs)
        coming.wait()
        return coming.result()

    def launch(self, *inputs: Array) -> Download:
        """Start the network on the GPU's current stream and return what will come; nothing is waited for. GPU only."""
        assert self._transfer is not None
        return self._transfer.download(self._compute(inputs))

    def close(self) -> None:
        """Let go of the weights."""
        self._run = None

    def _compute(self, inputs: tuple[Array, ...]) -> tuple[Tensor, ...]:
        """Return the outputs, float ones as float32, on the device and perhaps not yet computed."""
        if self._run is None:
            raise ModelError(f"{self.variant}: called after close")
        if self._threads and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)  # holds for this thread, so each lane keeps its own number
        with torch.inference_mode():
            outputs = self._call(self._run, [self._upload(array) for array in inputs])
            each = outputs if isinstance(outputs, tuple) else (outputs,)
            if self._is_graph:
                each = tuple(output.clone() for output in each)
            return tuple(output.float() if output.is_floating_point() else output for output in each)

    def _call(self, run: Callable[..., Outputs], inputs: list[Tensor]) -> Outputs:
        if not self._is_compiled:
            return run(*inputs)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return run(*inputs)
        except TorchDynamoException as error:  # the first call of a shape compiles
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"{self.variant}: torch.compile failed: {line}; say backend=torch") from error

    def _upload(self, array: Array) -> Tensor:
        if self._transfer is not None:
            given = self._transfer.upload(array)
        else:
            given = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
        if self._is_first and given.ndim == 4 and given.shape[3] == _RGB:
            # the same picture with its channels apart in memory; the network's own permute then finds them in order
            given = given.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        return given.to(self._dtype) if given.is_floating_point() else given


def _arranged(module: nn.Module, backend: str, device: torch.device) -> Callable[..., Outputs]:
    """Return what is called instead of the module."""
    if backend == "compile":
        _check_compiler(device)
        # dynamic=False: a graph for each shape. Beyond torch's limit of recompilations (8) it warns and runs eager
        compiled: Callable[..., Outputs] = torch.compile(module, dynamic=False)
        return compiled
    if backend == "cudagraph":
        from models.cuda_graph import GraphedModule

        return GraphedModule(module)
    if backend == "tensorrt":
        from models.tensorrt_module import TensorRtModule

        return TensorRtModule(module)
    return module


def _check_compiler(device: torch.device) -> None:
    """Raise ModelError when what inductor writes cannot be compiled here."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise ModelError("backend=compile needs Triton on CUDA: pip install triton; or say backend=torch")
        return
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise ModelError(
            "backend=compile needs a C++ compiler on a CPU: apt-get install g++ (or name one in CXX); "
            "or say backend=torch"
        ) from error


def _device(name: str) -> torch.device:
    """Return torch's device. Raises ModelError when it is not here."""
    device = torch.device(name)
    kind, index = device.type, device.index or 0
    if kind == "cuda" and index >= torch.cuda.device_count():
        raise ModelError(f"device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices; use cpu")
    if kind == "xpu" and index >= torch.xpu.device_count():
        raise ModelError(f"device {name!r}: torch sees {torch.xpu.device_count()} XPU devices; use cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"device {name!r}: torch sees no Apple GPU; use cpu")
    return device
