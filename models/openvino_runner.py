"""Run a network with OpenVINO, the default on the CPU.

The graph is made from the torch module once and kept on disk; from then on no process imports torch to load it. Where a
network has an arrangement of its own for the CPU (`networks/<name>_fast.py`), that is the graph.
Everything from uint8 pixels to the network's answer lies in the graph, so a call holds the GIL for microseconds.
"""

import importlib
import importlib.metadata
import logging
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import openvino as ov

from models.base import Target
from models.graph_cache import forget, graph_folder, keep
from models.runner import Array, Network
from models.shape_cache import ShapeCache, Shapes
from models.tuning import Setting, choose, thread_counts
from stream.errors import ModelError
from stream.pool import BufferPool

log = logging.getLogger(__name__)

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


_converting = threading.Lock()  # tracing is global in torch, and models are loaded on several threads


@cache
def _core() -> ov.Core:
    return ov.Core()


class OpenVinoRunner:
    """Static shapes, compiled at first sight and kept for the last few; bf16 where the CPU has it."""

    def __init__(
        self, network: Network, target: Target, precision: str | None = None, calibration: Path | None = None
    ) -> None:
        """Load `network`, from the cache or by converting it (imports torch, seconds; int8: a minute).

        `calibration` is a clip for int8; None takes the sample clip. Raises ModelError.
        """
        self._threads = thread_counts(target.threads)  # worth trying, most first
        self.precision = precision or _fastest_precision(network, self._threads[0])
        if self.precision == "fp16" and "FP16" not in _capabilities():
            raise ModelError(
                "backend=openvino,precision=fp16: this processor does not compute in fp16; say bf16 or fp32"
            )
        self.variant = f"openvino {self.precision}"
        self._pool = BufferPool()  # of results
        self._network = network
        self._graph: ov.Model | None = _graph(network, self.precision, calibration)  # None when closed
        self._requests: ShapeCache[ov.InferRequest] = ShapeCache(self._compile)

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the network on contiguous arrays (others are copied). Waits without the GIL; the results are copies."""
        arrays = [np.ascontiguousarray(array) for array in inputs]
        request = self._requests.get(tuple(array.shape for array in arrays))
        results = request.infer(arrays, share_inputs=True, share_outputs=True)
        return tuple(self._kept(results[i]) for i in range(len(results)))

    def _kept(self, result: Array) -> Array:
        """Return a copy of what the next call overwrites; the caller's, and used again once nobody holds it."""
        kept = self._pool.take(result.shape, result.dtype)
        kept[...] = result
        return kept

    def close(self) -> None:
        """Let go of the graph and everything compiled."""
        self._graph = None
        self._requests.clear()

    def _compile(self, shapes: Shapes) -> ov.InferRequest:
        if self._graph is None:
            raise ModelError(f"{self.variant}: called after close")
        expected = tuple(shape for shape, _ in self._network.example)
        if self._network.is_fixed and shapes != expected:
            raise ModelError(f"{self._network.name}: expected input shapes {expected}, got {shapes}")
        graph, network = self._graph, self._network
        candidates = [Setting(self.precision, threads) for threads in self._threads]
        made: dict[Setting, ov.InferRequest] = {}

        def prepare(setting: Setting) -> Callable[[], object]:
            made[setting] = _compiled(graph, shapes, setting)
            return _run_on_nothing(made[setting], network, shapes)

        setting = choose(_name(network), shapes, candidates, prepare)
        return made[setting] if setting in made else _compiled(graph, shapes, setting)


def _compiled(graph: ov.Model, shapes: Shapes, setting: Setting) -> ov.InferRequest:
    fixed = graph.clone()
    fixed.reshape({port: list(shape) for port, shape in zip(fixed.inputs, shapes, strict=True)})
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS.get(setting.precision, _rest_of_int8()),
        "INFERENCE_NUM_THREADS": setting.threads,
        "ENABLE_CPU_PINNING": False,  # two pinned networks with one thread each would share the first core
    }
    return _core().compile_model(fixed, "CPU", config).create_infer_request()


def _run_on_nothing(request: ov.InferRequest, network: Network, shapes: Shapes) -> Callable[[], object]:
    zeros = [np.zeros(shape, dtype) for shape, (_, dtype) in zip(shapes, network.example, strict=True)]
    return lambda: request.infer(zeros, share_inputs=True, share_outputs=True)


def _name(network: Network) -> str:
    return f"{network.name}/{network.part}" if network.part else network.name


def _graph(network: Network, precision: str, clip: Path | None) -> ov.Model:
    if precision != "int8":
        return load_graph(network, precision)
    from models.quantize import Calibration, quantised_graph

    return quantised_graph(network, load_graph(network, "fp32"), Calibration(clip) if clip else Calibration())


@cache
def _capabilities() -> frozenset[str]:
    return frozenset(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _rest_of_int8() -> str:
    """Return the number format of what stays unquantised in an int8 graph."""
    return _HINTS["bf16" if "BF16" in _capabilities() else "fp32"]


def _fastest_precision(network: Network, threads: int) -> str:
    """Return bf16 where the processor has it and it is no slower here, else fp32. The first time it is measured."""
    if "BF16" not in _capabilities():
        return "fp32"
    shapes = network.usual or tuple(shape for shape, _ in network.example)

    def prepare(setting: Setting) -> Callable[[], object]:
        request = _compiled(load_graph(network, setting.precision), shapes, setting)
        return _run_on_nothing(request, network, shapes)

    return choose(_name(network), shapes, [Setting("bf16", threads), Setting("fp32", threads)], prepare).precision


def load_graph(network: Network, precision: str = "fp32") -> ov.Model:
    """Return the graph of `network`, from the cache when it holds one for these weights, source and OpenVINO.

    The graph of `<name>_fast.py` is not kept: it is made in the time that reading takes, and is exact for fp32 only.

    Raises ModelError when the weights do not fit. A damaged cache entry is replaced; a cache that cannot be written
    costs the conversion at every start and one warning.
    """
    if network.has_fast:
        return _build(network, precision)
    key = f"{network.name}-{network.version()[:16]}-ov{importlib.metadata.version('openvino')}"
    kept = graph_folder(key)
    if (kept / "graph.xml").is_file():
        try:
            return _core().read_model(kept / "graph.xml")
        except RuntimeError as error:  # what openvino raises for a file it cannot read
            forget(kept, error)
    graph = convert(network)
    keep(kept, lambda folder: ov.serialize(graph, str(folder / "graph.xml"), str(folder / "graph.bin")))
    return graph


def _build(network: Network, precision: str) -> ov.Model:
    """Make the graph that `<name>_fast.py` describes. Takes some 10 ms; imports no torch."""
    fast = importlib.import_module(f"models.networks.{network.name}_fast")
    made: ov.Model = fast.build(precision == "fp32", *network.further)
    return made


def convert(network: Network) -> ov.Model:
    """Trace the torch module into an OpenVINO graph. Imports torch; takes seconds.

    Goes through the PyTorch front end directly: `openvino.convert_model` would report its use over the network.
    """
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = tuple(torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in network.example)
    with _converting, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated in torch 2.14; the front end has no other stable way in
        decoder = TorchScriptPythonDecoder(network.build(), example_input=example)
        front_end = FrontEndManager().load_by_framework("pytorch")
        return front_end.convert(front_end.load(decoder))
