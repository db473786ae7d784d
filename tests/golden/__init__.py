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


def people_of(name: str) -> np.ndarray:
    """Return a 192x192 part of a picture with somebody in it."""
    top, left = {"astronaut": (0, 40), "street": (90, 60)}[name]
    return np.ascontiguousarray(picture(name)[top : top + 192, left : left + 192])


def noise_parts(size_px: int) -> np.ndarray:
    """Return two parts of noise, `[2,size,size,3] uint8`."""
    return np.random.default_rng(5).integers(0, 256, (2, size_px, size_px, 3), np.uint8)


def answers(name: str, file: str = "answers") -> np.ndarray:
    """Return what the originals answered, kept by make_golden.py (answers) or make_people.py (people)."""
    with np.load(FOLDER / f"{file}.npz") as kept:
        return kept[name]
