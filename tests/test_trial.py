"""trial.py: what was said, else what it was recorded with, else the defaults; and what a replay is measured with."""

from pathlib import Path
from typing import Any

import pytest

from stream.errors import ConfigError
from stream.machine import Ticks
from stream.recorder import side_path
from stream.replay import Pace, Wish
from stream.trial import run_trial, wish_for
from tests.media import Media, media  # noqa: F401
from tests.recorded import FRAMES, make_recording, own_models, recording  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


def wish(clip: Path, pace: str | None = None, device: str | None = None, **said: Any) -> Wish:
    return wish_for(clip, said, pace, 1, device)


@pytest.fixture
def modelled(media: Media, tmp_path: Path) -> Path:
    """A recording that was made with a model, 320x180, within 100 ms."""
    model = f"{own_models(tmp_path)}:invert"
    return make_recording(media("gop10.mp4"), tmp_path / "modelled.mkv", model=model)


# ---- what to replay with


def test_what_was_recorded_is_what_is_replayed(modelled: Path, tmp_path: Path) -> None:
    found = wish(modelled)
    assert (found.pace, found.device, found.config.size) == (Pace.RECORDED, "auto", (320, 180))
    assert found.config.generate == f"{tmp_path / 'own.py'}:invert"
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
