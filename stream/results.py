"""What recognition gives: boxes, a mask, labels, keypoints. One type for every network."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import supervision as sv


MASK_SAMPLES = 64  # rows and columns, about, that tell the share of a mask: all of a 1080p one takes 0.7 ms


def _empty(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


@dataclass(frozen=True, slots=True)
class Results:
    """The findings of one network on one picture.

    boxes      [N,4] float32 xyxy, pixels of the picture the network was given
    scores     [N] float32 0..1
    class_ids  [N] int64, index into the network's own label list
    labels     N names, one per box
    mask       [H,W] uint8, 0 (background) .. 255 (person), the picture's size; None when not asked for
    classes    (label, score) of the whole picture, best first; empty when not asked for
    keypoints  [N,K,3] float32 x, y, score; None when not asked for
    """

    boxes: NDArray[np.float32] = field(default_factory=lambda: _empty(0, 4))
    scores: NDArray[np.float32] = field(default_factory=lambda: _empty(0))
    class_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    labels: tuple[str, ...] = ()
    mask: NDArray[np.uint8] | None = None
    classes: tuple[tuple[str, float], ...] = ()
    keypoints: NDArray[np.float32] | None = None

    def to_supervision(self) -> "sv.Detections":
        """Return the boxes as `supervision.Detections` (names under data["class_name"])."""
        import supervision as sv  # imported late: it pulls in scipy and matplotlib

        return sv.Detections(
            xyxy=self.boxes.astype(np.float32).reshape(-1, 4),
            confidence=self.scores.astype(np.float32),
            class_id=self.class_ids.astype(int),
            data={"class_name": np.array(self.labels, dtype=str)},
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers; of the mask only the share of the picture it covers."""
        found: dict[str, Any] = {
            "boxes": [
                {"label": label, "score": round(float(score), 3), "xyxy": [round(float(v), 1) for v in box]}
                for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
            ]
        }
        if self.mask is not None:
            step = max(1, min(self.mask.shape) // MASK_SAMPLES)
            found["mask_share"] = round(float(self.mask[::step, ::step].mean()) / 255, 4)
        if self.classes:
            found["classes"] = [{"label": label, "score": round(score, 3)} for label, score in self.classes]
        if self.keypoints is not None:
            found["keypoints"] = np.round(self.keypoints, 2).tolist()
        return found
