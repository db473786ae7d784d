"""What recognition gives: boxes, a mask, labels, keypoints. One type for every network."""

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import supervision as sv


MASK_SAMPLES = 64  # rows and columns, about, that tell the share of a mask: all of a 1080p one takes 0.7 ms


def _empty(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def _is_finite(score: object) -> bool:
    return isinstance(score, Real) and math.isfinite(score)


@dataclass(frozen=True, slots=True)
class Results:
    """The findings of one network on one picture.

    boxes      [N,4] float32 xyxy, pixels of the picture the network was given
    scores     [N] float32 0..1
    class_ids  [N] int64, index into the network's own label list
    labels     N names, one per box
    mask       [H,W] uint8, 0 (background) .. 255 (person), the picture's size; None when not asked for
    classes    (label, score) of the whole picture, best first; empty when not asked for
    keypoints  [P,K,3] float32 x, y in pixels of the picture, score 0..1; P people or faces, of which there may be no
               boxes; where there are, in the same order. None when not asked for
    track_ids  [N] int64, the same number for the same object from picture to picture; None when not asked for
    """

    boxes: NDArray[np.float32] = field(default_factory=lambda: _empty(0, 4))
    scores: NDArray[np.float32] = field(default_factory=lambda: _empty(0))
    class_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    labels: tuple[str, ...] = ()
    mask: NDArray[np.uint8] | None = None
    classes: tuple[tuple[str, float], ...] = ()
    keypoints: NDArray[np.float32] | None = None
    track_ids: NDArray[np.int64] | None = None

    def to_supervision(self) -> "sv.Detections":
        """Return the boxes as `supervision.Detections` (names under data["class_name"])."""
        import supervision as sv  # imported late: it pulls in scipy and matplotlib

        return sv.Detections(
            xyxy=self.boxes.astype(np.float32).reshape(-1, 4),
            confidence=self.scores.astype(np.float32),
            class_id=self.class_ids.astype(int),
            tracker_id=None if self.track_ids is None else self.track_ids.astype(int),
            data={"class_name": np.array(self.labels, dtype=str)},
        )

    def fault(self, height: int, width: int) -> str:
        """Return what is wrong with it as results of a `height` x `width` picture, expected and got; "" when nothing.

        Takes some microseconds: nothing of a mask's pixels is read.
        """
        arrays: dict[str, object] = {"boxes": self.boxes, "scores": self.scores, "keypoints": self.keypoints}
        for name, part in arrays.items():
            if part is not None and not isinstance(part, np.ndarray):
                return f"expected {name} as a numpy array, got {type(part).__name__}"
        counts = [len(part) for part in (self.boxes, self.scores, self.class_ids, self.labels)]
        if self.boxes.shape != (counts[0], 4) or len(set(counts)) > 1:
            got = f"boxes {list(self.boxes.shape)}, {counts[1]} scores, {counts[2]} class_ids, {counts[3]} labels"
            return f"expected boxes [N,4] with N scores, class_ids and labels, got {got}"
        if counts[0] and (wrong := self._fault_of_boxes()):
            return wrong
        return self._fault_of_mask(height, width) or self._fault_of_rest()

    def _fault_of_boxes(self) -> str:
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            return "expected finite boxes and scores, got NaN or infinity"
        backward = (self.boxes[:, 2:] < self.boxes[:, :2]).any(axis=1)
        if backward.any():
            return f"expected boxes x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got {self.boxes[backward][0].tolist()}"
        return ""

    def _fault_of_mask(self, height: int, width: int) -> str:
        mask: object = self.mask
        if mask is None or (isinstance(mask, np.ndarray) and mask.shape == (height, width) and mask.dtype == np.uint8):
            return ""
        got = f"{list(mask.shape)} {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
        return f"expected a mask [{height},{width}] uint8, got {got}"

    def _fault_of_rest(self) -> str:
        bad = [score for _, score in self.classes if not _is_finite(score)]
        if bad:
            return f"expected classes as (label, finite score), got a score of {bad[0]!r:.40}"
        if self.track_ids is not None and np.shape(self.track_ids) != (len(self.boxes),):
            got = list(np.shape(self.track_ids))
            return f"expected {len(self.boxes)} track_ids, one per box, got {got}"
        if self.keypoints is None:
            return ""
        if self.keypoints.ndim != 3 or self.keypoints.shape[2] != 3:
            return f"expected keypoints [N,K,3] of x, y, score, got {list(self.keypoints.shape)}"
        return "" if np.isfinite(self.keypoints).all() else "expected finite keypoints, got NaN or infinity"

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers; of the mask only the share of the picture it covers."""
        found: dict[str, Any] = {
            "boxes": [
                {"label": label, "score": round(float(score), 3), "xyxy": [round(float(v), 1) for v in box]}
                for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
            ]
        }
        if self.track_ids is not None:
            for box, track_id in zip(found["boxes"], self.track_ids, strict=True):
                box["id"] = int(track_id)
        if self.mask is not None:
            step = max(1, min(self.mask.shape) // MASK_SAMPLES)
            found["mask_share"] = round(float(self.mask[::step, ::step].mean()) / 255, 4)
        if self.classes:
            found["classes"] = [{"label": label, "score": round(score, 3)} for label, score in self.classes]
        if self.keypoints is not None:
            found["keypoints"] = [
                [[round(float(x), 1), round(float(y), 1), round(float(score), 3)] for x, y, score in joints]
                for joints in self.keypoints
            ]
        return found
