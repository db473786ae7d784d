"""trial.py: what was said, else what it was recorded with, else the defaults; and what a replay is measured with."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stream.errors import ConfigError
from stream.machine import Ticks
from stream.recorder import side_path
from stream.replay import Pace, Wish
from stream.trial import expected_frames, run_trial, wish_for
from tests.media import Media, damage, ffmpeg, media  # noqa: F401
from tests.recorded import FRAMES, make_recording, own_models, recording  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


def wish(clip: Path, pace: str | None = None, device: str | None = None, **said: Any) -> Wish:
    return wish_for(clip, said, pace, 1, device)


@pytest.fixture
def modelled(media: Media, tmp_path: Path) -> Path:
    """A recording that was made with a model, 320x180, within 100 ms; its side file says that it was one of ours."""
    made = make_recording(media("gop10.mp4"), tmp_path / "modelled.mkv", model=f"{own_models(tmp_path)}:invert")
    side = side_path(made)
    side.write_text(side.read_text().replace(f"{tmp_path / 'own.py'}:invert", "style/12"))
    return made


def test_recording_is_not_trusted_to_run_code(media: Media, tmp_path: Path) -> None:
    """Whoever replays somebody's recording must not run what it names: a module, a file, or anything but our own."""
    made = make_recording(media("gop10.mp4"), tmp_path / "foreign.mkv", model=f"{own_models(tmp_path)}:invert")
    with pytest.raises(ConfigError, match="not trusted to run code"):
        wish(made)
    assert wish(made, generate=f"{tmp_path / 'own.py'}:invert").config.generate is not None  # said by the person
    side = side_path(made)
    marker = tmp_path / "ran"
    side.write_text(side.read_text().replace(f"{tmp_path / 'own.py'}:invert", f"os:system:command=touch {marker}"))
    with pytest.raises(ConfigError, match="not trusted to run code"):
        wish(made)
    assert not marker.exists()


# ---- what to replay with


def test_what_was_recorded_is_what_is_replayed(modelled: Path, tmp_path: Path) -> None:
    found = wish(modelled)
    assert (found.pace, found.device, found.config.size) == (Pace.RECORDED, "auto", (320, 180))
    assert found.config.generate == "style/12"
    assert found.recording.run is not None
    assert found.config.budget_ms * 1e6 == found.recording.run.info.budget_ns


def test_what_was_said_goes_before_what_was_recorded(modelled: Path, tmp_path: Path) -> None:
    found = wish(modelled, "max", "cpu", budget_ms=77, size="160x90", generate=f"{tmp_path / 'own.py'}:slow", fps=None)
    assert (found.pace, found.device, found.config.budget_ms, found.config.size) == (Pace.MAX, "cpu", 77, (160, 90))
    assert found.config.generate is not None and found.config.generate.endswith(":slow")


def test_one_model_that_was_said_takes_the_place_of_all_recorded(modelled: Path, tmp_path: Path) -> None:
    found = wish(modelled, recognize=[f"{tmp_path / 'own.py'}:boom"])
    assert found.config.generate is None and len(found.config.recognize) == 1


def test_no_models_leaves_the_recorded_ones_out(modelled: Path) -> None:
    found = wish(modelled, models=False)
    assert found.config.models is False and found.config.generate is None


def test_recording_without_models_is_replayed_without(media: Media, tmp_path: Path) -> None:
    clip = make_recording(media("gop10.mp4"), tmp_path / "bare.mkv", has_stage=False)
    assert wish(clip).config.models is False


def test_virtual_replay_loads_nothing(recording: Path) -> None:
    found = wish(recording, "virtual", budget_ms=40.0)
    assert (found.config.models, found.config.budget_ms, found.config.size) == (False, 40.0, None)


def test_video_that_is_no_recording_gets_the_defaults(media: Media) -> None:
    found = wish(media("base.mp4"))
    assert (found.pace, found.config.budget_ms, found.config.models) == (Pace.REALTIME, 150.0, True)


@pytest.mark.parametrize(
    ("pace", "said", "message"),
    [
        ("fast", {}, "--pace fast: expected a pace of recorded, realtime, max, virtual"),
        ("virtual", {"generate": "style"}, "so --generate cannot be followed"),
        ("virtual", {"models": False}, "so --no-models cannot be followed"),
        ("virtual", {"device": "cpu"}, "so --device cannot be followed"),
        (None, {"models": False, "recognize": ["boxes"]}, "--no-models and --recognize exclude each other"),
        (None, {"budget_ms": -1}, "--budget -1 is not allowed"),
    ],
)
def test_what_cannot_be_is_refused(recording: Path, pace: str | None, said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wish(recording, pace, **said)


def test_a_loop_of_none_is_refused(recording: Path) -> None:
    with pytest.raises(ConfigError, match="--loop 0: expected a loop of 1 or more"):
        wish_for(recording, {}, None, 0, None)


# ---- what it is measured with


def test_real_replay_is_measured_while_it_plays(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models load before, and their time is not that of the clip."""
    told: list[tuple[int, int]] = []
    readings = iter([Ticks(1000, 500, 100), Ticks(1200, 600, 150)])
    read_after: list[int] = []

    def read() -> Ticks:
        read_after.append(len(told))
        return next(readings)

    monkeypatch.setattr("stream.trial.read_ticks", read)
    found = wish(media("short.mp4"), "max", models=False)
    _, summary = run_trial(found, lambda done, total: told.append((done, total)), has_own_process=True)
    assert summary["other_load"] == 0.25
    assert read_after == [0, len(told)] and told[-1] == (15, 15)
    assert summary["machine_probe_ms"] > 0 and summary["memory_mb"] > 0


def test_virtual_replay_has_nothing_to_measure(recording: Path) -> None:
    run, summary = run_trial(wish(recording, "virtual"), lambda done, total: None, has_own_process=False)
    assert len(run.outcomes) == FRAMES
    assert summary["machine_probe_ms"] is summary["other_load"] is summary["memory_mb"] is None


def test_side_file_is_needed_only_where_it_is_asked_for(recording: Path) -> None:
    side_path(recording).unlink()
    assert wish(recording).pace is Pace.REALTIME
    with pytest.raises(ConfigError, match="has no side file"):
        wish(recording, "recorded")


# ---- whether all of it was played


def played(clip: Path, pace: str | None = "max", loops: int = 1, **said: Any) -> dict[str, Any]:
    found = wish_for(clip, {"models": False} | said, pace, loops, None)
    return run_trial(found, lambda done, total: None, has_own_process=False)[1]


def ends(summary: dict[str, Any]) -> tuple[int, int, bool]:
    return summary["frames"]["captured"], summary["frames"]["expected"], summary["is_complete"]


@pytest.mark.parametrize("loops", [1, 2])
def test_clip_that_was_played_whole_is_complete(media: Media, loops: int) -> None:
    assert ends(played(media("bframes.mp4"), loops=loops)) == (30 * loops, 30 * loops, True)


@pytest.mark.parametrize("loops", [1, 2])
def test_clip_that_cannot_be_decoded_in_the_middle_is_not_complete(media: Media, tmp_path: Path, loops: int) -> None:
    damage(clip := Path(shutil.copy(media("base.mp4"), tmp_path)))
    came, expected, is_complete = ends(played(clip, loops=loops))
    assert (expected, is_complete) == (60 * loops, False)
    assert 0 < came < 58 * loops


def test_clip_without_its_first_keyframe_is_complete_without_what_nobody_can_show(media: Media, tmp_path: Path) -> None:
    whole = tmp_path / "whole.ts"
    options = "-y -loglevel error -f lavfi -i testsrc2=s=320x180:r=30:d=2 -c:v libx264 -preset ultrafast -g 20 -bf 0"
    subprocess.run([ffmpeg(), *options.split(), whole], check=True, timeout=60)
    data = whole.read_bytes()
    (late := tmp_path / "late.ts").write_bytes(data[len(data) // 10 // 188 * 188 :])
    packets = wish(late, "max", models=False).recording.packets
    came, expected, is_complete = ends(played(late))
    assert (came, is_complete) == (expected, True)
    assert came < packets, "this is what it is about"


@pytest.mark.parametrize(("fps", "most"), [(10.0, 21), (29.0, 60), (60.0, 60)])
def test_frames_that_a_limit_leaves_out_are_not_missing(media: Media, fps: float, most: int) -> None:
    came, _, is_complete = ends(played(media("base.mp4"), fps=fps, loops=2))
    assert is_complete and came <= 2 * most


def test_damage_is_found_in_spite_of_a_limit_of_fps(media: Media, tmp_path: Path) -> None:
    damage(clip := Path(shutil.copy(media("base.mp4"), tmp_path)))
    assert played(clip, fps=15.0)["is_complete"] is False


@pytest.mark.parametrize("pace", ["recorded", "virtual"])
def test_recording_cut_short_is_complete_when_all_that_is_there_was_played(recording: Path, pace: str) -> None:
    recording.write_bytes(recording.read_bytes()[: recording.stat().st_size * 2 // 3])
    found = wish_for(recording, {} if pace == "virtual" else {"models": False}, pace, 1, None)
    _, summary = run_trial(found, lambda done, total: None, has_own_process=False)
    assert found.recording.is_cut_short and 0 < summary["frames"]["captured"] < FRAMES
    assert summary["is_complete"] is True


@pytest.mark.parametrize("short", [1, 20, 59])
def test_replay_that_broke_off_is_not_complete(media: Media, short: int) -> None:
    """Whatever stopped it: the clip itself is sound."""
    assert expected_frames(wish(media("base.mp4"), "realtime", models=False), 60 - short) == 60
