"""Read the committed weights: safetensors only, the checksum first, then every key and shape must match.

A weight may be kept as int8 with a float32 scale for each entry of its first axis, `x` beside `x_scale`: a quarter of
the size where the publisher's own numbers are 8-bit.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stream.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).parent / "weights"
SCALE = "_scale"  # behind the name of a weight that is kept as int8
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
    from safetensors.numpy import load

    return {key: value.astype(np.float32) for key, value in _scaled(load(_verified_bytes(name))).items()}


def load_into(network: "nn.Module", name: str) -> None:
    """Put the weights of `name` into `network`, as float32.

    Raises ModelError when the file is missing, its sha256 differs from SHA256SUMS, or a key or shape does not match.
    """
    from safetensors.torch import load  # late: it imports torch

    tensors = _scaled(load(_verified_bytes(name)))
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    _refuse("lack", name, sorted(wanted.keys() - found.keys()))
    _refuse("have unknown", name, sorted(found.keys() - wanted.keys()))
    _refuse(
        "do not fit at", name, [f"{k} (expected {wanted[k]}, got {found[k]})" for k in wanted if wanted[k] != found[k]]
    )
    network.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)


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


def _verified_bytes(name: str) -> bytes:
    file = path(name)
    if not file.is_file():
        raise ModelError(f"weights not found: expected {file}; convert them with models/weights/convert_{name}.py")
    data = file.read_bytes()
    expected, got = checksum(name), hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ModelError(f"weights {file} are damaged: expected sha256 {expected}, got {got}; restore the file")
    return data


def _refuse(what: str, name: str, keys: list[str]) -> None:
    if keys:
        more = f" and {len(keys) - _NAMED_AT_MOST} more" if len(keys) > _NAMED_AT_MOST else ""
        raise ModelError(f"weights of {name!r} {what} {', '.join(keys[:_NAMED_AT_MOST])}{more}")
