"""The ways to run a network: the contract, what a network is before it is loaded, and the choice of a backend."""

import hashlib
import importlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from models import checkpoint
from models.base import Target
from stream.errors import ModelError

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
    has_fast  `models/networks/<name>_fast.py` makes the same computation for OpenVINO: `build(is_exact)` gives the
              graph. Without it the graph is traced from the torch module
    """

    name: str
    example: tuple[tuple[Shape, str], ...]
    is_fixed: bool = True
    has_fast: bool = False

    def build(self) -> "nn.Module":
        """Return the torch module with its weights. Imports torch, so it may block for seconds. Raises ModelError."""
        module: nn.Module = importlib.import_module(f"models.networks.{self.name}").build()
        return module

    def version(self) -> str:
        """Return a digest of the weights and of the source that makes a graph of them."""
        folder = Path(__file__).parent / "networks"
        digest = hashlib.sha256(checkpoint.checksum(self.name).encode())
        for source in (folder / f"{self.name}.py", folder / "layers.py"):
            digest.update(source.read_bytes())
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


def open_runner(network: Network, target: Target, backend: str = "auto", precision: str = "auto") -> Runner:
    """Return the fastest way to run `network` on `target`, or the one asked for.

    backend "auto", "openvino", "torch"; precision "auto", "fp32", "bf16", "fp16". Measured on the CPU, OpenVINO is
    3 to 4 times as fast as torch (docs/models.md), so it is the choice there and torch is the reference.
    Raises ModelError when the device or the backend is not there.
    """
    if backend == "auto":
        backend = "openvino" if target.device == "cpu" else "torch"
        if backend == "openvino" and importlib.util.find_spec("openvino") is None:
            log.warning("openvino is not installed: %s runs on torch, several times slower", network.name)
            backend = "torch"
    if backend == "torch":
        from models.torch_runner import TorchRunner  # late: it imports torch

        return TorchRunner(network, target, precision)
    if importlib.util.find_spec("openvino") is None:
        raise ModelError("backend openvino is not installed; run `pip install openvino`, or say backend=torch")
    from models.openvino_runner import OpenVinoRunner  # late: openvino is optional

    return OpenVinoRunner(network, target, precision)
