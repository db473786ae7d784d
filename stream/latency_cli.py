"""`livelens record`, `replay` and `simulate`: from a recording to a build that fails when latency gets worse.

Importing this file stays quick, as stream/cli.py: each command imports what it needs.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from stream import options
from stream.errors import ConfigError

if TYPE_CHECKING:
    from stream.baseline import Comparison
    from stream.config import StreamConfig
    from stream.recording import Recording
    from stream.run import Run
    from stream.simulate import Result

_PASS, _OUT = "What must hold", "What is written"


class PaceName(StrEnum):
    """As stream.replay.Pace, which this file must not import before it is used."""

    RECORDED = "recorded"
    REALTIME = "realtime"
    MAX = "max"
    VIRTUAL = "virtual"


def record(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="As for livelens serve.", show_default=False)],
    out: Annotated[str, typer.Argument(metavar="OUT.mkv", help="A new file; a side file is put beside it.")],
    recognize: options.Recognize = None,
    generate: options.Generate = None,
    no_models: options.NoModels = False,
    budget: options.Budget = None,
    size: options.Size = None,
    fps: options.Fps = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", min=0.1, help="End after so long. [dim]default: Ctrl-C, or the end[/]")
    ] = None,
    device: options.Device = None,
) -> None:
    """Record a source as it comes, with a side file of arrivals, results, decisions and costs.

    The packets are copied, not encoded again. Models run meanwhile as in [cyan]livelens serve[/], so that
    [cyan]livelens replay[/] and [cyan]simulate[/] know what they cost. Killed at any moment, both files can be read.
    """
    from stream.record import record_until

    given = {"recognize": recognize, "generate": generate, "budget_ms": budget, "size": size, "fps": fps}
    config = _stream(source, given, no_models, device, record=out, loop=False, allow_late=True)
    status = record_until(config, device or "auto", seconds, _Line())
    lost = f", {status['lost']} lost" if status["lost"] else ""
    _say(f"{out}: {status['seconds']:.1f} s, {status['packets']} packets{lost}; now: livelens replay {out}")
    raise typer.Exit(2 if status["error"] else 0)


def replay(
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A recording, or any video file.", show_default=False)],
    recognize: options.Recognize = None,
    generate: options.Generate = None,
    no_models: options.NoModels = False,
    budget: options.Budget = None,
    pace: Annotated[
        PaceName | None,
        typer.Option(
            help="recorded: as it came. realtime: by its timestamps. max: as fast as possible. virtual: recorded "
            "arrivals and costs on a virtual clock: the same everywhere. [dim]default recorded or realtime[/]",
            show_default=False,
        ),
    ] = None,
    loop: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Play it so many times.")] = 1,
    size: options.Size = None,
    fps: options.Fps = None,
    min_quality: options.MinQuality = None,
    device: options.Device = None,
    max_p99: Annotated[
        float | None,
        typer.Option(
            "--max-p99",
            metavar="MS",
            rich_help_panel=_PASS,
            help="p99 from capture to send. [dim]default: the budget, when nothing else must hold[/]",
        ),
    ] = None,
    min_on_time: Annotated[
        float | None,
        typer.Option(
            "--min-on-time", metavar="PCT", min=0, max=100, rich_help_panel=_PASS, help="Share of shown frames, in %."
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="F.json", rich_help_panel=_PASS, help="An earlier --json: fail when worse."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="F", rich_help_panel=_OUT, help="Every number, for programs.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="F", rich_help_panel=_OUT, help="One page to read and pass on.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="F", rich_help_panel=_OUT, help="For ui.perfetto.dev.")
    ] = None,
) -> None:
    """Play a recording through the same pipeline as a live stream, encoder included, and judge its latency.

    Ends with 0 when everything holds, 1 when it is over the budget or worse than the baseline, 2 for bad input.
    """
    from stream.baseline import compare, load_baseline, speed_probe
    from stream.replay import Pace, Wish
    from stream.replay import replay as play
    from stream.summary import summarize

    _check_outputs([json_file, html, trace])
    before = load_baseline(baseline) if baseline else None
    recording = _open_recording(clip, pace)
    given = {"recognize": recognize, "generate": generate, "budget_ms": budget, "size": size, "fps": fps}
    given["min_quality"] = min_quality
    config = _replay_config(recording, given, no_models, device, pace)
    chosen = Pace(pace.value) if pace else Pace.RECORDED if recording.run else Pace.REALTIME
    is_virtual = chosen is Pace.VIRTUAL
    probe_ms = None if is_virtual else speed_probe()
    with _progress(f"{chosen.value}") as tell:
        run = play(Wish(recording, chosen, config, loop, device or "auto"), tell)
    summary = summarize(run, _peak_mb(), probe_ms if probe_ms is None else min(probe_ms, speed_probe()))
    comparisons = compare(before, summary) if before else None
    _write_outputs(run, summary, comparisons, json_file, html, trace)
    raise typer.Exit(_judge(summary, comparisons, max_p99, min_on_time))


def simulate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A recording, or [cyan]synthetic:KIND,overload=2,ladder=4[/] (constant, bursty, lognormal, step).",
            show_default=False,
        ),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="fifo, newest, edf or livelens; may be repeated. [dim]default: all four[/]"),
    ] = None,
    budget: options.Budget = None,
    device_speed: Annotated[
        float, typer.Option("--device-speed", metavar="X", help="2 makes every model job take half as long.")
    ] = 1.0,
    streams: Annotated[int, typer.Option(metavar="N", help="So many copies of the stream on the one device.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="F", help="The table, for programs.")] = None,
) -> None:
    """Run recorded or synthetic costs under other policies, in virtual time, beside the best that was possible."""
    from stream.policies import POLICIES
    from stream.simulate import Setting, best_possible, load_run
    from stream.simulate import simulate as run_policy

    _check_outputs([json_file])
    names = policy or list(POLICIES)
    if unknown := next((name for name in names if name not in POLICIES), None):
        raise ConfigError(f"--policy {unknown}: there is no such policy; known are {', '.join(POLICIES)}")
    if budget is not None and not budget > 0:
        raise ConfigError(f"--budget {budget:g}: it must be more than 0 milliseconds")
    setting = Setting(budget, device_speed, streams)
    recorded = load_run(run)
    results = [run_policy(recorded, name, setting) for name in names]
    optimum = best_possible(recorded, setting)
    _show_results(results, optimum.value if optimum else None, is_exact=bool(optimum and optimum.is_exact))
    if json_file:
        _write(json_file, json.dumps(_results_json(run, results, optimum.value if optimum else None), indent=1) + "\n")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(short_help="Record a source with its arrivals, costs and decisions.")(record)
    app.command(short_help="Play a recording through the pipeline and judge its latency.")(replay)
    app.command(short_help="Try other policies, budgets and devices on a recording.")(simulate)


# Settings


def _stream(source: str, given: dict[str, Any], no_models: bool, device: str | None, **more: object) -> "StreamConfig":
    """Return the checked configuration of one stream."""
    from stream.cli import check
    from stream.config import from_options

    stream = {key: value for key, value in given.items() if value is not None}
    if no_models:
        if clash := next((key for key in ("recognize", "generate") if key in stream), None):
            raise ConfigError(f"--no-models and --{clash} exclude each other; leave one out")
        stream["models"] = False
    server = {"port": 0} | ({"device": device} if device else {})
    config = from_options(server, {"source": source, **stream, **more})
    check(config)
    return config.streams[0]


def _open_recording(clip: str, pace: PaceName | None) -> "Recording":
    from stream.recording import open_recording

    needs_side = pace in (PaceName.RECORDED, PaceName.VIRTUAL)
    recording = open_recording(Path(clip), require_side=needs_side)
    for note in recording.notes:
        _say(f"[yellow]Note:[/] {note}")
    return recording


def _replay_config(
    recording: "Recording", given: dict[str, Any], no_models: bool, device: str | None, pace: PaceName | None
) -> "StreamConfig":
    """Return what to replay with: what was said, else what it was recorded with, else the defaults."""
    from stream.clock import ns_to_ms
    from stream.replay import recorded_models

    has_models = no_models or given["recognize"] or given["generate"]
    if pace is PaceName.VIRTUAL and (clash := _named(given, no_models)):
        raise ConfigError(f"--pace virtual replays what was recorded, so {clash} cannot change; take --pace recorded")
    if recording.run is not None:
        if given["budget_ms"] is None:
            given["budget_ms"] = ns_to_ms(recording.run.info.budget_ns)
        if not has_models:
            recognize, generate = recorded_models(recording.run)
            given |= {"recognize": recognize or None, "generate": generate}
            no_models = not recognize and not generate and bool(recording.run.arrivals)
    if pace is PaceName.VIRTUAL:
        given |= {"recognize": None, "generate": None}  # nothing is loaded
        no_models = True
    return _stream(str(recording.clip), given, no_models, device, allow_late=True)


def _named(given: dict[str, Any], no_models: bool) -> str | None:
    """Return the first option given that a virtual replay cannot follow."""
    named = {"recognize": "--recognize", "generate": "--generate", "size": "--size", "fps": "--fps"}
    return "--no-models" if no_models else next((flag for key, flag in named.items() if given[key]), None)


# What is said and written


def _judge(
    summary: dict[str, Any],
    comparisons: "Sequence[Comparison] | None",
    max_p99: float | None,
    min_on_time: float | None,
) -> int:
    """Print the numbers and the verdict, and return the exit code."""
    from stream.tables import print_comparisons, print_replay
    from stream.verdict import Limits, failures

    print_replay(summary)
    if comparisons is not None:
        print_comparisons(comparisons)
    found = failures(summary, Limits(max_p99, min_on_time), comparisons)
    for line in found:
        _say(f"[bold red]Failed:[/] {line}")
    if not found:
        _say("[bold green]Passed.[/]")
    return 1 if found else 0


def _write_outputs(
    run: "Run",
    summary: dict[str, Any],
    comparisons: "Sequence[Comparison] | None",
    json_file: Path | None,
    html: Path | None,
    trace: Path | None,
) -> None:
    from stream.perfetto import trace_json
    from stream.report import html_report

    if json_file:
        _write(json_file, json.dumps(summary, indent=1) + "\n")
    if html:
        _write(html, html_report(run, summary, comparisons))
    if trace:
        _write(trace, json.dumps(trace_json([run])))


def _check_outputs(paths: Sequence[Path | None]) -> None:
    """Raise ConfigError for a file that could not be written, before anything is run."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; give the name of a file")
        if not path.absolute().parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")


def _write(path: Path, text: str) -> None:
    """Write beside the place, then rename, so that an earlier file is never half overwritten."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, "utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _show_results(results: "Sequence[Result]", optimum: float | None, *, is_exact: bool) -> None:
    from stream.tables import print_results

    print_results(results, optimum, is_exact=is_exact)


def _results_json(name: str, results: "Sequence[Result]", optimum: float | None) -> dict[str, Any]:
    from dataclasses import asdict, replace

    rows = [{k: v for k, v in asdict(replace(one, runs=())).items() if k != "runs"} for one in results]
    return {"schema_version": 1, "run": name, "optimum": optimum, "policies": rows}


def _peak_mb() -> float | None:
    """Return the highest resident memory of this process; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage: bytes on macOS, KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show frames done, their rate and the time left, on stderr."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")

        def tell(done: int, total: int) -> None:
            elapsed_s = progress.tasks[0].elapsed or 0.0
            rate = f"{done / elapsed_s:.0f} frames/s" if elapsed_s > 0 else ""
            progress.update(task, completed=done, total=total, rate=rate)

        yield tell


class _Line:
    """One line on stderr that is written over and over, where that is a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def __call__(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(text, end="\r")


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)
