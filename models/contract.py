"""Turn what a person's own model returns into what the pipeline takes, or say what was expected and what came.

Pure functions, and the one place where the program catches everything: `guarded`, around code that is not ours.

A generator may return, for an input of H x W pixels:
    [H,W,3] uint8 rgb              taken as it is (copied, so the model may reuse its buffer)
    [H,W,3] float 0..1             scaled; an overshoot of up to 0.5 is clipped
    [H,W] or [H,W,1]               grey, either type
    [H,W,4]                        rgba, either type: laid over the input picture by its alpha
A recogniser may return:
    Results                        checked
    supervision.Detections         missing confidence is 1, missing names are the class ids; masks are joined to one
    a list of dicts                {"box": (x1, y1, x2, y2), "score": 0..1, "label": text}; only "box" is a must
    a list of tuples               (x1, y1, x2, y2), (x1, y1, x2, y2, score) or (x1, y1, x2, y2, score, label)
Arrays may be numpy, torch (any device) or anything numpy can read. Boxes are pixels of the input and are clipped to it.
"""

import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.errors import ModelError
from stream.frame import Picture
from stream.results import Results

T = TypeVar("T")

OVERSHOOT = 0.5  # how far floats may leave 0..1: networks overshoot a little; 0..255 or -1..1 is a mistake
_UNNAMED = "object"


def guarded(what: str, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call code that is not ours; whatever it raises becomes a ModelError that names it, chained."""
    try:
        return call(*args, **kwargs)
    except ModelError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{what}: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Return where in its file an error was raised; the traceback itself is not kept, it holds pictures."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # without our own call
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def to_picture(value: object, image: Picture, name: str) -> Picture:
    """Return `[H,W,3] uint8 rgb`, a new array of the size of `image`, the picture that went in."""
    height, width = image.shape[:2]
    expected = f"{name}: expected a picture [{height},{width},3] (also grey or rgba) of uint8, or of float 0..1"
    array = _array(value, expected)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[:2] != (height, width) or array.shape[2] not in (1, 3, 4):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[1:] == (height, width):
            hint = "; the channels come first here, turn it with transpose(1, 2, 0)"
        raise ModelError(f"{expected}, got shape {list(array.shape)}{hint}")
    pixels = _uint8(array, expected)
    if pixels.shape[2] == 4:
        return _lay_over(image, pixels)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.array(pixels, order="C")


def _array(value: object, expected: str) -> NDArray[Any]:
    if value is None:
        raise ModelError(f"{expected}, got None; does the model return its picture?")
    detach = getattr(value, "detach", None)  # a torch tensor, which numpy cannot read while it is on a GPU or trains
    try:
        array = np.asarray(detach().cpu() if detach is not None else value)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{expected}, got {type(value).__name__}") from error
    if array.dtype == object or array.dtype.kind not in "uifb":
        raise ModelError(f"{expected}, got {type(value).__name__}")
    return array


def _uint8(array: NDArray[Any], expected: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise ModelError(f"{expected}, got {array.dtype}")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ModelError(f"{expected}, got NaN or infinity")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise ModelError(f"{expected}, got {array.dtype} from {low:.4g} to {high:.4g}")
    scaled: NDArray[np.uint8] = (np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8)
    return scaled


def _lay_over(image: Picture, rgba: NDArray[np.uint8]) -> Picture:
    alpha = rgba[:, :, 3:].astype(np.uint16)
    mixed: Picture = ((rgba[:, :, :3] * alpha + image * (255 - alpha) + 127) // 255).astype(np.uint8)
    return mixed


def to_results(value: object, height: int, width: int, name: str) -> Results:
    """Return checked `Results` for a picture of `height` x `width`."""
    if isinstance(value, Results):
        found = value
    elif all(hasattr(value, field) for field in ("xyxy", "confidence", "class_id")):
        found = _from_detections(value)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        found = _from_list(value, name)
    else:
        raise ModelError(
            f"{name}: expected Results, supervision.Detections, or a list of dicts or (x1, y1, x2, y2, score, label), "
            f"got {type(value).__name__}" + ("; return [] when nothing is found" if value is None else "")
        )
    return _checked(found, height, width, name)


def _from_detections(detections: Any) -> Results:
    count = len(detections.xyxy)
    ids = np.zeros(count, np.int64) if detections.class_id is None else np.asarray(detections.class_id, np.int64)
    scores = np.ones(count) if detections.confidence is None else detections.confidence
    names = (detections.data or {}).get("class_name", ids)
    mask = None
    if getattr(detections, "mask", None) is not None and count:
        mask = np.where(np.asarray(detections.mask).any(axis=0), 255, 0).astype(np.uint8)
    return Results(
        boxes=np.asarray(detections.xyxy, np.float32).reshape(-1, 4),
        scores=np.asarray(scores, np.float32),
        class_ids=ids,
        labels=tuple(str(label) for label in names),
        mask=mask,
        track_ids=getattr(detections, "tracker_id", None),
    )


def _from_list(items: Sequence[Any], name: str) -> Results:
    rows = [_row(item, name) for item in items]
    return Results(
        boxes=np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in rows], np.float32),
        class_ids=np.array([_class_id(label) for _, _, label in rows], np.int64),
        labels=tuple(label for _, _, label in rows),
    )


def _row(item: Any, name: str) -> tuple[tuple[float, ...], float, str]:
    """Return (box, score, label) of one finding."""
    try:
        if isinstance(item, Mapping):
            box, score, label = item["box"], item.get("score", 1.0), item.get("label", _UNNAMED)
        else:
            values = list(item)
            if len(values) > 6:
                raise ValueError("more than six values")
            box = values[:4]
            score = values[4] if len(values) > 4 else 1.0
            label = values[5] if len(values) > 5 else _UNNAMED
        left, top, right, bottom = (float(v) for v in box)
        return (left, top, right, bottom), float(score), str(label)
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(
            f'{name}: expected {{"box": (x1, y1, x2, y2), "score": 0..1, "label": text}} or '
            f"(x1, y1, x2, y2, score, label), got {item!r:.200}"
        ) from error


def _class_id(label: str) -> int:
    """Return the same small number for the same label in every process, so that a label keeps its colour."""
    return zlib.crc32(label.encode()) % 1000


def _checked(found: Results, height: int, width: int, name: str) -> Results:
    boxes = np.asarray(found.boxes, np.float32)
    if wrong := replace(found, boxes=boxes, scores=np.asarray(found.scores, np.float32)).fault(height, width):
        raise ModelError(f"{name}: {wrong}")
    limits = np.array([width, height, width, height], np.float32)
    return Results(
        boxes=np.clip(boxes, 0, limits),
        scores=np.asarray(found.scores, np.float32),
        class_ids=np.asarray(found.class_ids, np.int64),
        labels=tuple(found.labels),
        mask=found.mask,
        classes=tuple(found.classes),
        keypoints=None if found.keypoints is None else np.asarray(found.keypoints, np.float32),
        track_ids=None if found.track_ids is None else np.asarray(found.track_ids, np.int64),
    )
