"""A network of your own in one file: boxes around red things. Copy it, and change what is marked.

    cp demos/own_network.py mine.py
    livelens serve sample: --recognize mine.py:RedThings:share=0.2

You will see: a box around the astronaut's orange suit, and later around what is red in the street.
docs/add-a-network.md goes through it line by line.
"""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.base import Target
from models.own_network import OwnNetwork
from models.runner import open_runner
from stream.frame import Picture
from stream.results import Results

if TYPE_CHECKING:
    from torch import nn

CELL_PX = 8  # CHANGE: what your network needs to know of its own sizes


def make() -> "nn.Module":
    """CHANGE: return your network with its weights. Runs once; then a converted graph is kept and torch not needed."""
    import torch
    from torch import Tensor, nn

    class Redness(nn.Module):
        """How red each cell is, 0..1: a fixed 1x1 convolution and a mean over the cell."""

        def __init__(self) -> None:
            super().__init__()
            self.colour = nn.Conv2d(3, 1, 1, bias=False)
            self.colour.weight.data[:] = torch.tensor([1, -0.5, -0.5]).view(1, 3, 1, 1) / 255

        def forward(self, image: Tensor) -> Tensor:
            x = image.permute(0, 3, 1, 2).to(self.colour.weight.dtype)  # [1,H,W,3] uint8 rgb comes in
            return nn.functional.avg_pool2d(self.colour(x).relu(), CELL_PX)[:, 0]

    return Redness()


NETWORK = OwnNetwork(
    "red_things",
    example=(((1, 64, 96, 3), "uint8"),),  # CHANGE: shape and type of each input, to trace it with
    is_fixed=False,  # it takes other sizes than the example's as well
    make=make,
    files=(__file__,),  # CHANGE: add your file of weights; when one of these changes, the graph is made again
)


class RedThings:
    """Boxes around red things. Options arrive as text, `share` from `:share=0.2`."""

    gives = frozenset({"boxes"})  # CHANGE: "boxes", "mask", "classes", "keypoints"
    max_age_ms = 300.0  # how old a result may be that a frame is shown with

    def __init__(self, target: Target, share: str = "0.25", backend: str = "auto", precision: str = "auto") -> None:
        self.share = float(share)
        self._run = open_runner(NETWORK, target, backend, precision)
        self.variant = self._run.variant  # shown on the page, such as "openvino bf16"

    def __call__(self, image: Picture) -> Results:
        """CHANGE: make results of what the network says."""
        (redness,) = self._run(image[None])
        count, _, stats, _ = cv2.connectedComponentsWithStats((redness[0] > self.share).astype(np.uint8))
        found = [(x, y, x + w, y + h) for x, y, w, h, cells in stats[1:count] if cells >= 4]
        boxes = np.array(found, np.float32).reshape(-1, 4) * CELL_PX
        return Results(boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int64), ("red",) * len(boxes))
