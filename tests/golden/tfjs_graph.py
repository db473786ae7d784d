"""Run a TF.js graph model node by node, with no knowledge of the network in it: the reference for our own modules.

Slow and plain on purpose. Tensors are NHWC where the graph is; each op is one small function of (node, inputs).
Source: tfjs-converter's op list, https://github.com/tensorflow/tfjs/tree/master/tfjs-converter.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Node = dict[str, Any]


def _strides(node: Node, key: str = "strides") -> tuple[int, int]:
    rows, columns = node["attr"][key]["list"]["i"][1:3]
    return int(rows), int(columns)


def _pad_same(x: Tensor, node: Node, kernel: tuple[int, int], fill: float = 0.0) -> Tensor:
    """Pad `[B,C,H,W]` as TensorFlow's SAME does, or leave it (VALID)."""
    if base64.b64decode(node["attr"]["padding"]["s"]).decode() == "VALID":
        return x
    amounts: list[int] = []
    for size, k, stride in reversed(list(zip(x.shape[2:], kernel, _strides(node), strict=True))):
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        amounts += [total // 2, total - total // 2]
    return F.pad(x, amounts, value=fill)


def _conv(node: Node, x: Tensor, kernel: Tensor) -> Tensor:
    w, y = kernel.permute(3, 2, 0, 1), x.permute(0, 3, 1, 2)
    y = _pad_same(y, node, (w.shape[2], w.shape[3]))
    return F.conv2d(y, w, stride=_strides(node)).permute(0, 2, 3, 1)


def _depthwise(node: Node, x: Tensor, kernel: Tensor) -> Tensor:
    w, y = kernel.permute(2, 3, 0, 1), x.permute(0, 3, 1, 2)
    y = _pad_same(y, node, (w.shape[2], w.shape[3]))
    return F.conv2d(y, w, stride=_strides(node), groups=y.shape[1]).permute(0, 2, 3, 1)


def _conv_transpose(node: Node, size: Tensor, kernel: Tensor, x: Tensor) -> Tensor:
    y = F.conv_transpose2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), stride=_strides(node))
    assert y.shape[2:] == tuple(size.tolist()[1:3]), "only kernel == stride is met in these graphs"
    return y.permute(0, 2, 3, 1)


def _activate(node: Node, y: Tensor, bias: Tensor) -> Tensor:
    """Add the bias and apply the activation that a fused convolution names."""
    kinds = [base64.b64decode(kind).decode() for kind in node["attr"]["fused_ops"]["list"]["s"]]
    assert kinds[0] == "BiasAdd"
    for kind in kinds[1:]:
        y, bias = {"Relu": F.relu, "Relu6": F.relu6}[kind](y + bias), torch.zeros(1)
    return y + bias


def _max_pool(node: Node, x: Tensor) -> Tensor:
    kernel = _strides(node, "ksize")
    y = _pad_same(x.permute(0, 3, 1, 2), node, kernel, float("-inf"))
    return F.max_pool2d(y, kernel, _strides(node)).permute(0, 2, 3, 1)


def _average_pool(node: Node, x: Tensor) -> Tensor:
    return F.avg_pool2d(x.permute(0, 3, 1, 2), _strides(node, "ksize"), _strides(node)).permute(0, 2, 3, 1)


def _resize(node: Node, x: Tensor, size: Tensor) -> Tensor:
    assert node["attr"]["half_pixel_centers"]["b"], "only half-pixel centres are met in these graphs"
    y = F.interpolate(x.permute(0, 3, 1, 2), size=size.tolist(), mode="bilinear", align_corners=False)
    return y.permute(0, 2, 3, 1)


def _pad(node: Node, x: Tensor, amounts: Tensor, fill: Tensor | None = None) -> Tensor:
    flat = [int(v) for pair in reversed(amounts.tolist()) for v in pair]
    return F.pad(x, flat, value=0.0 if fill is None else float(fill))


def _number(node: Node, key: str) -> int:
    return int(node["attr"][key]["i"])


def _gather_nd(node: Node, x: Tensor, index: Tensor) -> Tensor:
    return x[tuple(index.long().unbind(-1))]


def _split(node: Node, x: Tensor, sizes: Tensor, dim: Tensor) -> tuple[Tensor, ...]:
    return torch.split(x, sizes.tolist(), int(dim))


def _sparse_to_dense(node: Node, index: Tensor, shape: Tensor, values: Tensor, default: Tensor) -> Tensor:
    dense = torch.full(shape.tolist(), int(default), dtype=values.dtype)
    dense[index.long().flatten()] = values
    return dense


OPS: dict[str, Callable[..., Any]] = {
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "_FusedConv2D": lambda node, x, kernel, bias: _activate(node, _conv(node, x, kernel), bias),
    "FusedDepthwiseConv2dNative": lambda node, x, kernel, bias: _activate(node, _depthwise(node, x, kernel), bias),
    "Conv2DBackpropInput": _conv_transpose,
    "MaxPool": _max_pool,
    "AvgPool": _average_pool,
    "ResizeBilinear": _resize,
    "Pad": _pad,
    "PadV2": _pad,
    "SplitV": _split,
    "SparseToDense": _sparse_to_dense,
    "Add": lambda node, a, b: a + b,
    "AddV2": lambda node, a, b: a + b,
    "AddN": lambda node, *terms: sum(terms[1:], terms[0]),
    "Mul": lambda node, a, b: a * b,
    "Relu": lambda node, x: F.relu(x),
    "Relu6": lambda node, x: F.relu6(x),
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "LeakyRelu": lambda node, x: F.leaky_relu(x, float(node["attr"]["alpha"]["f"])),
    "Identity": lambda node, x: x,
    "Cast": lambda node, x: x.float(),
    "Sub": lambda node, a, b: a - b,
    "RealDiv": lambda node, a, b: a / b,
    "FloorDiv": lambda node, a, b: torch.div(a, b, rounding_mode="floor"),
    "SquaredDifference": lambda node, a, b: (a - b) ** 2,
    "Sqrt": lambda node, x: torch.sqrt(x),
    "ArgMax": lambda node, x, dim: x.argmax(int(dim)),
    "ExpandDims": lambda node, x, dim: x.unsqueeze(int(dim)),
    "Squeeze": lambda node, x: x.squeeze(0),
    "Pack": lambda node, *parts: torch.stack([part.float() for part in parts], _number(node, "axis")),
    "Unpack": lambda node, x: tuple(x.unbind(_number(node, "axis"))),
    "GatherNd": _gather_nd,
    "Transpose": lambda node, x, order: x.permute(order.tolist()),
    "Reshape": lambda node, x, shape: x.reshape(shape.tolist()),
    "ConcatV2": lambda node, *parts: torch.cat(parts[:-1], int(parts[-1])),
}


class TfjsModel:
    """A graph model read from its two files."""

    def __init__(self, topology: bytes, shard: bytes) -> None:
        model = json.loads(topology)
        self.nodes: dict[str, Node] = {node["name"]: node for node in model["modelTopology"]["node"]}
        self.constants = _constants(model["weightsManifest"][0]["weights"], shard)

    def run(self, picture: Tensor, outputs: list[str]) -> list[Tensor]:
        """Return the values of the nodes `outputs` for one input."""
        values: dict[str, Any] = dict(self.constants)
        values.update({name: picture for name, node in self.nodes.items() if node["op"] == "Placeholder"})
        with torch.no_grad():
            return [self._value(name, values) for name in outputs]

    def _value(self, name: str, values: dict[str, Any]) -> Any:
        base, _, part = name.partition(":")
        if base not in values:
            node = self.nodes[base]
            inputs = [self._value(i, values) for i in node["input"] if not i.startswith("^")]
            values[base] = OPS[node["op"]](node, *inputs)
        value = values[base]
        return value[int(part or 0)] if isinstance(value, tuple) else value


def _constants(described: list[dict[str, Any]], shard: bytes) -> dict[str, Tensor]:
    constants, offset = {}, 0
    for weight in described:
        stored = np.dtype(weight.get("quantization", weight)["dtype"])
        count = int(np.prod(weight["shape"], dtype=np.int64))
        array = np.frombuffer(shard, stored, count, offset).reshape(weight["shape"])
        offset += array.nbytes
        constants[weight["name"]] = torch.from_numpy(array.astype(np.float32 if stored.kind == "f" else stored))
    return constants
