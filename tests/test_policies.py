from dataclasses import replace

import pytest

from stream.errors import ConfigError
from stream.policies import POLICIES, policy
from stream.scheduler import DeadlineScheduler, Scheduler
from stream.view import Action, Drop, Plan, Waiting
from tests.fakes import MS
from tests.test_scheduler import BOXES, GEN, NOTHING_BUSY, at, waiting

PLAIN = ["edf", "fifo", "newest"]


def started(scheduler: Scheduler, now_ns: int, frames: list[Waiting]) -> list[str]:
    decisions = scheduler.decide(now_ns, frames, NOTHING_BUSY)
    assert not any(isinstance(decision, Drop) for decision in decisions)
    return [decision.stream for decision in decisions]


def test_fifo_takes_who_was_captured_first_and_edf_whose_deadline_is_first() -> None:
    frames = [
        waiting("old", captured_ms=0, budget_ms=300, stages=(GEN,)),
        waiting("tight", captured_ms=20, budget_ms=100, stages=(GEN,)),
    ]
    assert started(policy("fifo", 1), 30 * MS, frames) == ["old"]
    assert started(policy("edf", 1), 30 * MS, frames) == ["tight"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_policy_runs_every_stage_at_its_best_on_every_frame(name: str) -> None:
    frame = waiting(stages=(at(GEN, 500, 1), BOXES))
    [plan] = policy(name, 1).decide(90 * MS, [frame], NOTHING_BUSY)
    assert isinstance(plan, Plan)
    assert {choice.action for choice in plan.choices.values()} == {Action.RUN}
    assert {choice.rung for choice in plan.choices.values()} == {0}
    assert not policy(name, 1).has_ladder


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_policy_waits_for_every_lane_and_gives_nothing_up(name: str) -> None:
    hopeless = waiting(stages=(GEN, BOXES))
    assert policy(name, 1).decide(10_000 * MS, [hopeless], frozenset({"boxes"})) == []
    assert started(policy(name, 1), 10_000 * MS, [hopeless]) == ["a"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_policy_leaves_out_what_is_unavailable(name: str) -> None:
    frame = waiting(stages=(replace(GEN, unavailable="left out after errors"), BOXES))
    [plan] = policy(name, 1).decide(0, [frame], frozenset({"generate"}))
    assert isinstance(plan, Plan)
    assert plan.choices["style"].action is Action.SKIP


def test_queues_are_bounded_and_newest_keeps_one_and_ours_two() -> None:
    bounds = {name: policy(name, 1).inbox_bound for name in POLICIES}
    assert (bounds["newest"], bounds["livelens"]) == (1, 2)
    assert bounds["fifo"] == bounds["edf"] == 10_000


def test_each_call_gives_a_fresh_scheduler() -> None:
    assert policy("livelens", 1) is not policy("livelens", 1)
    assert isinstance(policy("livelens", 3), DeadlineScheduler)


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--policy lifo: .*fifo, newest, edf, livelens"):
        policy("lifo", 1)
