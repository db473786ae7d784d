"""Run a network with OpenVINO, the default on the CPU.

The graph is made from the torch module once and kept on disk; from then on no process imports torch to load it. Where a
network has an arrangement of its own for the CPU (`networks/<name>_fast.py`), that is the graph.
Everything from uint8 pixels to the network's answer lies in the graph, so a call holds the GIL for microseconds.
"""

import importlib
import importlib.metadata
import logging
import os
import shutil
import tempfile
import threading
import warnings
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import openvino as ov

from models.base import Target
from models.runner import Array, Network, Shape
from stream.errors import ModelError

log = logging.getLogger(__name__)

COMPILED_AT_MOST = 3  # compiled shapes kept per network; each holds its own buffers, some 50 MB for a 640x360 style
_HINTS = {"fp32": "f32", "bf16": "bf16"}


_converting = threading.Lock()  # tracing is global in torch, and models are loaded on several threads


@cache
def _core() -> ov.Core:
    return ov.Core()


def cache_folder() -> Path:
    """Return where converted graphs are kept: $XDG_CACHE_HOME/livelens, else ~/.cache/livelens."""
    base = os.environ.get("XDG_CACHE_HOME", "")  # the XDG rule: relative paths are to be ignored
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "livelens"


class OpenVinoRunner:
    """Static shapes, compiled at first sight and kept for the last few; bf16 where the CPU has it."""

    def __init__(self, network: Network, target: Target, precision: str = "auto") -> None:
        """Load `network`, from the cache or by converting it (imports torch, seconds). Raises ModelError."""
        if target.device != "cpu":
            raise ModelError(f"backend openvino runs on cpu, not on {target.device!r}; say backend=torch")
        self.precision = precision if precision != "auto" else _fastest_precision()
        if self.precision not in _HINTS:
            raise ModelError(f"precision={precision}: OpenVINO runs fp32 or bf16 on a CPU")
        self.variant = f"openvino {self.precision}"
        self._network = network
        self._config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "ENABLE_CPU_PINNING": False,  # two pinned networks with one thread each would share the first core
        }
        if target.threads > 0:
            self._config["INFERENCE_NUM_THREADS"] = target.threads
        self._graph: ov.Model | None = load_graph(network, self.precision)  # None when closed
        self._requests: OrderedDict[tuple[Shape, ...], ov.InferRequest] = OrderedDict()  # by input shapes, newest last

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the network on contiguous arrays (others are copied). Waits without the GIL; the results are copies."""
        arrays = [np.ascontiguousarray(array) for array in inputs]
        request = self._request(tuple(array.shape for array in arrays))
        results = request.infer(arrays, share_inputs=True, share_outputs=True)
        return tuple(np.array(results[i]) for i in range(len(results)))

    def close(self) -> None:
        """Let go of the graph and everything compiled."""
        self._graph = None
        self._requests.clear()

    def _request(self, shapes: tuple[Shape, ...]) -> ov.InferRequest:
        if self._graph is None:
            raise ModelError(f"{self.variant}: called after close")
        if shapes not in self._requests:
            self._requests[shapes] = self._compile(self._graph, shapes)
            if len(self._requests) > COMPILED_AT_MOST:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shapes)
        return self._requests[shapes]

    def _compile(self, graph: ov.Model, shapes: tuple[Shape, ...]) -> ov.InferRequest:
        expected = tuple(shape for shape, _ in self._network.example)
        if self._network.is_fixed and shapes != expected:
            raise ModelError(f"{self._network.name}: expected input shapes {expected}, got {shapes}")
        fixed = graph.clone()
        fixed.reshape({port: list(shape) for port, shape in zip(fixed.inputs, shapes, strict=True)})
        return _core().compile_model(fixed, "CPU", self._config).create_infer_request()


def _fastest_precision() -> str:
    return "bf16" if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "fp32"


def load_graph(network: Network, precision: str = "fp32") -> ov.Model:
    """Return the graph of `network`, from the cache when it holds one for these weights, source and OpenVINO.

    The graph of `<name>_fast.py` is not kept: it is made in the time that reading takes, and is exact for fp32 only.

    Raises ModelError when the weights do not fit. A damaged cache entry is replaced; a cache that cannot be written
    costs the conversion at every start and one warning.
    """
    if network.has_fast:
        return _build(network, precision)
    key = f"{network.name}-{network.version()[:16]}-ov{importlib.metadata.version('openvino')}"
    kept = cache_folder() / "graphs" / key
    if (kept / "graph.xml").is_file():
        try:
            return _core().read_model(kept / "graph.xml")
        except RuntimeError as error:  # what openvino raises for a file it cannot read
            log.warning("cached graph %s is damaged, converting again: %s", kept, error)
            shutil.rmtree(kept, ignore_errors=True)
    graph = convert(network)
    try:
        _keep(graph, kept)
    except OSError as error:
        log.warning("cannot keep the converted graph in %s (%s): each start will convert again", kept, error)
    return graph


def _keep(graph: ov.Model, kept: Path) -> None:
    """Write the graph beside its place, then rename, so that no reader ever sees half of it."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{kept.name}-", dir=kept.parent))
    try:
        ov.serialize(graph, str(beside / "graph.xml"), str(beside / "graph.bin"))
        os.replace(beside, kept)
    except OSError:
        if not kept.is_dir():  # else another process was first with the same graph
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _build(network: Network, precision: str) -> ov.Model:
    """Make the graph that `<name>_fast.py` describes. Takes some 10 ms; imports no torch."""
    made: ov.Model = importlib.import_module(f"models.networks.{network.name}_fast").build(precision == "fp32")
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
