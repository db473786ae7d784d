"""`livelens models check`: a model's variants beside the reference, on the same pictures, with what each must reach."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stream.errors import ConfigError

if TYPE_CHECKING:
    from models.accuracy import Measure
    from models.base import Kind
    from models.check import Report, Row
    from models.findings import Finding
    from models.stability import Stability
    from stream.device import Device

NONE = "[dim]-[/]"  # where there is nothing to tell


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model, as livelens models lists them.")],
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Your own pictures: a folder (for classes, with a folder for each), or cifar10:FOLDER. "
            "[dim]default: the sample clip and six labelled photographs[/]",
            show_default=False,
        ),
    ] = "",
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="VARIANT",
            help="Look at this variant, such as [cyan]precision=int8[/]; may be given several times. "
            "[dim]default: the ladder, and other ways to run it that are here[/]",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=2, help="Pictures at most.")] = 500,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda:N.")] = "cpu",
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="Of your own model: recognize or generate.", show_default=False)
    ] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything to a file.", show_default=False)
    ] = None,
) -> None:
    """Compare a model's variants with the reference, torch in float32, side by side on the same pictures.

    A variant that runs the same network another way must reach the floors; one that does not is left out of the
    ladder from now on, and `livelens models` says why. Ends with 0 when all do, with 1 when one does not.
    """
    from models.base import Target
    from models.check import check as run
    from models.findings import remember
    from stream.clock import MonotonicClock
    from stream.device import open_device
    from stream.progress import frames_done

    opened = open_device(device, MonotonicClock())
    with frames_done(f"checking {name}") as tell:
        report = run(name, data, against or (), Target(opened.name), _kind(kind), limit, tell)
    remember(report.findings(), opened.name)
    print_report(report)
    if json_file is not None:
        _write(json_file, report, opened)
    raise typer.Exit(0 if report.is_good else 1)


def _kind(text: str) -> "Kind | None":
    from models.base import Kind

    if text and text not in list(Kind):
        raise ConfigError(f"--kind {text!r} is not allowed; it must be {' or '.join(Kind)}")
    return Kind(text) if text else None


def print_report(report: "Report", console: Console | None = None) -> None:
    """Print measures with floors, then the verdicts, then how each variant did on bad pictures."""
    console = console or Console(highlight=False)
    rows = [row for row in report.rows if not row.why_not]
    labels = [label(report.name, row) for row in rows]
    console.print(f"[bold]{report.name}[/] against {report.reference} ({report.reference_ms:.1f} ms a picture)")
    console.print(f"[dim]on {report.data}[/]\n")
    console.print(_measures(rows, labels))
    for row in report.rows:
        console.print(_verdict(label(report.name, row), row))
    console.print("\n[bold]On bad pictures[/]  [dim](how near the reference; no floors, every answer must be sound)[/]")
    console.print(_stability(rows, labels))


def label(name: str, row: "Row") -> str:
    """Return what tells a variant from the others: how it runs, and the options in which it differs."""
    from models.findings import EQUIVALENT
    from models.registry import parse

    given = parse(name).options
    options = [(key, value) for key, value in parse(row.name).options if (key, value) not in given]
    input_options = ",".join(f"{key}={value}" for key, value in options if key not in EQUIVALENT)
    ways = " ".join(value for key, value in options if key in EQUIVALENT)
    return ", ".join(part for part in (row.variant or ways, input_options) if part)


def _measures(rows: Sequence["Row"], labels: Sequence[str]) -> Table:
    from models.floors import FLOORS, MEANINGS, number

    table = Table("", "floor", *labels, box=None, padding=(0, 2, 0, 0))
    names = list(dict.fromkeys(measure.name for row in rows for measure in row.measures))
    for name in names:
        floor = FLOORS.get(name)
        limit = NONE if floor is None else f"{'at most ' if floor.is_most else ''}{floor.limit:g} {MEANINGS[name].unit}"
        cells = []
        for row in rows:
            found = next((measure for measure in row.measures if measure.name == name), None)
            is_missed = floor is not None and found is not None and not row.is_lighter and not floor.holds(found.value)
            cells.append(NONE if found is None else f"[bold red]{number(found)}[/]" if is_missed else number(found))
        counts = {m.count for row in rows for m in row.measures if m.name == name}
        table.add_row(f"{MEANINGS[name].text} [dim]({max(counts)})[/]", limit.strip(), *cells)
    table.add_row("quality, as a ladder takes it", NONE, *(f"{row.quality:.3f}" for row in rows))
    table.add_row("milliseconds a picture", NONE, *(f"{row.median_ms:.1f}" for row in rows))
    table.add_row("times as fast as the first", NONE, *(f"{row.speed:.2f}" for row in rows))
    return table


def _verdict(text: str, row: "Row") -> Text:
    if row.why_not:
        return Text.assemble(("-  ", "dim"), (f"{text}: not looked at: {row.why_not}", "dim"))
    if row.reason:
        return Text.assemble(("✗  ", "bold red"), (text, "bold"), f": in no ladder: {row.reason}")
    if row.is_lighter:
        return Text.assemble(("~  ", "yellow"), text, f": lighter on purpose, quality {row.quality:.2f}")
    return Text.assemble(("✓  ", "green"), text, ": reaches its floors")


def _stability(rows: Sequence["Row"], labels: Sequence[str]) -> Table:
    from models.floors import MEANINGS, number

    table = Table("", *labels, box=None, padding=(0, 2, 0, 0))
    told = [[_agreement(one, number) for one in row.stability] for row in rows]
    for place, condition in enumerate(rows[0].stability):
        table.add_row(condition.condition, *(cells[place] for cells in told))
    names = dict.fromkeys(one.agreement.name for row in rows for one in row.stability if one.agreement)
    table.caption = "; ".join(MEANINGS[name].text for name in names)
    table.caption_justify = "left"
    return table


def _agreement(one: "Stability", number: Callable[["Measure"], str]) -> str:
    if one.fault:
        return "[bold red]unsound[/]"
    return "[dim]nothing found[/]" if one.agreement is None else number(one.agreement)


def print_findings(found: Sequence["Finding"], console: Console | None = None) -> None:
    """Print which variants were checked on this machine, and which of them no ladder takes."""
    console = console or Console(highlight=False)
    console.print(Text.assemble(("Variants", "bold"), ("  (livelens models check NAME)", "dim")))
    rule = (
        "One that runs the same network another way must reach its floors; a lighter one, made for busy moments, "
        "changes the answer on purpose and carries a measured quality. Checked on this machine:"
    )
    console.print(Padding(Text(rule, "dim"), (0, 0, 0, 2)))
    for one in found or ():
        is_good = not one.reason
        verdict = (
            f"quality {one.quality:.2f}, {one.speed:.2f} times as fast" if is_good else f"in no ladder: {one.reason}"
        )
        sign = ("✓ ", "green") if is_good else ("✗ ", "red")
        console.print(Padding(Text.assemble(sign, f"{one.name}: {verdict}"), (0, 0, 0, 2)))
    if not found:
        console.print(Text("  none yet", "dim"))


def _write(path: Path, report: "Report", device: "Device") -> None:
    """Write the report, with what it was made on. Raises ConfigError when it cannot be written."""
    from models.check import as_json
    from stream.device import device_text

    found: dict[str, Any] = as_json(report) | {"device": device_text(device)}
    try:
        path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written: {error.strerror}") from error


def register(models: typer.Typer) -> None:
    """Add the command to `livelens models`."""
    models.command("check", short_help="Compare a model's variants with the reference.")(check)
