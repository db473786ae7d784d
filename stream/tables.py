"""What `livelens replay` and `livelens simulate` print."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from stream.baseline import Comparison
    from stream.simulate import Result

FAR = 9.0  # ten times as much: percent no longer say anything

_STEPS = {
    "decode": "decode",
    "queue": "queue",
    "wait": "wait for its turn",
    "models": "models",
    "hand_over": "to the encoder",
    "compose": "draw",
    "encode": "encode",
    "send": "send",
    "capture_to_send": "capture to send",
}
_REASONS = {
    "superseded": "a newer one came",
    "no_time": "too late to be in time",
    "encoder_busy": "encoder busy",
    "encoder_error": "encoder error",
    "stopped": "the stream was stopped",
}
_MEANINGS = (
    "on time: of the frames shown. p50, p95: age from capture to send.",
    "utility: quality of the variants that ran, 0 for a late or dropped frame.",
    "reused: shown with an earlier result of a model. fps: of all streams together.",
    "busy: share of its time that the device worked. changes: of the variant.",
)
_STAND_INS = {"reuse": "an earlier result", "refresh": "an earlier result", "skip": "none"}
_VERDICTS = {"worse": "bold red", "better": "green", "decisions differ": "yellow"}


def print_replay(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print where the time went, where the frames went, and what ran."""
    console = console or Console(highlight=False, emoji=False)
    steps = _table("step", "p50 ms", "p95 ms", "p99 ms", "max ms")
    latency = summary["latency_ms"]
    for key, name in _STEPS.items():
        if times := latency.get(key):
            style = "bold" if key == "capture_to_send" else ""
            steps.add_row(name, *(f"{times[q]:.1f}" for q in ("p50", "p95", "p99", "max")), style=style)
    console.print(steps)
    for line in _frame_lines(summary):
        console.print(line, markup=False)


def print_comparisons(comparisons: "Sequence[Comparison]", console: Console | None = None) -> None:
    """Print how a run compares with its baseline."""
    console = console or Console(highlight=False, emoji=False)
    table = _table("number", "baseline", "now", "change", "95 % interval", "verdict")
    for one in comparisons:
        before, now = (_value(value, one.unit) for value in (one.before, one.now))
        change = "" if one.change is None else _change(one.change)
        span = "" if one.low is None or one.high is None else f"{_change(one.low)} .. {_change(one.high)}"
        verdict = f"[{style}]{one.verdict}[/]" if (style := _VERDICTS.get(one.verdict)) else one.verdict
        table.add_row(one.name, before, now, change, span, verdict)
    console.print(table)
    for note in dict.fromkeys(note for one in comparisons for note in one.note.split("; ") if note):
        console.print(f"Note: {note}", style="yellow", markup=False)


def print_results(
    results: "Sequence[Result]", optimum: float | None, *, is_exact: bool, console: Console | None = None
) -> None:
    """Print what each policy made of a run, beside the best possible."""
    console = console or Console(highlight=False, emoji=False)
    columns = ("fps", "on time", "p50 ms", "p95 ms", "utility", "of best", "reused", "busy", "changes")
    table = _table("policy", *columns)
    for one in results:
        of_best = f"{one.utility / optimum:.1%}" if optimum else ""
        table.add_row(
            one.policy,
            f"{one.fps:.1f}",
            f"{one.on_time_share:.1%}",
            f"{one.age_p50_ms:.0f}",
            f"{one.age_p95_ms:.0f}",
            f"{one.utility:.3f}",
            of_best,
            f"{one.reused_share:.0%}",
            f"{one.busy_share:.0%}",
            f"{one.changes}",
            style="bold" if one.policy == "livelens" else "",
        )
    console.print(table)
    if optimum is not None:
        how = "exactly" if is_exact else "none can have more"
        console.print(f"Best possible, knowing all arrivals and costs: {optimum:.3f} ({how}).")
    else:
        console.print("No model is needed on every frame, so there is no best possible to compare with.")
    for line in _MEANINGS:
        console.print(line, style="dim")


def print_line(text: str) -> None:
    """Print a line of markup on stdout, not wrapped."""
    Console(highlight=False, emoji=False, soft_wrap=True).print(text)


def _frame_lines(summary: Mapping[str, Any]) -> list[str]:
    frames, fps, budget = summary["frames"], summary["fps"], f"{summary['budget_ms']:g} ms"
    shown = frames["shown"]
    share = f" ({100 * frames['on_time'] / shown:.1f} %)" if shown else ""
    lines = [
        f"captured: {frames['captured']} frames",
        f"shown: {shown}, {fps['shown']:.1f} a second",
        f"on time: {frames['on_time']}{share}, within {budget} from capture to send",
    ]
    if frames["skipped"]:
        lines.append(f"shown without a model's result: {frames['skipped']}")
    if frames["dropped"]:
        reasons = ", ".join(f"{count} {_REASONS.get(reason, reason)}" for reason, count in frames["dropped"].items())
        lines.append(f"dropped: {reasons}")
    if summary["causes"]:
        causes = ", ".join(f"{cause} {count}" for cause, count in summary["causes"].items())
        lines.append(f"why dropped, late or without a result: {causes}")
    for stage, runs in summary["variants"].items():
        ran = ", ".join(f"{variant or 'as it is'} {count} times" for variant, count in runs.items())
        lines.append(f"{stage}: {ran}")
        lines += [
            f"  {one['frames']} shown with {_STAND_INS[one['action']]}: {one['reason']}"
            for one in summary["decisions"].get(stage, ())
            if one["action"] in _STAND_INS
        ]
    is_virtual = summary["pace"] == "virtual"  # only there do they tell anything: they are the same on every machine
    return [*lines, f"decisions: {summary['decisions_sha256'][:16]}"] if is_virtual else lines


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if unit == "share" else f"{value:.1f} {unit}".rstrip()


def _change(change: float) -> str:
    """Return a change as "+4.2%", one of ten times and more as "x12"."""
    return f"{change:+.1%}" if change < FAR else f"x{1 + change:.0f}"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
