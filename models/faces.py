"""The recognition model `faces`: boxes and five landmarks of the faces in the picture.

MTCNN looks at the picture at many sizes. Here all sizes are laid into one canvas, so that its first network runs once a
picture, at a shape that stays; the parts that go into the second and third network are filled up to whole batches for
the same reason.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.base import Card, Kind, Target
from models.entry import RUNNING, Entry, Option, Values, described, number, open_network
from models.picture import resize
from models.runner import Network, Runner
from stream.frame import Picture
from stream.results import Results

WINDOW_PX, STRIDE_PX = 12, 2  # what the first network looks at, and how far the next window is
FACTOR = 0.709  # from one size to the next: half the area; the publisher's setting, as are the thresholds
PROPOSED, REFINED = 0.6, 0.7  # least scores behind the first and the second network
IOU_IN_LEVEL, IOU = 0.5, 0.7  # windows that overlap more are one face
REFINE_PX, OUTPUT_PX = 24, 48
REFINE_BATCH, OUTPUT_BATCH = 32, 8
PROPOSALS_AT_MOST, REFINED_AT_MOST = 256, 64  # best first, so that a picture full of texture has a bounded cost
LANDMARKS = 5

PROPOSAL_NET = Network("faces", (((1, 180, 320, 3), "uint8"),), is_fixed=False, part="proposal")
REFINE_NET = Network("faces", (((REFINE_BATCH, REFINE_PX, REFINE_PX, 3), "uint8"),), part="refine")
OUTPUT_NET = Network("faces", (((OUTPUT_BATCH, OUTPUT_PX, OUTPUT_PX, 3), "uint8"),), part="output")

Boxes = NDArray[np.float32]  # [N,4] xyxy in pixels of the picture


@dataclass(frozen=True, slots=True)
class Level:
    """One size of the picture and where it lies in the canvas, all in canvas pixels and even."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Windows:
    """What is taken for faces so far: boxes, and for each how its network says the box should rather be."""

    boxes: Boxes
    scores: NDArray[np.float32]
    shifts: NDArray[np.float32]

    def taken(self, which: NDArray[np.int64]) -> "Windows":
        """Return these of them, in this order."""
        return Windows(self.boxes[which], self.scores[which], self.shifts[which])


class FacesModel:
    """Finds faces. `values` are the resolved options."""

    def __init__(self, card: Card, runners: tuple[Runner, Runner, Runner], values: Values) -> None:
        """Keep the three loaded networks."""
        self.card = card
        self.variant = runners[0].variant
        self.score: float = values["score"]
        self.smallest: float = values["smallest"]
        self._propose, self._refine, self._output = runners

    def warm(self, height: int, width: int) -> None:
        """Run all three twice: a black picture has no faces, so the later two would not run by themselves."""
        for _ in range(2):
            self(np.zeros((height, width, 3), np.uint8))
            self._refine(np.zeros((REFINE_BATCH, REFINE_PX, REFINE_PX, 3), np.uint8))
            self._output(np.zeros((OUTPUT_BATCH, OUTPUT_PX, OUTPUT_PX, 3), np.uint8))

    def __call__(self, image: Picture) -> Results:
        """Return boxes and keypoints `[N,5,3]` in pixels of `image`, best first."""
        proposed = self._proposed(image)
        boxes, parts = cut(image, square(shifted(proposed.boxes, proposed.shifts)), REFINE_PX)
        scores, shifts = in_batches(self._refine, parts, REFINE_BATCH)
        refined = best(Windows(boxes, scores, shifts), REFINED, IOU, REFINED_AT_MOST)
        boxes, parts = cut(image, square(shifted(refined.boxes, refined.shifts)), OUTPUT_PX)
        scores, shifts, points = in_batches(self._output, parts, OUTPUT_BATCH)
        found = np.flatnonzero(scores >= self.score)
        found = found[np.argsort(-scores[found], kind="stable")]
        faces = shifted(boxes[found], shifts[found])
        kept = found[inside_none_better(faces)]
        return self._results(image, Windows(boxes, scores, shifts).taken(kept), points[kept])

    def close(self) -> None:
        """Free the networks."""
        for runner in (self._propose, self._refine, self._output):
            runner.close()

    def _proposed(self, image: Picture) -> Windows:
        least_px = self.smallest * min(image.shape[:2])
        canvas, levels = pyramid(image, max(least_px, WINDOW_PX))
        scores, shifts = self._propose(canvas[None])
        found = [level_windows(level, image, scores[0], shifts[0]) for level in levels]
        nothing = Windows(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 4), np.float32))
        several = [nothing]  # a picture smaller than a window has no sizes
        several += [best(windows, PROPOSED, IOU_IN_LEVEL, PROPOSALS_AT_MOST) for windows in found]
        boxes, scores, shifts = (
            np.concatenate([getattr(windows, part) for windows in several]) for part in ("boxes", "scores", "shifts")
        )
        return best(Windows(boxes, scores, shifts), PROPOSED, IOU, PROPOSALS_AT_MOST)

    def _results(self, image: Picture, faces: Windows, points: NDArray[np.float32]) -> Results:
        corner, sides = faces.boxes[:, None, :2], faces.boxes[:, None, 2:] - faces.boxes[:, None, :2]
        keypoints = np.empty((len(points), LANDMARKS, 3), np.float32)
        keypoints[..., :2] = corner + sides * points.reshape(-1, 2, LANDMARKS).transpose(0, 2, 1)
        keypoints[..., 2] = faces.scores[:, None]
        limits = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        boxes = np.clip(shifted(faces.boxes, faces.shifts), 0, limits)
        labels = ("face",) * len(boxes)
        return Results(boxes, faces.scores, np.zeros(len(boxes), np.int64), labels, keypoints=keypoints)


def pyramid(image: Picture, least_px: float) -> tuple[Picture, list[Level]]:
    """Return the picture at all sizes in one canvas, the largest such that a face of `least_px` fills a window.

    The largest lies on top, the next below it, smaller ones beside and below: at 16:9 in 1.2 times their area.
    """
    levels = layout(image.shape[0], image.shape[1], WINDOW_PX / least_px)
    bottom = max((level.top + level.height for level in levels), default=WINDOW_PX)
    right = max((level.left + level.width for level in levels), default=WINDOW_PX)
    canvas = np.zeros((bottom, right, 3), np.uint8)
    larger = image
    for level in levels:  # each from the one before: the area to average stays small
        larger = resize(larger, level.height, level.width)
        canvas[level.top : level.top + level.height, level.left : level.left + level.width] = larger
    return canvas, levels


def layout(height: int, width: int, scale: float) -> list[Level]:
    """Return where each size lies: on shelves as wide as the largest, filled column by column."""
    sizes = []
    while min(height, width) * scale >= WINDOW_PX:
        sizes.append((2 * round(height * scale / 2), 2 * round(width * scale / 2)))
        scale *= FACTOR
    levels: list[Level] = []
    shelf_top, shelf_height, left, top, column = 0, 0, 0, 0, 0  # a column is as wide as its first
    for rows, columns in sizes:
        if top + rows > shelf_top + shelf_height or columns > column:  # not below the one before
            left, top, column = left + column, shelf_top, columns
            if left + columns > sizes[0][1]:
                shelf_top, left = shelf_top + shelf_height, 0
                shelf_height, top = 0, shelf_top
        shelf_height = max(shelf_height, rows)
        levels.append(Level(top, left, rows, columns))
        top += rows
    return levels


def level_windows(level: Level, image: Picture, scores: NDArray[np.float32], shifts: NDArray[np.float32]) -> Windows:
    """Return the windows of one size whose score is enough, as boxes of the picture.

    Windows that reach into the neighbours are left out; what is inside is what the network says of the size alone.
    """
    inside = np.s_[
        level.top // STRIDE_PX : (level.top + level.height - WINDOW_PX) // STRIDE_PX + 1,
        level.left // STRIDE_PX : (level.left + level.width - WINDOW_PX) // STRIDE_PX + 1,
    ]
    rows, columns = np.nonzero(scores[inside] >= PROPOSED)
    scale = np.array([image.shape[1] / level.width, image.shape[0] / level.height] * 2, np.float32)
    corner = np.stack([columns, rows], axis=1) * STRIDE_PX
    boxes = np.concatenate([corner + 1, corner + WINDOW_PX], axis=1).astype(np.float32) * scale
    return Windows(boxes, scores[inside][rows, columns], shifts[inside][rows, columns])


def best(windows: Windows, least: float, iou: float, at_most: int) -> Windows:
    """Return the best windows, best first, after non-maximum suppression."""
    boxes = windows.boxes
    if not len(boxes):
        return windows
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(xywh.tolist(), windows.scores.tolist(), least, iou, top_k=2 * at_most)
    return windows.taken(np.asarray(kept, np.int64).reshape(-1)[:at_most])


def shifted(boxes: Boxes, shifts: NDArray[np.float32]) -> Boxes:
    """Return the boxes moved as the network says, in shares of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    moved: Boxes = boxes + shifts * np.tile(sides, 2)
    return moved


def square(boxes: Boxes) -> Boxes:
    """Return squares around the middles, as large as the longer side."""
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def cut(image: Picture, boxes: Boxes, size_px: int) -> tuple[Boxes, NDArray[np.uint8]]:
    """Return `[N,size,size,3]` of the parts inside the boxes and the boxes they belong to.

    As the publisher does, a part that reaches over the edge is cut there and stretched; one all outside is left out.
    """
    limits = np.array([image.shape[1], image.shape[0]] * 2)
    pixels = np.clip(np.trunc(boxes).astype(np.int64), 0, limits)
    kept = np.flatnonzero((pixels[:, 2:] > pixels[:, :2]).all(axis=1))
    parts = np.empty((len(kept), size_px, size_px, 3), np.uint8)
    for part, (left, top, right, bottom) in zip(parts, pixels[kept], strict=True):
        cv2.resize(image[top:bottom, left:right], (size_px, size_px), dst=part, interpolation=cv2.INTER_AREA)
    return boxes[kept], parts


def in_batches(runner: Runner, parts: NDArray[np.uint8], size: int) -> tuple[NDArray[np.float32], ...]:
    """Return the network's answers to all parts, run in batches of `size`; the last is filled up with black."""
    count = len(parts)
    filled = np.zeros((max(-(-count // size), 1) * size, *parts.shape[1:]), np.uint8)
    filled[:count] = parts
    answers = [runner(filled[i : i + size]) for i in range(0, len(filled), size)] if count else [runner(filled)]
    return tuple(np.concatenate(answer)[:count] for answer in zip(*answers, strict=True))


def inside_none_better(boxes: Boxes) -> NDArray[np.int64]:
    """Return which boxes, best first, are not mostly inside a better one: the last step of the publisher's."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    area = sides.prod(axis=1)
    kept: list[int] = []
    for i, box in enumerate(boxes):
        low, high = np.maximum(boxes[kept, :2], box[:2]), np.minimum(boxes[kept, 2:], box[2:])
        shared = np.clip(high - low, 0, None).prod(axis=1) / np.minimum(area[kept], area[i])
        if (shared <= IOU).all():
            kept.append(i)
    return np.array(kept, np.int64)


OPTIONS = (
    Option("score", "the least certain face that is shown", "a number 0.5..1", number(0.5, 1), 0.9),
    Option(
        "smallest",
        "the smallest face that is looked for, in heights of it per shorter side of the picture",
        "a number 0.02..1",
        number(0.02, 1),
        0.08,
    ),
    *RUNNING,
)


def _open(card: Card, target: Target, values: Values) -> FacesModel:
    nets = (PROPOSAL_NET, REFINE_NET, OUTPUT_NET)
    first, second, third = (open_network(net, target, values) for net in nets)
    return FacesModel(card, (first, second, third), values)


def entries() -> tuple[Entry, ...]:
    """Return `faces`."""
    card = Card(
        name="faces",
        kind=Kind.RECOGNIZE,
        summary="faces and where their eyes, nose and mouth are",
        licence="MIT",
        origin="MTCNN, by way of facenet-pytorch 2.6.0",
        gives=frozenset({"boxes", "keypoints"}),
        max_age_ms=150.0,  # a turning head leaves its box after that
        options=described(OPTIONS),
    )
    return (Entry(card, OPTIONS, _open),)
