import hashlib
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stream import run as run_module
from stream.costs import CostBook
from stream.errors import ConfigError
from stream.policies import POLICIES, policy
from stream.run import Arrival, Cost, Run, RungInfo, RunInfo, StageInfo, to_line
from stream.simulate import Setting, make_scripts
from stream.stage import ERRORS_TO_OPEN, RETRY_AFTER_NS
from stream.synthetic import synthetic_run
from stream.virtual import Script, play

MS = 1_000_000
INTERVAL_NS = 33 * MS
MASK = StageInfo("mask", "recognize", "mask", 1, 0, (), (RungInfo("m", 1.0, 6 * MS),))
BOXES = StageInfo("boxes", "recognize", "boxes", 1, 300 * MS, (), (RungInfo("b", 1.0, 25 * MS),))
STYLE = StageInfo(
    "style",
    "generate",
    "generate",
    2,
    0,
    ("mask",),
    (RungInfo("best", 1.0, 30 * MS), RungInfo("half", 0.8, 16 * MS), RungInfo("third", 0.6, 8 * MS)),
)


def recorded(frames: int, stages: tuple[StageInfo, ...] = (MASK, BOXES, STYLE), seed: int = 1, load: float = 1) -> Run:
    """Return what a recording of so many frames knows: arrivals, and costs of the best variants."""
    chance = random.Random(seed)
    run = Run(RunInfo(f"s{seed}", "", "cpu", "", 2, 150 * MS, stages, tail_ns=6 * MS))
    for seq in range(frames):
        captured_ns = 5 * 10**9 + seq * INTERVAL_NS + chance.randrange(8 * MS)
        run.add(Arrival(seq, seq * 3000, captured_ns, captured_ns + chance.randrange(4 * MS), 360, 640))
        for stage in stages:
            cost_ns = round(stage.ladder[0].prior_ns * load * chance.lognormvariate(0, 0.4))
            run.add(Cost(stage.name, stage.ladder[0].variant, (seq,), 1, stage.lane, 0, cost_ns))
        run.add(Cost("tail", "", (seq,), 1, "encoder", 0, 4 * MS + chance.randrange(3 * MS)))
    return run


def script(run: Run, speed: float = 1) -> Script:
    return Script(run.info, run.arrivals, CostBook(run, speed))


def played(*runs: Run, name: str = "livelens", speed: float = 1) -> list[Run]:
    return play([script(run, speed) for run in runs], policy(name, runs[0].info.capacity))


def lines(*runs: Run) -> list[str]:
    return [to_line(record) for run in runs for record in run.records()]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_the_account_of_a_virtual_run_played_again_is_the_same(name: str) -> None:
    first = played(recorded(200, load=1.5), recorded(200, seed=2), name=name)
    assert lines(*played(*first, name=name)) == lines(*first)
    assert any(one.dropped or one.late_ns > 0 for one in first[0].outcomes)  # something was at stake


@pytest.mark.parametrize("seed", range(6))
def test_any_recording_played_twice_gives_the_same_account(seed: int) -> None:
    run = recorded(80, seed=seed, load=0.5 + seed / 2)
    [first] = played(run)
    [again] = played(first)
    assert lines(again) == lines(first)


def test_every_frame_is_settled_and_an_idle_device_shows_all_of_them() -> None:
    [run] = played(recorded(100, load=0.3))
    assert [one.seq for one in run.outcomes] == list(range(100))
    assert all(one.is_on_time and not one.cause for one in run.outcomes)


def test_decisions_do_not_depend_on_the_seed_of_hashes() -> None:
    code = (
        "import hashlib; from tests.test_virtual import *; "
        "runs = played(recorded(120, load=1.5), recorded(120, seed=2), recorded(120, seed=3)); "
        "print(hashlib.sha256('\\n'.join(lines(*runs)).encode()).hexdigest())"
    )
    root = Path(__file__).parent.parent
    digests = set()
    for seed in ("1", "77"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())
    runs = played(recorded(120, load=1.5), recorded(120, seed=2), recorded(120, seed=3))
    assert digests == {hashlib.sha256("\n".join(lines(*runs)).encode()).hexdigest()}


def test_errors_are_raised_again_and_the_breaker_opens_at_the_same_frame() -> None:
    style = replace(STYLE, needs=())
    run = recorded(60, (style,), load=0.2)
    broken = range(20, 20 + ERRORS_TO_OPEN)
    run.costs = [
        replace(one, error="RuntimeError: no") if one.stage == "style" and one.seqs[0] in broken else one
        for one in run.costs
    ]
    [first] = played(run)
    errors = [cost.seqs[0] for cost in first.costs if cost.error]
    assert errors == list(broken)
    assert all("no" in str(cost.error) for cost in first.costs if cost.error)
    left_out = [one.seq for one in first.outcomes if one.decisions["style"].action == "skip"]
    assert left_out == list(range(25, 60))
    assert [one.seq for one in first.outcomes if one.cause] == list(range(20, 60))
    assert lines(*played(first)) == lines(first)


def test_the_breaker_closes_again_after_its_time() -> None:
    style = replace(STYLE, needs=())
    frames = 60 + RETRY_AFTER_NS // INTERVAL_NS
    run = recorded(frames, (style,), load=0.2)
    run.costs = [
        replace(one, error="no") if one.stage == "style" and one.seqs[0] < ERRORS_TO_OPEN else one for one in run.costs
    ]
    [first] = played(run)
    assert first.outcomes[-1].decisions["style"].action == "run"


def test_a_run_cut_short_plays_with_what_is_known() -> None:
    run = recorded(60)
    run.costs = [cost for cost in run.costs if cost.seqs[0] < 20]
    run.is_cut_short = True
    [found] = played(run)
    assert len(found.outcomes) == 60
    nothing = recorded(30)
    nothing.costs = []
    [found] = played(nothing)
    assert len(found.outcomes) == 30
    assert any(cost.finished_ns - cost.started_ns == 30 * MS for cost in found.costs)  # as at warm-up


def test_a_run_without_frames_ends_at_once() -> None:
    [found] = played(recorded(0))
    assert (found.arrivals, found.outcomes, found.costs) == ([], [], [])


def test_a_stream_beside_one_without_frames_plays() -> None:
    full, empty = played(recorded(30, load=0.3), replace_name(recorded(0), "empty"))
    assert (len(full.outcomes), len(empty.outcomes)) == (30, 0)


def replace_name(run: Run, name: str) -> Run:
    run.info = replace(run.info, stream=name)
    return run


def test_a_faster_device_takes_less_and_shows_more() -> None:
    run = recorded(150, load=3)
    slow, fast = played(run)[0], played(run, speed=8)[0]
    assert sum(one.is_on_time for one in fast.outcomes) > sum(one.is_on_time for one in slow.outcomes)
    mean = [sum(c.finished_ns - c.started_ns for c in one.costs) / len(one.costs) for one in (slow, fast)]
    assert mean[1] < mean[0] / 2


def test_a_device_so_fast_that_nothing_takes_time_is_no_error() -> None:
    [found] = played(recorded(30), speed=1e12)
    assert all(one.is_on_time for one in found.outcomes)


def test_loops_cost_the_same_in_each_round() -> None:
    run = recorded(30, (replace(STYLE, needs=(), ladder=STYLE.ladder[:1]),), load=0.4)
    rounds = [
        replace(
            one,
            seq=one.seq + turn * 30,
            captured_ns=one.captured_ns + turn * 10**9,
            queued_ns=one.queued_ns + turn * 10**9,
        )
        for turn in range(3)
        for one in run.arrivals
    ]
    [found] = play([Script(run.info, rounds, CostBook(run, period=30))], policy("livelens", 2))
    took = [cost.finished_ns - cost.started_ns for cost in found.costs]
    assert len(took) == 90 and took[:30] == took[30:60] == took[60:]


def test_progress_is_told_in_order_and_at_most_a_hundred_times() -> None:
    told: list[float] = []
    run = synthetic_run("synthetic:constant,overload=0.5,seconds=20")
    play([script(run)], policy("livelens", 1), told.append)
    assert told == sorted(told) and 50 < len(told) <= 100 and told[-1] == 1.0


def test_the_longest_queue_lets_every_frame_out_in_the_end() -> None:
    [found] = play([script(synthetic_run("synthetic:constant,overload=4,seconds=10"))], policy("fifo", 1))
    assert [one.dropped for one in found.outcomes] == [""] * 300


def test_streams_whose_stages_may_be_batched_are_batched_in_virtual_time_too() -> None:
    paint = replace(STYLE, needs=(), ladder=STYLE.ladder[:1], batch_key="paint", max_batch=4)
    runs = played(*(recorded(60, (paint,), seed=seed) for seed in range(1, 5)))
    assert any(cost.batch > 1 for run in runs for cost in run.costs)
    assert all(cost.batch <= 4 for run in runs for cost in run.costs)


def test_more_frames_than_an_account_has_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run = synthetic_run("synthetic:constant,seconds=1")
    scripts = make_scripts(run, Setting(streams=3))
    monkeypatch.setattr(run_module, "MAX_FRAMES", 60)
    with pytest.raises(ConfigError, match=r"90 frames are too many .* take fewer --streams"):
        make_scripts(run, Setting(streams=3))
    play(scripts[:2], policy("livelens", 1))
    with pytest.raises(ConfigError, match=r"90 frames are too many .* take fewer streams or a shorter run"):
        play(scripts, policy("livelens", 1))
