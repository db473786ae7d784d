import hashlib
from itertools import pairwise
from statistics import mean

import pytest

from stream.clock import NS_PER_S
from stream.costs import TAIL
from stream.errors import ConfigError
from stream.run import Run, to_line
from stream.synthetic import DEFAULTS, KINDS, LADDER, synthetic_run

INTERVAL_NS = NS_PER_S / 30
GOLDEN = [95854000, 29358000, 62065000, 47430000]


def costs_of(run: Run, rung: int = 0) -> list[int]:
    """Return what a variant takes on each frame, in ns."""
    variant = run.info.stages[0].ladder[rung].variant
    return [
        cost.finished_ns - cost.started_ns for cost in run.costs if (cost.stage, cost.variant) == ("paint", variant)
    ]


def overload_of(run: Run) -> float:
    return mean(costs_of(run)) / INTERVAL_NS


def digest_of(run: Run) -> str:
    return hashlib.sha256("\n".join(map(to_line, [*run.arrivals, *run.costs])).encode()).hexdigest()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_frame_has_its_cost_in_every_variant_and_a_tail(kind: str) -> None:
    run = synthetic_run(f"synthetic:{kind},seconds=2,ladder=4")
    frames = list(range(60))
    assert [arrival.seq for arrival in run.arrivals] == frames
    for rung in run.info.stages[0].ladder:
        assert [cost.seqs for cost in run.costs if cost.variant == rung.variant] == [(seq,) for seq in frames]
    tails = [cost for cost in run.costs if cost.stage == TAIL]
    assert [cost.seqs for cost in tails] == [(seq,) for seq in frames]
    assert all(3_500_000 <= cost.finished_ns - cost.started_ns <= 4_500_000 for cost in tails)
    assert all(type(cost.finished_ns) is int and cost.finished_ns > cost.started_ns for cost in run.costs)
    assert run.outcomes == []


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("overload", [0.5, 2])
def test_overload_is_the_mean_cost_in_frame_intervals(kind: str, overload: float) -> None:
    run = synthetic_run(f"synthetic:{kind},overload={overload},seconds=200")
    assert overload_of(run) == pytest.approx(overload, rel=0.05)


def test_lighter_variants_keep_their_ratio_on_every_frame() -> None:
    run = synthetic_run("synthetic:lognormal,seconds=5,ladder=4")
    best = costs_of(run)
    ladder = run.info.stages[0].ladder
    assert [rung.quality for rung in ladder] == [quality for quality, _ in LADDER]
    for rung, (_, share) in enumerate(LADDER):
        assert costs_of(run, rung) == pytest.approx([cost * share for cost in best], abs=1000)
        assert ladder[rung].prior_ns == pytest.approx(ladder[0].prior_ns * share, abs=1)


def test_constant_costs_are_all_the_same() -> None:
    assert len(set(costs_of(synthetic_run("synthetic:constant")))) == 1


def test_bursty_costs_are_high_for_some_time_and_then_low() -> None:
    costs = costs_of(synthetic_run("synthetic:bursty"))
    high = [cost > mean(costs) for cost in costs]
    turns = sum(a != b for a, b in pairwise(high))
    assert 0 < sum(high) < len(high) / 2
    assert 4 <= turns <= len(high) / 10


def test_step_costs_rise_at_a_third_and_fall_back_at_two_thirds() -> None:
    costs = costs_of(synthetic_run("synthetic:step,seconds=9"))
    first, middle, last = costs[:90], costs[90:180], costs[180:]
    assert len(set(first)) == len(set(middle)) == 1
    assert middle[0] > 2 * first[0]
    assert last == first


def test_lognormal_costs_have_a_tail_that_sigma_widens() -> None:
    narrow, wide = (sorted(costs_of(synthetic_run(f"synthetic:lognormal,sigma={sigma}"))) for sigma in (0.1, 0.8))
    assert wide[-1] / wide[len(wide) // 2] > 3 > 1.6 > narrow[-1] / narrow[len(narrow) // 2]


def test_frames_arrive_evenly_without_jitter_and_in_order_with_it() -> None:
    even = [one.captured_ns for one in synthetic_run("synthetic:constant").arrivals]
    assert {round((b - a) / INTERVAL_NS, 6) for a, b in pairwise(even)} == {1.0}
    uneven = synthetic_run("synthetic:constant,jitter=1").arrivals
    captured, queued = [one.captured_ns for one in uneven], [one.queued_ns for one in uneven]
    assert captured == sorted(captured) != even
    assert queued == sorted(queued)
    assert all(one.queued_ns >= one.captured_ns for one in uneven)


def test_options_set_what_they_name() -> None:
    run = synthetic_run("synthetic:constant,seconds=3,fps=10,budget=80,ladder=2,overload=0.5")
    assert len(run.arrivals) == 30
    assert [one.pts for one in run.arrivals[:3]] == [0, 9000, 18000]
    assert run.info.budget_ns == 80_000_000
    assert len(run.info.stages[0].ladder) == 2
    assert costs_of(run)[0] == 50_000_000


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_same_text_gives_the_same_run(kind: str) -> None:
    text = f"synthetic:{kind},seconds=2,ladder=3,jitter=0.2,seed=7"
    assert digest_of(synthetic_run(text)) == digest_of(synthetic_run(text))
    assert digest_of(synthetic_run(text)) != digest_of(synthetic_run(text.replace("seed=7", "seed=8")))


def test_seeded_costs_are_the_same_on_every_machine() -> None:
    """Numbers of one machine, written down: another that draws or rounds differently fails here."""
    assert costs_of(synthetic_run("synthetic:lognormal,seconds=1"))[:4] == GOLDEN


@pytest.mark.parametrize(
    "text",
    [
        "synthetic:",
        "synthetic:gamma",
        "synthetic:constant,speed=2",
        "synthetic:constant,overload",
        "synthetic:constant,overload=",
        "synthetic:constant,overload=fast",
        "synthetic:constant,overload=0",
        "synthetic:constant,overload=nan",
        "synthetic:constant,ladder=5",
        "synthetic:constant,ladder=1.5",
        "synthetic:constant,seconds=inf",
        "synthetic:constant,",
    ],
)
def test_bad_text_is_an_error_of_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        synthetic_run(text)
    assert str(caught.value).startswith(f"{text}: ")
    assert "\n" not in str(caught.value)


def test_error_names_the_known_kinds_and_keys() -> None:
    with pytest.raises(ConfigError) as of_kind:
        synthetic_run("synthetic:gamma")
    assert all(kind in str(of_kind.value) for kind in KINDS)
    with pytest.raises(ConfigError) as of_key:
        synthetic_run("synthetic:constant,speed=2")
    assert all(key in str(of_key.value) for key in DEFAULTS)


def test_more_frames_than_an_account_has_room_for_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"8640000 frames are too many .* take fewer seconds= or a lower fps="):
        synthetic_run("synthetic:constant,seconds=36000,fps=240")
