"""Each demo, run as its header says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rtsp import Camera
from tests.server import ROOT, serve
from tests.test_testing import PLUGIN

DEMOS = sorted(path.name for path in (ROOT / "demos").glob("[0-9]*.py"))


def test_every_demo_is_short_and_says_what_you_will_see() -> None:
    assert DEMOS == ["01_webcam.py", "02_rtsp_to_browser.py", "03_replay_latency.py", "04_test_latency.py"]
    for name in DEMOS:
        text = (ROOT / "demos" / name).read_text()
        assert len(text.splitlines()) < 80
        assert "You will see:" in text


def test_webcam_shows_a_painted_picture(tmp_path: Path) -> None:
    with serve("--source", "test:", script="demos/01_webcam.py", log_path=tmp_path / "log") as served:
        served.wait_until_ready()
        served.wait_until(lambda: served.stream("webcam")["frames"]["shown"] > 10, what="frames")
        assert {s["name"] for s in served.stream("webcam")["stages"]} == {"mask", "boxes", "style"}
        assert served.interrupt() < 5


def test_rtsp_to_browser_runs_a_model_of_its_own(tmp_path: Path) -> None:
    camera = Camera().start()
    try:
        with serve(camera.url, script="demos/02_rtsp_to_browser.py", log_path=tmp_path / "log") as served:
            served.wait_until_ready()
            served.wait_until(lambda: served.stream("camera")["frames"]["shown"] > 10, what="frames")
            stages = {s["name"]: s for s in served.stream("camera")["stages"]}
            assert stages["Brightness"]["runs"] > 0 and stages["Brightness"]["errors"] == 0
    finally:
        camera.kill()


@pytest.mark.parametrize(("budget", "code"), [("100000", 0), ("1", 1)])
def test_replay_latency_gives_a_table_and_a_verdict(tmp_path: Path, budget: str, code: int) -> None:
    clip = tmp_path / "clip.mp4"
    make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=15:d=3", "-pix_fmt", "yuv420p", clip]
    subprocess.run(make, check=True)
    command = [sys.executable, "demos/03_replay_latency.py", str(clip), "--budget", budget]
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == code, done.stderr
    assert "capture to send" in done.stdout and "wanted 95 %" in done.stdout


@pytest.mark.slow
def test_latency_test_passes_as_it_is_copied(tmp_path: Path) -> None:
    shutil.copy(ROOT / "demos" / "04_test_latency.py", tmp_path / "test_latency.py")
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-k", "boxes", "test_latency.py"]
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sample.mp4, realtime: p99 " in done.stdout
