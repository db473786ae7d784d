"""cli.py: what starts, what is refused with one line, and that help and import stay light.

The server itself is replaced by a recorder here; tests/browser/ starts the real command.
"""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import stream.app
import stream.camera
from stream import __version__, cli
from stream.address import parse_source
from stream.config import DEFAULT_BUDGET_MS, DEFAULT_GENERATE, DEFAULT_RECOGNIZE, ServeConfig
from tests.test_port import taken  # noqa: F401  # a fixture: a port that another socket holds

Serve = Callable[..., ServeConfig]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ServeConfig]:
    """Replace the server; holds the settings it was started with."""
    calls: list[ServeConfig] = []

    def run(config: ServeConfig) -> int:
        calls.append(config)
        return 0

    monkeypatch.setattr(stream.app, "run", run)
    return calls


@pytest.fixture
def serve(started: list[ServeConfig]) -> Serve:
    """Run `livelens serve ... --port 0` and return what it started."""

    def start(*arguments: str) -> ServeConfig:
        assert cli._run(["serve", "--port", "0", *arguments]) == 0
        return started[-1]

    return start


@pytest.fixture
def refused(started: list[ServeConfig], capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Run `livelens ...`, which must end with 2 and one line on stderr; return that line."""
    threads = set(threading.enumerate())

    def run(*arguments: str) -> str:
        assert cli._run(list(arguments)) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert len(lines) == 1, printed.err
        assert lines[0].startswith("livelens: error: ")
        return lines[0].removeprefix("livelens: error: ")

    yield run
    assert started == []
    assert set(threading.enumerate()) <= threads


def run_in_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


# ---- what starts


def test_all_options_reach_the_server(serve: Serve) -> None:
    options = (
        "test: -r mask/person --generate style:where=all --budget 99.5 --size 320x240 --fps 12 --name gate --device cpu"
    )
    config = serve(*options.split(), "--no-loop")
    (gate,) = config.streams
    assert (gate.source, gate.name, gate.recognize, gate.generate) == (
        "test:",
        "gate",
        ["mask/person"],
        "style:where=all",
    )
    assert (gate.budget_ms, gate.size, gate.fps, gate.loop) == (99.5, (320, 240), 12, False)
    assert (config.host, config.port, config.device) == ("127.0.0.1", 0, "cpu")


def test_without_models_given_the_default_picture_is_made(serve: Serve) -> None:
    (stream,) = serve("test:").streams
    assert (tuple(stream.recognize), stream.generate) == (DEFAULT_RECOGNIZE, DEFAULT_GENERATE)


def test_one_model_given_runs_alone(serve: Serve) -> None:
    assert serve("test:", "-r", "mask/person").streams[0].generate is None
    assert serve("test:", "-g", "style").streams[0].recognize == []


def test_no_models_gives_plain_video(serve: Serve) -> None:
    (stream,) = serve("test:", "--no-models").streams
    assert (stream.recognize, stream.generate) == ([], None)


def test_config_file_starts_every_stream_and_options_win(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "cams.toml"
    path.write_text(
        '[server]\nport = 1\n[[stream]]\nname = "a"\nsource = "test:"\n[[stream]]\nname = "b"\nsource = "test:"'
    )
    config = serve("--config", str(path))
    assert ([stream.name for stream in config.streams], config.port) == (["a", "b"], 0)


def test_without_source_and_camera_the_sample_clip_plays(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream.camera, "first_camera", lambda: None)
    source = serve().streams[0].source
    assert Path(source).is_file()
    assert "no camera found: playing the sample clip" in capsys.readouterr().err


def test_without_source_the_first_camera_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream.camera, "first_camera", lambda: parse_source("camera:0"))
    assert serve().streams[0].source == "camera:0"
    assert "using the first camera, camera:0" in capsys.readouterr().err


def test_open_host_needs_a_token_or_insecure(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve("test:", "--host", "0.0.0.0", "--insecure")
    assert "Warning:" in (err := capsys.readouterr().err) and "can watch" in err
    assert serve("test:", "--host", "0.0.0.0", "--token", "open-sesame").token == "open-sesame"
    serve("test:")
    assert capsys.readouterr().err == ""


def test_the_token_may_come_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVELENS_TOKEN", "open-sesame")
    assert serve("test:").token == "open-sesame"


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("test: --host 0.0.0.0", "--host 0.0.0.0 lets in everyone who can reach this machine; give --token SECRET"),
        ("test: --token short", "--token as given is not allowed; it must be 8 to 256 letters"),
        ("test: --allow-origin example.org", "'example.org' is not allowed"),
        ("no-such-file.mp4", "no-such-file.mp4"),
        ("gopher://old/page", "gopher"),
        ("test: -r mask/persn", "did you mean mask/person"),
        ("test: -g stile", "did you mean style"),
        ("test: -g style:where=nowhere", "nowhere"),
        ("test: -g mask/person", "mask/person"),
        ("test: -r no.such.module:thing", "no.such.module"),
        ("test: --size huge", "--size 'huge' is not allowed; it must be WxH"),
        ("test: --budget 0", "--budget 0 is not allowed; it must be more than 0"),
        ("test: --fps -1", "--fps -1 is not allowed"),
        ("test: --port 70000", "--port 70000 is not allowed"),
        ("test: --port eighty", "--port"),
        ("test: --device gpu", "--device 'gpu' is not allowed"),
        ("test: --host no.such.host.invalid", "--host no.such.host.invalid is no address of this machine"),
        ("test: --name a/b", "--name 'a/b' is not allowed"),
        ("test: --no-models -g style", "--no-models and --generate exclude each other"),
        ("test: --config cams.toml", "SOURCE and --config exclude each other"),
        ("--config no-such.toml", "no-such.toml: there is no such file"),
        ("test: extra", "extra"),
        ("test: --bugdet 5", "--bugdet"),
    ],
)
def test_wrong_request_ends_with_one_line(refused: Callable[..., str], arguments: str, says: str) -> None:
    assert says in refused("serve", *arguments.split())


def test_folder_without_pictures_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert str(tmp_path) in refused("serve", str(tmp_path))


def test_port_in_use_is_refused(refused: Callable[..., str], taken: int) -> None:  # noqa: F811
    assert f"port {taken} on 127.0.0.1 is in use" in refused("serve", "test:", "--port", str(taken))


def test_wrong_stream_in_a_file_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "cams.toml"
    path.write_text(
        '[[stream]]\nname = "a"\nsource = "test:"\n[[stream]]\nname = "b"\nsource = "test:"\nrecognize = ["x"]'
    )
    assert refused("serve", "--config", str(path)).startswith("stream b: ")


def test_unknown_command_points_to_help_or_to_serve(refused: Callable[..., str]) -> None:
    assert "Did you mean 'serve'" in refused("serv")
    assert "livelens serve SOURCE" in refused("rtsp://10.0.0.7/main")


def test_refusal_ends_the_process_with_2() -> None:
    done = run_in_process("serve", "no-such-file.mp4")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"livelens: error: .*no-such-file\.mp4.*\n", done.stderr)


def test_interrupt_before_start_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(config: ServeConfig) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "check", interrupt)
    assert cli._run(["serve", "test:"]) == 130
    assert capsys.readouterr().err == ""


# ---- what a person reads


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_no_arguments_show_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(arguments) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("serve", "models", "sources", "doctor", "--version"))


def test_help_of_serve_names_every_option_and_the_true_defaults() -> None:
    done = run_in_process("serve", "--help", COLUMNS="200", TERM="dumb")
    text = " ".join(done.stdout.split())
    fields = ServeConfig.model_fields
    for option in (
        "recognize",
        "generate",
        "budget",
        "size",
        "fps",
        "device",
        "host",
        "port",
        "name",
        "config",
        "no-loop",
    ):
        assert f"--{option}" in text
    for default in (f"{DEFAULT_BUDGET_MS:g}", fields["port"].default, fields["host"].default, fields["device"].default):
        assert f"default {default}" in text
    for model in (*DEFAULT_RECOGNIZE, DEFAULT_GENERATE):
        assert model in text


@pytest.mark.parametrize("columns", ["40", "80"])
def test_help_fits_the_terminal(columns: str) -> None:
    done = run_in_process("serve", "--help", COLUMNS=columns)
    assert max(map(len, done.stdout.splitlines())) <= int(columns)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["--version"]) == 0
    assert capsys.readouterr().out == f"livelens {__version__}\n"


@pytest.mark.parametrize(("command", "word"), [("models", "mask/person"), ("sources", "rtsp://"), ("doctor", "codecs")])
def test_listing_commands_print(command: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run([command]) == 0
    assert word in capsys.readouterr().out


def test_failed_check_ends_doctor_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from stream import doctor

    failed = doctor.Check("codecs", doctor.State.FAIL, "nothing", "install av")
    monkeypatch.setattr(doctor, "examine", lambda port: [failed])
    assert cli._run(["doctor"]) == 1


HEAVY = {
    "torch",
    "torchvision",
    "av",
    "cv2",
    "numpy",
    "openvino",
    "pydantic",
    "supervision",
    "aiohttp",
    "aiortc",
    "asyncio",
}


def test_import_brings_in_nothing_heavy() -> None:
    """Keep the import under 0.3 s: what would break that is looked for by name, as time varies with the machine."""
    code = "import sys, stream.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY & set(done.stdout.split()) == set()
