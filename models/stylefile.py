"""Styles that a person has learnt: one small safetensors file each, holding the 990 numbers of one style.

    $XDG_DATA_HOME/livelens/styles/NAME.safetensors   (else ~/.local/share/livelens/styles)

The keys are those of the network's conditional instance norms, `[C]` instead of `[26,C]`; what is known of the style
(painting, date, losses, quality of the lighter scales) stands in the file's metadata. Numbers only, so that reading a
file runs no code. Needs no torch.
"""

import json
import math
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from stream.errors import ModelError

Row = dict[str, NDArray[np.float32]]

FORMAT = "livelens style 1"
SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parent / "weights"  # some built-in styles come with numbers tuned for smaller scales
BYTES_AT_MOST = 1 << 18  # a style takes 8 kB with its metadata
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
NAME_RULE = "1 to 32 of a-z, 0-9, dash and underscore, the first a letter"

# The channels of each conditional instance norm, as in networks/style.py; a test compares.
CHANNELS: dict[str, int] = {
    **{f"contract.{i}": 32 for i in range(3)},
    **{f"residual.{i}.{which}": 32 for i in range(6) for which in ("first", "second")},
    "expand.0": 8,
    "expand.1": 4,
    "paint": 3,
}
SHAPES: dict[str, tuple[int]] = {
    f"{layer}.norm.{kind}": (channels,) for layer, channels in CHANNELS.items() for kind in ("gamma", "beta")
}
NUMBERS = sum(shape[0] for shape in SHAPES.values())


@dataclass(frozen=True, slots=True)
class StyleFile:
    """A learnt style: its numbers by key, and what is known of it in words."""

    row: Row
    about: dict[str, str]

    @property
    def qualities(self) -> dict[str, float]:
        """Return the measured quality by option, such as {"scale=0.5": 0.5}; empty when none was measured."""
        found = json.loads(self.about.get("qualities", "{}"))
        return {str(option): float(quality) for option, quality in found.items()}


def folder() -> Path:
    """Return where learnt styles are kept; it may not exist yet."""
    base = os.environ.get("XDG_DATA_HOME", "")  # the XDG rule: relative paths are to be ignored
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share") / "livelens" / "styles"


def path_of(name: str) -> Path:
    """Return the file of the style `name`; it may not exist."""
    return folder() / f"{name}{SUFFIX}"


def tuned_path(word: str, scale: float) -> Path:
    """Return the file of the numbers that a person has tuned style `word` ("12", "mine") to; it may not exist."""
    return folder() / "tuned" / f"{word}@{scale:g}{SUFFIX}"


def tuned(word: str, scale: float) -> Path | None:
    """Return the file that a style has at a scale: the person's own, else the one that ships; None when neither is."""
    own, shipped = tuned_path(word, scale), SHIPPED / f"style_{word}@{scale:g}{SUFFIX}"
    return own if own.is_file() else shipped if word.isdigit() and shipped.is_file() else None


def forget_tuned(word: str) -> None:
    """Delete what a person has tuned a style to."""
    for path in (folder() / "tuned").glob(f"{word}@*{SUFFIX}"):
        path.unlink(missing_ok=True)


def names() -> list[str]:
    """Return the names of the styles there are, by their files; none is read."""
    try:
        found = [path.stem for path in folder().iterdir() if path.suffix == SUFFIX and path.is_file()]
    except OSError:
        return []
    return sorted(name for name in found if NAME.fullmatch(name))


def read(path: Path) -> StyleFile:
    """Read and check a style. Raises ModelError that says what was expected and what came."""
    try:
        size = path.stat().st_size
        if size > BYTES_AT_MOST:
            raise ModelError(f"{_told(path)}: expected a learnt style of some 8 kB, got {size} bytes; {_WAY_OUT}")
        with safe_open(str(path), framework="numpy") as file:
            about = dict(file.metadata() or {})
            row = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no dict
    except FileNotFoundError:
        raise ModelError(f"{_told(path)}: there is no such file; {_WAY_OUT}") from None
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise ModelError(f"{_told(path)}: expected safetensors, got a damaged file ({error}); {_WAY_OUT}") from error
    if about.get("format") != FORMAT:
        raise ModelError(f"{_told(path)}: expected format {FORMAT!r}, got {about.get('format')!r}; {_WAY_OUT}")
    check(row, _told(path))
    found = StyleFile({key: np.asarray(value, np.float32) for key, value in row.items()}, about)
    _check_qualities(found, path)
    return found


_WAY_OUT = "learn it again with `livelens models learn-style PAINTING --name NAME --overwrite`, or delete it"


def check(row: Row, what: str) -> None:
    """Raise ModelError unless `row` has every key of a style, no other, the right shapes and only finite numbers."""
    if lacking := sorted(SHAPES.keys() - row.keys()):
        raise ModelError(f"{what}: expected {len(SHAPES)} keys, lacks {_some(lacking)}; {_WAY_OUT}")
    if unknown := sorted(row.keys() - SHAPES.keys()):
        raise ModelError(f"{what}: expected {len(SHAPES)} keys, got unknown {_some(unknown)}; {_WAY_OUT}")
    for key, shape in SHAPES.items():
        value = row[key]
        if value.shape != shape or value.dtype != np.float32:
            raise ModelError(f"{what}: {key}: expected {shape} float32, got {value.shape} {value.dtype}; {_WAY_OUT}")
        if not np.isfinite(value).all():
            raise ModelError(f"{what}: {key}: expected finite numbers, got NaN or infinity; {_WAY_OUT}")


def write(path: Path, style: StyleFile) -> None:
    """Write a style so that no reader ever sees half of it. Raises ModelError when the disk does not take it."""
    check(style.row, _told(path))
    data = save(dict(style.row), metadata={**style.about, "format": FORMAT})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", delete=False) as beside:
            beside.write(data)
        os.chmod(beside.name, 0o644)  # made for nobody else to read; this is no secret
        os.replace(beside.name, path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written: {error.strerror}; set XDG_DATA_HOME to another folder") from error


def with_row(weights: dict[str, NDArray[np.float32]], row: Row) -> dict[str, NDArray[np.float32]]:
    """Return the network's weights with one style more, behind those it has."""
    return {key: np.vstack([value, row[key][None]]) if key in row else value for key, value in weights.items()}


def row_of(weights: dict[str, NDArray[np.float32]], style: int) -> Row:
    """Return the numbers of one of the network's own styles."""
    return {key: np.array(weights[key][style], np.float32) for key in SHAPES}


def _check_qualities(style: StyleFile, path: Path) -> None:
    try:
        is_right = all(math.isfinite(value) and 0 <= value <= 1 for value in style.qualities.values())
    except (ValueError, TypeError, AttributeError):
        is_right = False
    if not is_right:
        got = style.about["qualities"]
        raise ModelError(f"{_told(path)}: qualities: expected numbers 0..1 by option, got {got!r:.80}; {_WAY_OUT}")


def _told(path: Path) -> str:
    return f"style file {path}"


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
