"""What the original networks answered, the pictures they were shown, and the means to ask them again."""

from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).parent
ORIGINALS = FOLDER / "originals"


def picture(name: str) -> np.ndarray:
    """Return the picture `name` (astronaut, coffee, street), `[H,W,3] uint8 rgb`."""
    image = cv2.imread(str(FOLDER / "pictures" / f"{name}.png"))
    assert image is not None, name
    return np.ascontiguousarray(image[:, :, ::-1])


def square_canvas(name: str) -> np.ndarray:
    """Return the picture in the upper left of a black 416x416 square."""
    image = picture(name)
    canvas = np.zeros((416, 416, 3), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def middle_of(name: str) -> np.ndarray:
    """Return the middle 224x224 of a 256x256 picture."""
    return np.ascontiguousarray(picture(name)[16:240, 16:240])


def answers(name: str) -> np.ndarray:
    """Return what the originals answered, kept by make_golden.py."""
    with np.load(FOLDER / "answers.npz") as kept:
        return kept[name]
