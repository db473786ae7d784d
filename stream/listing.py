"""What `livelens models`, `sources` and `doctor` print: rows of two columns, so that they fit narrow terminals."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stream.doctor import Check, State

# (what a person types, what it is); `livelens serve` takes each as SOURCE.
FORMS = (
    ("camera:0", "the first camera; camera:1 the next; a device path such as /dev/video2 as well"),
    ("rtsp://user:password@10.0.0.7/main", "a network camera or media server"),
    ("https://example.org/live.m3u8", "HLS, MJPEG or MP4 over http:// or https://"),
    ("talk.mp4", "a file, at the speed it was recorded; starts again at its end (--no-loop: ends)"),
    ("holiday/", "a folder of pictures, in the order of their names"),
    ("sample:", "the clip that comes with the program: twelve seconds, for a first look without a camera"),
    ("test:640x360@30", "a moving test pattern with the frame number in it; test: alone will do"),
    ("browser", "what is sent over WHIP: a camera or screen from the page, OBS, GStreamer"),
)

SHARED_BY = 3  # models that have an option alike before it is said once for all

_STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}


class Card(Protocol):
    """What is shown of a model; models/base.py has the real one."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def options(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def collection(self) -> str: ...


def print_models(cards: Iterable[Card], console: Console | None = None) -> None:
    """Print the models by what they do.

    Said once are: another name of a model, beside its first; an option of many, at the end; a collection, by how many.
    """
    console = console or Console(highlight=False)
    known = sorted(cards, key=_natural)
    shared = _shared_options(known)
    for kind, title, option in (
        ("recognize", "Recognition: finds things", "--recognize NAME, several times if wanted"),
        ("generate", "Generation: makes a new picture", "--generate NAME[:key=value,...]"),
    ):
        console.print(Text.assemble((title, "bold"), (f"  ({option})", "dim")))
        rows = _model_rows([card for card in known if card.kind == kind], shared)
        console.print(Padding(rows, (0, 0, 1, 2)))
    if shared:
        console.print(Text("Options of many: those marked with + take these too", "bold"))
        rows = _rows()
        for name, meaning in shared:
            rows.add_row(Text(f"{name}=", "cyan"), meaning)
        console.print(Padding(rows, (0, 0, 1, 2)))
    console.print(Text("Your own: --generate path/file.py:Class  or  --recognize package.module:factory", "dim"))


def _shared_options(cards: Iterable[Card]) -> list[tuple[str, str]]:
    """Return the options that at least `SHARED_BY` models have alike, in the order they come."""
    counts = Counter(option for card in cards if not card.collection for option in card.options)
    return [option for option, count in counts.items() if count >= SHARED_BY]


def _model_rows(cards: Sequence[Card], shared: Sequence[tuple[str, str]]) -> Table:
    """Return a row for each model of one kind, and one for each collection."""
    rows, above = _rows(), ""
    also = _other_names(cards)
    for card in cards:
        if card.collection or card.name in {name for names in also.values() for name in names}:
            continue
        family = f"{card.name.partition('/')[0]}: {card.licence}"
        name = Text(card.name, "cyan").append(" +" if set(shared) & set(card.options) else "", "dim")
        rows.add_row(name, _describe(card, shared, also.get(card.name, []), has_licence=family != above))
        above = family
    for collection, count in Counter(card.collection for card in cards if card.collection).items():
        rows.add_row(Text(f"{collection}/NAME", "cyan"), f"{count} networks: livelens models list {collection}")
    return rows


def _other_names(cards: Sequence[Card]) -> dict[str, list[str]]:
    """Return further names of a model, by its first: `style/ink` says of itself that it is "style/22: ..."."""
    names = {card.name for card in cards}
    also: dict[str, list[str]] = {}
    for card in cards:
        first, colon, _ = card.summary.partition(": ")
        if colon and first in names:
            also.setdefault(first, []).append(card.name)
    return also


def print_collection(cards: Iterable[Card], console: Console | None = None) -> None:
    """Print the names of a collection's models under what they do, and the options once for all of these."""
    console = console or Console(highlight=False)
    alike: dict[tuple[object, ...], list[Card]] = {}
    for card in sorted(cards, key=_natural):
        alike.setdefault((card.summary, card.options, card.licence), []).append(card)
    for several in alike.values():
        first = several[0]
        console.print(Text(first.summary, "bold"))
        console.print(Padding(Text("  ".join(card.name for card in several), "cyan"), (0, 0, 0, 2)))
        details = Text("\n").join(Text.assemble((f"{name}=", "cyan"), meaning) for name, meaning in first.options)
        console.print(Padding(details, (0, 0, 0, 2)))
        console.print(Padding(Text(f"licence: {first.licence}", "dim"), (0, 0, 1, 2)))


def _natural(card: Card) -> list[tuple[int, str]]:
    """Sort style/2 before style/10, and numbers before words."""
    return [(int(part), "") if part.isdigit() else (1 << 30, part) for part in re.split(r"(\d+)|/", card.name) if part]


def _describe(card: Card, shared: Sequence[tuple[str, str]], also: Sequence[str], *, has_licence: bool) -> Text:
    """Say what a model does; the licence only where it differs from that of the model above."""
    text = Text(card.summary)
    if also:
        text.append(" (also ").append(", ".join(also), "cyan").append(")")
    for name, meaning in card.options:
        if (name, meaning) not in shared:
            text.append(f"\n{name}=", "cyan").append(meaning)
    return text.append(f"\nlicence: {card.licence}", "dim") if has_licence else text


def print_sources(cameras: Sequence[object], console: Console | None = None) -> None:
    """Print the cameras that were found, and each form of address."""
    console = console or Console(highlight=False)
    console.print(Text("Cameras here", "bold"))
    found = "\n".join(str(camera) for camera in cameras) or "none found (livelens doctor says more)"
    console.print(Padding(Text(found), (0, 0, 1, 2)))
    console.print(Text.assemble(("What livelens serve can show", "bold"), ("  (livelens serve SOURCE)", "dim")))
    rows = _rows()
    for form, meaning in FORMS:
        rows.add_row(Text(form, "cyan"), meaning)
    console.print(Padding(rows, (0, 0, 0, 2)))


def print_checks(checks: Sequence[Check], console: Console | None = None) -> None:
    """Print a row for each check, and a last line that sums up."""
    console = console or Console(highlight=False)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for check in checks:
        said = Text(check.found)
        if check.advice:
            said.append(f"\n-> {check.advice}", "dim" if check.state is State.OK else "")
        rows.add_row(Text(check.state, _STYLES[check.state]), check.name, said)
    console.print(rows)
    console.print(Text(f"\n{_sum_up(checks)}", "bold"))


def _sum_up(checks: Sequence[Check]) -> str:
    failed = [check.name for check in checks if check.state is State.FAIL]
    if failed:
        return f"Repair first: {', '.join(failed)}."
    return "Ready: livelens serve"


def _rows() -> Table:
    """Return an empty table: a name that is kept whole, and words that wrap."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(overflow="fold", max_width=36)
    rows.add_column(overflow="fold")
    return rows
