from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stream.budget import Forecast
from stream.scheduler import (
    Action,
    DeadlineScheduler,
    Drop,
    DropReason,
    Plan,
    RungView,
    StageKind,
    StageView,
    Waiting,
    lightest,
    must_run_ns,
)
from tests.fakes import MS


def rungs(*costs_ns: int) -> tuple[RungView, ...]:
    """Return a ladder with these predicted costs, each a tenth poorer than the one before."""
    return tuple(RungView(f"v{i}", 1.0 - i / 10, Forecast(cost)) for i, cost in enumerate(costs_ns))


def at(stage: StageView, *costs_ms: float) -> StageView:
    """Return the stage with other costs."""
    return replace(stage, rungs=rungs(*(round(cost * MS) for cost in costs_ms)))


GEN = StageView("style", StageKind.GENERATE, "generate", rungs(20 * MS))
MASK = StageView("mask", StageKind.RECOGNIZE, "mask", rungs(4 * MS))
BOXES = StageView("boxes", StageKind.RECOGNIZE, "boxes", rungs(15 * MS), max_age_ns=300 * MS)
NOTHING_BUSY: frozenset[str] = frozenset()


def waiting(stream: str = "a", *, captured_ms: int = 0, budget_ms: int = 100, stages: tuple[StageView, ...]) -> Waiting:
    captured_ns = captured_ms * MS
    deadline_ns = captured_ns + budget_ms * MS
    return Waiting(stream, 1, captured_ns, deadline_ns, deadline_ns, 33 * MS, Forecast(5 * MS), stages)


def choice_of(decisions: list[Plan | Drop], stage: str) -> Action:
    [plan] = decisions
    assert isinstance(plan, Plan)
    return plan.choices[stage].action


def test_a_frame_that_fits_runs() -> None:
    assert choice_of(DeadlineScheduler().decide(0, [waiting(stages=(GEN,))], NOTHING_BUSY), "style") is Action.RUN


def test_earliest_deadline_takes_the_lane_and_the_other_waits() -> None:
    frames = [waiting("late", captured_ms=10, stages=(GEN,)), waiting("early", captured_ms=0, stages=(GEN,))]
    assert [d.stream for d in DeadlineScheduler().decide(20 * MS, frames, NOTHING_BUSY)] == ["early"]


def test_a_stream_that_lost_frames_goes_before_one_that_was_just_served() -> None:
    lost = replace(waiting("lost", captured_ms=20, stages=(GEN,)), due_ns=50 * MS)
    served = waiting("served", captured_ms=10, stages=(GEN,))
    assert [d.stream for d in DeadlineScheduler().decide(20 * MS, [served, lost], NOTHING_BUSY)] == ["lost"]


def test_a_frame_that_cannot_finish_in_time_is_dropped_and_its_lane_goes_to_another() -> None:
    hopeless = waiting("old", captured_ms=0, stages=(GEN,))
    fresh = waiting("new", captured_ms=80, stages=(GEN,))
    decisions = DeadlineScheduler().decide(80 * MS, [hopeless, fresh], NOTHING_BUSY)
    [plan, drop] = decisions
    assert isinstance(plan, Plan)
    assert drop == Drop("old", 1, DropReason.NO_TIME)


def test_a_cost_above_the_budget_runs_late_rather_than_never() -> None:
    slow = at(GEN, 500)
    assert (
        choice_of(DeadlineScheduler().decide(30 * MS, [waiting(stages=(slow,))], NOTHING_BUSY), "style") is Action.RUN
    )


def test_a_stream_that_got_nothing_for_a_whole_budget_runs_once_to_correct_the_prediction() -> None:
    """A cost just under the budget would otherwise drop every frame for ever: none runs, so it never falls."""
    spiked = at(GEN, 93)
    frame = waiting(captured_ms=200, stages=(spiked,))
    assert isinstance(DeadlineScheduler().decide(210 * MS, [frame], NOTHING_BUSY)[0], Drop)
    starving = replace(frame, due_ns=205 * MS)
    assert choice_of(DeadlineScheduler().decide(210 * MS, [starving], NOTHING_BUSY), "style") is Action.RUN


def test_streams_share_the_room_for_every_frame_recognition() -> None:
    frame = waiting(stages=(replace(BOXES, result_age_ns=10 * MS),))
    scheduler = DeadlineScheduler(capacity=1)
    assert choice_of(scheduler.decide(0, [frame], NOTHING_BUSY), "boxes") is Action.RUN
    assert choice_of(scheduler.decide(0, [replace(frame, share=0.5)], NOTHING_BUSY), "boxes") is Action.REUSE


def test_a_needed_stage_with_a_busy_lane_makes_the_frame_wait() -> None:
    assert DeadlineScheduler().decide(0, [waiting(stages=(GEN, MASK))], frozenset({"mask"})) == []


def test_boxes_run_on_every_frame_when_there_is_room() -> None:
    decisions = DeadlineScheduler(capacity=2).decide(0, [waiting(stages=(BOXES,))], NOTHING_BUSY)
    assert choice_of(decisions, "boxes") is Action.RUN


def test_the_cheapest_recogniser_gets_the_room_there_is() -> None:
    cheap = at(replace(BOXES, name="cheap", lane="cheap", result_age_ns=10 * MS), 3)
    dear = replace(BOXES, result_age_ns=10 * MS)
    frame = waiting(stages=(dear, cheap, at(GEN, 8)))
    decisions = DeadlineScheduler(capacity=1).decide(0, [frame], NOTHING_BUSY)
    assert choice_of(decisions, "cheap") is Action.RUN
    assert choice_of(decisions, "boxes") is Action.REUSE


def test_young_boxes_are_reused_when_room_is_short() -> None:
    boxes = replace(BOXES, result_age_ns=100 * MS)
    decisions = DeadlineScheduler(capacity=1).decide(0, [waiting(stages=(GEN, boxes))], NOTHING_BUSY)
    assert choice_of(decisions, "boxes") is Action.REUSE
    assert choice_of(decisions, "style") is Action.RUN


def test_ageing_boxes_are_refreshed_without_making_the_frame_wait() -> None:
    boxes = replace(BOXES, result_age_ns=200 * MS)
    decisions = DeadlineScheduler(capacity=1).decide(0, [waiting(stages=(GEN, boxes))], NOTHING_BUSY)
    assert choice_of(decisions, "boxes") is Action.REFRESH


def test_a_slow_recogniser_never_holds_up_the_picture() -> None:
    slow = at(BOXES, 100)
    scheduler = DeadlineScheduler(capacity=8)
    assert choice_of(scheduler.decide(0, [waiting(stages=(slow,))], NOTHING_BUSY), "boxes") is Action.REFRESH
    assert choice_of(scheduler.decide(0, [waiting(stages=(slow,))], frozenset({"boxes"})), "boxes") is Action.SKIP


def test_a_result_past_its_age_is_not_reused() -> None:
    old = replace(BOXES, result_age_ns=301 * MS)
    assert (
        choice_of(DeadlineScheduler().decide(0, [waiting(stages=(old,))], frozenset({"boxes"})), "boxes") is Action.SKIP
    )


def test_a_stage_with_an_open_breaker_is_skipped() -> None:
    broken = replace(GEN, unavailable="left out after errors")
    assert choice_of(DeadlineScheduler().decide(0, [waiting(stages=(broken,))], NOTHING_BUSY), "style") is Action.SKIP


def test_lanes_work_beside_each_other_and_needs_add_up() -> None:
    assert must_run_ns((GEN, MASK)) == 20 * MS
    assert must_run_ns((MASK, replace(GEN, needs=frozenset({"mask"})))) == 24 * MS
    assert must_run_ns((GEN, replace(GEN, name="again"))) == 40 * MS
    assert must_run_ns((BOXES,)) == 0  # never holds a frame up


stages = st.builds(
    StageView,
    name=st.just("x"),
    kind=st.sampled_from(StageKind),
    lane=st.sampled_from(["l0", "l1"]),
    rungs=st.lists(st.integers(0, 200 * MS), min_size=1, max_size=3).map(lambda costs: rungs(*costs)),
    max_age_ns=st.sampled_from([0, 100 * MS]),
    result_age_ns=st.none() | st.integers(0, 200 * MS),
    unavailable=st.sampled_from(["", "left out"]),
)
stage_lists = st.lists(stages, max_size=3).map(
    lambda found: tuple(replace(s, name=f"s{i}") for i, s in enumerate(found))
)
frames = st.lists(
    st.builds(
        Waiting,
        stream=st.just("x"),
        seq=st.integers(0, 9),
        captured_ns=st.integers(0, 100 * MS),
        deadline_ns=st.integers(100 * MS, 300 * MS),
        due_ns=st.integers(0, 300 * MS),
        interval_ns=st.sampled_from([0, 33 * MS]),
        tail=st.integers(0, 20 * MS).map(Forecast),
        stages=stage_lists,
    ),
    max_size=5,
).map(lambda found: [replace(f, stream=f"x{i}") for i, f in enumerate(found)])


@given(frames, st.integers(100 * MS, 300 * MS), st.frozensets(st.sampled_from(["l0", "l1"])))
def test_no_run_with_negative_slack_while_a_fresh_frame_would_fit(given_frames, now_ns, busy) -> None:
    decisions = DeadlineScheduler().decide(now_ns, given_frames, busy)
    by_stream = {frame.stream: frame for frame in given_frames}
    for decision in decisions:
        frame = by_stream[decision.stream]
        needed_ns = must_run_ns(frame.stages, lightest(frame.stages)) + frame.tail.predicted_ns
        fits_fresh = frame.captured_ns + needed_ns <= frame.deadline_ns
        if isinstance(decision, Plan):
            assert now_ns + needed_ns <= frame.deadline_ns or not fits_fresh or now_ns > frame.due_ns
        else:
            assert fits_fresh


@given(frames, st.integers(100 * MS, 300 * MS), st.frozensets(st.sampled_from(["l0", "l1"])))
def test_no_lane_is_given_to_two_streams_and_no_busy_lane_is_used(given_frames, now_ns, busy) -> None:
    taken: set[str] = set(busy)
    by_stream = {frame.stream: frame for frame in given_frames}
    for decision in DeadlineScheduler().decide(now_ns, given_frames, busy):
        if isinstance(decision, Plan):
            lanes = {
                stage.lane
                for stage in by_stream[decision.stream].stages
                if decision.choices[stage.name].action in (Action.RUN, Action.REFRESH)
            }
            assert not lanes & taken
            taken |= lanes


@given(frames, st.integers(0, 300 * MS))
def test_same_input_same_decisions_in_any_order(given_frames, now_ns) -> None:
    scheduler = DeadlineScheduler()
    first = scheduler.decide(now_ns, given_frames, NOTHING_BUSY)
    assert scheduler.decide(now_ns, list(reversed(given_frames)), NOTHING_BUSY) == first
