"""A model's ladder: the lighter variants of it whose quality was measured."""

from dataclasses import dataclass

from models.base import Kind


@dataclass(frozen=True, slots=True)
class Rung:
    """A variant by the name a person types, and its quality 0..1 against the first."""

    name: str
    quality: float


_LIGHTER = {"style": (("scale=0.75", 0.53), ("scale=0.5", 0.40)), "boxes": (("size=320", 0.78),)}


def ladder(name: str, kind: Kind | None = None) -> tuple[Rung, ...]:
    """Return the variants of a model from best to lightest; the first is the model itself."""
    head, _, rest = name.partition(":")
    if head.endswith(".py") or "." in head:
        return (Rung(name, 1.0),)
    found = [Rung(name, 1.0)]
    for option, quality in _LIGHTER.get(head.partition("/")[0], ()):
        key = option.partition("=")[0]
        if f"{key}=" not in rest:
            found.append(Rung(f"{name}{',' if rest else ':'}{option}", quality))
    return tuple(found)
