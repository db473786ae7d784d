"""tests/bench/nonclairvoyant.py against closed forms and a plain recursion over every decision."""

from functools import cache

import pytest

from tests.bench.nonclairvoyant import Process, best_utility

SLOTS = 8
COIN = ((0.5, 0.5), (0.25, 0.75))


def process(costs, chain=((1.0,),), qualities=(1.0,), latest=12, deadline=40) -> Process:
    return Process(SLOTS, latest, deadline, qualities, costs, chain)


def expected(given: Process, frames: int) -> float:
    """Return the most that can be expected of so many frames: every decision tried, from the first frame on."""

    @cache
    def after(now: int, ran: int, load: int) -> float:
        """`ran` is the frame that ran last, and `load` what it turned out to be."""
        newest = min(now // SLOTS, frames - 1)
        best = 0.0 if newest == frames - 1 else after((now // SLOTS + 1) * SLOTS, ran, load)
        for frame in range(ran + 1, newest + 1):
            age = now - frame * SLOTS
            if age <= given.latest_ns:
                for rung, quality in enumerate(given.qualities):
                    best = max(best, started(now, frame, age, rung, quality, belief(load, frame - ran)))
        return best

    def started(now, frame, age, rung, quality, beliefs) -> float:
        return sum(
            chance * part * (quality * (age + cost <= given.deadline_ns) + after(now + cost, frame, state))
            for state, chance in enumerate(beliefs)
            for cost, part in given.costs[state][rung].items()
        )

    def belief(load: int, steps: int) -> list[float]:
        found = [float(state == load) for state in range(len(given.chain))]
        for _ in range(steps):
            found = [sum(found[a] * given.chain[a][b] for a in range(len(found))) for b in range(len(found))]
        return found

    return after(0, -1, 0)


PROCESSES = [
    process((({5: 0.5, 13: 0.5},),)),
    process((({12: 1.0}, {6: 1.0}),), qualities=(1.0, 0.6)),
    process((({4: 0.7, 20: 0.3}, {3: 0.7, 9: 0.3}),), qualities=(1.0, 0.7), deadline=20),
    process((({5: 1.0},), ({15: 1.0},)), COIN),
    process((({9: 1.0}, {4: 1.0}), ({18: 1.0}, {8: 1.0})), COIN, (1.0, 0.7), deadline=24),
]


@pytest.mark.parametrize("given", PROCESSES)
def test_the_rate_is_what_trying_every_decision_gains_per_frame(given: Process) -> None:
    """Of two horizons the difference, so that beginning and end do not count."""
    rate = (expected(given, 90) - expected(given, 45)) / 45
    assert best_utility(given, slots=SLOTS) == pytest.approx(rate, abs=0.01)


def test_one_cost_is_served_as_often_as_the_machine_can() -> None:
    assert best_utility(process((({16: 1.0},),)), slots=SLOTS) == pytest.approx(0.5, abs=1e-3)
    assert best_utility(process((({8: 1.0},),)), slots=SLOTS) == pytest.approx(1.0, abs=1e-3)
    assert best_utility(process((({50: 1.0},),)), slots=SLOTS) == pytest.approx(0.0, abs=1e-3)  # never in time


def test_fewer_changes_of_variant_are_worth_less_and_none_as_much_as_the_best_one() -> None:
    given = PROCESSES[1]
    free, some, none = (best_utility(given, changes, SLOTS) for changes in (None, 0.1, 0.0))
    assert free >= some >= none - 1e-3
    alone = [
        best_utility(process(((costs,),), qualities=(q,)), slots=SLOTS)
        for costs, q in (({12: 1.0}, 1.0), ({6: 1.0}, 0.6))
    ]
    assert none == pytest.approx(max(alone), abs=0.01)
