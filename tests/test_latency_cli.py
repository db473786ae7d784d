"""latency_cli.py with outputs.py and progress.py: exit codes, what is written, and one line for what is wrong.

record has tests/test_record.py; what replays and simulations find have test_replay.py and test_simulate.py.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.errors import ConfigError
from stream.outputs import check_outputs, write
from stream.progress import MAX_TOLD, warnings_held
from stream.recorder import side_path
from tests.media import Media, damage, ffmpeg, media  # noqa: F401
from tests.recorded import FRAMES, Cli, cli, make_recording, own_models, recording  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)

VIRTUAL = ("--pace", "virtual")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are relative to the folder of the test."""
    monkeypatch.chdir(tmp_path)


# ---- passed, failed


def test_replay_that_passes_prints_its_numbers_and_ends_with_0(recording: Path, cli: Cli) -> None:
    done = cli("replay", recording, *VIRTUAL)
    assert (done.code, done.err) == (0, "") and done.out.endswith("Passed.\n")
    assert f"captured: {FRAMES} frames" in done.out and "paint: 640" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("limits", "code", "says"),
    [
        ("--budget 150", 0, []),
        ("--budget 20", 1, ["p99 from capture to send is"]),
        ("--budget 20 --min-on-time 50", 0, []),  # what is asked for counts, and nothing else
        ("--max-p99 200", 0, []),
        ("--max-p99 30", 1, ["more than 30 ms"]),
        ("--budget 20 --min-on-time 99", 1, ["less than 99 %"]),
        ("--budget 20 --max-p99 30 --min-on-time 99", 1, ["more than 30 ms", "less than 99 %"]),
        ("--budget 20 --max-p99 500 --min-on-time 10", 0, []),
    ],
)
def test_limits_decide_the_exit_code(recording: Path, cli: Cli, limits: str, code: int, says: list[str]) -> None:
    done = cli("replay", recording, *VIRTUAL, *limits.split())
    assert done.code == code
    failed = [line for line in done.out.splitlines() if line.startswith("Failed: ")]
    assert len(failed) == len(says)
    assert all(word in line for word, line in zip(says, failed, strict=True))
    assert ("Passed." in done.out) is not bool(says)


def test_outputs_are_written_although_the_verdict_is_1(recording: Path, cli: Cli, tmp_path: Path) -> None:
    files = {"--json": "a.json", "--html": "a.html", "--trace": "a.trace"}
    given = [word for pair in files.items() for word in pair]
    assert cli("replay", recording, *VIRTUAL, "--max-p99", "1", *given).code == 1
    assert json.loads(Path("a.json").read_text())["frames"]["captured"] == FRAMES
    assert "</html>" in Path("a.html").read_text()
    assert json.loads(Path("a.trace").read_text())["traceEvents"]
    assert len(list(tmp_path.iterdir())) == 2 + 3  # and nothing beside them


def test_baseline_alone_and_with_limits(media: Media, cli: Cli, recording: Path, tmp_path: Path) -> None:
    loops = ("--loop", "40")
    assert cli("replay", recording, *VIRTUAL, *loops, "--json", "base.json").code == 0
    same = cli("replay", recording, *VIRTUAL, *loops, "--baseline", "base.json")
    assert same.code == 0 and "decisions" in same.out
    assert cli("replay", recording, *VIRTUAL, *loops, "--baseline", "base.json", "--max-p99", "1").code == 1
    (elsewhere := tmp_path / "elsewhere").mkdir()
    slow = make_recording(media("gop10.mp4"), elsewhere / recording.name, model_ms=30)
    for limits in ((), ("--max-p99", "1000")):
        worse = cli("replay", slow, *VIRTUAL, *loops, "--baseline", "base.json", *limits, "--html", "worse.html")
        assert worse.code == 1
        assert "p50 is worse than the baseline" in worse.out
    assert "decisions differ" in worse.out
    assert max(map(len, worse.out.splitlines())) <= 80


def test_real_replay_takes_the_recorded_size_and_no_recorded_code(media: Media, cli: Cli, tmp_path: Path) -> None:
    model = f"{own_models(tmp_path)}:invert"
    clip = make_recording(media("gop10.mp4"), tmp_path / "out.mkv", model=model)
    assert "not trusted to run code" in cli("replay", clip).error
    done = cli("replay", clip, "-g", model, "--budget", "5000", "--json", "a.json")
    assert done.code == 0, done
    found = json.loads(Path("a.json").read_text())
    assert (found["pace"], found["budget_ms"], found["clip"]) == ("recorded", 5000, "out.mkv")
    assert list(found["variants"]) == ["invert"] and found["frames"]["captured"] == FRAMES
    assert found["machine_probe_ms"] > 0 and found["memory_mb"] > 0


def test_real_replay_that_is_too_slow_ends_with_1(media: Media, cli: Cli, tmp_path: Path) -> None:
    done = cli("replay", media("short.mp4"), "-g", f"{own_models(tmp_path)}:slow")
    assert done.code == 1
    assert "p99 from capture to send is" in done.out and "more than 150 ms" in done.out


def test_model_of_a_recording_that_is_gone_is_named(media: Media, cli: Cli, tmp_path: Path) -> None:
    clip = make_recording(media("gop10.mp4"), tmp_path / "out.mkv", model="gone.py:invert")
    assert "gone.py" in cli("replay", clip).error


def test_model_that_cannot_be_loaded_is_one_line(media: Media, cli: Cli, tmp_path: Path) -> None:
    assert "no weights here" in cli("replay", media("short.mp4"), "-g", f"{own_models(tmp_path)}:Broken").error


def test_model_that_fails_is_noted(media: Media, cli: Cli, tmp_path: Path) -> None:
    done = cli("replay", media("short.mp4"), "-g", f"{own_models(tmp_path)}:boom", "--budget", "5000")
    assert done.code == 0
    assert "Note: live: boom failed: " in done.err and ":boom: ValueError: one frame too many" in done.err
    assert "shown without a model's result: " in done.out


def test_recording_cut_short_is_played_with_a_note(recording: Path, cli: Cli) -> None:
    recording.write_bytes(recording.read_bytes()[: recording.stat().st_size * 2 // 3])
    done = cli("replay", recording, *VIRTUAL)
    assert done.code == 0
    assert done.err.startswith("Note: out.mkv was cut short; what was recorded before is used\nNote: out.mkv has ")


def test_clip_that_cannot_be_played_to_its_end_is_a_failure(media: Media, cli: Cli) -> None:
    shutil.copy(media("base.mp4"), "broken.mp4")
    damage(Path("broken.mp4"))
    done = cli("replay", "broken.mp4", "--no-models", "--pace", "max", "--json", "a.json")
    found = json.loads(Path("a.json").read_text())
    assert (done.code, found["is_complete"], found["frames"]["expected"]) == (1, False, 60)
    assert f"Failed: only {found['frames']['captured']} of 60 frames of the clip were played: " in done.out


def test_at_full_speed_the_budget_is_not_judged(media: Media, cli: Cli) -> None:
    command = ("replay", media("short.mp4"), "--no-models", "--pace", "max", "--budget", "0.01")
    assert cli(*command).code == 0
    assert "more than 0.01 ms" in cli(*command, "--max-p99", "0.01").out


def test_name_with_brackets_and_colons_is_told_as_it_is(recording: Path, cli: Cli) -> None:
    clip = recording.rename(recording.with_name("[red]a:boom:.mkv"))
    side_path(recording).rename(side_path(clip))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    assert "Note: [red]a:boom:.mkv was cut short" in cli("replay", clip, *VIRTUAL).err


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are text")
def test_name_that_is_no_text_is_one_line(recording: Path, cli: Cli) -> None:
    clip = recording.rename(os.fsdecode(os.fsencode(recording.parent) + b"/\xff.mkv"))
    side_path(recording).rename(side_path(clip))
    assert "is not allowed" in cli("replay", clip, *VIRTUAL).error


# ---- bad input

Damage = Callable[[Path], object]


def edited(change: Callable[[str], str]) -> Damage:
    """Return what changes the text of a recording's side file."""
    return lambda clip: side_path(clip).write_text(change(side_path(clip).read_text()))


BAD_RECORDINGS: dict[str, tuple[Damage, str]] = {
    "side file gone": (lambda clip: side_path(clip).unlink(), "has no side file out.livelens.jsonl beside it"),
    "side file empty": (edited(lambda text: ""), "out.livelens.jsonl: is empty"),
    "a line in the middle": (edited(lambda text: text.replace('"seq":7', '"seq":', 1)), "out.livelens.jsonl: line"),
    "a value in the middle": (edited(lambda text: text.replace('"height":180', '"height":-1', 1)), "is damaged"),
    "another schema": (
        edited(lambda text: text.replace('"schema_version":1', '"schema_version":99')),
        "is of schema version 99; this release reads version 1",
    ),
    "no header": (edited(lambda text: text.partition("\n")[2]), "the first line is no header of a run"),
    "another clip": (
        edited(lambda text: text.replace('"is_keyframe":true', '"is_keyframe":false')),
        "are of different recordings",
    ),
    "no frames": (
        edited(lambda text: "".join(one for one in text.splitlines(True) if '"arrival"' not in one)),
        "tells of no frame",
    ),
    "clip empty": (lambda clip: clip.write_bytes(b""), "is not a video that can be read"),
    "clip gone": (lambda clip: clip.unlink(), "there is no such file"),
    "clip header only": (lambda clip: clip.write_bytes(clip.read_bytes()[:600]), "there is not one picture in it"),
    "clip a text": (lambda clip: clip.write_text("hello\n" * 99), "is not a video that can be read"),
}


@pytest.mark.parametrize("name", BAD_RECORDINGS)
def test_bad_recording_is_one_line_and_writes_nothing(recording: Path, cli: Cli, name: str) -> None:
    damage, says = BAD_RECORDINGS[name]
    damage(recording)
    outputs = ("a.json", "a.html", "a.trace")
    for output in outputs:
        Path(output).write_text("earlier")
    given = [word for pair in zip(("--json", "--html", "--trace"), outputs, strict=True) for word in pair]
    assert says in cli("replay", recording, *VIRTUAL, *given).error
    assert says in cli("simulate", recording, "--json", "a.json").error
    assert [Path(output).read_text() for output in outputs] == ["earlier"] * 3


@pytest.mark.parametrize("pace", ["realtime", "max"])
def test_what_is_no_video_is_one_line_at_every_pace(media: Media, cli: Cli, pace: str) -> None:
    Path("header.mp4").write_bytes(media("base.mp4").read_bytes()[:40])
    assert "is not a video" in cli("replay", "header.mp4", "--pace", pace).error
    assert "there is no video in it" in cli("replay", media("audioonly.mp4"), "--pace", pace).error


def test_video_of_no_frames_is_one_line(cli: Cli) -> None:
    command = [ffmpeg(), "-loglevel", "quiet", "-f", "lavfi", "-i", "color=s=64x64:d=1", "-frames:v", "0", "none.mkv"]
    subprocess.run(command, timeout=60)
    assert "none.mkv: " in cli("replay", "none.mkv").error


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--pace virtual -r boxes/coco", "--recognize cannot be followed; take --pace recorded"),
        ("--pace virtual -g style", "--generate cannot be followed"),
        ("--pace virtual --size 320x180", "--size cannot be followed"),
        ("--pace virtual --fps 10", "--fps cannot be followed"),
        ("--pace virtual --fps 0", "--fps cannot be followed"),
        ("--pace virtual --no-models", "--no-models cannot be followed"),
        ("--pace virtual --device cpu", "--device cannot be followed"),
        ("--pace sideways", "'recorded', 'realtime', 'max', 'virtual'"),
        ("--loop 0", "--loop"),
        ("--loop 100001", "--loop"),
        ("--budget 0", "--budget 0 is not allowed; it must be more than 0"),
        ("--budget -5", "--budget -5 is not allowed"),
        ("--budget nan", "--budget nan is not allowed"),
        ("--budget inf", "--budget inf is not allowed"),
        ("--max-p99 0", "--max-p99 0 is not allowed; it must be 0.001 to 10000000"),
        ("--max-p99 nan", "--max-p99 nan is not allowed"),
        ("--min-on-time nan", "--min-on-time nan is not allowed; it must be 0 to 100"),
        ("--min-on-time 101", "--min-on-time 101 is not allowed"),
        ("--min-quality 2", "--min-quality 2 is not allowed"),
        ("--no-models -g style", "--no-models and --generate exclude each other"),
        ("--baseline gone.json", "baseline gone.json: cannot be read: No such file"),
        ("--baseline .", "baseline .: cannot be read: Is a directory"),
        ("--baseline out.mkv", "baseline out.mkv: is no JSON"),
        ("--baseline list.json", "is no summary of a run"),
        ("--baseline other.json", "is of schema version 99; this release reads version 1"),
        ("--baseline half.json", "are missing or damaged"),
        ("--json .", "--json .: is a folder; give the name of a file"),
        ("--html no/a.html", "--html no/a.html: there is no folder no; make it first"),
        ("--json out.mkv", "--json out.mkv: is read by this command; choose another name"),
        ("--trace out.livelens.jsonl", "--trace out.livelens.jsonl: is read by this command"),
        ("--baseline other.json --json other.json", "--json other.json: is read by this command"),
        ("--json a --html a", "--html a: is written by --json too"),
        ("--json a --html ./a", "--html a: is written by --json too"),
    ],
)
def test_bad_option_is_one_line(recording: Path, cli: Cli, options: str, says: str) -> None:
    Path("list.json").write_text("[1]")
    Path("other.json").write_text('{"schema_version": 99}')
    Path("half.json").write_text('{"schema_version": 1, "pace": "virtual"}')
    before = {path: path.read_bytes() for path in Path().iterdir()}
    words = options.split()
    pace = () if "--pace" in words or "--no-models" in words else VIRTUAL
    assert says in cli("replay", "out.mkv", *pace, *words).error
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize("command", ["replay", "simulate"])
def test_folder_is_refused_as_a_recording(cli: Cli, command: str, tmp_path: Path) -> None:
    for folder in (".", "/", str(tmp_path)):
        assert cli(command, folder).error == f"{folder}: is a folder; give the file itself"


def test_video_that_is_no_recording_is_told_what_to_do(media: Media, cli: Cli) -> None:
    for pace in ("recorded", "virtual"):
        assert cli("replay", media("base.mp4"), "--pace", pace).error.endswith("or replay with --pace realtime")


# ---- simulate


def test_simulate_prints_the_same_table_twice_and_writes_it(cli: Cli) -> None:
    run = "synthetic:lognormal,ladder=4,seconds=5"
    first, second = (cli("simulate", run, "--json", "a.json") for _ in range(2))
    assert (first.code, first.err) == (0, "")
    assert first == second
    assert [line.split()[0] for line in first.out.splitlines()[1:5]] == ["fifo", "newest", "edf", "livelens"]
    assert max(map(len, first.out.splitlines())) <= 80
    found = json.loads(Path("a.json").read_text())
    assert (found["schema_version"], found["run"]) == (1, run)
    assert [row["policy"] for row in found["policies"]] == ["fifo", "newest", "edf", "livelens"]
    assert found["optimum"] >= max(row["utility"] for row in found["policies"]) - 1e-4


def test_simulate_runs_the_policies_asked_for_once_each(cli: Cli) -> None:
    options = ("--policy", "edf", "--policy", "livelens", "--policy", "edf")
    done = cli("simulate", "synthetic:constant,seconds=1", *options, "--streams", "2", "--device-speed", "2")
    assert [line.split()[0] for line in done.out.splitlines()[1:3]] == ["edf", "livelens"]
    assert "Best possible" in done.out.splitlines()[3]


def test_simulate_tells_of_a_recording_that_is_cut_short(recording: Path, cli: Cli) -> None:
    recording.write_bytes(recording.read_bytes()[: recording.stat().st_size * 2 // 3])
    done = cli("simulate", recording)
    assert done.code == 0 and "Note: out.mkv was cut short" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("synthetic:", "there is no kind ''; known are constant, bursty, lognormal, step"),
        ("synthetic:often", "there is no kind 'often'"),
        ("synthetic:constant,colour=1", "'colour=1' is not understood; known are overload="),
        ("synthetic:constant,overload=nan", "overload=nan is not allowed"),
        ("synthetic:constant,ladder=1.5", "it must be a whole number from 1 to 4"),
        ("synthetic:constant --streams 0", "--streams 0: it must be 1 to 256"),
        ("synthetic:constant --device-speed 0", "--device-speed 0 is not allowed; it must be 0.001 to 1000"),
        ("synthetic:constant --device-speed -1", "--device-speed -1 is not allowed"),
        ("synthetic:constant --device-speed nan", "--device-speed nan is not allowed"),
        ("synthetic:constant --device-speed inf", "--device-speed inf is not allowed"),
        ("synthetic:constant --budget 0", "--budget 0 is not allowed"),
        ("synthetic:constant --budget -1", "--budget -1 is not allowed"),
        ("synthetic:constant --budget nan", "--budget nan is not allowed"),
        ("synthetic:constant --budget inf", "--budget inf is not allowed"),
        ("synthetic:constant --policy lifo", "--policy lifo: there is no such policy; known are fifo, newest, edf"),
        ("synthetic:constant --json no/a.json", "there is no folder no; make it first"),
        ("gone.mkv", "gone.mkv: there is no such file"),
    ],
)
def test_bad_simulation_is_one_line(cli: Cli, arguments: str, says: str) -> None:
    assert says in cli("simulate", *arguments.split()).error


def test_recording_without_models_is_not_simulated(media: Media, cli: Cli, tmp_path: Path) -> None:
    clip = make_recording(media("gop10.mp4"), tmp_path / "out.mkv", has_stage=False)
    assert "recorded without models, so there is nothing to schedule" in cli("simulate", clip).error
    assert cli("replay", clip, *VIRTUAL).code == 0


# ---- help


@pytest.mark.parametrize("command", ["record", "replay", "simulate"])
@pytest.mark.parametrize("columns", ["40", "80"])
def test_help_fits_the_terminal(command: str, columns: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    told = cli(command, "--help").out
    assert max(map(len, told.splitlines())) <= int(columns)


def test_paces_of_the_help_are_those_there_are() -> None:
    from stream.latency_options import PaceName
    from stream.replay import Pace

    assert [one.value for one in PaceName] == [one.value for one in Pace]


# ---- outputs


def test_file_is_written_whole_and_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    write(link, "one")
    write(link, "two")
    assert link.is_symlink() and target.read_text() == "two"
    assert {path.name for path in tmp_path.iterdir()} == {"target.json", "link.json"}


def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_outputs({"--json": pipe})
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        write(pipe, "through")
        assert reader.communicate(timeout=20)[0] == "through"
    assert pipe.is_fifo()


def test_null_device_takes_everything_and_stays(recording: Path, cli: Cli) -> None:
    assert cli("replay", recording, *VIRTUAL, "--json", os.devnull, "--html", os.devnull).code == 0
    assert Path(os.devnull).is_char_device()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_place_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        check_outputs({"--json": tmp_path / "locked" / "a.json"})


def test_place_that_cannot_be_written_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", denied)
    with pytest.raises(ConfigError, match=r"--json .*a\.json: cannot be written: Permission denied; choose another"):
        check_outputs({"--json": tmp_path / "a.json"})
    monkeypatch.setattr(Path, "write_text", denied)
    with pytest.raises(ConfigError, match=r"a\.json: cannot be written: Permission denied; choose another place"):
        write(tmp_path / "a.json", "x")


# ---- warnings


def test_warnings_are_kept_back_and_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("stream.test")
    with warnings_held() as warnings:
        for _ in range(3):
            log.warning("a %s", "lens")
        log.info("nobody asked")
        assert capsys.readouterr().err == ""
        warnings.let_out()
        log.warning("a lens")
        log.error("two\nlines")
        assert capsys.readouterr().err == "Note: a lens\nNote: two lines\n"
        for number in range(3 * MAX_TOLD):
            log.warning("number %d", number)
    assert capsys.readouterr().err.count("\n") == MAX_TOLD - 2
    with warnings_held():
        log.warning("the command ends with a line of its own")
    assert capsys.readouterr().err == ""


def test_baseline_of_another_clip_or_pace_is_refused_before_anything_runs(
    media: Media, cli: Cli, tmp_path: Path
) -> None:
    assert cli("replay", media("short.mp4"), "--no-models", "--json", "a.json").code == 0
    other = tmp_path / "other.mp4"
    other.write_bytes(Path(media("short.mp4")).read_bytes())
    assert "is of clip short.mp4, and this is other.mp4" in cli("replay", other, "--baseline", "a.json").error
    pace = cli("replay", media("short.mp4"), "--pace", "max", "--baseline", "a.json")
    assert "is of pace realtime, and this is max" in pace.error


def test_on_time_share_of_less_than_one_percent_is_taken_for_a_mistake(media: Media, cli: Cli) -> None:
    assert "say 99 for 99 %" in cli("replay", media("short.mp4"), "--min-on-time", "0.99").error
