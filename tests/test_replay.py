"""replay.py and sound.py: the same decisions everywhere in virtual time; at every pace each frame is accounted for."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.config import StreamConfig
from stream.errors import ConfigError
from stream.recorder import side_path
from stream.recording import Recording, open_recording
from stream.replay import Pace, Wish, check_wish, recorded_models, recorded_size, replay
from stream.run import MAX_FRAMES, Run, RungInfo
from stream.sound import check_sound, in_order
from stream.summary import decisions_sha256, summarize
from stream.trial import run_trial, wish_for
from tests.made_run import empty_run, made_run
from tests.media import Media, media  # noqa: F401
from tests.recorded import FRAMES, Cli, cli, make_recording, own_models, recording  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


def wish(clip: Path, pace: Pace, loops: int = 1, **settings: Any) -> Wish:
    config = StreamConfig(source=str(clip), allow_late=True, **({"models": False} | settings))
    return Wish(open_recording(clip), pace, config, loops, "cpu")


def play(clip: Path, pace: Pace, loops: int = 1, **settings: Any) -> Run:
    return replay(wish(clip, pace, loops, **settings), lambda done, total: None)


def accounted(run: Run) -> int:
    """Return how many frames came, each of which ended in one way."""
    ends = Counter(outcome.seq for outcome in run.outcomes)
    assert set(ends.values()) <= {1}
    assert set(ends) == {arrival.seq for arrival in run.arrivals}
    return len(ends)


# ---- virtual


def test_virtual_replays_decide_the_same_in_every_process(recording: Path) -> None:
    digests = {decisions_sha256(play(recording, Pace.VIRTUAL, 3)) for _ in range(2)}
    for number in ("0", "1", "random"):
        to = recording.with_name(f"{number}.json")
        command = [sys.executable, "-m", "stream", "replay", recording, "--pace", "virtual", "--loop", "3"]
        done = subprocess.run(
            [*map(str, command), "--json", str(to)],
            env=os.environ | {"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        digests.add(json.loads(to.read_text())["decisions_sha256"])
    assert len(digests) == 1


def test_virtual_replay_of_other_costs_decides_otherwise(media: Media, recording: Path, tmp_path: Path) -> None:
    heavy = make_recording(media("gop10.mp4"), tmp_path / "heavy.mkv", model_ms=60)
    assert decisions_sha256(play(heavy, Pace.VIRTUAL)) != decisions_sha256(play(recording, Pace.VIRTUAL))


def test_virtual_loops_repeat_the_recording_without_a_seam(recording: Path) -> None:
    run = play(recording, Pace.VIRTUAL, 4)
    assert accounted(run) == 4 * FRAMES
    gaps = [b.captured_ns - a.captured_ns for a, b in pairwise(run.arrivals)]
    assert min(gaps) > 0
    assert gaps[:FRAMES] == gaps[FRAMES : 2 * FRAMES]
    assert all(b.pts > a.pts for a, b in pairwise(run.arrivals))


def test_many_minutes_are_replayed_without_waiting(recording: Path) -> None:
    run = play(recording, Pace.VIRTUAL, 200)
    assert accounted(run) == 200 * FRAMES
    assert summarize(run)["duration_s"] > 190


def test_frames_that_were_counted_out_of_order_are_replayed_in_order(recording: Path) -> None:
    """A frame that replaced another in the mailbox may have been counted first."""
    told = wish(recording, Pace.VIRTUAL, 2)
    run = told.recording.run
    assert run is not None
    as_came = decisions_sha256(replay(told, lambda done, total: None))
    for place in (8, FRAMES - 2):
        run.arrivals[place : place + 2] = reversed(run.arrivals[place : place + 2])
    check_wish(told)
    assert decisions_sha256(replay(told, lambda done, total: None)) == as_came


def test_virtual_replay_keeps_another_budget(recording: Path) -> None:
    tight = summarize(play(recording, Pace.VIRTUAL, budget_ms=14.0))
    wide = summarize(play(recording, Pace.VIRTUAL, budget_ms=500.0))
    assert tight["budget_ms"] == 14
    assert tight["frames"]["on_time"] < wide["frames"]["on_time"] == wide["frames"]["shown"]


def test_virtual_replay_keeps_to_the_quality_asked_for(media: Media, tmp_path: Path) -> None:
    heavy = make_recording(media("gop10.mp4"), tmp_path / "heavy.mkv", model_ms=60)
    assert "480" in summarize(play(heavy, Pace.VIRTUAL, 4))["variants"]["paint"]
    assert set(summarize(play(heavy, Pace.VIRTUAL, 4, min_quality=0.9))["variants"]["paint"]) == {"640"}


@pytest.mark.parametrize("pace", [Pace.RECORDED, Pace.VIRTUAL])
def test_pace_that_needs_a_side_file_is_refused_without(media: Media, pace: Pace) -> None:
    with pytest.raises(ConfigError, match="needs its side file; take --pace realtime"):
        check_wish(wish(media("base.mp4"), pace))


def test_virtual_replay_without_frames_says_why(media: Media, tmp_path: Path) -> None:
    clip = make_recording(media("gop10.mp4"), tmp_path / "out.mkv")
    lines = side_path(clip).read_text().splitlines()
    side_path(clip).write_text("\n".join(one for one in lines if '"packet"' in one or '"run"' in one) + "\n")
    with pytest.raises(ConfigError, match="tells of no frame; was it ended before the models were warm"):
        check_wish(wish(clip, Pace.VIRTUAL))
    check_wish(wish(clip, Pace.RECORDED))


# ---- the other paces


@pytest.mark.parametrize("pace", [Pace.REALTIME, Pace.MAX])
def test_every_frame_of_a_video_is_accounted_for(media: Media, pace: Pace) -> None:
    run = play(media("bframes.mp4"), pace, 1 if pace is Pace.REALTIME else 3)
    assert accounted(run) == (30 if pace is Pace.REALTIME else 90)
    assert summarize(run)["frames"]["shown"] > 0


def test_recorded_pace_brings_the_packets_as_they_came(recording: Path) -> None:
    recorded = open_recording(recording).run
    assert recorded is not None
    run = play(recording, Pace.RECORDED)
    assert accounted(run) == FRAMES
    gaps = [[b.captured_ns - a.captured_ns for a, b in pairwise(in_order(one.arrivals))] for one in (recorded, run)]
    assert gaps[0] == gaps[1]
    assert run.info.pace == "recorded" and run.info.clip == "out.mkv"


def test_recorded_pace_loops(recording: Path) -> None:
    assert accounted(play(recording, Pace.RECORDED, 2)) == 2 * FRAMES


def test_video_whose_time_jumps_is_played_whole(media: Media) -> None:
    assert accounted(play(media("jump.ts"), Pace.REALTIME)) == 60


def test_at_full_speed_no_frame_makes_way_for_a_newer_one(media: Media) -> None:
    dropped = summarize(play(media("base.mp4"), Pace.MAX, 5))["frames"]["dropped"]
    assert "superseded" not in dropped and "no_time" not in dropped


def test_at_full_speed_every_frame_is_shown(media: Media) -> None:
    assert summarize(play(media("base.mp4"), Pace.MAX, 10))["frames"]["shown"] == 600


def test_models_run_on_every_frame_at_full_speed(media: Media, tmp_path: Path) -> None:
    model = f"{own_models(tmp_path)}:invert"
    run = play(media("short.mp4"), Pace.MAX, models=True, generate=model)
    assert accounted(run) == 15
    assert summarize(run)["variants"]["invert"] == {"own code": 15}


def test_model_that_cannot_be_loaded_ends_a_replay(media: Media, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights here"):
        play(media("short.mp4"), Pace.MAX, models=True, generate=f"{own_models(tmp_path)}:Broken")


@pytest.mark.parametrize("pace", [Pace.MAX, Pace.VIRTUAL])
def test_progress_rises_to_all_frames_of_all_loops(recording: Path, pace: Pace) -> None:
    told: list[tuple[int, int]] = []
    replay(wish(recording, pace, 3), lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {3 * FRAMES}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == 3 * FRAMES


def test_recording_cut_short_plays_what_is_there(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[: recording.stat().st_size * 2 // 3])
    packets = open_recording(recording).packets
    assert 0 < packets < FRAMES
    assert accounted(play(recording, Pace.RECORDED)) == packets
    assert accounted(play(recording, Pace.VIRTUAL)) == packets


@pytest.mark.parametrize("pace", list(Pace))
def test_more_frames_than_an_account_has_room_for_are_refused(recording: Path, pace: Pace) -> None:
    check_wish(wish(recording, pace, MAX_FRAMES // FRAMES))
    with pytest.raises(ConfigError, match=r"3000000 frames are too many .* take a lower --loop, or a shorter clip"):
        check_wish(wish(recording, pace, 100_000))


def test_account_of_a_replay_keeps_no_findings(media: Media, tmp_path: Path) -> None:
    """They would be most of its memory; a recording's side file has them."""
    model = tmp_path / "finder.py"
    model.write_text(
        "from stream.results import Results\nclass Finder:\n    def __call__(self, image):\n        return Results()\n"
    )
    run = play(media("short.mp4"), Pace.MAX, models=True, recognize=[f"{model}:Finder"])
    assert len(run.outcomes) == 15
    assert not any(outcome.results for outcome in run.outcomes)


# ---- what a recording was made with


def test_models_and_size_of_a_recording_are_found_again(media: Media, tmp_path: Path) -> None:
    run = open_recording(make_recording(media("gop10.mp4"), tmp_path / "out.mkv", model="own.py:invert")).run
    assert run is not None
    assert recorded_models(run) == ([], "own.py:invert")
    assert recorded_size(run) == "320x180"


def test_nothing_is_made_up_for_a_recording_that_does_not_tell() -> None:
    assert recorded_models(None) == ([], None)
    assert recorded_models(made_run(3)) == ([], None)  # its models have no names
    assert recorded_size(empty_run()) is None
    run = made_run(4)
    run.arrivals[-1] = replace(run.arrivals[-1], width=320)
    assert recorded_size(run) is None


# ---- damaged side files


def read(clip: Path) -> Run:
    run = open_recording(clip).run
    assert run is not None
    return run


def test_whole_recordings_are_sound(recording: Path) -> None:
    check_sound(read(recording), "side")
    check_sound(made_run(60), "side")
    check_sound(empty_run(), "side")


@pytest.mark.parametrize(
    ("records", "field", "value", "says"),
    [
        ("arrivals", "captured_ns", 10**30, "an arrival, the 6."),
        ("arrivals", "queued_ns", -1, "an arrival, the 6."),
        ("arrivals", "height", 0, "an arrival, the 6."),
        ("arrivals", "seq", "5", "a value of the wrong type"),
        ("arrivals", "seq", -1, "an arrival, the 1."),
        ("arrivals", "seq", 90, "the time of an arrival, the 30."),
        ("packets", "arrived_ns", None, "a packet's arrival, the 6."),
        ("packets", "arrived_ns", 0, "the time of a packet's arrival, the 6."),
        ("packets", "arrived_ns", 10**19, "the time of a packet's arrival, the 6."),
        ("costs", "finished_ns", 0, "a cost, the 6."),
        ("costs", "batch", 0, "a cost, the 6."),
        ("costs", "seqs", ("a",), "a cost, the 6."),
        ("outcomes", "stamps_ns", {"taken": 9, "encoded": 5}, "an outcome, the 6."),
        ("outcomes", "stamps_ns", 7, "a value of the wrong type"),
    ],
)
def test_damaged_record_is_named(recording: Path, records: str, field: str, value: object, says: str) -> None:
    run = read(recording)
    damaged = getattr(run, records)
    damaged[5] = replace(damaged[5], **{field: value})
    with pytest.raises(ConfigError) as caught:
        check_sound(run, "out.livelens.jsonl")
    assert str(caught.value).startswith(f"out.livelens.jsonl: is damaged: {says}")


def test_frame_that_came_twice_is_named(recording: Path) -> None:
    run = read(recording)
    run.arrivals[5] = run.arrivals[6]
    with pytest.raises(ConfigError, match="a frame that came twice"):
        check_sound(run, "side")


@pytest.mark.parametrize(
    "change",
    [
        {"capacity": 0},
        {"capacity": 2**70},
        {"budget_ns": 0},
        {"budget_ns": 1.5},
        {"budget_ns": "x"},
        {"budget_ns": 10**400},
        {"weight": 0},
        {"weight": float("nan")},
        {"min_fps": True},
        {"stream": None},
        {"clip": 7},
        {"pace": "sideways"},
        {"versions": ["a"]},
        {"versions": {"torch": 2}},
        {"tail_ns": -1},
    ],
)
def test_damaged_header_is_named(recording: Path, change: dict[str, Any]) -> None:
    run = read(recording)
    run.info = replace(run.info, **change)
    with pytest.raises(ConfigError, match="its header"):
        check_sound(run, "side")


@pytest.mark.parametrize(
    "change",
    [
        {"ladder": ()},
        {"ladder": (RungInfo("640"),) * 33},
        {"kind": "paint"},
        {"threads": 0},
        {"max_age_ns": -1},
        {"model": None},
        {"batch_key": 3},
        {"max_batch": "many"},
        {"max_batch": 0},
        {"max_batch": 20_000_000},
        {"needs": ("gone",)},
    ],
)
def test_damaged_stage_is_named(recording: Path, change: dict[str, Any]) -> None:
    run = read(recording)
    run.info = replace(run.info, stages=(replace(run.info.stages[0], **change),))
    with pytest.raises(ConfigError, match="its header"):
        check_sound(run, "side")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"budget_ns":150000000', '"budget_ns":"x"'),
        ('"versions":{}', '"versions":["a"]'),
        ('"max_batch":1', '"max_batch":"many"'),
        ('"max_batch":1', '"max_batch":20000000'),
        ('"height":180', '"height":[]'),
        ('"captured_ns"', '"pts":' + "[" * 100_000 + '1,"captured_ns"'),
    ],
)
@pytest.mark.parametrize("pace", ["realtime", "max", "recorded", "virtual"])
def test_damaged_side_file_is_one_line_at_every_pace(
    recording: Path, cli: Cli, pace: str, before: str, after: str
) -> None:
    side = side_path(recording)
    side.write_text(side.read_text().replace(before, after, 1))
    said = cli("replay", recording, "--pace", pace).error
    assert said.startswith("out.livelens.jsonl: ") and ("is damaged" in said or "is not a record" in said)
    assert cli("simulate", recording).error == said


ODD: tuple[Any, ...] = (
    None,
    -1,
    0,
    "x",
    "a\nb",
    [],
    {},
    ["a"],
    {"a": 1},
    1e30,
    2**70,
    10**400,
    True,
    0.5,
    float("nan"),
    20_000_000,
)


def places(found: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value in a record."""
    items = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in items:
        yield (*so_far, key)
        yield from places(value, (*so_far, key))


def damaged(line: str, draw: st.DrawFn) -> str:
    """Return a record with one value changed, or left out."""
    found = json.loads(line)
    *way, last = draw(st.sampled_from([one for one in places(found) if one != ("type",)]))
    part = found
    for key in way:
        part = part[key]
    if isinstance(part, dict) and draw(st.integers(0, 9)) == 0:
        del part[last]
    else:
        part[last] = draw(st.sampled_from(ODD))
    return json.dumps(found)


@st.composite
def damages(draw: st.DrawFn, whole: list[str]) -> list[str]:
    """Return the lines of a side file of which one or two were damaged, half of the time the header."""
    numbers = [0] if draw(st.booleans()) else draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=2))
    lines = list(whole)
    for number in numbers:
        lines[number] = damaged(whole[number], draw)
    return lines


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_side_file_never_ends_in_a_traceback(recording: Path, data: st.DataObject) -> None:
    """Whatever became of a few values: it is played, or refused in a ConfigError, and it ends."""
    whole = recording.with_name("whole")
    if not whole.exists():
        whole.write_text(side_path(recording).read_text())
    side_path(recording).write_text("\n".join(data.draw(damages(whole.read_text().splitlines()))) + "\n")
    for pace in (Pace.REALTIME, Pace.VIRTUAL):
        try:
            told = wish_for(recording, {}, pace, 1, None)
            if pace is Pace.VIRTUAL:
                assert accounted(run_trial(told, lambda done, total: None, has_own_process=False)[0]) >= FRAMES - 2
        except ConfigError as error:
            assert "\n" not in str(error)


def test_side_file_of_another_clip_is_refused(media: Media, recording: Path, tmp_path: Path) -> None:
    other = make_recording(media("base.mp4"), tmp_path / "other.mkv")
    side_path(other).write_text(side_path(recording).read_text())
    with pytest.raises(ConfigError, match="different recordings"):
        wish(other, Pace.RECORDED)


def test_wish_of_a_video_needs_nothing_else(media: Media) -> None:
    check_wish(Wish(Recording(media("base.mp4"), None, 60), Pace.REALTIME, StreamConfig(source="x")))
