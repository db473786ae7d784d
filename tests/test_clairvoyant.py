from itertools import pairwise, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import clairvoyant
from stream.clairvoyant import Job, optimum


def brute_force(jobs: list[Job], changes: int | None = None) -> float:
    """Try every subset, variant and order."""
    best = 0.0
    choices = [[None, *range(len(job.options))] for job in jobs]
    for picked in product(*choices):
        run = [(job, rung) for job, rung in zip(jobs, picked, strict=True) if rung is not None]
        in_order = tuple(sorted(run, key=lambda one: (one[0].deadline_ns, one[0].queued_ns)))
        for order in permutations(run) if changes is None else [in_order]:
            if changes is not None and sum(a[1] != b[1] for a, b in pairwise(order)) > changes:
                continue
            now = 0
            for job, rung in order:
                now = max(now, job.queued_ns) + job.options[rung][0]
                if now > job.deadline_ns:
                    break
            else:
                best = max(best, sum(job.options[rung][1] for job, rung in order))
    return best


options = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0.25, 0.5, 1.0])), min_size=1, max_size=2).map(tuple)
agreeable = st.lists(st.tuples(st.integers(0, 8), options), min_size=1, max_size=5).map(
    lambda given: [Job(at, at + 14, opts) for at, opts in sorted(given)]
)
any_jobs = st.lists(st.builds(Job, st.integers(0, 12), st.integers(1, 30), options), min_size=1, max_size=4)


@settings(deadline=None, max_examples=150)
@given(agreeable)
def test_the_optimum_is_what_trying_everything_finds(jobs: list[Job]) -> None:
    found = optimum(jobs)
    assert found.is_exact
    assert abs(found.value - brute_force(jobs)) < 1e-9


@settings(deadline=None, max_examples=100)
@given(any_jobs)
def test_nothing_is_worth_more_than_the_optimum_whatever_the_deadlines(jobs: list[Job]) -> None:
    found, best = optimum(jobs), brute_force(jobs)
    assert found.value >= best - 1e-9
    if found.is_exact:
        assert found.value <= best + 1e-9


@settings(deadline=None, max_examples=60)
@given(agreeable, st.integers(0, 3))
def test_the_bound_with_few_changes_holds_and_is_no_more_than_without(jobs: list[Job], changes: int) -> None:
    bound = optimum(jobs, changes).value
    assert bound >= brute_force(jobs, changes) - 1e-9
    assert bound <= optimum(jobs).value + 1e-9


def test_an_overloaded_machine_serves_every_second_frame() -> None:
    jobs = [Job(at, at + 15, ((2 * 10, 1.0), (9, 0.5))) for at in range(0, 100, 10)]
    assert optimum(jobs).value == 5.0  # every frame in the light variant: none is in time in the full one


def test_nothing_to_do_is_worth_nothing() -> None:
    assert optimum([]).value == 0.0


def test_a_front_too_long_gives_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [Job(at, at + 40, ((7 + at % 5, 1.0), (3 + at % 3, 0.61), (2, 0.37))) for at in range(0, 200, 3)]
    exact = optimum(jobs)
    monkeypatch.setattr(clairvoyant, "LIMIT", 3)
    joined = optimum(jobs)
    assert exact.is_exact and not joined.is_exact
    assert joined.value >= exact.value


def test_a_limit_on_the_start_is_never_called_exact() -> None:
    """Two neighbours in the wrong order can no longer be swapped: a start may then be too late."""
    jobs = [Job(-20, 41, ((60, 5.0),), -20), Job(0, 1000, ((60, 1.0),), 53), Job(33, 1001, ((10, 1.0),), 86)]
    assert not optimum(jobs).is_exact
