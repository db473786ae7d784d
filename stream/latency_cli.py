"""`livelens record`, `replay` and `simulate`: from a recording to a build that fails when latency gets worse.

Importing this file stays quick, as stream/cli.py: each command imports what it needs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from stream import latency_options as own
from stream import options
from stream.errors import ConfigError
from stream.outputs import check_outputs, write
from stream.progress import Line, frames_done, note, say, warnings_held

if TYPE_CHECKING:
    from stream.baseline import Comparison
    from stream.replay import Wish
    from stream.run import Run
    from stream.simulate import Result
    from stream.verdict import Limits


def record(
    source: own.RecordSource,
    out: own.Out,
    recognize: options.Recognize = None,
    generate: options.Generate = None,
    no_models: options.NoModels = False,
    budget: options.Budget = None,
    size: options.Size = None,
    fps: options.Fps = None,
    seconds: own.Seconds = None,
    device: options.Device = None,
) -> None:
    """Record a source as it comes, with a side file of arrivals, results, decisions and costs.

    The packets are copied, not encoded again. Models run meanwhile as in
    [cyan]livelens serve[/], so that [cyan]replay[/] and [cyan]simulate[/] know what they cost.

    Killed at any moment, both files can be read.
    """
    from stream.record import record_until
    from stream.trial import stream_config

    _check_number("--seconds", seconds, 0.1, 1e7)
    said = {"recognize": recognize, "generate": generate, "budget_ms": budget, "size": size, "fps": fps}
    said["models"] = False if no_models else None
    config = stream_config(source, said, device, record=out, loop=False, allow_late=True)
    line = Line()
    with warnings_held(line) as warnings:

        def tell(text: str) -> None:
            warnings.let_out()  # the first packet has come
            line(text)

        status = record_until(config, device or "auto", seconds, tell)
        line.clear()
        if status["error"]:
            kept = "; what came before is kept" if status["packets"] else ""
            raise ConfigError(f"{out}: the recording has stopped: {status['error']}{kept}")
        warnings.let_out()
    if not status["is_warm"]:
        note("it ended before the models were ready, so it has no costs: replay works, but not --pace virtual")
    lost = f", {status['lost']} lost" if status["lost"] else ""
    say(escape(f"{out}: {status['seconds']:.1f} s, {status['packets']} packets{lost}; now: livelens replay {out}"))


def replay(
    clip: own.Clip,
    recognize: options.Recognize = None,
    generate: options.Generate = None,
    no_models: options.NoModels = False,
    budget: own.Budget = None,
    pace: own.Pace = None,
    loop: own.Loop = 1,
    size: options.Size = None,
    fps: options.Fps = None,
    min_quality: options.MinQuality = None,
    device: options.Device = None,
    max_p99: own.MaxP99 = None,
    min_on_time: own.MinOnTime = None,
    baseline: own.Baseline = None,
    json_file: own.Json = None,
    html: own.Html = None,
    trace: own.PerfettoTrace = None,
) -> None:
    """Play a recording through the same pipeline as a live stream, encoder included, and judge its latency.

    Ends with 0 when everything holds, 1 when it is over the budget or worse than the baseline, 2 for bad input.
    """
    from stream.baseline import compare, load_baseline
    from stream.trial import check_alike, wish_for
    from stream.verdict import Limits

    _check_number("--max-p99", max_p99, 0.001, 1e7)
    _check_number("--min-on-time", min_on_time, 0, 100)
    check_outputs({"--json": json_file, "--html": html, "--trace": trace}, _read_files(clip, baseline))
    before = load_baseline(baseline) if baseline else None
    if min_on_time is not None and 0 < min_on_time <= 1:
        percent = f"{min_on_time * 100:g}"
        raise ConfigError(f"--min-on-time {min_on_time:g} would be less than 1 percent; say {percent} for {percent} %")
    said = {"recognize": recognize, "generate": generate, "budget_ms": budget, "size": size, "fps": fps}
    said |= {"min_quality": min_quality, "models": False if no_models else None}
    wish = wish_for(Path(clip), said, pace, loop, device)
    if before is not None:
        check_alike(before, wish, str(baseline))
    for text in wish.recording.notes:
        note(text)
    try:
        run, summary = _play(wish)
    except KeyboardInterrupt:
        say("[bold]Stopped[/] before the end: nothing was judged or written.")
        raise
    comparisons = compare(before, summary) if before else None
    _write_outputs(run, summary, comparisons, json_file, html, trace)
    raise typer.Exit(_judge(summary, comparisons, Limits(max_p99, min_on_time)))


def simulate(
    run: own.RunName,
    policy: own.Policy = None,
    budget: own.Budget = None,
    device_speed: own.DeviceSpeed = 1.0,
    streams: own.Streams = 1,
    json_file: own.Table = None,
) -> None:
    """Run recorded or synthetic costs under other policies, in virtual time, beside the best that was possible."""
    from stream.policies import POLICIES
    from stream.simulate import Setting, best_possible, load_run
    from stream.simulate import simulate as run_policy
    from stream.tables import print_results

    _check_number("--budget", budget, 0.001, 1e7)
    _check_number("--device-speed", device_speed, 0.001, 1000)
    names = list(dict.fromkeys(policy or POLICIES))
    if unknown := next((name for name in names if name not in POLICIES), None):
        raise ConfigError(f"--policy {unknown}: there is no such policy; known are {', '.join(POLICIES)}")
    check_outputs({"--json": json_file}, _read_files(run))
    setting = Setting(budget, device_speed, streams)
    with warnings_held() as warnings:
        recorded = load_run(run)
        results = [run_policy(recorded, name, setting) for name in names]
        best = best_possible(recorded, setting)
        warnings.let_out()
    optimum = best.value if best else None
    print_results(results, optimum, is_exact=bool(best and best.is_exact))
    if json_file:
        write(json_file, json.dumps(_results_json(run, results, optimum), indent=1) + "\n")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(short_help="Record a source with its arrivals, costs and decisions.")(record)
    app.command(short_help="Play a recording through the pipeline and judge its latency.")(replay)
    app.command(short_help="Try other policies, budgets and devices on a recording.")(simulate)


# Settings


def _check_number(option: str, value: float | None, low: float, high: float) -> None:
    """Raise ConfigError for a number outside of what makes sense; nan is, too."""
    if value is not None and not low <= value <= high:
        raise ConfigError(f"{option} {value:g} is not allowed; it must be {low:.12g} to {high:.12g}")


def _read_files(clip: str, baseline: Path | None = None) -> list[Path]:
    """Return the files that a command reads, which none of its outputs may overwrite."""
    from stream.tape import SIDE_SUFFIX, SUFFIX, side_path

    given = Path(clip)
    if given.is_dir():
        raise ConfigError(f"{clip}: is a folder; give the file itself")
    is_side = given.name.endswith(SIDE_SUFFIX)
    other = given.with_name(given.name.removesuffix(SIDE_SUFFIX) + SUFFIX) if is_side else side_path(given)
    return [given, other, *([baseline] if baseline else [])]


# What is said and written


def _play(wish: "Wish") -> "tuple[Run, dict[str, Any]]":
    """Replay, with progress; return the account and its summary."""
    from stream.trial import run_trial

    with warnings_held() as warnings:
        with frames_done(wish.pace.value) as tell:
            found = run_trial(wish, tell, has_own_process=True)
        warnings.let_out()
    return found


def _judge(summary: dict[str, Any], comparisons: "Sequence[Comparison] | None", limits: "Limits") -> int:
    """Print the numbers and the verdict, and return the exit code."""
    from stream.tables import print_comparisons, print_line, print_replay
    from stream.verdict import failures, passed_but

    print_replay(summary)
    if comparisons is not None:
        print_comparisons(comparisons)
    found = failures(summary, limits, comparisons)
    for line in found:
        print_line(f"[bold red]Failed:[/] {escape(line)}")
    if not found:
        print_line(f"[bold green]Passed[/]{escape(passed_but(comparisons or ()))}.")
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
        write(json_file, json.dumps(summary, indent=1) + "\n")
    if html:
        write(html, html_report(run, summary, comparisons))
    if trace:
        write(trace, json.dumps(trace_json([run])))


def _results_json(name: str, results: "Sequence[Result]", optimum: float | None) -> dict[str, Any]:
    from dataclasses import asdict, replace

    rows = [{k: v for k, v in asdict(replace(one, runs=())).items() if k != "runs"} for one in results]
    return {"schema_version": 1, "run": name, "optimum": optimum, "policies": rows}
