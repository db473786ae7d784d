"""The working size: what size a source's pictures are given, aspect kept, and where they lie in it."""

from dataclasses import dataclass
from fractions import Fraction

STEP_PX = 4  # encoders need even sides; a multiple of 4 keeps chroma and most networks happy too
MIN_SIDE_PX = 16  # below this no video encoder opens


@dataclass(frozen=True, slots=True)
class Fit:
    """How a picture is brought to the working size. All in pixels, (width, height).

    inner   the size the picture is scaled to
    work    the size of the working picture; larger than `inner` only when an exact size was asked for
    offset  where `inner` lies in `work`; black around it
    """

    inner: tuple[int, int]
    work: tuple[int, int]
    offset: tuple[int, int] = (0, 0)


def fit(
    width: int,
    height: int,
    max_size: tuple[int, int] | None,
    *,
    exact: bool = False,
    pixel_aspect: Fraction | float = 1,
) -> Fit:
    """Return how a picture of `width` x `height` is fitted into `max_size` (width, height).

    Never enlarges, unless `exact` asks for that very size. A limit that nobody asked for is a budget of
    pixels, so it is turned for a picture that stands upright. `pixel_aspect` is the width of a pixel by
    its height, as broadcasts and DVDs have it: the fitted picture has square pixels.
    """
    wide, high = _square(width, height, pixel_aspect)
    if max_size is None:
        size = _steps(wide, high, None)
        return Fit(size, size)
    if not exact and (wide < high) != (max_size[0] < max_size[1]):
        max_size = (max_size[1], max_size[0])
    scale = min(max_size[0] / wide, max_size[1] / high)
    if not exact:
        size = _steps(wide * min(scale, 1.0), high * min(scale, 1.0), max_size)
        return Fit(size, size)
    inner = _steps(wide * scale, high * scale, max_size)
    left, top = ((outer - side) // 4 * 2 for outer, side in zip(max_size, inner, strict=True))
    return Fit(inner, max_size, (left, top))


def _square(width: int, height: int, pixel_aspect: Fraction | float) -> tuple[float, float]:
    """Return the size with square pixels, by widening one side: no line is thrown away."""
    aspect = float(pixel_aspect)
    if not 0.1 < aspect < 10:  # a mistake in the file
        aspect = 1.0
    return (width * aspect, float(height)) if aspect >= 1 else (float(width), height / aspect)


def _steps(width: float, height: float, limit: tuple[int, int] | None) -> tuple[int, int]:
    def near(side: float, most: int | None) -> int:
        stepped = max(MIN_SIDE_PX, round(side / STEP_PX) * STEP_PX)
        return stepped if most is None else min(stepped, max(MIN_SIDE_PX, most // STEP_PX * STEP_PX))

    return near(width, limit[0] if limit else None), near(height, limit[1] if limit else None)
