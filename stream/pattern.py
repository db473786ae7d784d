"""The test pattern: something moving to look at, and each frame's number for people and for machines.

Along the top, 16 blocks show the number's low 16 bits, highest first, white for 1; the row below shows
the opposite, so that a reader can tell a damaged or foreign picture from a number. The blocks are large
enough to live through scaling and lossy encoding.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np

from stream.frame import Picture
from stream.intake import Attempt, Media
from stream.pool import BufferPool
from stream.timeline import TICKS_HZ

BITS = 16
ROWS = 2  # the bits, and their opposite
ROW_SHARE = 30  # a row is one 30th of the picture's height
LEVEL_GAP = 40  # a block and its opposite differ by at least this, of 255, or the picture holds no number
SKY = ((24, 32, 74), (86, 60, 140), (226, 110, 120), (250, 196, 130), (40, 120, 140), (24, 32, 74))
PERIOD_S = 12.0  # the sky has gone round once


class PatternReader:
    """Reader: draw the pattern at its own pace. Frame n of the stream shows the number n."""

    def __init__(self, size: tuple[int, int], fps: float) -> None:
        self._size = size
        self._fps = fps

    def read(self, attempt: Attempt) -> None:
        """Draw until stopped; see `stream.intake.Reader`."""
        attempt.opened(Media(*self._size, "test", self._fps, is_paced=True))
        pattern, ticks = Pattern(*self._size), Fraction(TICKS_HZ) / Fraction(self._fps)
        number = 0
        while (captured_ns := attempt.wait_due(round(number * ticks))) is not None:
            attempt.packet()
            attempt.picture(
                round(number * ticks), captured_ns, self._size, _drawer(pattern, number, self._fps, attempt.pool)
            )
            number += 1


def _drawer(pattern: "Pattern", number: int, fps: float, pool: BufferPool) -> Callable[[tuple[int, int]], Picture]:
    return lambda size: _resized(pattern.draw(number, number / fps, pool), size, pool)


def _resized(picture: Picture, size: tuple[int, int], pool: BufferPool) -> Picture:
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    into = pool.take((*size[::-1], 3))
    scaled: Picture = cv2.resize(picture, size, dst=into, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return scaled


class Pattern:
    """Draws numbered pictures of one size."""

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        self._sky = _sky(width, height)  # [H,2W,3], goes on seamlessly from its right edge to its left

    def draw(self, number: int, time_s: float, pool: BufferPool | None = None) -> Picture:
        """Return the picture at a time, [H,W,3] uint8 rgb, made in a buffer of `pool` when there is one."""
        shift = round(time_s / PERIOD_S * self._width) % self._width
        picture: Picture = (pool or BufferPool()).take((self._height, self._width, 3))
        picture[:] = self._sky[:, shift : shift + self._width]
        self._draw_balls(picture, time_s)
        self._draw_number(picture, number)
        draw_bars(picture, number)
        return picture

    def _draw_balls(self, picture: Picture, time_s: float) -> None:
        radius = self._height / 14
        for index, colour in enumerate(((255, 221, 120), (120, 230, 210), (255, 140, 150))):
            phase = time_s * (0.9 + 0.2 * index) + index * 2.1
            x = self._width * (0.5 + 0.42 * math.sin(phase))
            y = self._height * (0.86 - 0.5 * abs(math.sin(1.7 * phase)))
            _disc(picture, x, y, radius, colour)

    def _draw_number(self, picture: Picture, number: int) -> None:
        scale = self._height / 130
        thick = max(1, round(scale * 2))
        text = f"{number:06d}"
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, thick)
        at = ((self._width - wide) // 2, (self._height + high) // 2)
        below = (at[0] + thick, at[1] + thick)
        cv2.putText(picture, text, below, cv2.FONT_HERSHEY_DUPLEX, scale, (20, 22, 44), thick, cv2.LINE_AA)
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, (255, 255, 255), thick, cv2.LINE_AA)


def draw_bars(picture: Picture, number: int) -> None:
    """Draw the low 16 bits of a number along the top of a picture, in place."""
    height, width = picture.shape[:2]
    bits = np.array([number >> (BITS - 1 - place) & 1 for place in range(BITS)], np.uint8) * 255
    columns = bits[np.arange(width) * BITS // width]
    row = max(2, height // ROW_SHARE)
    picture[:row] = columns[None, :, None]
    picture[row : ROWS * row] = 255 - columns[None, :, None]


def read_bars(picture: Picture) -> int | None:
    """Return the number a picture shows, also after scaling and encoding; None when it shows none."""
    height, width = picture.shape[:2]
    row = height / ROW_SHARE
    grey = picture.astype(np.int16).mean(axis=2)
    number = 0
    for place in range(BITS):
        left, right = (round((place + part) * width / BITS) for part in (0.25, 0.75))
        upper, lower = (
            float(grey[round((which + 0.25) * row) : max(1, round((which + 0.75) * row)), left:right].mean())
            for which in range(ROWS)
        )
        if abs(upper - lower) < LEVEL_GAP:
            return None
        number = number << 1 | (upper > lower)
    return number


def _disc(picture: Picture, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
    """Draw a disc to a sixteenth of a pixel, so that slow movement is smooth."""
    centre = (round(x * 16), round(y * 16))
    cv2.circle(picture, centre, round(radius * 16), colour, -1, cv2.LINE_AA, shift=4)
    gleam = (round((x - radius / 3) * 16), round((y - radius / 3) * 16))
    cv2.circle(picture, gleam, round(radius * 4), (255, 255, 255), -1, cv2.LINE_AA, shift=4)


def _sky(width: int, height: int) -> Picture:
    """Return a sunset that goes round twice, darker towards the ground."""
    stops = np.linspace(0, 1, len(SKY))
    across = np.arange(2 * width) % width / width
    colours = np.stack([np.interp(across, stops, [colour[part] for colour in SKY]) for part in range(3)], axis=-1)
    shade = np.linspace(1.0, 0.55, height)[:, None, None]
    return np.asarray(colours[None] * shade, np.uint8)
