from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stream.costs import TAIL, CostBook
from stream.run import Cost, Outcome, Run, RungInfo, RunInfo, StageInfo
from stream.virtual import stage_of

LADDER = (RungInfo("best", 1.0, 40), RungInfo("half", 0.8, 20))
STYLE = StageInfo("style", "generate", "generate", 1, 0, (), LADDER)
STAGE = stage_of(STYLE)


def run_of(*costs: Cost, stage: StageInfo = STYLE) -> Run:
    run = Run(RunInfo("s", "", "cpu", "", 1, 100, (stage,)))
    for cost in costs:
        run.add(cost)
    return run


def job(seq: int, took: int, variant: str = "best", error: str | None = None) -> Cost:
    return Cost("style", variant, (seq,), 1, "generate", 0, took, error)


def test_a_variant_that_ran_on_a_frame_costs_what_it_cost() -> None:
    book = CostBook(run_of(job(3, 41), job(4, 99)))
    assert [book.job(STAGE, 0, seq) for seq in (3, 4)] == [(41, None), (99, None)]


def test_another_variant_carries_the_load_of_the_frame_by_the_ratio_at_warm_up() -> None:
    book = CostBook(run_of(job(3, 80), job(4, 40)))
    assert [book.job(STAGE, 1, seq)[0] for seq in (3, 4)] == [40, 20]


def test_a_frame_that_never_ran_costs_as_the_last_one_before_it_or_the_first_of_all() -> None:
    book = CostBook(run_of(job(3, 30), job(9, 50)))
    assert [book.job(STAGE, 0, seq)[0] for seq in (0, 5, 8, 9, 20)] == [30, 30, 30, 50, 50]


def test_the_nearest_run_of_any_variant_counts() -> None:
    book = CostBook(run_of(job(3, 40), job(9, 60, "half")))
    assert book.job(STAGE, 0, 9)[0] == 120


def test_without_warm_up_the_medians_of_the_run_give_the_ratio() -> None:
    stage = replace(STYLE, ladder=tuple(replace(rung, prior_ns=0) for rung in LADDER))
    book = CostBook(run_of(job(1, 30), job(2, 30), job(3, 10, "half"), job(4, 10, "half"), stage=stage))
    assert book.job(STAGE, 1, 2)[0] == 10
    assert book.job(STAGE, 0, 4)[0] == 30


def test_a_stage_that_never_ran_costs_what_it_did_at_warm_up() -> None:
    assert CostBook(run_of()).job(STAGE, 1, 7) == (20, None)


def test_a_job_of_a_batch_costs_its_part_on_each_of_its_frames() -> None:
    book = CostBook(run_of(Cost("style", "best", (1, 2), 4, "generate", 0, 100)))
    assert [book.job(STAGE, 0, seq)[0] for seq in (1, 2)] == [25, 25]


def test_an_error_is_raised_again_on_its_frame_and_variant_only() -> None:
    book = CostBook(run_of(job(3, 40), job(4, 40, error="no")))
    assert book.job(STAGE, 0, 4) == (40, "no")
    assert book.job(STAGE, 1, 4) == (20, None)
    assert book.job(STAGE, 0, 5) == (40, None)


def test_frames_left_out_after_errors_cost_what_a_job_that_worked_did() -> None:
    """Failing at once took a tenth of a millisecond; another policy would find a model that fast."""
    book = CostBook(run_of(job(3, 40), *[job(seq, 1, error="no") for seq in range(4, 9)]))
    assert book.job(STAGE, 0, 30) == (40, None)
    assert book.job(STAGE, 1, 8) == (20, None)
    assert book.job(STAGE, 0, 8) == (1, "no")


def test_a_faster_device_takes_less_for_models_and_the_same_for_the_tail() -> None:
    run = run_of(job(3, 40), Cost(TAIL, "", (3,), 1, "encoder", 0, 9))
    book = CostBook(run, device_speed=2)
    assert book.job(STAGE, 0, 3)[0] == 20
    assert book.job(STAGE, 1, 3)[0] == 10
    assert book.tail(3) == (0, 9, 0)
    assert CostBook(run, device_speed=0.5).job(STAGE, 0, 3)[0] == 80


def test_a_recording_that_starts_again_costs_the_same_again() -> None:
    book = CostBook(run_of(job(0, 10), job(1, 20), job(2, 30)), period=3)
    assert [book.job(STAGE, 0, seq)[0] for seq in range(7)] == [10, 20, 30, 10, 20, 30, 10]
    later = CostBook(run_of(job(0, 10), job(1, 20), job(2, 30)), period=3, offset=2)
    assert [later.job(STAGE, 0, seq)[0] for seq in range(4)] == [30, 10, 20, 30]


def test_the_tail_is_that_of_the_frame_or_of_the_last_one_shown() -> None:
    run = run_of()
    stamps = {"captured": 0, "taken": 10, "composed": 13, "encoded": 20, "sent": 22}
    run.add(Outcome(5, "", 22, 100, stamps))
    run.add(Outcome(6, "superseded", 30, 100, {"captured": 3}))
    book = CostBook(run)
    assert [book.tail(seq) for seq in (4, 5, 6)] == [(3, 7, 2)] * 3
    assert CostBook(run_of()).tail(3) == (0, 0, 0)


jobs = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 99), st.sampled_from(["best", "half"])),
    max_size=12,
    unique_by=lambda j: (j[0], j[2]),
)


@given(jobs, st.randoms(), st.integers(0, 1), st.integers(0, 25))
def test_the_order_of_the_record_changes_nothing(found, chance, rung: int, seq: int) -> None:
    costs = [job(*one) for one in found]
    shuffled = list(costs)
    chance.shuffle(shuffled)
    assert CostBook(run_of(*costs)).job(STAGE, rung, seq) == CostBook(run_of(*shuffled)).job(STAGE, rung, seq)
