"""What `livelens models check` found of each variant on this machine, kept in the cache; models/ladder.py goes by it.

A finding holds for the versions, the weights and the device it was made with, and says nothing with others.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from models import checkpoint
from models.graph_cache import cache_folder
from models.registry import ParsedName, parse
from stream.errors import ModelError

log = logging.getLogger(__name__)

EQUIVALENT = ("backend", "precision", "layout", "calibration")  # change how a network runs, not what it is given
SHOWN_ONLY = ("where", "top", "classes", "score")  # options that choose what is shown of the same answer
KEPT_AT_MOST = 500  # findings; the oldest go first
VERSIONS_OF = ("livelens", "torch", "openvino", "onnxruntime", "nncf")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found of one variant.

    reason   why it is refused; "" when it reached its floors
    quality  0..1 against the reference
    speed    times as fast as what runs when nothing is said, on the same pictures
    data     what it was checked on
    """

    name: str
    variant: str
    reason: str
    quality: float
    speed: float
    data: str


def identity(name: str) -> str:
    """Return the name under which a variant's finding is kept: its options in order, without what is only shown."""
    return _spelled(parse(name))


def _spelled(parsed: ParsedName) -> str:
    kept = sorted((key, value) for key, value in parsed.options if key not in SHOWN_ONLY and value != "auto")
    head = f"{parsed.where}:{parsed.attribute}" if parsed.attribute else parsed.where
    return head + (":" + ",".join(f"{key}={value}" for key, value in kept) if kept else "")


def is_equivalent(name: str, other: str) -> bool:
    """Whether two names mean the same network on the same input, run another way."""
    one, two = parse(name), parse(other)
    return one.where == two.where and one.attribute == two.attribute and _input(one) == _input(two)


def _input(parsed: ParsedName) -> set[tuple[str, str]]:
    return {(k, v) for k, v in parsed.options if k not in EQUIVALENT and k not in SHOWN_ONLY}


def finding(name: str, device: str = "cpu") -> Finding | None:
    """Return what was found of a variant with the versions that are here; None when it was not checked."""
    try:
        return _read().get(_key(name, device))
    except ModelError:
        return None


def findings(device: str = "cpu") -> tuple[Finding, ...]:
    """Return everything that was found with the versions that are here, in the order it was found."""
    behind = _surroundings(device)
    return tuple(found for key, found in _read().items() if key.endswith(behind))


def refusal(name: str, device: str = "cpu") -> str:
    """Return why no ladder takes a variant: it was checked and did not reach its floors. "" when it may be taken."""
    found = finding(name, device)
    return found.reason if found is not None else ""


def remember(found: Iterable[Finding], device: str = "cpu") -> None:
    """Keep findings; earlier ones of the same variants are replaced. A cache that cannot be written is one warning."""
    kept = _read()
    for one in found:
        key = _key(one.name, device)
        kept.pop(key, None)
        kept[key] = one
    newest = dict(list(kept.items())[-KEPT_AT_MOST:])
    try:
        _write({key: asdict(one) for key, one in newest.items()})
    except OSError as error:
        log.warning("cannot keep what was found in %s (%s): variants will be taken as if not checked", kept_at(), error)


def kept_at() -> Path:
    """Return the file of the findings."""
    return cache_folder() / "checks.json"


def _key(name: str, device: str) -> str:
    return identity(name) + _surroundings(device)


def _surroundings(device: str) -> str:
    """Return what a finding holds for besides its name: device, versions, and the weights that ship."""
    weights = hashlib.sha256((checkpoint.FOLDER / "SHA256SUMS").read_bytes()).hexdigest()[:12]
    return "; ".join(["", device, *(f"{name} {text}" for name, text in versions().items()), f"weights {weights}"])


def versions() -> dict[str, str]:
    """Return the versions of what answers come from; "none" of what is not installed."""
    return {name: _version(name) for name in VERSIONS_OF}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _read() -> dict[str, Finding]:
    """Return the findings that are kept; a file that is missing or damaged holds none."""
    try:
        found = json.loads(kept_at().read_text("utf-8"))
        return {key: _finding(row) for key, row in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read (%s): run `livelens models check` again", kept_at(), error)
        return {}


def _finding(row: Any) -> Finding:
    found = Finding(**row)
    for field in fields(Finding):
        wanted = (int, float) if field.type is float else str
        if not isinstance(getattr(found, field.name), wanted):
            raise ValueError(f"{field.name} is {getattr(found, field.name)!r:.40}")
    return found


def _write(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write beside the place, then rename: no reader ever sees half of it."""
    path = kept_at()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=".checks-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
        os.replace(beside, path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
