"""The `livelens` command: serve, models, sources, doctor.

Importing this file stays quick (no torch, PyAV, OpenCV, OpenVINO, pydantic, aiohttp): each command imports what it
needs. A wrong setting ends with one line on stderr and exit code 2, before anything has started.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from stream import __version__, bench_cli, latency_cli, models_cli, options
from stream.errors import ConfigError, StreamError
from stream.preflight import check

if TYPE_CHECKING:
    from stream.config import ServeConfig

app = typer.Typer(
    name="livelens",
    help="Live AI video, on time: models on a camera, an RTSP stream or a recording, shown in a browser.",
    epilog="Start with:  livelens serve",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a check failed, 2 something asked for is wrong, 130 Ctrl-C."""
    code = _run(arguments)
    device = sys.modules.get("stream.device")
    if device is not None and device.is_work_left():
        _leave_now(code)
    sys.exit(code)


def _leave_now(code: int) -> NoReturn:
    """Exit without the interpreter's end: a thread inside a native library would abort the process there."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = app(given, prog_name="livelens", standalone_mode=False)
    except StreamError as error:
        return _fail(str(error))
    except typer.TyperException as error:  # an option or command that is not there, or a value of the wrong type
        return _fail(_explain_usage(error))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    line = " ".join(message.split())
    print(f"livelens: error: {line}", file=sys.stderr)
    return 2


def _explain_usage(error: typer.TyperException) -> str:
    """Turn a wrong command line into one line that says where help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "livelens"
    message = error.format_message().rstrip(".")
    if message.startswith("No such command") and any(mark in message.split("'")[1] for mark in ":/."):
        return f"{message}; to show a source: livelens serve SOURCE"
    return f"{message} ({command} --help shows what there is)"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"livelens {__version__}")
        raise typer.Exit


@app.callback()
def livelens(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options that come before a command."""


@app.command(short_help="Run models on a source and show the result in a browser.")
def serve(
    source: options.Source = None,
    recognize: options.Recognize = None,
    generate: options.Generate = None,
    no_models: options.NoModels = False,
    budget: options.Budget = None,
    size: options.Size = None,
    fps: options.Fps = None,
    min_quality: options.MinQuality = None,
    allow_late: options.AllowLate = False,
    no_loop: options.NoLoop = False,
    shadow: options.Shadow = None,
    record: options.Record = None,
    publish: options.Publish = None,
    publish_token: options.PublishToken = None,
    host: options.Host = None,
    token: options.Token = None,
    insecure: options.Insecure = False,
    allow_origin: options.AllowOrigin = None,
    port: options.Port = None,
    name: options.Name = None,
    device: options.Device = None,
    config: options.Config = None,
    log_level: options.Log = options.LogLevel.INFO,
) -> None:
    """Run models on a source and show the result in a browser.

    [cyan]livelens serve[/]  the first camera, else the sample clip

    [cyan]livelens serve rtsp://10.0.0.7/main -r boxes/coco[/]  boxes on a network camera

    [cyan]livelens serve talk.mp4 -g style:where=all[/]  a recording as a painting

    [dim]livelens sources and livelens models list what there is.[/]
    """
    raise typer.Exit(_serve(dict(locals())))


SERVER_SETTINGS = ("host", "port", "device", "token", "insecure", "allow_origin")
RENAMED = {"budget": "budget_ms", "shadow": "shadow_s"}  # options whose setting says its unit


def _serve(asked: dict[str, Any]) -> int:
    """Serve with the options of `serve`, by their names; return the exit code."""
    level = asked.pop("log_level").value.upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    config = asked.pop("config")
    for setting in ("models", "loop"):
        asked[setting] = False if asked.pop(f"no_{setting}") else None
    given = {RENAMED.get(key, key): value for key, value in asked.items() if value not in (None, [])}
    given = {key: value for key, value in given.items() if value is not False or key in ("models", "loop")}
    server = {key: given.pop(key) for key in SERVER_SETTINGS if key in given}
    settings = _from_file(config, server, given) if config else _from_options(server, given)
    check(settings)
    _refuse_when_open(settings)
    from stream.app import run

    return run(settings)


def _from_file(path: Path, server: dict[str, Any], stream: dict[str, Any]) -> "ServeConfig":
    from stream.config import FLAGS, from_file

    flags = {**FLAGS, "models": "--no-models", "loop": "--no-loop"}
    if clash := next(iter(stream), None):
        raise ConfigError(f"{flags[clash]} and --config exclude each other; write it into a [[stream]] table of {path}")
    return from_file(path, server)


def _from_options(server: dict[str, Any], stream: dict[str, Any]) -> "ServeConfig":
    from stream.config import from_options

    if "models" in stream and (clash := next((key for key in ("recognize", "generate") if key in stream), None)):
        raise ConfigError(f"--no-models and --{clash} exclude each other; leave one out")
    if "source" not in stream:
        stream = {**stream, "source": _choose_source()}
    return from_options(server, stream)


def _choose_source() -> str:
    """Return the first camera, else the sample clip, and say which and why."""
    from stream.address import sample_clip
    from stream.camera import first_camera

    camera = first_camera()
    if camera is not None:
        _say(f"No SOURCE given: using the first camera, {camera}.")
        return camera.address
    _say("No SOURCE given and no camera found: playing the sample clip. (livelens sources lists what can be shown)")
    return sample_clip().address


def _refuse_when_open(settings: "ServeConfig") -> None:
    """Raise ConfigError where everyone who can reach this machine could watch, and nobody said that they may."""
    from stream.port import is_loopback

    if is_loopback(settings.host) or settings.token:
        return
    if not settings.insecure:
        raise ConfigError(
            f"--host {settings.host} lets in everyone who can reach this machine; give --token SECRET "
            "(or LIVELENS_TOKEN), or say --insecure"
        )
    _say(f"[bold yellow]Warning:[/] --insecure with --host {settings.host}: whoever can reach this machine can watch.")


def _say(text: str) -> None:
    """Tell a person something on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(text)


latency_cli.register(app)
models_cli.register(app)
bench_cli.register(app)


@app.command(short_help="List cameras and every kind of source.")
def sources() -> None:
    """List the cameras found here, and every kind of source with an example."""
    from stream.camera import list_cameras
    from stream.listing import print_sources

    print_sources(list_cameras())


@app.command(short_help="Check this machine and say what to do.")
def doctor(
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="The port you want to use.")] = 8080,
) -> None:
    """Check Python, cameras, GPU, processor, codecs, ports, and what browsers allow; say what to do.

    Ends with 0 unless something must be repaired before Livelens can work, then with 1.
    """
    from stream.doctor import State, examine
    from stream.listing import print_checks

    checks = examine(port)
    print_checks(checks)
    raise typer.Exit(1 if any(check.state is State.FAIL for check in checks) else 0)
