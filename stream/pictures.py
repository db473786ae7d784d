"""A folder of pictures as a video: in the order of their names, at a steady rate."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2

from stream.address import PICTURE_SUFFIXES
from stream.errors import SourceCode, SourceError
from stream.frame import Picture
from stream.intake import Attempt, Media
from stream.timeline import TICKS_HZ

DEFAULT_FPS = 30.0
MAX_PIXELS = 7680 * 4320  # as for video: 8K


class PicturesReader:
    """Reader: one picture after the other, once through. A single picture file is a folder of one."""

    def __init__(self, path: str, display: str, fps: float | None) -> None:
        self._path = Path(path)
        self._display = display
        self._fps = fps or DEFAULT_FPS

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
            picture = _load(path)
            if picture is None:
                attempt.decode_failed(f"{path.name} is no picture, or larger than 8K")
                continue
            attempt.picture(ticks, captured_ns, (picture.shape[1], picture.shape[0]), _scaler(picture))

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


def _load(path: Path) -> Picture | None:
    """Return a picture upright (EXIF), [H,W,3] uint8 rgb; None when it cannot be read or is too large."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None or picture.shape[0] * picture.shape[1] > MAX_PIXELS:
        return None
    return picture  # type: ignore[return-value]


def _scaler(picture: Picture) -> Callable[[tuple[int, int]], Picture]:
    def scaled(size: tuple[int, int]) -> Picture:
        if (picture.shape[1], picture.shape[0]) == size:
            return picture
        shrinks = size[0] < picture.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(picture, size, interpolation=how)  # type: ignore[return-value]

    return scaled
