"""Which variants of a model there are: each way to run it, and its lighter options.

A way is a backend with a number format, and where the backend lets one choose, the layout of pictures in memory; they
come from models/backends.py, so a backend that is added there is measured without a change here. The lighter options
are those of models/ladder.py. Nothing is loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from models.backends import BACKENDS, LAYOUTS, Backend, device_kind, missing
from models.base import Kind
from models.ladder import is_allowed, ladder, measured, spelled
from models.reference import REFERENCE, reference_of
from models.registry import ParsedName, cards, code_of, parse
from stream.errors import ModelError

ALL = "all"  # the word for every variant
PRODUCT = "product"  # ... and every lighter option in each way, besides
SEEN_ONLY: Mapping[str, tuple[str, ...]] = {"where": ("all", "background")}  # of the picture shown, not of the work


class Role(StrEnum):
    """What a variant is to its model."""

    REFERENCE = "reference"  # torch fp32: slow, and what quality is measured against
    DEFAULT = "as it is"  # what runs when nothing is said
    LIGHTER = "lighter"  # a rung of the ladder
    WAY = "way"  # another backend, number format or layout


@dataclass(frozen=True, slots=True)
class Offered:
    """A variant that may be measured.

    name     as a person types it, such as "style:backend=torch,precision=fp32"
    label    how it runs, such as "torch fp32"; "" where that is left to the model
    role     what it is to its model
    rung     the lighter options of it, such as "scale=0.5"; "" for the model's own
    why_not  why it cannot run here, and what to do; None when it can be tried
    """

    name: str
    label: str
    role: Role
    rung: str = ""
    why_not: str | None = None


def offered(name: str, device: str = "cpu", words: Sequence[str] = (), kind: Kind | None = None) -> tuple[Offered, ...]:
    """Return the variants of a model, the reference first, then the model as it is.

    Without `words`, its ladder; with ALL also each way to run it, and with PRODUCT each lighter option in each way. Any
    other word keeps those whose name or label has it ("openvino", "bf16", "scale"); reference and model stay.
    Raises ModelError for a name that cannot be read, and for a word that no variant has.
    """
    parsed = parse(name, kind)
    reference = _reference(name, parsed)
    rungs = ladder(name, kind, device)
    default = Offered(rungs[0].name, "", Role.DEFAULT)  # in fp32 where the usual way was found below its floors here
    ends = [default] if reference is None else [reference, default]
    if reference is not None and dict(parse(reference.name).options) == dict(parsed.options):
        ends = [replace(reference, name=name)]
    wanted = [word.strip().lower() for word in words if word.strip()]
    if not wanted:
        return tuple(ends + [_lighter(name, rung.name) for rung in rungs[1:]])
    light = {rung.name: _lighter(name, rung.name) for rung in rungs[1:]}
    light |= {rung.name: _lighter(name, rung.name) for rung in (measured(name) if code_of(parsed) is None else ())}
    ways = [] if reference is None else _ways(parsed, device)
    more = _products(list(light.values()), device) if PRODUCT in wanted else []
    known = {one.name for one in ends}
    found = {one.name: one for one in [*ways, *more]} | light  # int8 may be a way and a rung
    others = [one for one in found.values() if one.name not in known]
    if ALL in wanted or PRODUCT in wanted:
        return tuple(ends + others)
    return tuple(ends + _having(name, wanted, others, ends))


def kind_of(name: str, kind: Kind | None = None) -> Kind:
    """Return what a model does; `kind` is for one of your own, whose name does not say. Raises ModelError."""
    parsed = parse(name, kind)
    if parsed.attribute is None:
        return next(card.kind for card in cards() if card.name == parsed.where)
    if kind is None:
        raise ModelError(f"{name}: say what your own model does, with --kind recognize or --kind generate")
    return kind


def same_work(name: str) -> tuple[str, ...]:
    """Return the names, the given one first, under which a stream asks for the very same work of a model.

    `style` and `style:where=background` paint the same picture; the pipeline shows another part of it.
    """
    parsed = parse(name)
    kept = {key: value for key, value in parsed.options if key not in SEEN_ONLY}
    names = [name, spelled(parsed, kept)]
    for key, values in SEEN_ONLY.items():
        names += [other for value in values if is_allowed(other := spelled(parsed, {**kept, key: value}))]
    return tuple(dict.fromkeys(names)) if code_of(parsed) is None else (name,)


def _reference(name: str, parsed: ParsedName) -> Offered | None:
    """Return torch fp32 of a model; None for one whose backend cannot be chosen, which is its own reference."""
    wanted = reference_of(name)
    is_chosen = code_of(parsed) is None and dict(parse(wanted).options).items() >= REFERENCE.items()
    return Offered(wanted, "torch fp32", Role.REFERENCE) if is_chosen else None


def _lighter(name: str, rung: str) -> Offered:
    given = parse(name).options
    options = ",".join(f"{key}={value}" for key, value in parse(rung).options if (key, value) not in given)
    return Offered(rung, "", Role.LIGHTER, options)


def _ways(parsed: ParsedName, device: str) -> list[Offered]:
    """Return each way to run a model; what a person wrote stays, and a backend that is not here is one entry."""
    found = []
    for backend in BACKENDS:
        names = [spelled(parsed, {**dict(parsed.options), **way}) for way in _options(backend, device)]
        kept = [(way, name) for way, name in zip(_options(backend, device), names, strict=True) if _keeps(parsed, way)]
        if not kept:
            continue
        if (why := missing(backend, device)) is not None:
            found.append(Offered(kept[0][1], backend.name, Role.WAY, why_not=why))
            continue
        found += [_way(name, " ".join(way.values())) for way, name in kept]
    return found


def _options(backend: Backend, device: str) -> list[dict[str, str]]:
    """Return the options that ask for each way to run with a backend, with and without a word on the layout."""
    precisions = backend.takes(device_kind(device)) or backend.precisions
    ways = [{"backend": backend.name, "precision": precision} for precision in precisions]
    if backend.layouts:
        ways += [{**way, "layout": layout} for way in ways for layout in LAYOUTS]
    return ways


def _way(name: str, label: str) -> Offered:
    try:
        parse(name)
    except ModelError as error:
        return Offered(name, label, Role.WAY, why_not=str(error))
    return Offered(name, label, Role.WAY)


def _products(light: Sequence[Offered], device: str) -> list[Offered]:
    """Return each lighter option in each way that is here."""
    found = []
    for one in light:
        ways = (way for way in _ways(parse(one.name), device) if way.why_not is None)
        found += [replace(way, rung=one.rung) for way in ways]
    return found


def _having(name: str, wanted: Sequence[str], others: list[Offered], ends: list[Offered]) -> list[Offered]:
    """Return the variants that have one of the words. Raises ModelError for a word that none has."""
    texts = {one: f"{one.label} {one.rung}".lower() for one in others}
    of_ends = " ".join(f"{one.label} {one.role}" for one in ends).lower()
    for word in wanted:
        if word not in of_ends and not any(word in text for text in texts.values()):
            there = ", ".join(dict.fromkeys(one.label or one.rung for one in others)) or "none but itself"
            raise ModelError(f"{name}: no variant has {word!r} in its name; there are {there}; {ALL} takes every one")
    return [one for one, text in texts.items() if any(word in text for word in wanted)]


def _keeps(parsed: ParsedName, way: Mapping[str, str]) -> bool:
    """Whether a way leaves what a person wrote as it is."""
    return all(way.get(key, value) in (value, "auto") or value == "auto" for key, value in parsed.options)
