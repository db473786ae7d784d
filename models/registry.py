"""Find a model by the name a person types, and load it.

    NAME              registry name, as `livelens models` lists them: style/12, mask/person, boxes/coco
    package.module:x  a class or function of your own in an installed module
    path/file.py:x    the same in a file
each with `:key=value,...` behind; a value with a comma is written in double quotes. Reading a name imports neither
torch nor openvino.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from models import (
    any_style,
    background,
    boxes,
    classify,
    diffusion,
    enlarge,
    faces,
    learnt,
    person_mask,
    pose,
    style,
    torchvision_models,
)
from models.base import Card, Kind, Model, Target
from models.contract import guarded
from models.entry import Entry, Values, resolve
from models.torchvision_weights import DEFAULT, FAMILY, existing, weights_of
from models.tracking import TRACK, TrackedModel, Tracker, trackable
from models.user import check_defines, check_exists, find, open_user_model, takes
from stream.errors import ModelError

log = logging.getLogger(__name__)

GROUP = "livelens.models"  # entry points: name -> create(target, **options) -> Model, with the Card as `create.card`
_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')  # not inside double quotes
_SHOWN_AT_MOST = 8  # names listed in a message


@dataclass(frozen=True, slots=True)
class ParsedName:
    """A model's name, read and checked.

    where      registry name, module, or file
    attribute  class or function in the module or file; None for a registry name
    options    as typed, in order; for a registry model they are known and allowed
    """

    text: str
    where: str
    attribute: str | None
    options: tuple[tuple[str, str], ...]


OURS = (
    style,
    any_style,
    background,
    diffusion,
    enlarge,
    person_mask,
    pose,
    faces,
    boxes,
    classify,
    torchvision_models,
)  # each has `entries()`


@cache
def _built_in() -> dict[str, Entry]:
    return {entry.card.name: trackable(entry) for module in OURS for entry in module.entries()}


def _entry(name: str) -> Entry | None:
    """Return one of our models or a learnt style, whose file is then read; None for another. Raises ModelError."""
    return _built_in().get(name) or learnt.find(name)


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in _built_in()}


def cards() -> list[Card]:
    """Return the card of every model by name, those of installed packages too; a broken package is a warning."""
    found = [entry.card for entry in (*_built_in().values(), *learnt.entries())]
    for name, point in _plugins().items():
        try:
            found.append(_plugin_card(_load_plugin(name, point), name))
        except ModelError as error:
            log.warning("model %s is left out: %s", name, error)
    return found


def parse(name: str, kind: Kind | None = None) -> ParsedName:
    """Read `name` and check what can be checked without loading anything. Raises ModelError.

    An unknown name, an option that is not allowed, a missing file, or a registry model of another kind than `kind`.
    """
    head, _, rest = name.partition(":")
    attribute, _, behind = rest.partition(":")
    is_file = head.endswith(".py")
    if head not in _names() and (is_file or _ATTRIBUTE.fullmatch(attribute)) and "/" not in attribute:
        return _parse_own(name, head, attribute, behind, is_file)
    if head not in _names():
        raise ModelError(_unknown(head))
    parsed = ParsedName(name, head, None, _read_options(name, rest))
    if (entry := _entry(head)) is not None:
        _check_kind(entry.card, kind)
        resolve(head, entry.options, dict(parsed.options))
    return parsed


def check_there(name: str) -> None:
    """Raise ModelError when a model's weights, or a file that its options name, are not here or not what they must be.

    Apart from `parse`, since a name is also read where its files need not be: of a recording made elsewhere. For
    torchvision's networks it imports torch.
    """
    parsed = parse(name)
    entry = None if parsed.attribute is not None else _built_in().get(parsed.where)
    if entry is not None and entry.check is not None:
        entry.check(resolve(parsed.where, entry.options, dict(parsed.options)))
    if parsed.attribute is None and parsed.where.startswith(FAMILY):
        network = parsed.where.removeprefix(FAMILY)
        existing(network, weights_of(network, dict(parsed.options).get("weights", DEFAULT)))


def is_built_in(name: str) -> bool:
    """Whether a name is of a model that comes with the program, so that reading it from a file runs no other code.

    A learnt style counts: its file holds numbers only.
    """
    parsed = parse(name)
    return parsed.attribute is None and _entry(parsed.where) is not None


def lacking(generate: str, recognize: Iterable[str]) -> frozenset[str]:
    """Return the result fields that a generator needs and none of the recognisers gives, as far as it can be known.

    A model of your own, or of a package, may give anything: beside one, nothing is said to lack.
    """
    own = {name: _entry(parse(name).where) for name in (generate, *recognize)}
    if None in own.values():
        return frozenset()
    given = frozenset[str]().union(*(own[name].card.gives for name in recognize))  # type: ignore[union-attr]
    return own[generate].card.needs - given  # type: ignore[union-attr]


def load(name: str, target: Target, kind: Kind | None = None) -> Model:
    """Return the model `name` on `target`; may block for seconds. `kind` is what it is wanted for.

    Raises ModelError as `parse` does, and when the model cannot be loaded.
    """
    parsed = parse(name, kind)
    if parsed.attribute is not None:
        if kind is None:
            raise ModelError(f"{name}: say what your own model does, with --recognize or --generate")
        return _open_own(name, parsed, parsed.attribute, target, kind)
    if (entry := _entry(parsed.where)) is not None:
        values: Values = resolve(parsed.where, entry.options, dict(parsed.options))
        return entry.open(entry.card, target, values)
    return _open_plugin(parsed, target, kind)


def _open_own(name: str, parsed: ParsedName, attribute: str, target: Target, kind: Kind) -> Model:
    """Open a person's own model; `track=on` is ours, unless the model has an option of that name."""
    options = dict(parsed.options)
    is_ours = kind is Kind.RECOGNIZE and TRACK.name in options and not takes(code_of(parsed), TRACK.name)
    track = resolve(name, (TRACK,), {TRACK.name: options.pop(TRACK.name)})[TRACK.name] if is_ours else "off"
    model = open_user_model(name, parsed.where, attribute, options, target, kind)
    return TrackedModel(model, Tracker(0.0)) if track == "on" else model


def code_of(parsed: ParsedName) -> Callable[..., object] | None:
    """Return the class, function or package's factory behind a name, imported; None for one of ours.

    Raises ModelError.
    """
    if parsed.attribute is not None:
        found: Callable[..., object] = find(parsed.text, parsed.where, parsed.attribute)
        return found
    return None if _entry(parsed.where) else _load_plugin(parsed.where, _plugins()[parsed.where])


def _names() -> list[str]:
    return [*_built_in(), *learnt.names(), *_plugins()]


def _parse_own(name: str, head: str, attribute: str, behind: str, is_file: bool) -> ParsedName:
    if not _ATTRIBUTE.fullmatch(attribute):
        raise ModelError(f"{name}: say which class or function of the file, as in {head}:Name")
    if not is_file and not _ATTRIBUTE.fullmatch(head):
        raise ModelError(_unknown(head))
    check_exists(name, head)
    if is_file:
        check_defines(name, head, attribute)
    return ParsedName(name, head, attribute, _read_options(name, behind))


def _read_options(name: str, text: str) -> tuple[tuple[str, str], ...]:
    options: dict[str, str] = {}
    for part in _COMMA.split(text) if text else ():
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if value.count('"') not in (0, 2) or '"' in value[1:-1]:
            raise ModelError(f"{name}: expected double quotes around all of a value, got {part!r}")
        if not key.isidentifier() or not equals:
            raise ModelError(f"{name}: expected key=value behind the name, got {part!r}")
        if key in options:
            raise ModelError(f"{name}: option {key!r} is given twice")
        options[key] = value.strip('"')
    return tuple(options.items())


def quoted(value: str) -> str:
    """Return an option's value as it must be written in a name."""
    return f'"{value}"' if "," in value else value


def _unknown(head: str) -> str:
    near = get_close_matches(head, _names(), 3, 0.5) or [n for n in _names() if head and head in n][:_SHOWN_AT_MOST]
    hint = f"; did you mean {' or '.join(near)}?" if near else ";"
    return f"no model {head!r}{hint} `livelens models` lists them; your own is path/file.py:Name or package.module:name"


def _check_kind(card: Card, kind: Kind | None) -> None:
    if kind is not None and card.kind is not kind:
        does = "recognizes" if card.kind is Kind.RECOGNIZE else "generates"
        raise ModelError(f"{card.name} {does}; give it with --{card.kind}, not with --{kind}")


def _load_plugin(name: str, point: EntryPoint) -> Callable[..., Model]:
    create: Callable[..., Model] = guarded(f"model {name} of {point.value}", point.load)
    return create


def _plugin_card(create: Callable[..., Model], name: str) -> Card:
    card = getattr(create, "card", None)
    if not isinstance(card, Card):
        raise ModelError(f"model {name}: expected `create.card` to be a models.base.Card, got {type(card).__name__}")
    return card


def _open_plugin(parsed: ParsedName, target: Target, kind: Kind | None) -> Model:
    create = _load_plugin(parsed.where, _plugins()[parsed.where])
    _check_kind(_plugin_card(create, parsed.where), kind)
    model = guarded(f"model {parsed.where}", create, target, **dict(parsed.options))
    if not isinstance(model, Model):
        raise ModelError(f"model {parsed.where}: expected a models.base.Model, got {type(model).__name__}")
    return model
