"""Reading a recording back: whole, cut short, mixed up or no recording at all; and playing it as it arrived."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from stream.clock import NS_PER_MS, NS_PER_S, VirtualClock
from stream.errors import ConfigError
from stream.recorder import side_path
from stream.recording import arrivals, cut, open_recording
from stream.run import Arrival, Cost, LadderChange, Outcome, PacketArrival, Run
from stream.source import SourceState
from tests.media import Media, media  # noqa: F401
from tests.play import Player
from tests.record import INFO, feed, payloads, record, run_of

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


@pytest.fixture
def clip(media: Media, tmp_path: Path) -> Path:
    """A recording of three seconds."""
    return recorded(media("gop10.mp4"), tmp_path / "out.mkv")


def recorded(source: Path, clip: Path) -> Path:
    recorder = record(clip)
    feed(recorder, source)
    recorder.close()
    assert recorder.status()["error"] is None
    return clip


def test_a_recording_is_opened_by_either_of_its_files(clip: Path) -> None:
    for path in (clip, side_path(clip)):
        found = open_recording(path, require_side=True)
        assert (found.clip, found.packets, found.is_cut_short, found.notes) == (clip, 90, False, ())
        assert found.run is not None
        assert arrivals(found.run) == [NS_PER_S + index * NS_PER_S // 30 - NS_PER_S for index in range(90)]


def test_a_recording_plays_as_it_arrived(clip: Path) -> None:
    lines = side_path(clip).read_text().splitlines()
    jitter_ns = [index * 33 * NS_PER_MS + index % 7 * NS_PER_MS for index in range(90)]
    told = [
        f'{{"type":"packet","arrived_ns":{at_ns + 12345},"is_keyframe":{str(index % 10 == 0).lower()}}}'
        for index, at_ns in enumerate(jitter_ns)
    ]
    side_path(clip).write_text("\n".join([lines[0], *told]) + "\n")
    run = open_recording(clip).run
    assert run is not None
    with Player(str(clip), VirtualClock(), schedule=arrivals(run)) as player:
        player.wait_state(SourceState.FINISHED)
    assert [frame.captured_ns - player.frames[0].captured_ns for frame in player.frames] == jitter_ns


def test_any_video_is_a_recording_without_a_side_file(media: Media) -> None:
    found = open_recording(media("base.mp4"))
    assert (found.run, found.packets, found.notes) == (None, 60, ())


def test_a_side_file_that_is_needed_and_not_there_is_asked_for(clip: Path) -> None:
    side_path(clip).unlink()
    with pytest.raises(ConfigError) as caught:
        open_recording(clip, require_side=True)
    assert str(caught.value) == (
        "out.mkv has no side file out.livelens.jsonl beside it; record with `livelens record`, "
        "or replay with --pace realtime"
    )


def test_what_is_no_recording_is_refused_in_one_line(media: Media, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "notes.mkv").write_text("hello\n" * 1000)
    (tmp_path / "empty.mkv").write_bytes(b"")
    (tmp_path / "header.mkv").write_bytes(clip.read_bytes()[:600])
    shutil.copy(side_path(clip), tmp_path / "alone.livelens.jsonl")
    cases = {
        tmp_path / "gone.mkv": "there is no such file",
        tmp_path / "gone.livelens.jsonl": "there is no such file",
        tmp_path / "alone.livelens.jsonl": r"alone\.mkv: there is no such file",
        tmp_path: "there is no such file",
        tmp_path / "notes.mkv": "is not a video that can be read",
        tmp_path / "empty.mkv": "is not a video that can be read",
        tmp_path / "header.mkv": "there is not one picture in it",
        media("audioonly.mp4"): "there is no video in it",
    }
    for path, message in cases.items():
        with pytest.raises(ConfigError, match=message) as caught:
            open_recording(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"schema_version":1', '"schema_version":7', "is of schema version 7; this release reads version 1"),
        ('"type":"run"', '"type":"walk"', r"out\.livelens\.jsonl: line 1 is not a record of a run"),
    ],
)
def test_a_side_file_that_cannot_be_read_is_refused(clip: Path, before: str, after: str, message: str) -> None:
    side = side_path(clip)
    side.write_text(side.read_text().replace(before, after, 1))
    with pytest.raises(ConfigError, match=message):
        open_recording(clip)


def test_a_side_file_that_is_no_text_is_refused(clip: Path) -> None:
    side_path(clip).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"out\.livelens\.jsonl: cannot be read"):
        open_recording(clip)


def test_a_side_file_without_packets_has_no_arrivals(clip: Path) -> None:
    side = side_path(clip)
    side.write_text(side.read_text().splitlines()[0] + "\n")
    with pytest.raises(ConfigError, match="tells of no packet"):
        open_recording(clip, require_side=True)


def test_files_of_different_recordings_are_not_mixed(media: Media, tmp_path: Path, clip: Path) -> None:
    other = recorded(media("base.mp4"), tmp_path / "other.mkv")
    shutil.copy(side_path(other), side_path(clip))
    with pytest.raises(ConfigError, match="are of different recordings"):
        open_recording(clip)


@pytest.mark.parametrize("share", [0.2, 0.37, 0.5, 0.77, 0.9, 0.999])
def test_a_clip_cut_off_anywhere_gives_what_it_has(clip: Path, share: float) -> None:
    whole = payloads(clip)
    clip.write_bytes(clip.read_bytes()[: int(clip.stat().st_size * share)])
    found = open_recording(clip, require_side=True)
    assert found.is_cut_short
    assert "was cut short" in found.notes[0]
    assert payloads(clip) == whole[: found.packets]
    assert found.packets >= 90 * share - 3
    assert found.run is not None
    assert len(found.run.packets) == found.packets


def test_a_side_file_cut_off_in_a_line_gives_what_it_has(clip: Path) -> None:
    side = side_path(clip)
    side.write_text(side.read_text()[:-1000])
    found = open_recording(clip, require_side=True)
    assert found.run is not None
    assert 60 < len(found.run.packets) < 90 == found.packets
    assert found.is_cut_short
    rest = 90 - len(found.run.packets)
    assert f"the last {rest} come at the clip's own rate, and --pace virtual leaves them out" in found.notes[1]


def test_packets_the_side_file_does_not_tell_of_are_played_as_the_note_says(clip: Path) -> None:
    """After kill -9 the clip is the longer one: its packets are handed over at once, the side file's lines are not."""
    side = side_path(clip)
    side.write_text("".join(side.read_text().splitlines(keepends=True)[:-4]))
    found = open_recording(clip)
    assert found.run is not None
    assert found.notes[1:] == (
        "out.mkv has 90 packets and its side file tells of 86; "
        "the last 4 come at the clip's own rate, and --pace virtual leaves them out",
    )
    with Player(str(clip), VirtualClock(), schedule=arrivals(found.run)) as player:
        player.wait_state(SourceState.FINISHED)
    came_ns = [frame.captured_ns for frame in player.frames]
    assert len(came_ns) == found.packets
    assert {round((b - a) / NS_PER_MS) for a, b in pairwise(came_ns[85:])} == {33}


def test_a_clip_with_fewer_packets_than_its_side_file_uses_those(clip: Path) -> None:
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    found = open_recording(clip)
    assert found.notes[1].endswith(f"tells of 90; the first {found.packets} are used")


def test_a_clip_whose_times_jump_is_opened(media: Media) -> None:
    assert open_recording(media("jump.ts")).packets == 60


def test_a_cut_run_has_only_the_frames_of_its_packets() -> None:
    run = Run(INFO)
    for seq in range(4):
        at_ns = 100 * seq
        run.add(PacketArrival(at_ns, is_keyframe=seq == 0))
        run.add(Arrival(seq, seq, at_ns, at_ns + 9, 2, 2))
        run.add(Cost("style", "x", (seq,), 1, "generate", at_ns + 10, at_ns + 20))
        run.add(LadderChange(at_ns, "style", "x", "y", "slow"))
        run.add(Outcome(seq, "", at_ns + 50, at_ns + 155, {}))
    kept = cut(run, 2)
    assert [len(part) for part in (kept.packets, kept.arrivals, kept.costs, kept.ladder, kept.outcomes)] == [2] * 5
    assert [outcome.seq for outcome in kept.outcomes] == [0, 1]
    assert cut(run, 4) == run
    assert replace(run).packets == run.packets


def test_what_is_read_is_what_was_written(clip: Path) -> None:
    assert open_recording(clip).run == run_of(clip)
