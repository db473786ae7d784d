"""Options of a model that may change while it plays: read, checked, and described for the page."""

from collections.abc import Iterable, Mapping
from typing import Any

from models.entry import Option, Values, resolve


class LiveOptions:
    """Holds the present values of some of a model's options. One thread at a time sets them; any may describe."""

    def __init__(self, model: str, options: Iterable[Option], names: Iterable[str], values: Values) -> None:
        """`model` begins messages; `names` are the options that may change, `values` all the resolved ones."""
        wanted = set(names)
        self._model = model
        self._options = tuple(option for option in options if option.name in wanted)
        self.names = frozenset(wanted)
        self.values: Values = {option.name: values[option.name] for option in self._options}

    def read(self, given: Mapping[str, str]) -> Values:
        """Return every value with the given ones in place. Raises ModelError with one line for one not allowed."""
        found = resolve(self._model, self._options, given)
        return self.values | {name: found[name] for name in given}

    def set(self, values: Values) -> None:
        """Take what `read` has returned."""
        self.values = values

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return for each option its value as a person writes it, what it means, what is allowed, and its range."""
        return {
            option.name: {
                "value": written(self.values[option.name]),
                "meaning": option.meaning,
                "allowed": option.allowed,
                "low": getattr(option.read, "low", None),
                "high": getattr(option.read, "high", None),
            }
            for option in self._options
        }


def written(value: Any) -> str:
    """Return a value as a person writes it: 0.5, an oil painting, 2:0.3+12:0.7; "" for none."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):  # a blend of (style, share)
        return "+".join(f"{style}:{share:g}" for style, share in value)
    return str(value)
