"""The picture people see: the generated picture blended behind people, and findings drawn on top."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.frame import Frame, Picture
from stream.results import Results

PERSON_SHARE = (0.01, 0.03)  # of the picture: below the first nobody is there, above the second surely somebody is
DIM = 0.35  # brightness of the background when a mask is all there is to show
PALETTE = ("#22d3ee", "#f97316", "#a3e635", "#e879f9", "#facc15", "#60a5fa", "#fb7185", "#34d399")


class Composer:
    """Blends and draws. One per stream; one thread at a time.

    `is_background` says that the generated picture belongs behind people only.
    """

    def __init__(self, is_background: bool = False) -> None:
        self._is_background = is_background
        self._drawing: _Drawing | None = None  # None until the first box: supervision takes a second to import

    def warm(self) -> None:
        """Load the drawing library now rather than on a live frame."""
        self._drawing = self._drawing or _Drawing()

    def compose(self, frame: Frame) -> Picture:
        """Return the picture to show, `[H,W,3] uint8 rgb`; the frame's own picture stays as it is."""
        found = list(frame.results.values())
        mask = next((r.mask for r in found if r.mask is not None), None)
        picture = self._blend(frame, mask)
        if not any(len(r.boxes) or r.classes for r in found):
            return picture
        self.warm()
        assert self._drawing is not None
        picture = picture.copy() if picture is frame.image or picture is frame.generated else picture
        for results in found:
            self._drawing.draw(picture, results)
        return picture

    def _blend(self, frame: Frame, mask: NDArray[np.uint8] | None) -> Picture:
        if frame.generated is None:
            return frame.image if mask is None or self._is_background else _dim_background(frame.image, mask)
        if mask is None or not self._is_background:
            return frame.generated
        keep = person_weight(mask)
        return frame.generated if keep == 0 else blend(frame.image, frame.generated, mask, keep)


def person_weight(mask: NDArray[np.uint8]) -> float:
    """Return 0 when nobody is there, 1 when somebody is, and in between a smooth change, so nothing pops."""
    share = float(cv2.mean(mask)[0]) / 255
    x = min(1.0, max(0.0, (share - PERSON_SHARE[0]) / (PERSON_SHARE[1] - PERSON_SHARE[0])))
    return x * x * (3 - 2 * x)


def blend(front: Picture, behind: Picture, mask: NDArray[np.uint8], weight: float = 1.0) -> Picture:
    """Return `front` where the mask is 255 (times weight 0..1) and `behind` where it is 0. All of one size."""
    alpha = mask.astype(np.float32) * np.float32(weight / 255)
    return np.asarray(cv2.blendLinear(front, behind, alpha, 1 - alpha), np.uint8)


def _dim_background(image: Picture, mask: NDArray[np.uint8]) -> Picture:
    return blend(image, np.asarray(cv2.convertScaleAbs(image, alpha=DIM), np.uint8), mask)


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

    def draw(self, picture: Picture, results: Results) -> None:
        """Draw boxes with label and score, and the picture's class in its lower left corner, in place."""
        if len(results.boxes):
            found = results.to_supervision()
            named = zip(results.labels, results.scores, strict=True)
            self._boxes.annotate(picture, found)
            self._labels.annotate(picture, found, labels=[f"{name} {score:.0%}" for name, score in named])
        if results.classes:
            _caption(picture, "  ".join(f"{name} {score:.0%}" for name, score in results.classes[:3]))


def _caption(picture: Any, text: str) -> None:
    """Write white text with a dark rim: readable on any picture."""
    at = (8, picture.shape[0] - 10)
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thickness, cv2.LINE_AA)
