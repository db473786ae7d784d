"""The generation models `background/blur` and `background/replace`: people stay, what is behind them changes.

A model makes the whole background; the pipeline's compose step lays the person over it (stream/compose.py), with the
mask's soft edge and only where a box network agrees that people are.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.base import Card, Kind, Target
from models.entry import Entry, Option, Values, described, number, text
from models.picture import check_picture, read_picture, resize
from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

BLUR, REPLACE = "background/blur", "background/replace"
MASK_STAGE = "mask"  # name of the stage of mask/person, whose results the blur is given
SHRINK_AT_MOST = 8  # of the picture that is blurred: a wide blur does not show what a smaller picture lacks
SIGMAS_PX = 3.0  # standard deviation, in pixels of the shrunk picture, at which it may be shrunk further
FALLBACK = 0.02  # weight of the plain blur where nearly all around is person
LARGEST_IMAGE = (3840, 2160)  # a background's picture is decoded no smaller than it can be shown


class BlurModel:
    """Blurs the background without the person's colours in it: each pixel is a mean of background pixels only.

    Deep inside a person, where there are none within reach, it falls back to the plain blur: the mask may be wrong.
    """

    needs = (MASK_STAGE,)
    where = "background"  # for the compose step

    def __init__(self, card: Card, radius: float) -> None:
        """`radius` is the blur's standard deviation in pixels of a picture 360 high; others get their share of it."""
        self.card = card
        self.variant = "opencv"
        self.radius = radius

    def warm(self, height: int, width: int) -> None:
        """Run once on a black picture of this size."""
        self(np.zeros((height, width, 3), np.uint8), {MASK_STAGE: Results(mask=np.zeros((height, width), np.uint8))})

    def __call__(self, image: Picture, results: Mapping[str, Results] | None = None) -> Picture:
        """Return the blurred background, the same shape; without a mask, all of the picture blurred."""
        height, width = image.shape[:2]
        sigma = self.radius * height / 360
        shrink = max(1, min(SHRINK_AT_MOST, int(sigma / SIGMAS_PX)))
        size = max(1, width // shrink), max(1, height // shrink)
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
        masks = [found.mask for found in (results or {}).values() if found.mask is not None]
        blurred = blur(small, sigma / shrink)
        if masks:
            weight = _background_weight(masks[0], size)
            # normalised convolution (Knutsson and Westin 1993), with a little of the plain one
            seen, sums = blur(weight, sigma / shrink)[..., None], blur(small * weight[..., None], sigma / shrink)
            blurred = (sums + FALLBACK * blurred) / (seen + FALLBACK)
        return resize(np.asarray(np.clip(blurred + 0.5, 0, 255), np.uint8), height, width)

    def close(self) -> None:
        """Nothing to free."""


def _background_weight(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return 1 where surely no person is, `[h,w]`; one small pixel more around people counts as theirs."""
    small = cv2.dilate(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8))
    return np.asarray(1 - small.astype(np.float32) / 255, np.float32)


def blur(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return a Gaussian mean over `[h,w]` or `[h,w,C]`; beyond the edge the edge goes on."""
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


class ReplaceModel:
    """Puts a picture or a colour behind people: the same array for every frame of a size, which nobody may write."""

    where = "background"

    def __init__(self, card: Card, behind: Picture) -> None:
        """`behind` is the picture, of any size; its middle is shown, as large as it fills the frame."""
        self.card = card
        self.variant = "opencv"
        self._behind = behind
        self._fitted = behind  # of the newest frame's size

    def warm(self, height: int, width: int) -> None:
        """Fit the background to this size."""
        self(np.zeros((height, width, 3), np.uint8))

    def __call__(self, image: Picture) -> Picture:
        """Return the background in the picture's shape, read only."""
        if self._fitted.shape != image.shape:
            self._fitted = cover(self._behind, *image.shape[:2])
            self._fitted.flags.writeable = False
        return self._fitted

    def close(self) -> None:
        """Nothing to free."""


def cover(picture: Picture, height: int, width: int) -> Picture:
    """Return the middle of a picture in another size: what of it has the same aspect ratio, resized."""
    factor = min(picture.shape[0] / height, picture.shape[1] / width)
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    top, left = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
    middle = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    return resize(middle, height, width).copy()


def read_color(written: str) -> tuple[int, int, int]:
    """Return rgb of `#rrggbb`. Raises ValueError."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", written):
        raise ValueError(written)
    red, green, blue = bytes.fromhex(written[1:])
    return red, green, blue


BLUR_OPTIONS = (
    Option("radius", "how far it blurs, in pixels of a picture 360 high", "a number 1..60", number(1, 60), 10.0),
)
REPLACE_OPTIONS = (
    Option("image", "picture to show behind people", "a picture file, in double quotes if it has a comma", text, None),
    Option("color", "colour to show behind people", "#rrggbb such as #00b140", read_color, None),
)


def _open_blur(card: Card, target: Target, values: Values) -> BlurModel:
    return BlurModel(card, values["radius"])


def _check_replace(values: Values) -> None:
    if (values["image"] is None) == (values["color"] is None):
        raise ModelError(f"{REPLACE}: say either image=beach.jpg or color=#00b140")
    if values["image"] is not None:
        check_picture(REPLACE, values["image"])


def _open_replace(card: Card, target: Target, values: Values) -> ReplaceModel:
    _check_replace(values)
    if values["image"] is not None:
        return ReplaceModel(card, read_picture(REPLACE, values["image"], LARGEST_IMAGE))
    return ReplaceModel(card, np.full((1, 1, 3), values["color"], np.uint8))


def entries() -> tuple[Entry, ...]:
    """Return `background/blur` and `background/replace`."""
    blur = Card(
        name=BLUR,
        kind=Kind.GENERATE,
        summary="blurs what is behind people; needs mask/person",
        licence="Apache-2.0",
        origin="own code; OpenCV",
        needs=frozenset({"mask"}),
        options=described(BLUR_OPTIONS),
    )
    behind = replace(
        blur,
        name=REPLACE,
        summary="shows a picture or a colour behind people; needs mask/person",
        options=described(REPLACE_OPTIONS),
    )
    return Entry(blur, BLUR_OPTIONS, _open_blur), Entry(behind, REPLACE_OPTIONS, _open_replace, _check_replace)
