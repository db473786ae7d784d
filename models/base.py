"""What a model is: a callable on one picture, with a card that says what it needs and gives."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np

from stream.frame import Picture
from stream.results import Results


class Kind(StrEnum):
    """What a model does to a picture."""

    RECOGNIZE = "recognize"  # returns Results
    GENERATE = "generate"  # returns a new picture of the same size, or of `enlargement` times its width and height


@dataclass(frozen=True, slots=True)
class Card:
    """What a person and the pipeline need to know of a model before it is loaded.

    gives      result fields it fills: "boxes", "mask", "classes", "keypoints"; empty for generation
    needs      result fields that another model beside it must give, such as "mask"
    max_age_ms how old its results may be when a frame reuses them; 0 when they may not be reused
    options    name -> what it means and what is allowed, for `livelens models`
    collection of many that are listed in one line, which; `livelens models list COLLECTION` names them. "" for none
    """

    name: str
    kind: Kind
    summary: str
    licence: str
    origin: str
    gives: frozenset[str] = frozenset()
    max_age_ms: float = 0.0
    options: tuple[tuple[str, str], ...] = ()
    needs: frozenset[str] = frozenset()
    collection: str = ""


@runtime_checkable
class Model(Protocol):
    """A loaded model, for one stream. Called from one worker thread at a time."""

    card: Card
    variant: str  # backend and precision in words, such as "openvino bf16"

    def warm(self, height: int, width: int) -> None:
        """Compile for pictures of this size and run until steady. May block for seconds."""
        ...

    def __call__(self, image: Picture) -> Picture | Results:
        """Apply the model to `[H,W,3] uint8 rgb`; a generator returns the same type, and the same
        shape unless it has a whole number `enlargement`: so many times the height and width.
        """
        ...

    def close(self) -> None:
        """Free what it holds. Idempotent."""
        ...


class Launched(Protocol):
    """Work that a GPU has been given and that nobody waits for yet.

    A model may have `launch(images) -> Launched`, whose result is a list of what it gives for each picture. Then a GPU
    is given the next picture while it works on this one. `launch` may not wait for the GPU.
    """

    def wait(self) -> None:
        """Block until the GPU is done with it; without the GIL, and never for the whole device."""
        ...

    def result(self) -> Any:
        """Return what came of it. Only after `wait`."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where a model runs."""

    device: str = "cpu"  # "cpu", "cuda:N"
    threads: int = 0  # CPU threads it may use; 0 leaves the choice to the backend


Factory = Callable[..., Model]  # factory(target: Target, **options: str) -> Model; raises ModelError


def run_twice(model: Callable[[Picture], object], height: int, width: int) -> None:
    """Run a model on a black picture of this size until it is steady: the first run compiles, and still allocates."""
    for _ in range(2):
        model(np.zeros((height, width, 3), np.uint8))
