"""Convert MTCNN: facenet-pytorch 2.6.0 (PyPI), facenet_pytorch/data/{pnet,rnet,onet}.pt -> faces.safetensors.

Licence: MIT. See NOTICE. Only these three files are read; the numbers stay float32, as the package has them.
Run: python models/weights/convert_faces.py facenet_pytorch-2.6.0-py3-none-any.whl
"""

import io
from pathlib import Path

import torch

from models.weights.package import Tensors, from_command_line, member, write

PACKAGE = "facenet_pytorch-2.6.0-py3-none-any.whl"
SHA256 = "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca"
INSIDE = "facenet_pytorch/data"
FILES = {"proposal": "pnet", "refine": "rnet", "output": "onet"}  # part of the module -> file
# The publisher numbers layers through (conv1, prelu1, pool1, ...); the module counts places in a Sequential.
FIELDS = {
    "proposal": {"conv1": "trunk.0", "prelu1": "trunk.1", "conv2": "trunk.3", "prelu2": "trunk.4",
                 "conv3": "trunk.5", "prelu3": "trunk.6", "conv4_1": "score", "conv4_2": "shift"},
    "refine": {"conv1": "trunk.0", "prelu1": "trunk.1", "conv2": "trunk.3", "prelu2": "trunk.4",
               "conv3": "trunk.6", "prelu3": "trunk.7", "dense4": "dense.0", "prelu4": "dense.1",
               "dense5_1": "score", "dense5_2": "shift"},
    "output": {"conv1": "trunk.0", "prelu1": "trunk.1", "conv2": "trunk.3", "prelu2": "trunk.4",
               "conv3": "trunk.6", "prelu3": "trunk.7", "conv4": "trunk.9", "prelu4": "trunk.10",
               "dense5": "dense.0", "prelu5": "dense.1", "dense6_1": "score", "dense6_2": "shift",
               "dense6_3": "points"},
}  # fmt: skip


def state(package: Path, part: str) -> dict[str, torch.Tensor]:
    """Return the publisher's state dict of one part."""
    data = io.BytesIO(member(package, f"{INSIDE}/{FILES[part]}.pt"))
    tensors: dict[str, torch.Tensor] = torch.load(data, weights_only=True)
    return tensors


def convert(package: Path) -> Tensors:
    """Return the tensors of all three parts under the module's names."""
    tensors: Tensors = {}
    for part, fields in FIELDS.items():
        for key, value in state(package, part).items():
            layer, _, kind = key.rpartition(".")
            tensors[f"{part}.{fields[layer]}.{kind}"] = value.numpy()
    return tensors


if __name__ == "__main__":
    package = from_command_line(SHA256, PACKAGE)
    write("faces", convert(package), f"{PACKAGE} {INSIDE}")
