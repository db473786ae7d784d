from dataclasses import replace

import pytest

from stream.errors import ConfigError
from stream.run import (
    MAX_FRAMES,
    Arrival,
    Cost,
    Decision,
    LadderChange,
    Outcome,
    PacketArrival,
    Run,
    RungInfo,
    RunInfo,
    StageInfo,
    check_frames,
    from_line,
    read_run,
    to_line,
)

STYLE = StageInfo("style", "generate", "generate", 2, 0, ("mask",), (RungInfo("bf16", 1.0, 23), RungInfo("small", 0.5)))
INFO = RunInfo("s", "a.mkv", "cpu", "CPU, 2 cores", 2, 150_000_000, (STYLE,), versions={"torch": "2.6"})
OUTCOME = Outcome(0, "", 50, 155, {"captured": 5}, {"style": Decision("run", "bf16", "fits")}, {"models": 23}, -105)
RECORDS = (
    PacketArrival(5, is_keyframe=True),
    Arrival(0, 0, 5, 9, 360, 640),
    Cost("style", "bf16", (0,), 1, "generate", 10, 33, error="RuntimeError: no"),
    LadderChange(40, "style", "bf16", "small", "too slow"),
    OUTCOME,
)


def test_what_is_written_is_read_back() -> None:
    run = Run(INFO)
    for record in RECORDS:
        run.add(record)
    lines = [to_line(record) for record in run.records()]
    assert read_run(lines, "x") == run
    assert [from_line(line) for line in lines] == list(run.records())


def test_findings_are_written_and_not_kept_in_memory() -> None:
    found = {"boxes": {"boxes": [{"label": "dog", "score": 0.9, "xyxy": [1, 2, 3, 4]}]}}
    outcome = replace(OUTCOME, results=found)
    line = to_line(outcome)
    assert from_line(line) == outcome
    run = Run(INFO)
    run.add(outcome)
    assert read_run([to_line(INFO), line], "x").outcomes == run.outcomes == [OUTCOME]


def test_an_account_has_a_most_of_frames() -> None:
    check_frames(MAX_FRAMES, "take a lower --loop")
    with pytest.raises(ConfigError) as caught:
        check_frames(MAX_FRAMES + 1, "take a lower --loop")
    assert str(caught.value) == (
        "2000001 frames are too many for one account, which has 2000000 at most; take a lower --loop"
    )


def test_a_line_cut_off_at_the_end_is_left_out_and_noted() -> None:
    lines = [to_line(INFO), to_line(RECORDS[1]), to_line(RECORDS[2])[:30]]
    run = read_run(lines, "x")
    assert run.is_cut_short
    assert (run.arrivals, run.costs) == ([RECORDS[1]], [])


def test_a_later_header_replaces_the_first() -> None:
    bare = RunInfo("s", "a.mkv", "", "", 1, 1, ())
    assert read_run([to_line(bare), to_line(INFO)], "x").info == INFO


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "x: is empty"),
        (["{"], "x: line 1 is not a record of a run"),
        ([to_line(RECORDS[1])], "the first line is no header"),
        ([to_line(INFO), "nonsense", to_line(RECORDS[1])], "x: line 2 is not a record"),
        ([to_line(INFO).replace('"schema_version":1', '"schema_version":9')], "is of schema version 9"),
        ([to_line(INFO), '{"type":"cost"}', to_line(RECORDS[1])], "x: line 2 is not a record"),
        ([to_line(INFO), "[]", to_line(RECORDS[1])], "x: line 2 is not a record"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_run(lines, "x")
    assert "\n" not in str(caught.value)


def test_a_version_of_several_lines_is_refused_in_one() -> None:
    line = to_line(INFO).replace('"schema_version":1', '"schema_version":"a\\nb"')
    with pytest.raises(ConfigError, match="is of schema version") as caught:
        read_run([line], "x")
    assert "\n" not in str(caught.value)
