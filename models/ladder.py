"""A model's ladder: the variants of it whose quality was measured, from best to lightest.

Two classes of variants. A *lighter* one (a smaller input, a smaller network) changes the answer on purpose: its quality
0..1 is in the tables below, and from LEAST on it is a rung. An *equivalent* one (another backend, number format or
layout of the same network) must reach the floors of models/floors.py; int8 is a rung once `livelens models check` found
that it does and that it is INT8_GAIN times as fast. What was found below its floor on this machine is no rung.

Ours are in the tables below. Your own model, or the factory of a package, says which it has:

    class Film:
        ladder = (("size=small", 0.9), ("size=tiny", 0.7))   # (options, quality against the model as it is, 0..1)

Reading the ladder of one of ours imports neither torch nor openvino; to read one of your own, its file is imported.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from models import learnt, stylefile
from models.base import Kind
from models.contract import guarded
from models.findings import finding, refusal
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

INT8_GAIN = 1.3  # times as fast as what runs when nothing is said; for less, int8 is not worth what it loses
INT8 = {"cpu": {"backend": "openvino", "precision": "int8"}, "cuda": {"backend": "torch", "precision": "int8"}}

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


def ladder(name: str, kind: Kind | None = None, device: str = "cpu") -> tuple[Rung, ...]:
    """Return the variants of a model from best to lightest; the first is the model itself, with quality 1.

    What a person wrote stays as it is: `style:scale=0.75` has no other scale. Where the model as it would run was found
    below its floors on this machine, the first is the same in fp32. Raises ModelError for a name that cannot be read,
    and for a ladder of your own that is not one.
    """
    parsed = parse(name, kind)
    code = code_of(parsed)
    if code is not None:
        return (Rung(name, 1.0), *guarded(f"{name}: its ladder", _own, parsed, code, kind))
    good = [one for one in measured(name) if one.quality >= LEAST and not refusal(one.name, device)]
    rungs = {one.quality: one for one in _falling(good)}
    faster, _ = _int8(parsed, device)
    if faster is not None:
        rungs.setdefault(faster.quality, faster)
    best = _in_fp32(parsed) if refusal(name, device) else name
    return (Rung(best, 1.0), *(rungs[quality] for quality in sorted(rungs, reverse=True)))


def left_out(name: str, device: str = "cpu") -> tuple[tuple[str, str], ...]:
    """Return (variant, why) of what is not in the ladder of one of our models; none for your own. Raises ModelError."""
    parsed = parse(name)
    if code_of(parsed) is not None:
        return ()
    whys = [(name, refusal(name, device))]
    whys += [(one.name, refusal(one.name, device) or too_unlike(one.quality)) for one in measured(name)]
    _, slow = _int8(parsed, device)
    return tuple((one, why) for one, why in [*whys, *([slow] if slow else [])] if why)


def too_unlike(quality: float) -> str:
    """Return why a lighter variant of this quality is no rung; "" when it is one."""
    return f"quality {quality:.2f} is below {LEAST:g}: it shows another picture" if quality < LEAST else ""


def _int8(parsed: ParsedName, device: str) -> tuple[Rung | None, tuple[str, str] | None]:
    """Return int8 as a rung, or (its name, why it is none); nothing where it cannot be chosen."""
    given, way = dict(parsed.options), INT8.get(device.partition(":")[0])
    if way is None or any(given.get(key, "auto") not in ("auto", value) for key, value in way.items()):
        return None, None
    name = spelled(parsed, {**given, **way})
    if given.get("precision") == "int8" or not is_allowed(name):
        return None, None
    found = finding(name, device)
    if found is None:
        return None, (name, f"not checked on this machine; `livelens models check {parsed.text}` does")
    if not found.reason and found.speed < INT8_GAIN:
        gain = f"{found.speed:.2f} times as fast, and int8 must be {INT8_GAIN:g} times to be worth what it loses"
        return None, (name, gain)
    return (None, (name, found.reason)) if found.reason else (Rung(name, min(found.quality, 0.999)), None)


def _in_fp32(parsed: ParsedName) -> str:
    """Return a model in fp32; as it is where a person chose how it runs, or nothing can be chosen."""
    given = dict(parsed.options)
    is_chosen = any(given.get(key, "auto") != "auto" for key in ("backend", "precision"))
    exact = spelled(parsed, {**given, "precision": "fp32"})
    return parsed.text if is_chosen or not is_allowed(exact) else exact


def is_allowed(name: str) -> bool:
    """Whether a name can be read."""
    try:
        parse(name)
    except ModelError:
        return False
    return True


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
    if text is None:
        number = style_number(parsed.where)
        return {option: values[number] for option, values in STYLE_QUALITIES.items()} | _tuned(str(number))
    styles = [number for number, _ in read_blend(text)]
    return {option: min(values[number] for number in styles) for option, values in STYLE_QUALITIES.items()}


def _learnt(name: str, blend: str | None, own: Mapping[str, float]) -> Mapping[str, float]:
    """Return the qualities of a style that a person has learnt, measured when it was; a blend's as above."""
    if blend is None:
        return {option: own.get(option, 0.0) for option in STYLE_QUALITIES} | _tuned(name.partition("/")[2])
    styles = learnt.styles_of(name, blend)
    measured_here = {option: (*values, own.get(option, 0.0)) for option, values in STYLE_QUALITIES.items()}
    return {option: min(values[number] for number in styles) for option, values in measured_here.items()}


def _tuned(word: str) -> dict[str, float]:
    """Return the qualities of the scales that a style was tuned for, measured when it was."""
    found: dict[str, float] = {}
    for option in STYLE_QUALITIES:
        path = stylefile.tuned(word, float(option.partition("=")[2]))
        if path is not None:
            found |= stylefile.read(path).qualities
    return found


def _falling(rungs: Iterable[Rung]) -> tuple[Rung, ...]:
    """Return rungs without those that a lighter one is as good as: once tuned, half the size may be the better one."""
    kept: list[Rung] = []
    for rung in reversed(tuple(rungs)):
        if not kept or rung.quality > kept[-1].quality:
            kept.append(rung)
    return tuple(reversed(kept))


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
