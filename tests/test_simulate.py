"""simulate.py: policies side by side on synthetic and recorded runs, and never more than was possible."""

from functools import cache
from pathlib import Path

import pytest

from stream.errors import ConfigError
from stream.policies import POLICIES
from stream.recorder import side_path
from stream.simulate import MAX_STREAMS, Result, Setting, best_possible, load_run, simulate
from stream.summary import decisions_sha256
from stream.synthetic import KINDS
from tests.media import Media, media  # noqa: F401
from tests.recorded import FRAMES, make_recording, recording  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)

ROUNDED = 1e-4  # a run's utility has four places
OTHERS = ("fifo", "newest", "edf")
LOADS = [(kind, load, ladder) for kind in KINDS for load in (0.5, 1, 2, 4) for ladder in (1, 4)]
# Where another one is ahead: it queues in a burst, which Livelens does not do for the age that it costs; or keeps the
# best variant where the ladder steps down.
AHEAD = {("bursty", 0.5, 1), ("bursty", 0.5, 4), ("bursty", 1, 4)}


@cache
def results(kind: str, load: float, ladder: int) -> tuple[dict[str, Result], float]:
    run = load_run(f"synthetic:{kind},overload={load},ladder={ladder},seconds=10")
    best = best_possible(run, Setting())
    assert best is not None and best.is_exact
    return {name: simulate(run, name, Setting()) for name in POLICIES}, best.value


@pytest.mark.parametrize(("kind", "load", "ladder"), LOADS)
def test_no_policy_has_more_than_the_best_possible(kind: str, load: float, ladder: int) -> None:
    found, best = results(kind, load, ladder)
    assert max(one.utility for one in found.values()) <= best + ROUNDED


@pytest.mark.parametrize(
    ("kind", "load", "ladder"),
    [
        pytest.param(*one, marks=pytest.mark.xfail(strict=False, reason="see AHEAD")) if one in AHEAD else one
        for one in LOADS
    ],
)
def test_livelens_is_never_below_the_others(kind: str, load: float, ladder: int) -> None:
    found, _ = results(kind, load, ladder)
    assert found["livelens"].utility >= max(found[name].utility for name in OTHERS) - ROUNDED


@pytest.mark.parametrize(("kind", "load", "ladder"), sorted(AHEAD))
def test_where_another_policy_is_ahead_it_is_by_little(kind: str, load: float, ladder: int) -> None:
    found, _ = results(kind, load, ladder)
    assert found["livelens"].utility >= max(found[name].utility for name in OTHERS) - 0.04


def test_same_input_gives_the_same_result() -> None:
    run = load_run("synthetic:lognormal,ladder=4,seconds=5")
    first, second = (simulate(run, "livelens", Setting(streams=3)) for _ in range(2))
    assert [decisions_sha256(one) for one in first.runs] == [decisions_sha256(one) for one in second.runs]
    assert first == second


def test_recording_is_simulated_by_either_of_its_files(recording: Path) -> None:
    for path in (recording, side_path(recording)):
        run = load_run(str(path))
        found = [simulate(run, name, Setting()) for name in POLICIES]
        assert {one.captured for one in found} == {FRAMES}
        best = best_possible(run, Setting())
        assert best is not None
        assert max(one.utility for one in found) <= best.value + ROUNDED


def test_faster_device_and_longer_budget_help() -> None:
    run = load_run("synthetic:constant,overload=3,seconds=5")
    plain = simulate(run, "livelens", Setting())
    assert simulate(run, "livelens", Setting(device_speed=4)).utility > plain.utility
    assert simulate(run, "livelens", Setting(budget_ms=400)).utility >= plain.utility
    assert simulate(run, "livelens", Setting(budget_ms=20)).utility == 0


def test_streams_share_the_one_device() -> None:
    run = load_run("synthetic:constant,overload=0.2,seconds=5")
    one, four = (simulate(run, "livelens", Setting(streams=count)) for count in (1, 4))
    assert four.captured == 4 * one.captured
    assert four.busy_share > 3 * one.busy_share
    assert len({part.info.stream for part in four.runs}) == 4


def test_copies_of_a_stream_do_not_all_come_at_once() -> None:
    run = load_run("synthetic:constant,overload=0.2,seconds=1")
    found = simulate(run, "livelens", Setting(streams=4))
    assert len({part.arrivals[0].captured_ns for part in found.runs}) == 4


@pytest.mark.parametrize("streams", [0, -1, MAX_STREAMS + 1])
def test_number_of_streams_that_makes_no_sense_is_refused(streams: int) -> None:
    with pytest.raises(ConfigError, match=f"--streams {streams}: it must be 1 to {MAX_STREAMS}"):
        simulate(load_run("synthetic:constant,seconds=1"), "livelens", Setting(streams=streams))


@pytest.mark.parametrize("speed", [0, -2, float("nan")])
def test_speed_that_makes_no_sense_is_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="--device-speed"):
        simulate(load_run("synthetic:constant,seconds=1"), "livelens", Setting(device_speed=speed))


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="known are fifo, newest, edf, livelens"):
        simulate(load_run("synthetic:constant,seconds=1"), "lifo", Setting())


def test_recording_without_models_is_refused(media: Media, tmp_path: Path) -> None:
    clip = make_recording(media("gop10.mp4"), tmp_path / "out.mkv", has_stage=False)
    with pytest.raises(ConfigError, match="recorded without models, so there is nothing to schedule"):
        load_run(str(clip))


def test_recording_without_frames_is_refused(recording: Path) -> None:
    lines = side_path(recording).read_text().splitlines()
    side_path(recording).write_text("\n".join(one for one in lines if '"arrival"' not in one) + "\n")
    with pytest.raises(ConfigError, match="tells of no frame"):
        load_run(str(recording))


def test_video_that_is_no_recording_is_refused(media: Media) -> None:
    with pytest.raises(ConfigError, match="has no side file"):
        load_run(str(media("base.mp4")))


def test_damaged_side_file_is_refused(recording: Path) -> None:
    text = side_path(recording).read_text()
    side_path(recording).write_text(text.replace('"batch":1', '"batch":0', 1))
    with pytest.raises(ConfigError, match="is damaged: a cost, the 1"):
        load_run(str(recording))


def test_recording_cut_short_is_simulated_with_a_note(recording: Path, caplog: pytest.LogCaptureFixture) -> None:
    recording.write_bytes(recording.read_bytes()[: recording.stat().st_size * 2 // 3])
    assert 0 < len(load_run(str(recording)).arrivals) < FRAMES
    assert "was cut short" in caplog.text
