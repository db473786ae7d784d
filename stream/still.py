"""Picture files, read so that no file can spend the memory: the header first, then only as many pixels as are needed.

A JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough, by its decoder and not afterwards (libjpeg scales in the
frequency domain): a photo of 50 megapixels shown at 640x360 never takes more than a megapixel. Other formats are
decoded whole, so they are refused above `MAX_PIXELS`.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from stream.errors import StillError
from stream.frame import Picture

MAX_PIXELS = 7680 * 4320  # 8K, 100 MB as rgb; as for video
MAX_SIDE_PX = 1 << 20  # OpenCV's own limit
HEAD_BYTES = 16

# The format is told by content, never by the name. Pillow's classes are used directly: `Image.open` would warn on
# stderr above 89 megapixels and refuse above 179, also a JPEG that is about to be reduced.
_FORMATS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"II*\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", TiffImagePlugin.TiffImageFile),
)
_FLAGS = {1: cv2.IMREAD_COLOR} | {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_BROKEN = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError, struct.error, MemoryError)


@dataclass(frozen=True, slots=True)
class Still:
    """What a picture file says of itself. `width` and `height` are as stored, before it is turned upright (EXIF)."""

    path: Path
    width: int
    height: int
    is_reducible: bool  # a JPEG of the usual kind; a progressive one is held whole while it is decoded

    def reduction(self, within: tuple[int, int] | None, max_pixels: int = MAX_PIXELS) -> int:
        """Return 1, 2, 4 or 8: by what the sides may be divided when decoding.

        The picture stays at least as large as it is once shrunk to fit into `within` (width, height), upright or
        turned; None keeps its size. Above `max_pixels` it is divided further. Raises StillError when no
        division is enough.
        """
        factors = (1, 2, 4, 8) if self.is_reducible else (1,)
        allowed = [n for n in factors if -(-self.width // n) * -(-self.height // n) <= max_pixels]
        if not allowed or max(self.width, self.height) >= MAX_SIDE_PX:
            raise StillError(
                f"{self.path.name} has {self.width}x{self.height} pixels, more than the limit of {max_pixels}; "
                f"save it smaller{'' if self.is_reducible else ', or as a baseline JPEG'}"
            )
        spare = 1.0 if within is None else self._spare(within)
        return max([n for n in allowed if n <= spare], default=allowed[0])

    def load(self, within: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
        """Return the picture upright, [H,W,3] uint8 rgb, no smaller than it will be inside `within` (width, height).

        Blocks. Raises StillError when it cannot be decoded or is too large.
        """
        flags = _FLAGS[self.reduction(within, max_pixels)]
        try:
            picture = cv2.imread(str(self.path), flags)
        except cv2.error as error:  # such as no memory; what is damaged gives None
            raise StillError(f"{self.path.name} cannot be decoded: {error.err or error}") from error
        if picture is None:
            raise StillError(f"{self.path.name} is damaged: its header is fine, its pixels cannot be decoded")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture)  # type: ignore[return-value]

    def _spare(self, within: tuple[int, int]) -> float:
        """Return by how much the picture is larger than it will be shown, whichever way up."""
        (wide, high), sides = within, (self.width, self.height)
        as_stored = max(sides[0] / wide, sides[1] / high)
        turned = max(sides[0] / high, sides[1] / wide)
        return min(as_stored, turned)


def open_still(path: Path) -> Still:
    """Read the header of a picture file: JPEG, PNG, BMP, WebP or TIFF. Raises StillError when it is none."""
    try:
        if not path.is_file():  # a pipe would block
            raise StillError(f"{path.name}: there is no such file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            found = next((kind for start, kind in _FORMATS if head.startswith(start)), None)
            if found is None or (head[:4] == b"RIFF" and head[8:12] != b"WEBP"):
                raise StillError(f"{path.name} is no picture: expected JPEG, PNG, BMP, WebP or TIFF, got {_told(head)}")
            file.seek(0)
            header = found(file)
            width, height = header.size
    except Image.DecompressionBombError as error:
        raise StillError(f"{path.name} has more pixels than the limit of {MAX_PIXELS}: {error}") from error
    except _BROKEN as error:
        raise StillError(f"{path.name} is damaged: {str(error) or type(error).__name__}") from error
    if width < 1 or height < 1:
        raise StillError(f"{path.name} is damaged: it says it has {width}x{height} pixels")
    is_jpeg = found is JpegImagePlugin.JpegImageFile
    return Still(path, width, height, is_jpeg and not header.info.get("progressive"))


def read_still(path: Path, within: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return a picture file upright, [H,W,3] uint8 rgb, decoded no larger than needed; see `Still.load`."""
    return open_still(path).load(within, max_pixels)


def _told(head: bytes) -> str:
    return f"a file that begins with {head[:8]!r}" if head else "an empty file"
