"""Fit pictures to what a network takes, and bring results back. Functions on `[H,W,3] uint8`, and a file reader."""

from pathlib import Path

import cv2
import numpy as np

from stream.errors import ModelError, StillError
from stream.frame import Picture
from stream.pool import BufferPool
from stream.still import open_still, read_still

SMOOTH_FROM, SMOOTH_PX = 1.5, 0.7  # times smaller: an axis is smoothed first, or thin things come and go
BILINEAR_TO = 2.6  # times smaller: beyond it bilinear would skip more than half of the pixels on one axis


def check_picture(who: str, path: str) -> None:
    """Raise ModelError, which begins with `who`, for a file missing, no picture or too large. Reads its header."""
    try:
        open_still(Path(path).expanduser()).reduction(None)
    except StillError as error:
        raise ModelError(f"{who}: {error}") from error


def read_picture(who: str, path: str, within: tuple[int, int]) -> Picture:
    """Return a person's picture file as `[H,W,3] uint8 rgb`, decoded no smaller than it will be inside `within`.

    `within` is (width, height). Raises ModelError, which begins with `who`, for a file that is missing, no picture,
    damaged or too large to be decoded. Reads the file: not for the event loop.
    """
    try:
        return read_still(Path(path).expanduser(), within)
    except StillError as error:
        raise ModelError(f"{who}: {error}") from error


def pad_to_multiple(image: Picture, multiple: int, least: int, pool: BufferPool | None = None) -> Picture:
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
    into = None if pool is None else pool.take((height + down, width + right, 3))
    return np.asarray(cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT, dst=into), np.uint8)


def resize(image: Picture, height: int, width: int, pool: BufferPool | None = None) -> Picture:
    """Resize a picture, or a `[H,W] uint8` mask: halved as often as it goes, then bilinear behind a slight blur.

    Halving takes the mean of four pixels and is quick; OpenCV's general way by area takes five times as long (1.08
    against 0.22 ms from 640x360 to 256x256, one thread). It is left for what bilinear would skip too much of.
    The result is made in a buffer of `pool` when there is one; it is the image itself when the size is the same.
    """
    if image.shape[:2] == (height, width):
        return image
    while image.shape[0] > 2 * height > 1 and image.shape[1] > 2 * width > 1:
        image = _resized(image, image.shape[0] // 2, image.shape[1] // 2, cv2.INTER_AREA, pool)
    rows, columns = (
        3 if have > SMOOTH_FROM * want else 1 for have, want in zip(image.shape, (height, width), strict=False)
    )
    is_half = image.shape[:2] == (2 * height, 2 * width)
    is_far = height * BILINEAR_TO < image.shape[0] or width * BILINEAR_TO < image.shape[1]
    if is_half or is_far:
        return _resized(image, height, width, cv2.INTER_AREA, pool)
    if max(rows, columns) > 1:
        into = None if pool is None else pool.take(image.shape)
        image = np.asarray(cv2.GaussianBlur(image, (columns, rows), SMOOTH_PX, dst=into), np.uint8)
    return _resized(image, height, width, cv2.INTER_LINEAR, pool)


def _resized(image: Picture, height: int, width: int, how: int, pool: BufferPool | None) -> Picture:
    into = None if pool is None else pool.take((height, width, *image.shape[2:]))
    return np.asarray(cv2.resize(image, (width, height), dst=into, interpolation=how), np.uint8)


def mix(image: Picture, painting: Picture, strength: float, pool: BufferPool | None = None) -> Picture:
    """Return `strength` (0..1) of the painting and the rest of the image; the painting itself when that is all."""
    if strength == 1:
        return painting
    into = None if pool is None else pool.take(image.shape)
    return np.asarray(cv2.addWeighted(painting, strength, image, 1 - strength, 0, dst=into), np.uint8)
