"""The picture people see: the generated picture blended behind people, and findings drawn on top."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.frame import Frame, Picture
from stream.pool import BufferPool
from stream.results import Results

PERSON_SHARE = (0.01, 0.03)  # of the picture: below the first nobody is there, above the second surely somebody is
GATE_MARGIN = 0.15  # of a person's box, added on every side
GATE_BLUR_PX = 21  # soft edge of the gate, so that a cut through the mask does not show
DIM = 0.35  # brightness of the background when a mask is all there is to show
KEYPOINT_SHOWN = 0.3  # least score of a joint that is drawn: below, MoveNet guesses
# Joints of the 17 COCO keypoints that a line connects, from 0; other numbers of keypoints are drawn as dots only.
SKELETON = (
    *((0, 1), (0, 2), (1, 3), (2, 4)),  # nose, eyes, ears
    *((5, 6), (5, 11), (6, 12), (11, 12)),  # shoulders, hips
    *((5, 7), (7, 9), (6, 8), (8, 10)),  # arms
    *((11, 13), (13, 15), (12, 14), (14, 16)),  # legs
)
JOINTS = 17
BONE, JOINT = "#22d3ee", "#fef08a"
PALETTE = ("#22d3ee", "#f97316", "#a3e635", "#e879f9", "#facc15", "#60a5fa", "#fb7185", "#34d399")


class Composer:
    """Blends and draws. One per stream; one thread at a time.

    is_background  the generated picture belongs behind people only
    boxing         names of the stages that look for boxes of people: the mask counts only inside them
    pool           what pictures are made in; None for one of its own
    """

    def __init__(
        self, is_background: bool = False, boxing: frozenset[str] = frozenset(), pool: BufferPool | None = None
    ) -> None:
        self._is_background = is_background
        self._boxing = boxing
        self._pool = pool or BufferPool()
        self._drawing: _Drawing | None = None  # None until the first box: supervision takes a second to import

    def warm(self) -> None:
        """Load the drawing library now rather than on a live frame."""
        self._drawing = self._drawing or _Drawing()

    def compose(self, frame: Frame) -> Picture:
        """Return the picture to show, `[H,W,3] uint8 rgb`; the frame's own picture stays as it is."""
        found = list(frame.results.values())
        mask = self._people_mask(frame)
        picture = self._blend(frame, mask)
        if not any(len(r.boxes) or r.classes or (r.keypoints is not None and len(r.keypoints)) for r in found):
            return picture
        self.warm()
        assert self._drawing is not None
        if picture is frame.image or picture is frame.generated:
            shown: Picture = self._pool.take(picture.shape)
            shown[:] = picture
            picture = shown
        times = picture.shape[0] // frame.image.shape[0]  # results are in the frame's pixels
        for results in found:
            self._drawing.draw(picture, results if times == 1 else enlarged(results, times))
        return picture

    def _people_mask(self, frame: Frame) -> NDArray[np.uint8] | None:
        """Return the mask of people, limited to where people's boxes are; None when nobody made a mask.

        The mask network knows only people near the camera, and elsewhere takes a cup or a pavement for
        one; the box network knows better.
        """
        mask = next((r.mask for r in frame.results.values() if r.mask is not None), None)
        boxed = [results for name, results in frame.results.items() if name in self._boxing]
        if mask is None or not boxed:
            return mask
        gate: NDArray[np.uint8] = self._pool.take(mask.shape)
        gate[:] = 0
        for results in boxed:
            for box, label in zip(results.boxes, results.labels, strict=True):
                if label == "person":
                    _fill_around(gate, box)
        soft = cv2.blur(gate, (GATE_BLUR_PX, GATE_BLUR_PX), dst=self._pool.take(mask.shape))
        return np.asarray(cv2.min(mask, soft, dst=gate), np.uint8)

    def _blend(self, frame: Frame, mask: NDArray[np.uint8] | None) -> Picture:
        if frame.generated is None:
            return (
                frame.image if mask is None or self._is_background else _dim_background(frame.image, mask, self._pool)
            )
        if mask is None or not self._is_background:
            return frame.generated
        keep = person_weight(mask)
        return frame.generated if keep == 0 else blend(frame.image, frame.generated, mask, keep, self._pool)


def enlarged(results: Results, times: int) -> Results:
    """Return findings in the pixels of a picture so many times as large; a mask is not drawn and stays as it is."""
    keypoints = results.keypoints
    if keypoints is not None:
        keypoints = keypoints * np.array([times, times, 1], np.float32)
    return replace(results, boxes=results.boxes * np.float32(times), keypoints=keypoints)


def _fill_around(gate: NDArray[np.uint8], box: NDArray[np.float32]) -> None:
    """Set the gate to 255 in the box and a margin: boxes lag behind by their age, and hands stick out."""
    height, width = gate.shape
    left, top, right, bottom = box
    margin_x, margin_y = GATE_MARGIN * (right - left) + GATE_BLUR_PX, GATE_MARGIN * (bottom - top) + GATE_BLUR_PX
    rows = slice(max(0, int(top - margin_y)), min(height, int(bottom + margin_y)))
    columns = slice(max(0, int(left - margin_x)), min(width, int(right + margin_x)))
    gate[rows, columns] = 255


def person_weight(mask: NDArray[np.uint8]) -> float:
    """Return 0 when nobody is there, 1 when somebody is, and in between a smooth change, so nothing pops."""
    share = float(cv2.mean(mask)[0]) / 255
    x = min(1.0, max(0.0, (share - PERSON_SHARE[0]) / (PERSON_SHARE[1] - PERSON_SHARE[0])))
    return x * x * (3 - 2 * x)


def blend(
    front: Picture, behind: Picture, mask: NDArray[np.uint8], weight: float = 1.0, pool: BufferPool | None = None
) -> Picture:
    """Return `front` where the mask is 255 (times weight 0..1) and `behind` where it is 0. All of one size."""
    pool = pool or BufferPool()
    alpha, rest = pool.take(mask.shape, np.float32), pool.take(mask.shape, np.float32)
    np.multiply(mask, np.float32(weight / 255), out=alpha, dtype=np.float32)
    np.subtract(1, alpha, out=rest)
    return np.asarray(cv2.blendLinear(front, behind, alpha, rest, dst=pool.take(front.shape)), np.uint8)


def _dim_background(image: Picture, mask: NDArray[np.uint8], pool: BufferPool) -> Picture:
    dim = cv2.convertScaleAbs(image, dst=pool.take(image.shape), alpha=DIM)
    return blend(image, np.asarray(dim, np.uint8), mask, pool=pool)


class _Drawing:
    """supervision's annotators. They paint in BGR order, so the palette is handed over the other way round."""

    def __init__(self) -> None:
        import supervision as sv

        colors = [sv.Color.from_hex(value) for value in PALETTE]
        palette = sv.ColorPalette([sv.Color(c.b, c.g, c.r) for c in colors])
        self._boxes = sv.BoxCornerAnnotator(color=palette, thickness=2, corner_length=10)
        self._labels = sv.LabelAnnotator(
            color=palette, text_color=sv.Color(20, 20, 20), text_scale=0.4, text_padding=3, smart_position=True
        )
        bone, joint = (sv.Color(c.b, c.g, c.r) for c in map(sv.Color.from_hex, (BONE, JOINT)))
        edges = [(a + 1, b + 1) for a, b in SKELETON]  # supervision counts from 1
        self._bones = sv.EdgeAnnotator(color=bone, thickness=2, edges=edges)
        self._joints = sv.VertexAnnotator(color=joint, radius=3)

    def draw(self, picture: Picture, results: Results) -> None:
        """Draw boxes with label and score, keypoints, and the picture's class in its lower left corner, in place."""
        if len(results.boxes):
            found = results.to_supervision()
            by_track = None if results.track_ids is None else results.track_ids.astype(int) % len(PALETTE)
            self._boxes.annotate(picture, found, custom_color_lookup=by_track)
            self._labels.annotate(picture, found, labels=box_labels(results), custom_color_lookup=by_track)
        if results.keypoints is not None and len(results.keypoints):
            self._draw_keypoints(picture, results.keypoints)
        if results.classes:
            _caption(picture, "  ".join(f"{name} {score:.0%}" for name, score in results.classes[:3]))

    def _draw_keypoints(self, picture: Picture, keypoints: NDArray[np.float32]) -> None:
        import supervision as sv

        xy = np.where(keypoints[..., 2:] >= KEYPOINT_SHOWN, keypoints[..., :2], 0)  # supervision leaves (0, 0) out
        found = sv.KeyPoints(xy=xy.astype(np.float32))
        if keypoints.shape[1] == JOINTS:
            self._bones.annotate(picture, found)
        self._joints.annotate(picture, found)


def box_labels(results: Results) -> list[str]:
    """Return the text of each box: "person 82%", or "person 3 82%" where it is followed as number 3."""
    ids = [""] * len(results.boxes) if results.track_ids is None else [f" {number}" for number in results.track_ids]
    named = zip(results.labels, ids, results.scores, strict=True)
    return [f"{label}{number} {score:.0%}" for label, number, score in named]


def _caption(picture: Any, text: str) -> None:
    """Write white text with a dark rim: readable on any picture."""
    at = (8, picture.shape[0] - 10)
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (1, 1)):  # a thicker text would be set wider, letter by letter
        _put(picture, text, (at[0] + dx, at[1] + dy), (0, 0, 0))
    _put(picture, text, at, (255, 255, 255))


def _put(picture: Any, text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)
