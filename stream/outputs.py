"""Files that a command writes: checked before anything runs, then written whole or not at all."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from stream.errors import ConfigError

DEVICES = (Path("/dev"), Path("/proc"))  # nothing there may be replaced by a file


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> None:
    """Raise ConfigError for a file that cannot be written, or that is read as well. `outputs` are by their option."""
    taken = {path.resolve(): "is read by this command" for path in inputs}
    for option, path in outputs.items():
        if path is None:
            continue
        if (why := taken.get(path.resolve())) and not _is_device(path):
            raise ConfigError(f"{option} {path}: {why}; choose another name")
        taken[path.resolve()] = f"is written by {option} too"
        _check_place(option, path)


def write(path: Path, text: str) -> None:
    """Write beside the place, then rename, so that an earlier file is never half overwritten. Raises ConfigError."""
    beside = _beside(path)
    try:
        if _is_device(path):
            path.write_text(text, "utf-8", "replace")
            return
        beside.write_text(text, "utf-8", "replace")  # a file's name may be no text
        beside.replace(path.resolve())  # a link stays a link
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _check_place(option: str, path: Path) -> None:
    if path.is_dir():
        raise ConfigError(f"{option} {path}: is a folder; give the name of a file")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if path.exists() and not os.access(path, os.W_OK):
        raise ConfigError(f"{option} {path}: cannot be written; choose another name")
    if _is_device(path):
        return
    try:
        _beside(path).touch()
        _beside(path).unlink()
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written: {error.strerror}; choose another folder") from error


def _is_device(path: Path) -> bool:
    """Whether a path is a terminal, a pipe or the like."""
    return (path.exists() and not path.is_file()) or any(path.is_relative_to(folder) for folder in DEVICES)


def _beside(path: Path) -> Path:
    return path.resolve().with_name(f".livelens-{os.getpid()}.new")
