"""Styles that a person has learnt, as models: `style/mine` beside `style/0` .. `style/25`.

The network gets one style more, the 27th; everything else is what every style has. See stylefile.py for the files.
"""

import logging
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from models import style, stylefile
from models.base import Card, Target
from models.entry import Entry, Option, Values
from models.style import STYLES, StyleModel, read_blend
from models.stylefile import NAME, NAME_RULE, StyleFile
from stream.errors import ModelError

log = logging.getLogger(__name__)

FAMILY = "style/"
RESERVED = frozenset({"style/any"})  # a name that says what a style is made of, not which it is


def names() -> list[str]:
    """Return the registry names of the styles there are; no file is read."""
    return [FAMILY + name for name in stylefile.names() if FAMILY + name not in _taken()]


def find(name: str) -> Entry | None:
    """Return the entry of a learnt style by its registry name; None when there is none. Raises ModelError."""
    found = opened(name)
    return None if found is None else _entry(name, found)


def entries() -> list[Entry]:
    """Return every learnt style; one whose file cannot be used is a warning."""
    found = []
    for name in names():
        try:
            found.append(_entry(name, stylefile.read(path_of(name))))
        except ModelError as error:
            log.warning("model %s is left out: %s", name, error)
    return found


def opened(name: str) -> StyleFile | None:
    """Return the file of a learnt style by its registry name; None when it is no learnt style. Raises ModelError."""
    is_ours = name.startswith(FAMILY) and NAME.fullmatch(name.removeprefix(FAMILY)) and name not in _taken()
    path = path_of(name) if is_ours else None
    return stylefile.read(path) if path is not None and path.is_file() else None


def path_of(name: str) -> Path:
    """Return the file of a learnt style by its registry name."""
    return stylefile.path_of(name.removeprefix(FAMILY))


def check_name(name: str, may_overwrite: bool) -> Path:
    """Return where the style `name` is to be kept. Raises ModelError for a name that is not allowed or is taken."""
    if not NAME.fullmatch(name):
        raise ModelError(f"name {name!r}: expected {NAME_RULE}")
    if FAMILY + name in _taken():
        raise ModelError(f"name {name!r} is taken by the built-in {FAMILY}{name}; choose another")
    path = stylefile.path_of(name)
    if path.exists() and not may_overwrite:
        raise ModelError(f"{FAMILY}{name} exists already ({path}); choose another name, or say --overwrite")
    return path


def styles_of(name: str, blend: str | None) -> list[int]:
    """Return the numbers of the styles in a blend of the learnt style `name`; STYLES is the learnt one itself."""
    return [number for number, _ in (_blend(name)(blend) if blend else ((STYLES, 1.0),))]


@cache
def _taken() -> frozenset[str]:
    return RESERVED | {entry.card.name for entry in style.entries()}


def _blend(name: str) -> Callable[[str], tuple[tuple[int, float], ...]]:
    """Return a reader of blends that knows the learnt style by its name: `mine:0.6+12:0.4`."""
    own = re.compile(rf"(^|\+)\s*{re.escape(name.removeprefix(FAMILY))}\s*(?=[:+]|$)")
    return lambda text: read_blend(own.sub(rf"\g<1>{STYLES}", text), STYLES + 1)


def _entry(name: str, found: StyleFile) -> Entry:
    word = name.removeprefix(FAMILY)
    about = found.about
    card = Card(
        name=name,
        kind=style.entries()[0].card.kind,
        summary=f"learnt from {about.get('painting', 'a painting')}, {about.get('date', 'on an unknown day')}",
        licence="that of your painting; Apache-2.0 (network)",
        origin=f"livelens models learn-style, in {path_of(name)}",
    )
    allowed = f"such as {word}:0.6+12:0.4, styles 0..25 and {word}"
    blend = Option("blend", "mix styles instead of the one named", allowed, _blend(name), None)
    options = tuple(blend if option.name == "blend" else option for option in style.OPTIONS)
    return Entry(card, options, partial(_open, path_of(name)))


def _open(path: Path, card: Card, target: Target, values: Values) -> StyleModel:
    return style.open_style(card, target, values, style.network_of(STYLES + 1, path), STYLES)
