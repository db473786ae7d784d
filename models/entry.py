"""What a built-in model puts into the registry: its card, its options, and how to open it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from models.backends import BY_NAME, LAYOUTS, PRECISIONS
from models.base import Card, Model, Target
from models.runner import Network, Runner, open_runner
from stream.errors import ModelError

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Option:
    """A `key=value` a person may write behind a model's name.

    read     text to value; raises ValueError when the text is not allowed
    allowed  what is allowed, in words, for messages and `livelens models`
    default  the value when it is not written
    """

    name: str
    meaning: str
    allowed: str
    read: Callable[[str], Any]
    default: Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A model one can ask for by name. `open` may block for seconds; it raises ModelError.

    check  says what is missing before anything starts, such as a file; raises ModelError. None when nothing can be
    """

    card: Card
    options: tuple[Option, ...]
    open: Callable[[Card, Target, Values], Model]
    check: Callable[[Values], None] | None = None


@dataclass(frozen=True, slots=True)
class _Number:
    """Reads a number within low..high; the page shows a slider between them where it may change."""

    low: float
    high: float

    def __call__(self, text: str) -> float:
        value = float(text)
        if not self.low <= value <= self.high:  # also refuses nan
            raise ValueError(text)
        return value


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a reader of numbers within low..high."""
    return _Number(low, high)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within low..high."""

    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return read


def text(written: str) -> str:
    """Read any text that is not empty."""
    if not written:
        raise ValueError(written)
    return written


def one_of(*words: str) -> Callable[[str], str]:
    """Return a reader that takes one of `words`."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


def read_file(text: str) -> Path:
    """Return the path of a file that is there. Raises ValueError otherwise."""
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(text)
    return path


def _words(*words: str) -> tuple[str, Callable[[str], str]]:
    """Return what is allowed, in words, and its reader."""
    return f"{', '.join(words[:-1])} or {words[-1]}", one_of(*words)


BACKEND = Option("backend", "what runs the network", *_words("auto", *BY_NAME), "auto")
PRECISION = Option(
    "precision",
    "number format inside the network; auto takes bf16 or fp16 where the device is faster with it, never int8",
    *_words("auto", *PRECISIONS),
    "auto",
)
LAYOUT = Option(
    "layout", "order of a picture's numbers in memory, for the torch backends", *_words("auto", *LAYOUTS), "auto"
)
CALIBRATION = Option(
    "calibration", "clip that precision=int8 is fitted to, instead of the sample clip", "a video file", read_file, None
)
RUNNING = (BACKEND, PRECISION, LAYOUT, CALIBRATION)  # what every network of ours takes


def open_network(network: Network, target: Target, values: Values) -> Runner:
    """Return the runner that the resolved options ask for. Raises ModelError."""
    return open_runner(network, target, values["backend"], values["precision"], values["layout"], values["calibration"])


def described(options: tuple[Option, ...]) -> tuple[tuple[str, str], ...]:
    """Return the options as a card shows them."""
    return tuple((o.name, f"{o.meaning}: {o.allowed}{_default(o)}") for o in options)


def _default(option: Option) -> str:
    return "" if option.default is None else f" (default {option.default})"


def resolve(name: str, options: tuple[Option, ...], given: Mapping[str, str]) -> Values:
    """Return a value for every option. Raises ModelError naming the option, its value and what is allowed."""
    known = {option.name: option for option in options}
    values: Values = {option.name: option.default for option in options}
    for key, text in given.items():
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ModelError(f"{name}: no option {key!r} (got {key}={text}); it has {', '.join(known)}{hint}")
        try:
            values[key] = known[key].read(text)
        except ValueError as error:
            raise ModelError(f"{name}: option {key}={text!r} is not allowed: expected {known[key].allowed}") from error
    return values
