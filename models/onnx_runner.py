"""Run a network with ONNX Runtime, on a CPU or CUDA. The graph is exported from torch once and kept on disk."""

import importlib.metadata
import importlib.util
import logging
import warnings
from pathlib import Path

import numpy as np
import onnxruntime

from models.backends import BY_NAME, device_kind
from models.base import Target
from models.graph_cache import forget, graph_folder, keep
from models.runner import Array, Network
from stream.errors import ModelError

log = logging.getLogger(__name__)

FILE = "graph.onnx"
_QUIET = 3  # ONNX Runtime's log level "error"; its warnings speak of nodes that it places itself


class OnnxRunner:
    """One session for all shapes: sizes of the network's example that may differ are symbols in the graph."""

    def __init__(self, network: Network, target: Target, precision: str | None = None) -> None:
        """Load `network`, from the cache or by exporting it (imports torch, many seconds). Raises ModelError."""
        is_cuda = device_kind(target.device) == "cuda"
        self.precision = precision or ("fp16" if is_cuda else "fp32")
        self.variant = f"onnxruntime {self.precision}" + (f" {target.device}" if is_cuda else "")
        self._network = network
        self._session: onnxruntime.InferenceSession | None = _open(network, target, self.precision)  # None when closed
        self._names = [one.name for one in self._session.get_inputs()]
        self._float = np.float16 if self.precision == "fp16" else np.float32

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the network; the GIL is free meanwhile. The results are the caller's."""
        if self._session is None:
            raise ModelError(f"{self.variant}: called after close")
        shapes, expected = tuple(one.shape for one in inputs), tuple(shape for shape, _ in self._network.example)
        if self._network.is_fixed and shapes != expected:
            raise ModelError(f"{self._network.name}: expected input shapes {expected}, got {shapes}")
        fitting = [one.astype(self._float) if one.dtype.kind == "f" else one for one in inputs]
        answers = self._session.run(None, dict(zip(self._names, fitting, strict=True)))
        return tuple(one.astype(np.float32) if one.dtype.kind == "f" else one for one in answers)

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


def _open(network: Network, target: Target, precision: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = target.threads  # 0: as many as there are cores
    options.inter_op_num_threads = 1
    providers = _providers(target)
    kept = graph_folder(_key(network, precision))
    if (kept / FILE).is_file():
        try:
            return onnxruntime.InferenceSession(kept / FILE, options, providers)
        except Exception as error:  # its errors share no type of their own
            forget(kept, error)
    graph = export(network, precision)
    keep(kept, lambda folder: _write(folder / FILE, graph))
    return onnxruntime.InferenceSession(graph, options, providers)


def _providers(target: Target) -> list[str | tuple[str, dict[str, int]]]:
    if device_kind(target.device) == "cpu":
        return ["CPUExecutionProvider"]
    here = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in here:
        raise ModelError(
            f"backend=onnxruntime on {target.device}: this ONNX Runtime has {', '.join(here)} only; "
            "pip install onnxruntime-gpu, or say backend=torch"
        )
    return [("CUDAExecutionProvider", {"device_id": int(target.device.partition(":")[2] or 0)}), "CPUExecutionProvider"]


def _key(network: Network, precision: str) -> str:
    versions = f"ort{onnxruntime.__version__}-torch{importlib.metadata.version('torch')}"
    return f"{network.name}-{network.version()[:16]}-{precision}-{versions}"


def _write(file: Path, graph: bytes) -> None:
    file.write_bytes(graph)


def export(network: Network, precision: str = "fp32") -> bytes:
    """Return the network as an ONNX graph. Imports torch; takes many seconds. Raises ModelError."""
    if lacking := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        install = BY_NAME["onnxruntime"].install
        raise ModelError(f"backend=onnxruntime exports through {' and '.join(lacking)}, not installed: {install}")
    import torch

    module = network.build().to(torch.float16 if precision == "fp16" else torch.float32)
    example = [torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in network.example]
    example = [one.to(torch.float16) if one.is_floating_point() and precision == "fp16" else one for one in example]
    sizes = None if network.is_fixed else tuple(_free_sizes(one.ndim) for one in example)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, tuple(example), dynamo=True, dynamic_shapes=sizes, verbose=False)
    assert program is not None  # it is when no file is named
    return bytes(program.model_proto.SerializeToString())


def _free_sizes(axes: int) -> dict[int, object]:
    """Return the axes that may differ: of pictures [B,H,W,3] the height and the width, of anything else none."""
    import torch

    return {1: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC} if axes == 4 else {}
