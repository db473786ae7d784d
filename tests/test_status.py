import json
from collections import Counter
from pathlib import Path

import pytest

from stream.run import LadderChange
from stream.source import SourceCounters, SourceState, SourceStatus, parse_source
from stream.stats import FrameCounts
from stream.status import (
    frames_json,
    ladder_events_json,
    public_message,
    running_stage_json,
    source_json,
    stage_json,
    without_folders,
)
from tests.fakes import MS, recognize
from tests.test_pipeline import Rig, of_cost, times


def status(state: SourceState = SourceState.RUNNING, message: str = "") -> SourceStatus:
    return SourceStatus(state, None, message, 640, 360, 29.97, "h264", SourceCounters(), 0)


def test_frames_add_up() -> None:
    counts = FrameCounts(captured=10, shown=6, on_time=5, late=1, reused=2, skipped=1, dropped=Counter(superseded=3))
    found = frames_json(counts)
    assert found["in_flight"] == 1
    assert found["captured"] == found["shown"] + sum(found["dropped"].values()) + found["in_flight"]
    assert found["shown"] == found["on_time"] + found["late"]


def test_a_running_stage_tells_its_ladder_and_what_is_ready() -> None:
    rig = Rig()
    stream = rig.add("s", of_cost("m", lambda call: 60, 20, 5))
    rig.pipeline.variants_ready("s", "style", 2)
    rig.feed("s", times(33, 3000))
    rig.run(3100)
    found = running_stage_json(stream, stream.stages["style"], rig.clock.now_ns())
    assert (found["rung"], found["variant"], found["changes"]) == (1, "v1", 1)
    assert [one["ready"] for one in found["ladder"]] == [True, True, False]
    assert [one["quality"] for one in found["ladder"]] == [1.0, 0.9, 0.8]
    assert found["ladder"][1]["predicted_ms"] == found["predicted_ms"] == 20.0
    assert found["ladder"][2]["predicted_ms"] is None
    assert found["runs"] == stream.stages["style"].runs > 50
    assert found["ips"] == pytest.approx(30, abs=2)
    assert (found["errors"], found["last_error"], found["is_open"]) == (0, None, False)
    json.dumps(found)


def test_before_the_first_frame_nothing_is_predicted() -> None:
    rig = Rig()
    stream = rig.add("s", of_cost("m", lambda call: 60, 20))
    found = running_stage_json(stream, stream.stages["style"], 0)
    assert (found["predicted_ms"], found["ladder"][0]["predicted_ms"], found["latest"]) == (0.0, None, None)


def test_a_stage_left_out_after_errors_says_so_without_folders() -> None:
    rig = Rig()
    stream = rig.add("s", recognize("boxes", RuntimeError("/home/me/models/mine.py:3: no")))
    rig.feed("s", times(33, 300))
    rig.run(400)
    found = running_stage_json(stream, stream.stages["boxes"], rig.clock.now_ns())
    assert found["is_open"] and found["errors"] == 5
    assert found["last_error"] == "RuntimeError: mine.py:3: no"


def test_a_stage_that_has_not_run_tells_what_is_known_of_it() -> None:
    found = stage_json(recognize("boxes", 5, max_age_ms=300))
    assert found == {"name": "boxes", "kind": "recognize", "variant": "", "max_age_ms": 300.0}


def test_ladder_events_are_told_newest_first_with_their_age() -> None:
    events = [
        LadderChange(1000 * MS, "style", "v0", "v1", "it takes 60 ms, and there are 33"),
        LadderChange(4500 * MS, "style", "v1", "v0", "there is room: 20 of 33 ms"),
    ]
    found = ladder_events_json(events, 5000 * MS)
    assert [(one["at_s_ago"], one["before"], one["after"]) for one in found] == [(0.5, "v1", "v0"), (4.0, "v0", "v1")]
    assert found[1]["reason"] == "it takes 60 ms, and there are 33"


def test_of_a_file_viewers_see_its_name_and_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "secret" / "walk.mp4"
    path.parent.mkdir()
    path.touch()
    spec = parse_source(str(path))
    broken = status(SourceState.ERROR, f"{spec.display}: no such file")
    assert source_json(spec, broken)["address"] == "walk.mp4"
    assert public_message(spec, broken) == "walk.mp4: no such file"
    assert "secret" not in json.dumps(source_json(spec, broken))


def test_of_an_address_viewers_see_no_password() -> None:
    spec = parse_source("rtsp://me:hush@10.0.0.7/stream")
    assert "hush" not in json.dumps(source_json(spec, status(SourceState.ERROR, f"{spec.display}: refused")))


def test_a_source_that_runs_has_no_message_and_a_rounded_rate() -> None:
    found = source_json(parse_source("test:"), status(message="was reconnected"))
    assert (found["message"], found["fps"], found["state"]) == ("", 30.0, "running")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("ValueError in /home/me/x/mine.py:12", "ValueError in mine.py:12"),
        (r"C:\Users\me\mine.py: no", r"C:mine.py: no"),
        ("expected a uint8 picture", "expected a uint8 picture"),
        (None, None),
        ("", ""),
    ],
)
def test_messages_of_own_models_name_the_file_and_not_its_place(message: str | None, shown: str | None) -> None:
    assert without_folders(message) == shown
