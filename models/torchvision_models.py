"""torchvision's own networks by name, with weights that the user has: `torchvision/fasterrcnn_resnet50_fpn_v2`, ...

Detection gives boxes, masks and keypoints; segmentation a mask; classification names. The names are in
torchvision_names.py; nothing of torch is imported before a network is opened.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import Card, Kind, Target, run_twice
from models.entry import RUNNING, Entry, Option, Values, described, number, open_network, whole_number
from models.picture import resize
from models.runner import Runner
from models.torchvision_names import CLASSIFICATION, DETECTION, SEGMENTATION
from models.torchvision_weights import DEFAULT, FAMILY, TorchvisionNetwork, existing, read_weights, weights_of
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

GRID_PX = 32  # sides of what a segmentation network sees are multiples of it
LONGEST = 4  # times the shorter side; a longer picture is squeezed
TOP = 3  # names that a segmentation gives


class _Model:
    """What all three kinds share."""

    def __init__(self, card: Card, runner: Runner, labels: Sequence[str]) -> None:
        self.card = card
        self.variant = runner.variant
        self.labels = tuple(labels)
        self._runner = runner

    def close(self) -> None:
        """Free the network."""
        self._runner.close()


class ClassificationModel(_Model):
    """Names the picture. As in torchvision's evaluation only the middle square is looked at."""

    def __init__(self, card: Card, runner: Runner, labels: Sequence[str], preset: Any, top: int) -> None:
        super().__init__(card, runner, labels)
        self.top = top
        self._preset = preset

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Results:
        """Return the best categories with their probabilities, best first."""
        (logits,) = self._runner(middle_square(image, self._preset)[None])
        shares = np.exp(logits[0] - logits[0].max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[: self.top]
        return Results(classes=tuple((self.labels[i], float(shares[i])) for i in best))


def middle_square(image: Picture, preset: Any) -> Picture:
    """Return what the preset cuts out of a picture: its shorter side scaled to `resize_size`, then the middle."""
    size_px, scaled_px = preset.crop_size[0], preset.resize_size[0]
    height, width = image.shape[:2]
    side = max(round(min(height, width) * min(size_px / scaled_px, 1)), 1)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(image[top : top + side, left : left + side], size_px, size_px)


class SegmentationModel(_Model):
    """Says which class each pixel is. The mask is the probability of the classes in `of`."""

    def __init__(self, card: Card, runner: Runner, labels: Sequence[str], size_px: int) -> None:
        super().__init__(card, runner, labels)
        self.size_px = size_px

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Results:
        """Return the mask and the names that cover most of the picture, with their shares of it."""
        height, width = image.shape[:2]
        shares, classes = self._runner(resize(image, *seen_size(height, width, self.size_px))[None])
        mask = resize((shares[0] * 255 + 0.5).astype(np.uint8), height, width)
        counts = np.bincount(classes[0].reshape(-1), minlength=len(self.labels)) / classes[0].size
        best = [i for i in np.argsort(-counts, kind="stable")[: TOP + 1] if i and counts[i] > 0]  # 0 is the background
        return Results(mask=mask, classes=tuple((self.labels[i], float(counts[i])) for i in best[:TOP]))


def seen_size(height: int, width: int, size_px: int) -> tuple[int, int]:
    """Return the size that a segmentation network sees: the shorter side near `size_px`, on the grid."""
    scale = size_px / min(height, width)
    rows, columns = (
        max(round(min(side * scale, LONGEST * size_px) / GRID_PX), 1) * GRID_PX for side in (height, width)
    )
    return rows, columns


class DetectionModel(_Model):
    """Finds objects, and their masks or keypoints where the network gives them."""

    def __init__(self, card: Card, runner: Runner, labels: Sequence[str]) -> None:
        super().__init__(card, runner, labels)
        self._has_mask = "mask" in card.gives
        self._has_keypoints = "keypoints" in card.gives

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Results:
        """Return boxes in pixels of `image`, best first."""
        boxes, scores, ids, *rest = self._runner(image[None])
        limits = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        clipped: NDArray[np.float32] = np.clip(boxes, 0, limits)
        ids = ids.astype(np.int64)
        return Results(
            clipped,
            scores,
            ids,
            tuple(self.labels[i] for i in ids),
            mask=rest[0] if self._has_mask else None,
            keypoints=rest[0] if self._has_keypoints else None,
        )


WEIGHTS = Option(
    "weights", "torchvision's name for a set of weights, or your own file", "DEFAULT, IMAGENET1K_V2, ... or a file",
    read_weights, DEFAULT,
)  # fmt: skip
SCORE = Option("score", "the least certain box that is shown", "a number 0.05..1", number(0.05, 1), 0.5)
SIZE = Option("size", "shorter side the network sees, px; 0 is what it was trained with", "0 or 160..1600",
              lambda text: 0 if text == "0" else whole_number(160, 1600)(text), 0)  # fmt: skip
OF = Option("of", "what the mask is of", "classes of the network joined by +, such as person+dog", str, "person")
TOP_OPTION = Option("top", "how many categories are given", "a whole number 1..20", whole_number(1, 20), 3)


def _open_classification(card: Card, target: Target, values: Values) -> ClassificationModel:
    name = card.name.removeprefix(FAMILY)
    weights = weights_of(name, values["weights"])
    existing(name, weights)
    preset = weights.entry.transforms()
    side = preset.crop_size[0]
    network = TorchvisionNetwork(
        name,
        (((1, side, side, 3), "uint8"),),
        inputs=lambda picture, i: (middle_square(picture, preset)[None],),
        weights=weights,
    )
    runner = open_network(network, target, values)
    return ClassificationModel(card, runner, weights.entry.meta["categories"], preset, values["top"])


def _open_segmentation(card: Card, target: Target, values: Values) -> SegmentationModel:
    name = card.name.removeprefix(FAMILY)
    weights = weights_of(name, values["weights"])
    existing(name, weights)
    labels = list(weights.entry.meta["categories"])
    wanted = [word.strip() for word in values["of"].split("+")]
    unknown = [word for word in wanted if word not in labels]
    if unknown:
        raise ModelError(f"{card.name}: of={unknown[0]!r} is not known; it has {', '.join(labels[1:])}")
    size_px = values["size"] or weights.entry.transforms().resize_size[0]
    network = TorchvisionNetwork(
        name,
        (((1, *seen_size(360, 640, size_px), 3), "uint8"),),
        is_fixed=False,
        inputs=lambda picture, i: (resize(picture, *seen_size(picture.shape[0], picture.shape[1], size_px))[None],),
        weights=weights,
        wanted=tuple(labels.index(word) for word in wanted),
    )
    return SegmentationModel(card, open_network(network, target, values), labels, size_px)


def _open_detection(card: Card, target: Target, values: Values) -> DetectionModel:
    """Open with torch in fp32 unless asked otherwise: box suppression is not one graph, and half numbers blur boxes."""
    name = card.name.removeprefix(FAMILY)
    weights = weights_of(name, values["weights"])
    existing(name, weights)
    chosen = {"backend": "torch", "precision": "fp32"}
    values = values | {key: value for key, value in chosen.items() if values[key] == "auto"}
    if values["backend"] not in ("torch", "compile"):
        raise ModelError(f"{card.name}: backend={values['backend']} cannot run a detection network; say backend=torch")
    network = TorchvisionNetwork(
        name,
        (((1, 360, 640, 3), "uint8"),),
        is_fixed=False,
        weights=weights,
        score=values["score"],
        size_px=values["size"],
    )
    return DetectionModel(card, open_network(network, target, values), weights.entry.meta["categories"])


def _entry(name: str, does: str, gives: frozenset[str], max_age_ms: float, options: Any, opener: Any) -> Entry:
    card = Card(
        name=FAMILY + name,
        kind=Kind.RECOGNIZE,
        summary=does,
        licence="BSD-3-Clause (network); its weights: see torchvision's page of them",
        origin="torchvision",
        gives=gives,
        max_age_ms=max_age_ms,
        options=described(options),
        collection="torchvision",
    )
    return Entry(card, options, opener)


def _finds(name: str) -> tuple[str, frozenset[str]]:
    if name.startswith("maskrcnn"):
        return "boxes around objects, and which pixels they are", frozenset({"boxes", "mask"})
    if name.startswith("keypointrcnn"):
        return "boxes around people, and their 17 joints", frozenset({"boxes", "keypoints"})
    return "boxes around objects", frozenset({"boxes"})


def entries() -> tuple[Entry, ...]:
    """Return an entry for every network of torchvision's that takes one picture."""
    detection, segmentation, classification = (WEIGHTS, SCORE, SIZE), (WEIGHTS, OF, SIZE), (WEIGHTS, TOP_OPTION)
    found = [_entry(name, *_finds(name), 300.0, (*detection, *RUNNING), _open_detection) for name in DETECTION]
    found += [
        _entry(
            name,
            "which pixels are a person, or something else",
            frozenset({"mask", "classes"}),
            200.0,
            (*segmentation, *RUNNING),
            _open_segmentation,
        )
        for name in SEGMENTATION
    ]
    found += [
        _entry(
            name,
            "what the whole picture shows, of 1000 ImageNet categories",
            frozenset({"classes"}),
            1000.0,
            (*classification, *RUNNING),
            _open_classification,
        )
        for name in CLASSIFICATION
    ]
    return tuple(found)
