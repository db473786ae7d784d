"""`livelens serve` as a process: how it starts, what it refuses, and how it ends."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream.app import _placed
from stream.clock import MonotonicClock
from stream.config import ServeConfig, StreamConfig
from stream.device import open_devices
from stream.pipeline import Pipeline
from stream.wiring import machine_text
from tests.fake_cuda import FakeCuda
from tests.server import ROOT, serve


def refused(*arguments: str) -> str:
    """Run `livelens serve`, expect exit code 2 with one line on stderr, and return the line."""
    command = [sys.executable, "-m", "stream", "serve", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line]
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.mp4"], "missing.mp4"),
        (["."], "picture"),
        (["ftp://host/x"], "ftp"),
        (["test:", "--generate", "styel"], "did you mean style"),
        (["test:", "--size", "640"], "WxH"),
        (["test:", "--budget", "0"], "more than 0"),
        (["test:", "--device", "cuda:7"], "cuda:7"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    assert says in refused(*arguments)


def test_a_port_in_use_is_said_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("test:", "--no-models", "--port", str(port))
    assert str(port) in line and "--port" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    with serve("test:", "--no-models", log_path=tmp_path / "log") as served:
        served.wait_until_ready()
        assert served.interrupt(number) < 5
        assert served.process.returncode in (0, 130)
        assert "Traceback" not in served.log()


def test_a_signal_while_models_load_ends_it_cleanly(tmp_path: Path) -> None:
    with serve("test:", "--generate", "style", log_path=tmp_path / "log") as served:
        assert served.interrupt() < 5
        assert "Traceback" not in served.log()


def test_two_streams_from_a_file(tmp_path: Path) -> None:
    config = tmp_path / "two.toml"
    config.write_text(
        '[[stream]]\nname = "a"\nsource = "test:320x180@30"\nmodels = false\n\n'
        '[[stream]]\nname = "b"\nsource = "browser"\nmodels = false\n'
    )
    with serve("--config", str(config), log_path=tmp_path / "log") as served:
        served.wait_until_ready()
        served.wait_until(lambda: served.stream("a")["source"]["state"] == "running", what="a running source")
        assert served.stream("b")["source"]["state"] == "waiting"


def test_a_model_that_breaks_shows_in_the_status_and_video_goes_on(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def model(image):\n    raise ValueError('scripted')\n")
    with serve("test:", "--generate", f"{broken}:model", log_path=tmp_path / "log") as served:
        served.wait_until(lambda: served.stream()["frames"]["shown"] > 30 or served.stream()["problem"], what="frames")
        [stage] = served.stream()["stages"]
        assert stage["errors"] >= 1 and "scripted" in stage["last_error"]


def test_a_model_that_hangs_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    hanging = tmp_path / "hanging.py"
    hanging.write_text(
        "import time\ncalls = []\n"
        "def model(image):\n    calls.append(1)\n    time.sleep(600 * (len(calls) > 20))\n    return image\n"
    )
    with serve("test:", "--generate", f"{hanging}:model", log_path=tmp_path / "log") as served:
        served.wait_until(lambda: any(s.get("runs", 0) > 10 for s in served.stream()["stages"]), what="runs")
        served.wait_until(lambda: served.stream()["frames"]["dropped"].get("superseded", 0) > 20, what="hanging")
        shown = served.stream()["frames"]["shown"]
        served.wait_until(lambda: served.stream()["frames"]["shown"] > shown + 30, what="video going on without it")
        assert served.interrupt() < 6
        assert served.process.returncode == 0


async def test_streams_are_spread_over_several_gpus_the_heaviest_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda", FakeCuda(count=2))
    clock = MonotonicClock()
    devices = {device.name: device for device in open_devices("cuda", clock)}
    pipelines = {name: Pipeline(device, clock) for name, device in devices.items()}
    config = ServeConfig(
        streams=[
            StreamConfig(name="small", source="test:", size=(640, 360), recognize=["mask/person"]),
            StreamConfig(name="large", source="test:", size=(1920, 1080), generate="style"),
            StreamConfig(name="other", source="test:", size=(640, 360), generate="style"),
        ],
        device="cuda",
    )
    streams = _placed(config, pipelines, devices, clock)
    assert list(streams) == ["small", "large", "other"]
    assert {name: stream.device.name for name, stream in streams.items()} == {
        "large": "cuda:0",
        "small": "cuda:1",
        "other": "cuda:1",
    }
    assert "cuda:1" in machine_text(*devices.values())  # costs are kept for these very cards
    assert streams["large"].pool.is_locked
    assert all([device.close() for device in devices.values()])
