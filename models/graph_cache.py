"""Graphs that were made once and are kept on disk: for OpenVINO, for ONNX Runtime, and quantised ones.

A graph is a folder, named after the network and a digest of all that made it: weights, source, versions.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return where what can be made again is kept: $XDG_CACHE_HOME/livelens, else ~/.cache/livelens."""
    base = os.environ.get("XDG_CACHE_HOME", "")  # the XDG rule: relative paths are to be ignored
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "livelens"


def graph_folder(key: str) -> Path:
    """Return where the graph `key` is, or would be."""
    return cache_folder() / "graphs" / key


def keep(folder: Path, write: Callable[[Path], None]) -> bool:
    """Let `write` fill a folder beside its place, then rename it, so that no reader ever sees half of it.

    Returns False, with a warning, when the place cannot be written: that costs making it again at each start.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            write(beside)
            os.replace(beside, folder)
        except OSError:
            if not folder.is_dir():  # else another process was first with the same graph
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        log.warning("cannot keep the converted graph in %s (%s): each start will convert again", folder, error)
        return False
    return True


def forget(folder: Path, why: object) -> None:
    """Remove a graph that cannot be read, so that it is made again."""
    log.warning("cached graph %s is damaged, converting again: %s", folder, why)
    shutil.rmtree(folder, ignore_errors=True)
