"""The ways to run a network: the contract, what a network is before it is loaded, and the choice of a backend."""

import hashlib
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from models import checkpoint
from models.backends import BACKENDS, BY_NAME, TORCH_DEVICES, device_kind, missing
from models.base import Target
from stream.errors import ModelError
from stream.frame import Picture

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A network by name: `models/networks/<name>.py`, whose `build()` reads `models/weights/<name>.safetensors`.

    example   (shape, dtype) of each input, enough to trace the network
    is_fixed  the network was traced for exactly the example's shapes and must not be run at others
    part      where the module and its weights hold several networks, which one: `build(part)`; "" when it is only one
    has_fast  `models/networks/<name>_fast.py` makes the same computation for OpenVINO: `build(is_exact)` gives the
              graph. Without it the graph is traced from the torch module
    inputs    what the network is shown of the i-th picture of a clip, to learn how large its numbers get; None when it
              cannot be quantised
    usual     input shapes it mostly runs at, where number format and threads are measured; () for the example's
    addition  a file of further weights that both `build` take as their last argument; None for the committed ones only
    """

    name: str
    example: tuple[tuple[Shape, str], ...]
    is_fixed: bool = True
    has_fast: bool = False
    inputs: Callable[[Picture, int], tuple[Array, ...]] | None = None
    part: str = ""
    addition: Path | None = None
    usual: tuple[Shape, ...] = ()

    def build(self) -> "nn.Module":
        """Return the torch module with its weights. Imports torch, so it may block for seconds. Raises ModelError."""
        part = (self.part,) if self.part else ()
        made: nn.Module = importlib.import_module(f"models.networks.{self.name}").build(*part, *self.further)
        return made

    @property
    def further(self) -> tuple[Path, ...]:
        """Return what is handed to `build` last: the addition, where there is one."""
        return () if self.addition is None else (self.addition,)

    def version(self) -> str:
        """Return a digest of the weights and of the source that makes a graph of them."""
        folder = Path(__file__).parent / "networks"
        digest = hashlib.sha256(checkpoint.checksum(self.name).encode() + self.part.encode())
        fast = (f"{self.name}_fast.py", "subpixel.py", "graph.py", "rounding.py") if self.has_fast else ()
        for source in (f"{self.name}.py", "layers.py", *fast):
            digest.update((folder / source).read_bytes())
        for file in self.further:
            digest.update(file.read_bytes())
        return digest.hexdigest()


class Runner(Protocol):
    """A loaded network. Called from one worker thread at a time."""

    variant: str  # backend and precision in words, such as "openvino bf16"

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the network; the results belong to the caller. Compiles first when a shape is new (seconds)."""
        ...

    def close(self) -> None:
        """Free what it holds. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run a network: a backend, and what it is told. None leaves precision or layout to the backend."""

    backend: str
    precision: str | None
    layout: str | None


def choose(target: Target, backend: str = "auto", precision: str = "auto", layout: str = "auto") -> Way:
    """Return the way that is asked for, with the backend settled. Imports nothing heavy.

    On a CPU OpenVINO is several times as fast as torch (docs/backends.md), so it is the choice there; elsewhere torch.
    Raises ModelError when the backend is not here, or does not take that device, precision or layout.
    """
    kind = device_kind(target.device)
    if kind not in TORCH_DEVICES:
        raise ModelError(f"device {target.device!r}: expected {', '.join(TORCH_DEVICES[:-1])} or {TORCH_DEVICES[-1]}")
    if backend == "auto":
        backend = _fastest(kind, precision, layout)
    known = BY_NAME[backend]
    if (problem := missing(known, target.device)) is not None:
        raise ModelError(f"backend={backend}: {problem}; or say backend=auto")
    if precision not in ("auto", *known.takes(kind)):
        raise ModelError(
            f"backend={backend} takes precision={' or '.join(known.takes(kind))} on {kind}, not {precision}"
        )
    if layout != "auto" and not known.layouts:
        others = " or ".join(one.name for one in BACKENDS if one.layouts)
        raise ModelError(f"backend={backend} orders memory as it likes; layout={layout} is for backend={others}")
    return Way(backend, None if precision == "auto" else precision, None if layout == "auto" else layout)


def _fastest(kind: str, precision: str, layout: str) -> str:
    """Return the fastest backend that takes what is asked for."""
    fastest = BY_NAME["openvino" if kind == "cpu" else "torch"]
    if fastest.name == "torch" or layout != "auto" or precision not in ("auto", *fastest.takes(kind)):
        return "torch"
    if missing(fastest, kind) is not None:
        log.warning("openvino is not installed: networks run on torch, several times slower; %s", fastest.install)
        return "torch"
    return fastest.name


def open_runner(
    network: Network,
    target: Target,
    backend: str = "auto",
    precision: str = "auto",
    layout: str = "auto",
    calibration: Path | None = None,
) -> Runner:
    """Return the fastest way to run `network` on `target`, or the one asked for; may block for seconds.

    backend      a name of `models.backends`, or "auto"
    precision    "auto", "fp32", "bf16", "fp16", "int8"
    layout       "auto", "channels_first", "channels_last"
    calibration  clip whose pictures an int8 network is watched on; None for the sample clip
    Raises ModelError when the device or the backend is not there, or they do not go together.
    """
    way = choose(target, backend, precision, layout)
    if calibration is not None and (way.backend, way.precision) != ("openvino", "int8"):
        raise ModelError(f"calibration={calibration} is for backend=openvino with precision=int8 only")
    # imported late: each needs a package that takes seconds to import, or is optional
    if way.backend == "openvino":
        from models.openvino_runner import OpenVinoRunner

        return OpenVinoRunner(network, target, way.precision, calibration)
    if way.backend == "onnxruntime":
        from models.onnx_runner import OnnxRunner

        return OnnxRunner(network, target, way.precision)
    from models.torch_runner import TorchRunner

    return TorchRunner(network, target, way)
