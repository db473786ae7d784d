from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stream.budget import Forecast
from stream.scheduler import DeadlineScheduler, Outlook, outlook
from stream.view import Action, Drop, DropReason, Plan, RungView, StageKind, StageView, Waiting, lightest, must_run_ns
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


# ---- batches

BATCHED = replace(GEN, batch_key="style", max_batch=4)


def with_batches(stage: StageView, one_ms: float, **measured_ms: float) -> StageView:
    """Return the stage with one variant of this cost, and what batches were measured to take: `b2=30`."""
    batches = {count: Forecast(round(measured_ms.get(f"b{count}", 0) * MS)) for count in range(2, stage.max_batch + 1)}
    return replace(stage, rungs=(RungView("v0", 1.0, Forecast(round(one_ms * MS)), batches),))


def gang(count: int, stage: StageView, **times: int) -> list[Waiting]:
    """Return frames of so many streams with the same stage."""
    return [waiting(f"s{index}", stages=(stage,), **times) for index in range(count)]


def started(decisions: list[Plan | Drop]) -> list[str]:
    return [decision.stream for decision in decisions if isinstance(decision, Plan)]


def test_compatible_jobs_run_as_one_when_the_earliest_deadline_allows_it() -> None:
    assert started(DeadlineScheduler().decide(0, gang(2, BATCHED), NOTHING_BUSY)) == ["s0", "s1"]


def test_a_batch_that_would_break_the_earliest_deadline_is_not_made() -> None:
    first, second = gang(2, BATCHED)  # 20 ms each, and 5 ms for the tail
    tight = replace(first, deadline_ns=44 * MS, due_ns=44 * MS)
    assert started(DeadlineScheduler().decide(0, [tight, second], NOTHING_BUSY)) == ["s0"]
    enough = replace(first, deadline_ns=45 * MS, due_ns=45 * MS)
    assert started(DeadlineScheduler().decide(0, [enough, second], NOTHING_BUSY)) == ["s0", "s1"]


def test_a_frame_that_would_be_late_in_the_batch_waits() -> None:
    first, second, third = gang(3, BATCHED)
    late = replace(second, deadline_ns=64 * MS, due_ns=110 * MS)  # 60 ms of three, and 5 ms for the tail
    assert started(DeadlineScheduler().decide(0, [first, third, late], NOTHING_BUSY)) == ["s0", "s2"]


def test_a_batch_is_no_greater_than_allowed() -> None:
    many = gang(9, with_batches(BATCHED, 2))
    assert len(started(DeadlineScheduler().decide(0, many, NOTHING_BUSY))) == 4


def test_a_batch_measured_dearer_than_one_after_the_other_is_not_made() -> None:
    dear = with_batches(BATCHED, 10, b2=25)
    assert len(started(DeadlineScheduler().decide(0, gang(2, dear), NOTHING_BUSY))) == 1


def test_a_cheap_batch_of_two_grows_to_three_though_three_were_never_seen() -> None:
    cheap = with_batches(BATCHED, 10, b2=12)
    assert len(started(DeadlineScheduler().decide(0, gang(3, cheap), NOTHING_BUSY))) == 3


def test_different_keys_are_not_batched() -> None:
    other = replace(BATCHED, batch_key="another model")
    frames = [waiting("a", stages=(BATCHED,)), waiting("b", stages=(other,))]
    assert started(DeadlineScheduler().decide(0, frames, NOTHING_BUSY)) == ["a"]


def test_variants_of_another_name_are_not_batched_though_they_stand_on_the_same_rung() -> None:
    lighter = replace(BATCHED, rungs=(BATCHED.rungs[0], RungView("half", 0.8, Forecast(9 * MS))), level=1)
    other = replace(BATCHED, rungs=(BATCHED.rungs[0], RungView("third", 0.7, Forecast(9 * MS))), level=1)
    frames = [waiting("a", stages=(lighter,)), waiting("b", stages=(other,))]
    assert started(DeadlineScheduler().decide(0, frames, NOTHING_BUSY)) == ["a"]


def test_two_batches_of_a_frame_together_leave_its_deadline_standing() -> None:
    """Mask and style are both shared: each alone would fit the spare time of the first frame, both do not."""
    mask = replace(MASK, rungs=rungs(10 * MS), batch_key="mask", max_batch=4)
    style = replace(BATCHED, needs=frozenset({"mask"}))
    pair = [waiting(name, stages=(mask, style)) for name in ("s0", "s1")]
    tight = replace(pair[0], deadline_ns=(30 + 5 + 25) * MS, due_ns=50 * MS)  # 10 more for masks, 20 more for styles
    assert started(DeadlineScheduler().decide(0, [tight, pair[1]], NOTHING_BUSY)) == ["s0"]
    enough = replace(pair[0], deadline_ns=(30 + 5 + 30) * MS, due_ns=50 * MS)
    assert started(DeadlineScheduler().decide(0, [enough, pair[1]], NOTHING_BUSY)) == ["s0", "s1"]


def test_who_joins_a_batch_that_waits_for_a_mask_has_time_to_wait_too() -> None:
    masked = waiting("a", stages=(MASK, replace(BATCHED, needs=frozenset({"mask"}))))  # style starts at 4 ms
    plain = replace(waiting("b", stages=(BATCHED,)), deadline_ns=48 * MS, due_ns=110 * MS)  # and ends at 44, + 5
    assert started(DeadlineScheduler().decide(0, [masked, plain], NOTHING_BUSY)) == ["a"]
    patient = replace(plain, deadline_ns=49 * MS)
    assert started(DeadlineScheduler().decide(0, [masked, patient], NOTHING_BUSY)) == ["a", "b"]


batch_frames = st.lists(
    st.tuples(st.integers(0, 60 * MS), st.integers(30 * MS, 200 * MS), st.sampled_from(["", "k", "l"])),
    min_size=1,
    max_size=8,
)


@given(batch_frames, st.lists(st.integers(1, 60 * MS), min_size=3, max_size=3), st.integers(60 * MS, 90 * MS))
def test_no_batch_is_predicted_to_break_a_deadline_of_its_members(given_frames, costs_ns, now_ns) -> None:
    one_ns, two_ns, three_ns = costs_ns
    batches = {2: Forecast(two_ns), 3: Forecast(three_ns), 4: Forecast()}
    rung = RungView("v", 1.0, Forecast(one_ns), batches)
    frames = []
    for index, (captured_ns, budget_ns, key) in enumerate(given_frames):
        stage = replace(GEN, rungs=(rung,), batch_key=key, max_batch=4 if key else 1)
        one = replace(waiting(f"s{index}", stages=(stage,)), captured_ns=captured_ns)
        frames.append(replace(one, deadline_ns=captured_ns + budget_ns, due_ns=captured_ns + budget_ns))
    plans = [d for d in DeadlineScheduler().decide(now_ns, frames, NOTHING_BUSY) if isinstance(d, Plan)]
    by_stream = {frame.stream: frame for frame in frames}
    assert len(plans) <= 4
    assert len({by_stream[plan.stream].stages[0].batch_key for plan in plans}) <= 1
    if len(plans) > 1:
        took_ns = rung.batch_ns(len(plans))
        assert all(now_ns + took_ns + 5 * MS <= by_stream[plan.stream].deadline_ns for plan in plans)
        assert took_ns <= one_ns * len(plans)


# ---- who goes first


def test_a_stream_below_its_minimum_rate_goes_first_even_when_it_can_only_be_late() -> None:
    """Otherwise streams that are in time would keep one that cannot be from its minimum for ever."""
    late = replace(waiting("late", budget_ms=20, stages=(GEN,)), urgent_at_ns=10 * MS)
    others = [waiting(f"s{index}", stages=(GEN,)) for index in range(3)]
    decisions = DeadlineScheduler().decide(10 * MS, [*others, late], NOTHING_BUSY, is_overloaded=True)
    assert started(decisions) == ["late"]
    not_yet = replace(late, urgent_at_ns=11 * MS)
    decisions = DeadlineScheduler().decide(10 * MS, [*others, not_yet], NOTHING_BUSY, is_overloaded=True)
    assert started(decisions) == ["s0"]


def test_beyond_full_load_the_turn_decides_and_below_it_the_deadline() -> None:
    early = replace(waiting("early", captured_ms=0, stages=(GEN,)), turn=2.0)
    served_least = replace(waiting("least", captured_ms=10, stages=(GEN,)), turn=1.0)
    scheduler = DeadlineScheduler()
    assert started(scheduler.decide(20 * MS, [early, served_least], NOTHING_BUSY)) == ["early"]
    overloaded = scheduler.decide(20 * MS, [early, served_least], NOTHING_BUSY, is_overloaded=True)
    assert started(overloaded) == ["least"]


def test_a_frame_short_of_time_takes_a_lighter_variant_and_says_so() -> None:
    frame = waiting(stages=(at(GEN, 90, 40, 10),))
    [plan] = DeadlineScheduler().decide(50 * MS, [frame], NOTHING_BUSY)
    assert isinstance(plan, Plan)
    assert (plan.choices["style"].rung, plan.models_ns) == (1, 40 * MS)
    assert "deadline" in plan.choices["style"].reason


def test_a_variant_above_the_level_is_never_taken() -> None:
    frame = waiting(stages=(replace(at(GEN, 1, 1, 1), level=2),))
    [plan] = DeadlineScheduler().decide(0, [frame], NOTHING_BUSY)
    assert isinstance(plan, Plan)
    assert plan.choices["style"].rung == 2


def test_a_busy_lane_keeps_frames_that_need_it_waiting_and_undropped() -> None:
    old = waiting("old", captured_ms=0, stages=(GEN,))
    assert DeadlineScheduler().decide(90 * MS, [old], frozenset({"generate"})) == []


@given(frames, st.integers(100 * MS, 300 * MS), st.booleans())
def test_no_late_run_while_another_stream_could_have_been_in_time_on_its_lanes(given_frames, now_ns, is_over) -> None:
    decisions = DeadlineScheduler().decide(now_ns, given_frames, NOTHING_BUSY, is_overloaded=is_over)
    by_stream = {frame.stream: frame for frame in given_frames}
    taken = {d.stream for d in decisions}
    for decision in decisions:
        frame = by_stream[decision.stream]
        if isinstance(decision, Drop) or outlook(now_ns, frame) is Outlook.IN_TIME:
            continue
        for other in given_frames:
            if other.stream not in taken and outlook(now_ns, other) is Outlook.IN_TIME:
                in_time = {by_stream[s].stream for s in taken if outlook(now_ns, by_stream[s]) is Outlook.IN_TIME}
                assert any(by_stream[s].must_lanes & other.must_lanes for s in in_time) or not (
                    frame.must_lanes & other.must_lanes
                )


@given(st.permutations(range(6)), st.booleans())
def test_batches_are_the_same_in_any_order_of_input(order, is_over) -> None:
    frames = [replace(one, deadline_ns=(60 + 9 * i) * MS) for i, one in enumerate(gang(6, with_batches(BATCHED, 10)))]
    first = DeadlineScheduler().decide(0, frames, NOTHING_BUSY, is_overloaded=is_over)
    assert DeadlineScheduler().decide(0, [frames[i] for i in order], NOTHING_BUSY, is_overloaded=is_over) == first


# ---- two frames of a stream


def pair(now_ms: float, *costs_ms: int, budget_ms: float = 150) -> tuple[Waiting, list[Plan | Drop]]:
    """Return a frame captured at 0 with one behind it at 33, and what is decided; recent costs were these."""
    forecast = Forecast()
    for cost_ms in costs_ms:
        forecast.add(cost_ms * MS)
    stage = replace(GEN, rungs=(RungView("v0", 1.0, forecast),))
    old, new = (
        replace(waiting(captured_ms=at_ms, budget_ms=budget_ms, stages=(stage,)), seq=seq, interval_ns=33 * MS)
        for seq, at_ms in enumerate((0, 33))
    )
    frame = replace(old, newer=new)
    return frame, DeadlineScheduler().decide(round(now_ms * MS), [frame], NOTHING_BUSY)


def seqs(decisions: list[Plan | Drop]) -> list[int]:
    return [one.seq for one in decisions if isinstance(one, Plan)]


def test_the_older_of_two_goes_first_where_the_device_might_stand_idle_otherwise() -> None:
    assert seqs(pair(40, 20, 20, 20)[1]) == [0]
    assert seqs(pair(40, 60, 20, 60)[1]) == [0]  # it has been so short lately


def test_under_a_steady_overload_the_newest_is_taken() -> None:
    assert seqs(pair(40, 60, 60, 60)[1]) == [1]


def test_an_older_frame_is_passed_over_when_it_would_be_late_or_older_than_promised() -> None:
    assert seqs(pair(40, 20, 20, 20, budget_ms=64)[1]) == [1]
    assert seqs(pair(53, 10, 10, 10)[1]) == [0]
    assert seqs(pair(54, 10, 10, 10)[1]) == [1]


def test_where_another_stream_waits_the_newest_is_taken() -> None:
    frame, _ = pair(40, 20, 20, 20)
    other = replace(waiting("other", captured_ms=10, stages=(GEN,)), due_ns=frame.due_ns + 50 * MS)
    [plan] = DeadlineScheduler().decide(40 * MS, [frame, other], NOTHING_BUSY)
    assert (plan.stream, plan.seq) == (frame.stream, 1)
