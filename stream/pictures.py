"""A folder of pictures as a video: in the order of their names, at a steady rate."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2

from stream.address import PICTURE_SUFFIXES
from stream.errors import SourceCode, SourceError, StillError
from stream.frame import Picture
from stream.intake import Attempt, Media
from stream.pool import BufferPool
from stream.still import Still, open_still
from stream.timeline import TICKS_HZ

DEFAULT_FPS = 30.0


class PicturesReader:
    """Reader: one picture after the other, once through. A single picture file is a folder of one.

    `max_size` (width, height) is what pictures will be shrunk to fit, so that no more of them need be decoded.
    """

    def __init__(self, path: str, display: str, fps: float | None, max_size: tuple[int, int] | None = None) -> None:
        self._path = Path(path)
        self._display = display
        self._fps = fps or DEFAULT_FPS
        self._max_size = max_size

    def read(self, attempt: Attempt) -> None:
        """Show each picture once; see `stream.intake.Reader`."""
        paths = self._paths()
        attempt.opened(Media(codec=paths[0].suffix.lower().lstrip("."), fps=self._fps, is_paced=True))
        for index, path in enumerate(paths):
            ticks = round(index * TICKS_HZ / self._fps)
            captured_ns = attempt.wait_due(ticks)
            if captured_ns is None:
                return
            attempt.packet()
            within = None if attempt.has_tap else self._max_size  # what is recorded is recorded whole
            try:
                still = open_still(path)
                picture = still.load(within)
            except StillError as error:
                attempt.decode_failed(str(error))
                continue
            attempt.picture(ticks, captured_ns, _upright_size(still, picture), _scaler(picture, attempt.pool))

    def _paths(self) -> list[Path]:
        try:
            found = [self._path] if self._path.is_file() else list(self._path.iterdir())
        except OSError as error:
            message = f"{self._display}: cannot read this folder: {error.strerror}"
            raise SourceError(message, SourceCode.NOT_FOUND, is_retryable=False) from error
        paths = [path for path in found if path.suffix.lower() in PICTURE_SUFFIXES]
        if not paths:
            raise SourceError(f"{self._display}: no picture is left in it", SourceCode.NO_VIDEO, is_retryable=False)
        return sorted(paths, key=natural_order)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts frame9 before frame10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _upright_size(still: Still, picture: Picture) -> tuple[int, int]:
    """Return (width, height) of the whole picture, turned as the decoded one was (EXIF)."""
    across, down = still.width - still.height, picture.shape[1] - picture.shape[0]
    is_turned = across * down < 0
    return (still.height, still.width) if is_turned else (still.width, still.height)


def _scaler(picture: Picture, pool: BufferPool) -> Callable[[tuple[int, int]], Picture]:
    def scaled(size: tuple[int, int]) -> Picture:
        if (picture.shape[1], picture.shape[0]) == size:
            return picture
        shrinks = size[0] < picture.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(picture, size, dst=pool.take((*size[::-1], 3)), interpolation=how)  # type: ignore[return-value]

    return scaled
