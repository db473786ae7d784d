"""Fit pictures to what a network takes, and bring results back. Functions on `[H,W,3] uint8`, and a file reader."""

from pathlib import Path

import cv2
import numpy as np

from stream.errors import ModelError, StillError
from stream.frame import Picture
from stream.still import read_still


def read_picture(who: str, path: str, within: tuple[int, int]) -> Picture:
    """Return a person's picture file as `[H,W,3] uint8 rgb`, decoded no smaller than it will be inside `within`.

    `within` is (width, height). Raises ModelError, which begins with `who`, for a file that is missing, no picture,
    damaged or too large to be decoded. Reads the file: not for the event loop.
    """
    try:
        return read_still(Path(path).expanduser(), within)
    except StillError as error:
        raise ModelError(f"{who}: {error}") from error


def pad_to_multiple(image: Picture, multiple: int, least: int) -> Picture:
    """Extend the bottom and the right by mirroring until both sides divide by `multiple` and are at least `least`.

    Returns the picture itself when nothing is to be done. Mirrored, because a flat border would change the statistics
    that instance norm takes over the whole picture.
    """
    height, width = image.shape[:2]
    down = max(-(-height // multiple) * multiple, least) - height
    right = max(-(-width // multiple) * multiple, least) - width
    if not (down or right):
        return image
    # BORDER_REFLECT repeats the edge pixel, so it also works for a picture one pixel high
    return np.asarray(cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT), np.uint8)


def resize(image: Picture, height: int, width: int) -> Picture:
    """Resize a picture, or a `[H,W] uint8` mask; by area where bilinear would skip pixels (to less than half)."""
    if image.shape[:2] == (height, width):
        return image
    is_far = height * 2 < image.shape[0] or width * 2 < image.shape[1]
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if is_far else cv2.INTER_LINEAR), np.uint8
    )


def mix(image: Picture, painting: Picture, strength: float) -> Picture:
    """Return `strength` (0..1) of the painting and the rest of the image; the painting itself when that is all."""
    if strength == 1:
        return painting
    return np.asarray(cv2.addWeighted(painting, strength, image, 1 - strength, 0), np.uint8)
