"""tables.py: what a person reads; it fits 80 columns."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from stream.baseline import Comparison, compare
from stream.simulate import Result
from stream.summary import summarize
from stream.tables import print_comparisons, print_replay, print_results
from tests.made_run import empty_run, made_run


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=80, highlight=False, emoji=False)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


STEPS = ["decode", "queue", "wait", "models", "to", "draw", "encode", "send", "capture"]  # first words


def result(policy: str, utility: float = 0.5) -> Result:
    return Result(policy, 600, 500, 30.4, 0.987, 18250.0, 152306.0, utility, 0.934, 128, 0.25, ())


def test_replay_tells_steps_frames_and_variants(console: Console) -> None:
    print_replay(summarize(made_run(300)), console)
    told = lines(console)
    assert told[0].split() == ["step", "p50", "ms", "p95", "ms", "p99", "ms", "max", "ms"]
    assert [line.split()[0] for line in told[1:10]] == STEPS
    text = "\n".join(told)
    for word in (
        "captured: 300 frames",
        "within 150 ms from capture to send",
        "a newer one came",
        "style: ",
        "boxes: ",
    ):
        assert word in text
    assert all(len(line) <= 80 for line in told)


def test_every_number_of_a_replay_is_on_one_line(console: Console) -> None:
    """A wrapped line is an ugly one: each that is not a list of names has a subject at its beginning."""
    print_replay(summarize(made_run(100_000 // 50)) | {"pace": "virtual"}, console)
    beginnings = ("captured:", "shown:", "on time:", "decisions:")
    assert [sum(line.startswith(word) for line in lines(console)) for word in beginnings] == [1, 1, 1, 1]


def test_replay_of_nothing_is_told_without_a_share(console: Console) -> None:
    print_replay(summarize(empty_run()), console)
    assert "on time: 0, within 150 ms from capture to send" in lines(console)


def test_names_with_brackets_and_colons_are_printed_as_they_are(console: Console) -> None:
    run = made_run(30)
    stage = replace(run.info.stages[0], name="[bold]x:boom:")
    run.info = replace(run.info, stages=(stage,))
    run.costs = [replace(cost, stage=stage.name) for cost in run.costs]
    print_replay(summarize(run), console)
    assert any(line.startswith("[bold]x:boom:: 640 bf16") for line in lines(console))


def test_comparison_shows_each_number_and_its_verdict(console: Console) -> None:
    before, now = (summarize(made_run(600, seed)) for seed in (0, 1))
    print_comparisons(compare(before, now), console)
    told = lines(console)
    assert told[0].split()[:3] == ["number", "baseline", "now"]
    assert [line.split()[0] for line in told[1:6]] == ["p50", "p95", "p99", "on", "shown"]
    assert all(len(line) <= 80 for line in told)


def test_change_beyond_all_measure_keeps_the_table_narrow(console: Console) -> None:
    far = Comparison("p99", "ms", 2.0, 44_500.0, 2500.0, 41.2, 4000.0, "worse")
    print_comparisons([far], console)
    assert lines(console)[1].split() == ["p99", "2.0", "ms", "44500.0", "ms", "x2501", "x42", "..", "x4001", "worse"]


def test_note_of_several_numbers_is_told_once(console: Console) -> None:
    notes = ["58 frames are too few for a p99; another clip", "another clip"]
    print_comparisons([Comparison("p99", "ms", 1, 1, 0, 0, 0, "same", note) for note in notes], console)
    assert lines(console)[-2:] == ["Note: 58 frames are too few for a p99", "Note: another clip"]


def test_number_that_is_missing_is_left_empty(console: Console) -> None:
    print_comparisons([Comparison("decisions", "", None, None, None, None, None, "same")], console)
    assert lines(console)[1].split() == ["decisions", "same"]


@pytest.mark.parametrize("is_exact", [True, False])
def test_policies_stand_beside_the_best_possible(console: Console, is_exact: bool) -> None:
    print_results([result("fifo", 0.25), result("livelens")], 0.5, is_exact=is_exact, console=console)
    told = lines(console)
    assert told[1].split()[0] == "fifo" and "50.0%" in told[1]
    assert told[2].split()[0] == "livelens" and "100.0%" in told[2]
    assert ("exactly" if is_exact else "none can have more") in told[3]
    assert all(len(line) <= 80 for line in told) and len(told) == 8


def test_without_a_best_no_share_of_it_is_told(console: Console) -> None:
    print_results([result("edf")], None, is_exact=False, console=console)
    assert "no best possible to compare with" in " ".join(lines(console))


def test_why_an_earlier_result_was_shown_is_told(console: Console) -> None:
    decisions = {"boxes": [{"action": "reuse", "reason": "no room on every frame", "frames": 7}]}
    variants = {"boxes": {"bf16": 3}}
    print_replay(summarize(made_run(30)) | {"decisions": decisions, "variants": variants}, console)
    assert "  7 shown with an earlier result: no room on every frame" in lines(console)
