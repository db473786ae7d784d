"""Make a network compute in 8-bit integers after its training: with NNCF for OpenVINO, with torchao for CUDA.

NNCF watches the network on pictures of a clip to learn how large its numbers get; the result is kept on disk, by
weights, pictures and versions. What is gained and what is lost is in docs/backends.md.
"""

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.graph_cache import forget, graph_folder, keep
from models.runner import Array, Network
from stream.errors import ModelError
from stream.frame import Picture

if TYPE_CHECKING:
    import openvino as ov
    from torch import nn

log = logging.getLogger(__name__)

PICTURES = 48  # more changed no range of ours by a percent; the clip's first and last half are both among them
ALIGNMENT = 16  # rows and columns of a matrix must be multiples of it for CUDA's 8-bit products
_QUANTISING = threading.Lock()  # NNCF's log level and progress bar are the process's


@dataclass(frozen=True, slots=True)
class Calibration:
    """The pictures that a network is watched on: `count` of a clip, evenly spread."""

    clip: Path = Path(str(files("stream") / "sample" / "sample.mp4"))
    count: int = PICTURES

    def digest(self) -> str:
        """Return a digest of the clip's bytes and the count. Raises ModelError when the clip cannot be read."""
        try:
            return hashlib.sha256(self.clip.read_bytes() + str(self.count).encode()).hexdigest()
        except OSError as error:
            raise ModelError(f"calibration={self.clip}: expected a video file, got {error.strerror}") from error

    def pictures(self) -> list[Picture]:
        """Return the pictures. Raises ModelError when there are none in the file."""
        import av

        try:
            with av.open(str(self.clip)) as container:
                total = sum(1 for _ in container.decode(video=0))
            with av.open(str(self.clip)) as container:
                wanted = {round(i) for i in np.linspace(0, total - 1, min(self.count, total))}
                found = [
                    frame.to_ndarray(format="rgb24") for i, frame in enumerate(container.decode(video=0)) if i in wanted
                ]
        except (av.error.FFmpegError, IndexError, ValueError) as error:  # IndexError: it has no video stream
            raise ModelError(f"calibration={self.clip}: expected a video file, got {error}") from error
        if not found:
            raise ModelError(f"calibration={self.clip}: expected a video file with pictures, got none")
        return [np.ascontiguousarray(one) for one in found]


def quantised_graph(network: Network, graph: "ov.Model", calibration: Calibration) -> "ov.Model":
    """Return `graph` of `network` with 8-bit layers, from the cache or made now (a minute). Raises ModelError."""
    import openvino as ov

    if network.inputs is None:
        raise ModelError(
            f"{network.name}: precision=int8 is not possible, nothing says what its pictures look like inside"
        )
    if importlib.util.find_spec("nncf") is None:
        raise ModelError("precision=int8 needs NNCF on a CPU: pip install 'livelens[int8]'; or say precision=auto")
    versions = f"ov{importlib.metadata.version('openvino')}-nncf{importlib.metadata.version('nncf')}"
    kept = graph_folder(f"{network.name}-{network.version()[:16]}-int8-{calibration.digest()[:16]}-{versions}")
    if (kept / "graph.xml").is_file():
        try:
            return ov.Core().read_model(kept / "graph.xml")
        except RuntimeError as error:  # what openvino raises for a file it cannot read
            forget(kept, error)
    shown = [network.inputs(picture, i) for i, picture in enumerate(calibration.pictures())]
    log.info("%s: quantising to int8 with %d pictures of %s; once", network.name, len(shown), calibration.clip.name)
    made = quantise(graph, shown)
    keep(kept, lambda folder: ov.serialize(made, str(folder / "graph.xml"), str(folder / "graph.bin")))
    return made


def quantise(graph: "ov.Model", shown: list[tuple[Array, ...]]) -> "ov.Model":
    """Return `graph` with 8-bit layers whose ranges were seen on the inputs `shown`. Takes a minute; blocks."""
    with _QUANTISING, _silent_nncf() as nncf:
        inputs = nncf.Dataset([dict(enumerate(one)) for one in shown])
        made: ov.Model = nncf.quantize(graph, inputs, subset_size=len(shown), target_device=nncf.TargetDevice.CPU)
        return made


@contextmanager
def _silent_nncf() -> Iterator[Any]:
    """Import NNCF without its report of use over the network, its log and its progress bars."""
    was = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"  # its own switch; it is read when it is imported
    try:
        import nncf
    finally:
        if was is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = was
    import rich

    nncf.set_log_level(logging.ERROR)
    console = rich.get_console()  # where its bars go, on standard output; the program's own has another
    was_quiet, console.quiet = console.quiet, True
    try:
        yield nncf
    finally:
        console.quiet = was_quiet


def quantise_linear(module: "nn.Module", name: str) -> None:
    """Make the matrix products of `module` 8-bit, in place: weights once, activations as they come (torchao).

    Convolutions of 1x1 are matrix products and go with them; others stay as they are. Raises ModelError when there is
    nothing to quantise.
    """
    if importlib.util.find_spec("torchao") is None:
        raise ModelError("precision=int8 needs torchao on CUDA: pip install torchao; or say precision=auto")
    from torch import nn
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_, swap_conv2d_1x1_to_linear

    def fits(rows: int, columns: int) -> bool:
        return rows % ALIGNMENT == 0 and columns % ALIGNMENT == 0

    def is_product(layer: nn.Module, *_: object) -> bool:
        if not isinstance(layer, nn.Conv2d) or layer.groups > 1 or not fits(layer.in_channels, layer.out_channels):
            return False
        return layer.kernel_size == layer.stride == (1, 1) and layer.padding == (0, 0)

    def is_linear(layer: nn.Module, *_: object) -> bool:
        return isinstance(layer, nn.Linear) and fits(layer.in_features, layer.out_features)

    swap_conv2d_1x1_to_linear(module, is_product)
    if not any(is_linear(layer) for layer in module.modules()):
        raise ModelError(f"{name}: precision=int8 changes matrix products only, and it has none; say precision=fp16")
    quantize_(module, Int8DynamicActivationInt8WeightConfig(), is_linear)
