"""record.py: what ends a recording, and what it leaves behind. Signals go to a process of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import stream.record
from stream.config import StreamConfig
from stream.errors import ConfigError
from stream.live import LiveStream
from stream.parts import StreamLog
from stream.record import record_until
from stream.recorder import side_path
from stream.recording import open_recording
from stream.source import SourceState
from tests.media import Media, media  # noqa: F401
from tests.record import payloads, run_of
from tests.recorded import Cli, cli, own_models  # noqa: F401
from tests.server import serve

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)

PATIENCE_S = 60.0  # for a loaded machine
Start = Callable[..., subprocess.Popen[str]]


def run(source: str | Path, clip: Path, seconds: float | None = None, **settings: Any) -> tuple[dict[str, Any], str]:
    """Record in this process; return the status, and what was told last."""
    told = [""]
    config = StreamConfig(
        source=str(source), record=str(clip), loop=False, allow_late=True, **({"models": False} | settings)
    )
    return record_until(config, "cpu", seconds, told.append), told[-1]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `livelens record ...` and end what is left of it."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "stream", "record", *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_frames(process: subprocess.Popen[str], clip: Path, frames: int = 20) -> None:
    """Wait until the side file tells of so many frames that were shown."""
    until = time.monotonic() + PATIENCE_S
    while not side_path(clip).exists() or side_path(clip).read_text().count('"type":"outcome"') < frames:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing was recorded"
        time.sleep(0.05)


# ---- what ends it


def test_source_that_ends_leaves_every_packet(media: Media, tmp_path: Path) -> None:
    status, told = run(media("gop10.mp4"), tmp_path / "out.mkv")
    assert (status["packets"], status["lost"], status["error"], status["is_warm"]) == (90, 0, None, True)
    assert payloads(tmp_path / "out.mkv") == payloads(media("gop10.mp4"))
    assert "Ctrl-C ends it" in told
    recording = open_recording(tmp_path / "out.mkv")
    assert recording.notes == () and recording.run is not None
    ended = [outcome.seq for outcome in recording.run.outcomes]
    assert sorted(ended) == [arrival.seq for arrival in recording.run.arrivals]
    assert any("encoded" in outcome.stamps_ns for outcome in recording.run.outcomes)  # one viewer takes everything


def test_seconds_end_it(tmp_path: Path) -> None:
    status, _ = run("test:320x180@30", tmp_path / "out.mkv", 0.5)
    assert 0.3 <= status["seconds"] < 10
    assert open_recording(tmp_path / "out.mkv").notes == ()


def test_interrupt_and_kill_leave_what_can_be_replayed(start: Start, tmp_path: Path, cli: Cli) -> None:
    model = f"{own_models(tmp_path)}:invert"
    ends = {name: tmp_path / f"{name}.mkv" for name in ("SIGINT", "SIGTERM", "SIGKILL")}
    running = {name: start("test:320x180@15", clip, "-g", model) for name, clip in ends.items()}
    for name, clip in ends.items():
        wait_for_frames(running[name], clip)
        running[name].send_signal(getattr(signal, name))
    for name, clip in ends.items():
        out, err = running[name].communicate(timeout=PATIENCE_S)
        is_killed = name == "SIGKILL"
        assert running[name].returncode == (-signal.SIGKILL if is_killed else 0), err
        assert out == ""
        assert err.endswith(f"now: livelens replay {clip}\n") is not is_killed
        assert open_recording(clip).is_cut_short is is_killed
        done = cli("replay", clip, "--pace", "virtual", "--budget", "5000")
        assert done.code == 0, done
        assert ("was cut short" in done.err) is is_killed
        assert "invert: own code" in done.out


def test_interrupt_before_the_first_packet_says_that_nothing_came(start: Start, tmp_path: Path) -> None:
    clip = tmp_path / "out.mkv"
    process = start("rtsp://127.0.0.1:1/cam", clip, "--no-models")
    assert process.stderr is not None
    told = process.stderr.readline()  # a source that is tried again is no silence
    assert told.startswith("Note: ") and "connection refused" in told
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert err.startswith(
        f"livelens: error: {clip}: nothing came to record; rtsp://127.0.0.1:1/cam: connection refused"
    )
    assert not clip.exists() and not side_path(clip).exists()


def test_seconds_end_it_although_nothing_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.record, "FIRST_PACKET_S", 0.3)
    with pytest.raises(ConfigError, match=r"nothing came to record; .*connection refused"):
        run("rtsp://127.0.0.1:1/cam", tmp_path / "out.mkv", 0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("state", "is_live", "packets", "has_ended"),
    [
        ("finished", False, 9, True),
        ("finished", True, 9, True),
        ("error", True, 0, True),  # an address that never worked
        ("error", True, 9, False),  # a camera that starts anew is tried again, all night long
        ("error", False, 9, True),
        ("retrying", True, 0, False),
        ("stalled", True, 9, False),
        ("waiting", True, 0, True),
    ],
)
def test_live_source_that_was_there_once_is_waited_for(
    state: str, is_live: bool, packets: int, has_ended: bool
) -> None:
    source = SimpleNamespace(source_status=lambda: SimpleNamespace(state=SourceState(state), message="a reason"))
    recorder = SimpleNamespace(status=lambda: {"packets": packets})
    watch = stream.record.Watch(cast(LiveStream, source), cast(StreamLog, recorder), is_live=is_live, seconds=None)
    assert watch.has_ended() is has_ended
    assert watch.message == "a reason"


# ---- what is refused, and what is not


def test_name_that_is_taken_is_refused_before_anything_is_opened(
    media: Media, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        pytest.fail("the source was opened")

    monkeypatch.setattr("stream.wiring.open_source", opened)
    clip = tmp_path / "out.mkv"
    for taken in (clip, side_path(clip)):
        taken.write_text("mine")
        assert cli("record", media("short.mp4"), clip, "--no-models").error.startswith(
            f"{taken} exists; choose another"
        )
        assert taken.read_text() == "mine"
        taken.unlink()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("gone.mp4", "", "gone.mp4: there is no such file"),
        ("browser", "--no-models", "nothing came to record; waiting for somebody to send video"),
        ("notes.mp4", "--no-models", "nothing came to record; notes.mp4: not a video this program can read"),
        ("test:", "--seconds 0", "--seconds 0 is not allowed; it must be 0.1 to 10000000"),
        ("test:", "--seconds nan", "--seconds nan is not allowed"),
        ("test:", "--budget nan", "--budget nan is not allowed"),
        ("test:", "-g nothing", "nothing"),
        ("test:", "--no-models -r boxes/coco", "--no-models and --recognize exclude each other"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_leaves_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, options: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.mp4").write_text("no video at all\n" * 100)
    assert says in cli("record", source, "out.mkv", *options.split()).error
    assert [path.name for path in tmp_path.iterdir()] == ["notes.mp4"]


@pytest.mark.parametrize(
    ("clip", "says"),
    [("out.mp4", "its name ends with .mkv"), ("no/out.mkv", "there is no folder no; make it first")],
)
def test_place_that_cannot_be_written_is_refused(
    media: Media, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in cli("record", media("short.mp4"), clip, "--no-models").error


def test_video_that_matroska_cannot_hold_is_refused(media: Media, cli: Cli, tmp_path: Path) -> None:
    error = cli("record", media("rgb.nut"), tmp_path / "out.mkv", "--no-models").error
    assert error.startswith(f"{tmp_path / 'out.mkv'}: the recording has stopped: ")
    assert list(tmp_path.iterdir()) == []


def test_model_that_cannot_be_loaded_does_not_stop_the_recording(media: Media, cli: Cli, tmp_path: Path) -> None:
    clip = tmp_path / "out.mkv"
    done = cli("record", media("base.mp4"), clip, "-g", f"{own_models(tmp_path)}:Broken")
    assert done.code == 0
    assert done.err.count("a model is left out") == 1 and "no weights here" in done.err
    assert open_recording(clip).packets == 60
    assert run_of(clip).outcomes  # the video went on without it


def test_source_that_ends_before_the_models_are_ready_is_said(
    media: Media, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late.py").write_text("import time\ndef create():\n    time.sleep(3)\n    return lambda image: image\n")
    clip = tmp_path / "out.mkv"
    done = cli("record", media("short.mp4"), clip, "-g", f"{tmp_path / 'late.py'}:create")
    assert done.code == 0
    assert "it ended before the models were ready" in done.err
    assert "tells of no frame" in cli("replay", clip, "--pace", "virtual").error


def test_model_that_fails_on_every_frame_is_told_once(media: Media, cli: Cli, tmp_path: Path) -> None:
    clip = tmp_path / "out.mkv"
    done = cli("record", media("base.mp4"), clip, "-g", f"{own_models(tmp_path)}:boom")
    assert done.code == 0
    assert done.err.count("live: boom failed:") == 1 and "one frame too many" in done.err
    assert any(cost.error for cost in run_of(clip).costs)


def test_serve_records_too(media: Media, tmp_path: Path, cli: Cli) -> None:
    clip = tmp_path / "out.mkv"
    options = (str(media("base.mp4")), "--record", str(clip), "--no-models")
    with serve(*options, log_path=tmp_path / "log", env={"HOME": str(tmp_path)}) as served:
        served.wait_until(lambda: (served.stream()["recording"] or {}).get("packets", 0) > 70, what="a loop's end")
        served.interrupt()
        assert served.process.returncode == 0
    recording = open_recording(clip)
    assert recording.packets > 70 and recording.notes == ()
    assert recording.run is not None and recording.run.info.clip == "out.mkv"
    assert cli("replay", clip, "--pace", "virtual", "--min-on-time", "0").code == 0
