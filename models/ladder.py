"""A model's ladder: the lighter variants of it whose quality was measured, from best to lightest.

Ours are in the tables below. Your own model, or the factory of a package, says which it has:

    class Film:
        ladder = (("size=small", 0.9), ("size=tiny", 0.7))   # (options, quality against the model as it is, 0..1)

Reading the ladder of one of ours imports neither torch nor openvino; to read one of your own, its file is imported.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from models import learnt
from models.base import Kind
from models.contract import guarded
from models.registry import ParsedName, code_of, parse, quoted
from models.style import read_blend, style_number
from stream.errors import ModelError


@dataclass(frozen=True, slots=True)
class Rung:
    """A variant by the name a person types, and its quality 0..1 against the first."""

    name: str
    quality: float


EXPECTED = 'expected ladder = ((options, quality 0..1), ...) such as (("size=small", 0.9),)'
LEAST = 0.3  # a variant less like the best one is measured and listed, but shows another picture: it is no rung

# Measured by `python -m models.quality` (openvino bf16, 36 pictures of the sample clip at 640x360; docs/models.md has
# the spread): the mean SSIM of a style's painting at this scale against the same at full scale, for style 0 .. 25.
STYLE_QUALITIES: dict[str, tuple[float, ...]] = {
    "scale=0.75": (
        0.61, 0.58, 0.67, 0.34, 0.42, 0.55, 0.42, 0.74, 0.53, 0.36, 0.51, 0.56, 0.74,
        0.28, 0.73, 0.30, 0.48, 0.21, 0.47, 0.15, 0.70, 0.58, 0.54, 0.86, 0.57, 0.38,
    ),
    "scale=0.5": (
        0.53, 0.43, 0.56, 0.19, 0.34, 0.43, 0.32, 0.64, 0.43, 0.20, 0.42, 0.43, 0.66,
        0.17, 0.64, 0.19, 0.41, 0.15, 0.33, 0.08, 0.59, 0.44, 0.38, 0.79, 0.46, 0.22,
    ),
}  # fmt: skip
# Of `style/any` the lowest of the paintings that were tried (docs/generation.md): another one may lie a little below.
ANY_STYLE_QUALITIES = {"scale=0.75": 0.49, "scale=0.5": 0.42}
# By `python -m models.quality boxes/coco --every 1`: F1 of the boxes against size=416, 1264 boxes on 360 pictures.
BOXES_QUALITIES: dict[str, float] = {"size=320": 0.89}


def ladder(name: str, kind: Kind | None = None) -> tuple[Rung, ...]:
    """Return the variants of a model from best to lightest; the first is the model itself, with quality 1.

    What a person wrote stays as it is: `style:scale=0.75` has no other scale. Raises ModelError for a name that
    cannot be read, and for a ladder of your own that is not one.
    """
    parsed = parse(name, kind)
    code = code_of(parsed)
    if code is None:
        lighter = tuple(rung for rung in measured(name) if rung.quality >= LEAST)
    else:
        lighter = guarded(f"{name}: its ladder", _own, parsed, code, kind)
    return (Rung(name, 1.0), *lighter)


def family(name: str) -> str:
    """Return what our models of one kind have in common: `style` of `style/12:strength=0.5`."""
    return parse(name).where.partition("/")[0]


def measured(name: str) -> tuple[Rung, ...]:
    """Return the lighter variants of one of our models, also those that are too unlike it to be in its ladder."""
    parsed = parse(name)
    given = dict(parsed.options)
    rungs = []
    for option, quality in QUALITIES.get(family(name), _none)(parsed).items():
        key, _, value = option.partition("=")
        if key not in given:
            rungs.append(Rung(spelled(parsed, given | {key: value}), quality))
    return tuple(rungs)


def _none(parsed: ParsedName) -> Mapping[str, float]:
    return {}


def _style(parsed: ParsedName) -> Mapping[str, float]:
    """Return a style's qualities; of a blend the lowest of its styles, at most 0.03 too high where measured."""
    if parsed.where == "style/any":
        return ANY_STYLE_QUALITIES
    text = dict(parsed.options).get("blend")
    if (own := learnt.opened(parsed.where)) is not None:
        return _learnt(parsed.where, text, own.qualities)
    styles = [number for number, _ in read_blend(text)] if text else [style_number(parsed.where)]
    return {option: min(values[number] for number in styles) for option, values in STYLE_QUALITIES.items()}


def _learnt(name: str, blend: str | None, own: Mapping[str, float]) -> Mapping[str, float]:
    """Return the qualities of a style that a person has learnt, measured when it was; a blend's as above."""
    styles = learnt.styles_of(name, blend)
    measured_here = {option: (*values, own.get(option, 0.0)) for option, values in STYLE_QUALITIES.items()}
    return {option: min(values[number] for number in styles) for option, values in measured_here.items()}


def _boxes(parsed: ParsedName) -> Mapping[str, float]:
    return BOXES_QUALITIES


QUALITIES: dict[str, Callable[[ParsedName], Mapping[str, float]]] = {"style": _style, "boxes": _boxes}


def _own(parsed: ParsedName, code: Callable[..., object], kind: Kind | None) -> tuple[Rung, ...]:
    """Read the `ladder` of a class, function or factory; its options are added to the given ones.

    A variant that would change what a person wrote is left out: with size=tiny, size=small is no lighter one.
    """
    found: Any = getattr(code, "ladder", None)
    if found is None:
        return ()
    if not isinstance(found, list | tuple):
        raise ModelError(f"{parsed.text}: {EXPECTED}, got {_short(found)}")
    given, rungs, least = dict(parsed.options), [], 1.0
    for item in found:
        options, quality = _checked(parsed.text, item)
        if quality >= least:
            raise ModelError(f"{parsed.text}: ladder: expected less than {least:g}, got {_short(item)}")
        wanted = dict(parse(f"{spelled(parsed, {})}:{options}", kind).options)
        if given | wanted == wanted | given != given:
            rungs.append(Rung(spelled(parsed, given | wanted), quality))
        least = quality
    return tuple(rungs)


def _checked(name: str, item: Any) -> tuple[str, float]:
    """Return (options, quality) of one entry of a person's ladder."""
    options, quality = item if isinstance(item, list | tuple) and len(item) == 2 else (None, math.nan)
    is_number = type(quality) is not bool and isinstance(quality, Real)
    if isinstance(options, str) and is_number and 0 <= float(quality) <= 1:
        return options, float(quality)
    raise ModelError(f"{name}: {EXPECTED}, got {_short(item)}")


def spelled(parsed: ParsedName, options: Mapping[str, str]) -> str:
    """Return the name a person would type for a model with these options instead of its own."""
    head = f"{parsed.where}:{parsed.attribute}" if parsed.attribute else parsed.where
    return head + (":" + ",".join(f"{key}={quoted(value)}" for key, value in options.items()) if options else "")


def _short(value: object) -> str:
    return f"{' '.join(repr(value).split()):.80}"
