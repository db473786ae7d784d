"""testing.py: a project of its own whose tests use `latency_replay`, run by a pytest of its own."""

import json
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from tests.media import Media, damage, media  # noqa: F401  # a fixture
from tests.server import ROOT

pytest_plugins = "pytester"

# Installed, the plugin is found by itself, and may not be named twice.
IS_INSTALLED = any(point.name == "livelens" for point in entry_points(group="pytest11"))
PLUGIN = ("-p", "livelens" if IS_INSTALLED else "stream.testing")
LOOSE = "budget_ms=60_000"  # what these tests are about is not speed


@pytest.fixture
def project(pytester: pytest.Pytester, media: Media, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:  # noqa: F811
    """Return a project with a clip of two seconds beside its tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    clips = pytester.mkdir("tests") / "clips"
    clips.mkdir()
    shutil.copy(media("base.mp4"), clips / "gate.mp4")
    return pytester


def run(project: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    """Run one test file of the project."""
    (project.path / "tests" / "test_latency.py").write_text(source)
    return project.runpytest_subprocess(*PLUGIN, "-q", *arguments, timeout=100)


def call(arguments: str) -> str:
    return f"def test_gate(latency_replay):\n    latency_replay('clips/gate.mp4', no_models=True, {arguments})\n"


def scaled(path: Path, times: float) -> None:
    """Make a baseline whose run was so many times slower."""
    found: dict[str, Any] = json.loads(path.read_text())
    found["samples_ms"] = [one * times for one in found["samples_ms"]]
    found["shown_at_ms"] = [one * times for one in found["shown_at_ms"]]
    found["fps"]["shown"] /= times
    found["other_load"] = None  # these tests run beside others
    path.write_text(json.dumps(found))


@pytest.mark.slow
def test_replay_on_time_passes_and_tells_its_numbers(project: pytest.Pytester) -> None:
    source = f"""
def test_gate(latency_replay):
    found = latency_replay("clips/gate.mp4", no_models=True, {LOOSE}, max_p99_ms=60_000, min_on_time=99, loop=2)
    assert 0 < found.p99_ms < 60_000 and found.on_time_percent == 100 and found.fps > 0
    assert found.summary["frames"]["captured"] == len(found.run.arrivals) == 120
    assert found.summary["pace"] == "realtime" and found.comparisons is None
"""
    done = run(project, source, "--junitxml=junit.xml")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*= latency =*", "gate.mp4, realtime: p99 * of 60000 ms, 100.0 % on time, * fps"])
    assert 'name="livelens" value="gate.mp4, realtime' in (project.path / "junit.xml").read_text()


def test_replay_over_its_budget_fails_and_names_the_report(project: pytest.Pytester) -> None:
    done = run(project, call("max_p99_ms=0.01, pace='max'"), "--basetemp=temp")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["gate.mp4: p99 from capture to send is * ms, more than 0.01 ms", "report: *", "numbers: *"]
    )
    done.stdout.no_fnmatch_line("*Traceback*")
    told = dict(line.split(": ", 1) for line in done.outlines if line.startswith(("report: ", "numbers: ")))
    report, numbers = Path(told["report"]), Path(told["numbers"])  # pytest says the lines twice where CI is set
    assert report.is_relative_to(project.path / "temp") and "<html" in report.read_text()
    assert json.loads(numbers.read_text())["clip"] == "gate.mp4"


def test_clip_that_cannot_be_played_to_its_end_fails(project: pytest.Pytester) -> None:
    damage(project.path / "tests" / "clips" / "gate.mp4")
    done = run(project, call(LOOSE + ", pace='max'"))
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["gate.mp4: only * of 60 frames of the clip were played: *", "report: *"])


def test_several_limits_are_told_together(project: pytest.Pytester) -> None:
    done = run(project, call("budget_ms=0.01, pace='max', max_p99_ms=0.5, min_on_time=99"))
    done.stdout.fnmatch_lines(["gate.mp4: p99 *more than 0.5 ms", "gate.mp4: 0.0 % of the shown frames were on time*"])


def test_reports_folder_gets_those_that_pass_too(project: pytest.Pytester) -> None:
    again = call(LOOSE + ", pace='max'").replace("    latency", "    for _ in range(2): latency")
    run(project, again, "--livelens-reports=out").assert_outcomes(passed=1)
    names = sorted(path.name for path in (project.path / "out").iterdir())
    stem = "tests_test_latency_py_test_gate"
    assert names == [f"{stem}-{nth}.{kind}" for nth in (1, 2) for kind in ("html", "json")]


@pytest.mark.slow
def test_baseline_is_asked_for_then_made_then_compared_with(project: pytest.Pytester) -> None:
    source, baseline = (
        call(f"{LOOSE}, baseline='kept/gate.json'"),
        project.path / "tests" / "kept" / "gate.json",
    )
    done = run(project, source)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([f"*there is no baseline {baseline} yet*--livelens-update-baselines*"])

    done = run(project, source, "--livelens-update-baselines")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["  baseline: written"])
    assert [path.name for path in baseline.parent.iterdir()] == ["gate.json"]

    scaled(baseline, 100)
    done = run(project, source)
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["  baseline: p50 better*", "  note: * frames are too few for a p99"])

    scaled(baseline, 1e-4)
    done = run(project, source)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["gate.mp4: p50 is worse than the baseline: *"])


def test_update_still_holds_the_limits(project: pytest.Pytester) -> None:
    source = call("budget_ms=0.01, pace='max', max_p99_ms=0.01, baseline='gate.json'")
    run(project, source, "--livelens-update-baselines").assert_outcomes(failed=1)
    assert (project.path / "tests" / "gate.json").exists()


@pytest.mark.slow
def test_recording_is_replayed_as_it_was_recorded(project: pytest.Pytester) -> None:
    out = project.path / "tests" / "clips" / "taken.mkv"
    source = project.path / "tests" / "clips" / "gate.mp4"
    command = [sys.executable, "-m", "stream", "record", str(source), str(out), "--no-models", "--budget", "777"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    done = run(
        project,
        """
import pytest
from stream.errors import ConfigError

def test_recorded(latency_replay):
    found = latency_replay("clips/taken.mkv")
    assert (found.summary["pace"], found.summary["budget_ms"], found.summary["variants"]) == ("recorded", 777, {})

def test_virtual(latency_replay):
    first, second = (latency_replay("clips/taken.mkv", pace="virtual", budget_ms=9000) for _ in range(2))
    assert first.summary["decisions_sha256"] == second.summary["decisions_sha256"]
    assert first.summary["machine_probe_ms"] is None
    with pytest.raises(ConfigError, match="^pace='virtual' replays what was recorded, so generate cannot be followed"):
        latency_replay("clips/taken.mkv", pace="virtual", generate="style")
""",
    )
    done.assert_outcomes(passed=2)


def test_own_models_are_named_by_class_or_by_file(project: pytest.Pytester) -> None:
    (project.path / "tests" / "own.py").write_text("def invert(image):\n    return 255 - image\n")
    source = f"""
class Count:
    seen = 0
    def __call__(self, image):
        Count.seen += 1
        return []

def test_gate(latency_replay):
    found = latency_replay("clips/gate.mp4", recognize=Count, generate="own.py:invert", {LOOSE}, pace="max")
    assert found.summary["variants"].keys() == {{"Count", "invert"}}
    assert Count.seen > 0
"""
    run(project, source).assert_outcomes(passed=1)


def test_what_cannot_be_played_is_an_error_of_one_line(project: pytest.Pytester) -> None:
    done = run(
        project,
        """
import pytest
from stream.errors import StreamError

def test_no_clip(latency_replay):
    latency_replay("clips/nowhere.mp4")

@pytest.mark.parametrize(("given", "message"), [
    ({"pace": "fast"}, "^pace='fast': expected a pace of recorded, realtime, max, virtual"),
    ({"pace": "recorded"}, "has no side file gate.livelens.jsonl beside it.* or replay with pace='realtime'"),
    ({"loop": 0}, "^loop 0: expected a loop of 1 or more"),
    ({"min_on_time": 0.99}, "min_on_time=0.99: is in percent, such as 99"),
    ({"budget_ms": -1}, "^budget_ms -1 is not allowed; it must be more than 0"),
    ({"recognize": "boxes/nothing"}, "no model 'boxes/nothing'"),
    ({"generate": lambda image: image}, "a model is loaded by its name"),
    ({"generate": "style", "no_models": True}, "^no_models and generate exclude each other"),
])
def test_refused(latency_replay, given, message):
    with pytest.raises(StreamError, match=message):
        latency_replay("clips/gate.mp4", **given)
""",
    )
    done.assert_outcomes(failed=1, passed=8)
    done.stdout.fnmatch_lines(
        [">*latency_replay(*nowhere*", "E*ConfigError: */tests/clips/nowhere.mp4: there is no such file"]
    )


def test_plugin_that_is_not_used_imports_nothing_and_says_nothing(project: pytest.Pytester) -> None:
    source = """
import sys

def test_other():
    heavy = {"torch", "openvino", "av", "cv2", "numpy", "asyncio", "pydantic", "typer", "rich"}
    mine = {name for name in sys.modules if name.startswith(("stream.", "models"))}
    print("mine", sorted(mine), "heavy", sorted(heavy & sys.modules.keys()))
"""
    # Other plugins of this environment bring asyncio and more; only ours is looked at.
    project.makeini("[pytest]\n")
    (project.path / "tests" / "test_latency.py").write_text(source)
    code = f"import sys, pytest; sys.exit(pytest.main(['-q', '-s', '-p', '{PLUGIN[1]}']))"
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine ['stream.errors', 'stream.testing'] heavy []" in done.stdout
    assert "latency" not in done.stdout


def test_plugin_is_found_by_pytest_where_livelens_is_installed() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert document["project"]["entry-points"]["pytest11"] == {"livelens": "stream.testing"}
