"""`livelens models tune`: the lighter scales of a style, made more like the style itself.

Importing this file stays quick; what it needs is imported when it runs.
"""

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stream import __version__
from stream.errors import ModelError
from stream.learn_cli import Content, Threads, bar_of, content_pictures
from stream.progress import say

if TYPE_CHECKING:
    from models.quality import Quality
    from models.stylefile import Row
    from stream.frame import Picture

HELD_OUT_EVERY = 3  # pictures: every third is never trained on, and what is told was measured on those
SIZE_PX = (640, 360)  # pictures are tuned on at this size, or the largest inside it


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures with the style's paintings of them at full scale."""

    pictures: "list[Picture]"
    paintings: "list[Picture]"


def tune(
    name: Annotated[str, typer.Argument(metavar="STYLE", help="style/12 or style/mine; :scale=0.5 for that one only.")],
    seconds: Annotated[float, typer.Option(metavar="S", min=1, max=3600, help="How long each scale may take.")] = 60.0,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, max=100_000, help="How many steps each; the first limit counts.")
    ] = 120,
    content: Content = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same seed, steps and threads: same numbers.")] = 0,
    threads: Threads = 0,
    undo: Annotated[bool, typer.Option("--undo", help="Forget what was tuned for the style.")] = False,
) -> None:
    """Tune the lighter scales of a style, so that they look more like it; a minute each.

    Only kept where pictures that were not tuned on come out better. Ctrl-C goes on with what there is by then.
    """
    from models import stylefile

    style, scales = _asked(name)
    word = _word(style)
    if undo:
        stylefile.forget_tuned(word)
        print(f"{style}: nothing is tuned now")
        return
    pictures = _fitted(content_pictures(content))
    if len(pictures) < HELD_OUT_EVERY:
        raise ModelError(f"expected {HELD_OUT_EVERY} pictures at least, one to hold out, got {len(pictures)}")
    say(f"Tuning {style} on {len(pictures)} pictures, every third of them held out; Ctrl-C stops early.")
    paintings = _painted(f"{style}:scale=1", pictures)
    held = slice(1, None, HELD_OUT_EVERY)
    judged = Shown(pictures[held], paintings[held])
    del pictures[held], paintings[held]
    for scale in scales:
        row = _tuned(style, scale, Shown(pictures, paintings), (seconds, steps, seed, threads))
        _judge(style, scale, row, judged)


def _asked(name: str) -> tuple[str, list[float]]:
    """Return the style's registry name and the scales to tune. Raises ModelError for what cannot be tuned."""
    from models.base import Kind
    from models.ladder import STYLE_QUALITIES
    from models.registry import parse

    parsed = parse(name, Kind.GENERATE)
    options = dict(parsed.options)
    scale = options.pop("scale", None)
    if parsed.attribute or parsed.where.partition("/")[0] != "style" or parsed.where == "style/any" or options:
        raise ModelError(f"tune {name}: expected a style such as style/12 or style/mine, or one with :scale=0.5")
    if scale is not None and not float(scale) < 1:
        raise ModelError(f"tune {name}: expected a scale below 1: at full scale there is nothing to be like")
    return parsed.where, [float(scale)] if scale else [float(option.partition("=")[2]) for option in STYLE_QUALITIES]


def _word(style: str) -> str:
    """Return under which word a style is tuned: "22" of style/ink, "mine" of style/mine."""
    from models.learnt import opened
    from models.style import style_number

    return style.partition("/")[2] if opened(style) else str(style_number(style))


def _fitted(pictures: "list[Picture]") -> "list[Picture]":
    from models.picture import resize

    found = []
    for one in pictures:
        by = min(SIZE_PX[0] / one.shape[1], SIZE_PX[1] / one.shape[0])
        found.append(resize(one, *(max(round(side * by), 64) for side in one.shape[:2])))
    return found


def _painted(name: str, pictures: "list[Picture]") -> "list[Picture]":
    """Return what a model makes of pictures."""
    from models.base import Target
    from models.registry import load

    model = load(name, Target("cpu"))
    painted = [model(picture) for picture in pictures]
    model.close()
    return painted  # type: ignore[return-value]


def _row(style: str) -> "Row":
    from models import checkpoint, learnt, stylefile

    own = learnt.opened(style)
    return own.row if own else stylefile.row_of(checkpoint.arrays("style"), int(_word(style)))


def _tuned(style: str, scale: float, shown: Shown, limits: tuple[float, int, int, int]) -> "Row":
    """Return the numbers for a scale; Ctrl-C returns those of the last whole step."""
    from models.tune import Task, Tuner
    from stream.clock import MonotonicClock

    row = _row(style)
    tuner = Tuner(Task(row, scale, shown.pictures, shown.paintings, *limits))
    try:
        with bar_of(f"scale {scale:g}") as tell:
            for progress in tuner.learn(MonotonicClock()):
                row = tuner.row()
                tell(progress)
    except KeyboardInterrupt:
        say("stopped")
    return row


def _judge(style: str, scale: float, row: "Row", judged: Shown) -> None:
    """Say how like the full scale the small one was and is on pictures not seen; keep what is better."""
    from models import stylefile
    from models.quality import compare_paintings

    path, option = stylefile.tuned_path(_word(style), scale), f"scale={scale:g}"
    kept = stylefile.read(path) if path.is_file() else None
    path.unlink(missing_ok=True)
    before = compare_paintings(_painted(f"{style}:{option}", judged.pictures), judged.paintings)
    stylefile.write(path, stylefile.StyleFile(row, {}))
    after = compare_paintings(_painted(f"{style}:{option}", judged.pictures), judged.paintings)
    best = max(before.value, kept.qualities.get(option, 0.0) if kept else 0.0)
    is_better = after.value > best
    if is_better:
        stylefile.write(path, stylefile.StyleFile(row, _about(option, before, after)))
    elif kept is not None:
        stylefile.write(path, kept)
    else:
        path.unlink(missing_ok=True)
    told = f"{style}:{option}: SSIM {before.value:.3f} -> {after.value:.3f}, {before.detail} -> {after.detail}"
    if is_better:
        print(f"{told}; kept, and used wherever this scale runs ({path})")
    else:
        print(f"{told}; not kept, {'what was tuned before' if kept else 'the style as it is'} is no worse ({best:.3f})")


def _about(option: str, before: "Quality", after: "Quality") -> dict[str, str]:
    from importlib.metadata import version

    return {
        "qualities": json.dumps({option: round(after.value, 2)}),
        "before": f"{before.value:.3f}, {before.detail}",
        "after": f"{after.value:.3f}, {after.detail}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": f"livelens {__version__}, torch {version('torch')}",
    }


def register(models: typer.Typer) -> None:
    """Add the command to `livelens models`."""
    models.command("tune", short_help="Make the lighter scales of a style look more like it.")(tune)
