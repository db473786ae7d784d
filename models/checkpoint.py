"""Read weights. The committed ones: safetensors, the checksum first, then every key and shape must match.

A person's own file (`load_file`) may be a pickle of torch as well; what would run code is refused unread. Files are
mapped, so a tensor is read from the disk when it is first used.

A weight may be kept as int8 with a float32 scale for each entry of its first axis, `x` beside `x_scale`: a quarter of
the size where the publisher's own numbers are 8-bit.
"""

import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER = Path(__file__).parent / "weights"
SCALE = "_scale"  # behind the name of a weight that is kept as int8
_NESTED_UNDER = ("state_dict", "model", "params")  # where trainers keep the state dict beside the optimiser's state
_FORBIDDEN = ("a pickle that would run code; it was not run", "Weights only load failed")
_NAMED_AT_MOST = 3  # keys shown in a message before "and N more"


def path(name: str) -> Path:
    """Return where the weights of network `name` lie."""
    return FOLDER / f"{name}.safetensors"


@cache
def checksum(name: str) -> str:
    """Return the sha256 that the weights of `name` must have, from SHA256SUMS. Raises ModelError when not listed."""
    listed = FOLDER / "SHA256SUMS"
    if not listed.is_file():
        raise ModelError(f"weights list not found: expected {listed}; reinstall livelens, or run from a full checkout")
    for line in listed.read_text().splitlines():
        digest, _, file = line.partition("  ")
        if file == path(name).name:
            return digest
    raise ModelError(
        f"weights of {name!r} are not listed in {listed}; convert them with models/weights/convert_{name}.py"
    )


@cache
def labels(name: str) -> tuple[str, ...]:
    """Return the label list `name` ("coco", "imagenet"), one name per class id."""
    return tuple((FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def arrays(name: str) -> dict[str, NDArray[np.float32]]:
    """Return the weights of `name` as float32, by key. Raises ModelError when the file is missing or damaged."""
    return {key: value.astype(np.float32) for key, value in _scaled(_mapped(_verified(name), "numpy")).items()}


def load_into(network: "nn.Module", name: str) -> None:
    """Put the weights of `name` into `network`, as float32.

    Raises ModelError when the file is missing, its sha256 differs from SHA256SUMS, or a key or shape does not match.
    """
    put_into(network, _scaled(_mapped(_verified(name), "pt")), repr(name))


def load_file(file: Path, sha256: str | None = None) -> "dict[str, Tensor]":
    """Return the tensors of a person's own weight file, by key: .safetensors, or a state dict saved by torch.

    A state dict may lie under "state_dict", "model" or "params", as trainers write it. `sha256` is what the file must
    have, None for any. Imports torch. Raises ModelError when it is not there, not whole, or holds anything but tensors.
    """
    if not file.is_file():
        raise ModelError(f"weights {file}: expected a .safetensors, .pt or .pth file, found none there")
    if sha256 is not None:
        _check_digest(file, sha256.lower())
    try:
        if file.suffix == ".safetensors":
            return _mapped(file, "pt")
        found = _unpickled(file)
    except Exception as error:  # each format has errors of its own; torch raises a dozen types for damaged files
        raise ModelError(f"weights {file}: expected {_expected(file)}, got {_first_line(error)}") from error
    for key in _NESTED_UNDER:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    return _only_tensors(found, file)


def put_into(network: "nn.Module", tensors: "Mapping[str, Tensor]", what: str) -> None:
    """Put tensors into `network`, as float32. Raises ModelError when a key or a shape does not match, naming each."""
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    _refuse("lack", what, sorted(wanted.keys() - found.keys()))
    _refuse("have unknown", what, sorted(found.keys() - wanted.keys()))
    _refuse(
        "do not fit at", what, [f"{k} (expected {wanted[k]}, got {found[k]})" for k in wanted if wanted[k] != found[k]]
    )
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)


def _unpickled(file: Path) -> Any:
    """Read a pickle of torch with its restricted reader: anything but plain tensors and containers raises."""
    import torch

    with warnings.catch_warnings():  # torch tells of an odd pickle besides refusing it; one line is enough
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file) or None)


def _only_tensors(found: Any, file: Path) -> "dict[str, Tensor]":
    import torch

    if not isinstance(found, Mapping) or not found:
        raise ModelError(f"weights {file}: expected tensors by name, got {type(found).__name__}")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ModelError(f"weights {file}: expected a tensor at {key!r}, got {type(value).__name__}")
    return dict(found)


def _expected(file: Path) -> str:
    return "safetensors" if file.suffix == ".safetensors" else "tensors saved by torch and nothing that runs code"


def _first_line(error: Exception) -> str:
    """Return the part of an error that says what was found; torch's go on with advice to switch the check off."""
    text = str(error).strip()
    return _FORBIDDEN[0] if _FORBIDDEN[1] in text else (text.splitlines() or [type(error).__name__])[0][:200]


def _mapped(file: Path, framework: str) -> dict[str, Any]:
    """Return the tensors of a safetensors file, mapped. Raises ModelError when it is not one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework) as opened:
            keys: list[str] = opened.keys()
            return {key: opened.get_tensor(key) for key in keys}
    except SafetensorError as error:
        raise ModelError(f"weights {file}: expected safetensors, got {_first_line(error)}") from error


def _scaled(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors with each `x` that has an `x_scale` multiplied by it, row by row."""
    found = {}
    for key, value in stored.items():
        scale = stored.get(key + SCALE)
        if scale is not None:
            found[key] = value * scale.reshape(-1, *[1] * (value.ndim - 1))
        elif not (key.endswith(SCALE) and key.removesuffix(SCALE) in stored):
            found[key] = value
    return found


def _verified(name: str) -> Path:
    """Return the file of the committed weights of `name`, whole. Raises ModelError."""
    file = path(name)
    if not file.is_file():
        raise ModelError(f"weights not found: expected {file}; convert them with models/weights/convert_{name}.py")
    _check_digest(file, checksum(name))
    return file


def _check_digest(file: Path, expected: str) -> None:
    with file.open("rb") as opened:
        got = hashlib.file_digest(opened, "sha256").hexdigest()
    if got != expected:
        raise ModelError(f"weights {file} are damaged: expected sha256 {expected}, got {got}; restore the file")


def _refuse(what: str, name: str, keys: list[str]) -> None:
    if keys:
        more = f" and {len(keys) - _NAMED_AT_MOST} more" if len(keys) > _NAMED_AT_MOST else ""
        raise ModelError(f"weights of {name} {what} {', '.join(keys[:_NAMED_AT_MOST])}{more}")
