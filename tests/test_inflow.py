import threading
from dataclasses import replace
from typing import Any

import pytest

from stream.clock import NS_PER_S
from stream.frame import Frame
from stream.inflow import EVENTS, MAX_TICKETS, Inflow, Terms
from stream.pipeline import Pipeline
from stream.run import Run, RunInfo
from stream.stats import FrameCounts
from stream.turns import AWAY
from stream.view import DropReason, Waiting
from tests.fakes import MS, generate, make_frame, recognize
from tests.test_pipeline import Rig, of_cost, paint, times


def view_of(stream: Inflow) -> Waiting:
    view = stream.waiting()
    assert view is not None
    return view


def busy(rig: Rig, *stages: Any, **terms: Any) -> Inflow:
    """Return a stream whose lane is busy for ever, so that its next frame waits."""
    stream = rig.add("s", *(stages or (generate("style", None),)), **terms)
    give(rig, stream, 0)
    return stream


def give(rig: Rig, stream: Inflow, seq: int, at_ms: float = 0, size: tuple[int, int] = (4, 8)) -> Frame:
    rig.clock.advance_to(round(at_ms * MS))
    frame = make_frame(seq, round(at_ms * MS), stream.name, size)
    stream.put(frame, rig.clock.now_ns())
    return frame


def test_a_frame_that_replaces_another_inherits_its_turn_and_due_time() -> None:
    rig = Rig()
    stream = busy(rig)
    give(rig, stream, 1, 33)
    first = view_of(stream)
    give(rig, stream, 2, 66)
    second = view_of(stream).newer
    assert second is not None
    assert (second.seq, second.due_ns, second.turn) == (2, first.due_ns, first.turn)
    assert second.deadline_ns == (66 + 150) * MS
    assert not stream.account.counts.dropped
    give(rig, stream, 3, 99)
    assert (view_of(stream).seq, view_of(stream).due_ns) == (2, first.due_ns)
    assert stream.account.counts.dropped == {"superseded": 1}


def test_a_frame_decided_on_is_taken_and_what_is_older_superseded() -> None:
    rig = Rig()
    stream = busy(rig)
    give(rig, stream, 1, 33)
    give(rig, stream, 2, 66)
    taken = stream.take(2)
    assert taken is not None and taken.seq == 2
    assert stream.account.counts.dropped == {"superseded": 1}
    assert stream.take(2) is None


def test_a_frame_given_up_takes_the_older_one_along() -> None:
    rig = Rig()
    stream = busy(rig)
    give(rig, stream, 1, 33)
    give(rig, stream, 2, 66)
    stream.give_up(2, DropReason.NO_TIME)
    assert stream.account.counts.dropped == {"superseded": 1, "no_time": 1}
    assert stream.waiting() is None


def test_the_interval_is_the_median_and_one_gap_changes_nothing() -> None:
    rig = Rig()
    stream = busy(rig)
    for seq, at_ms in enumerate([33, 66, 99, 1099, 1132, 1165], 1):
        give(rig, stream, seq, at_ms)
    assert view_of(stream).interval_ns == 33 * MS


def test_a_view_is_made_once_per_frame_and_anew_when_something_changed() -> None:
    rig = Rig()
    stream = busy(rig)
    give(rig, stream, 1, 33)
    first = view_of(stream)
    assert stream.waiting() is first
    stream.changed()
    assert stream.waiting() is not first
    rig.pipeline.tick()
    assert stream.waiting() is not first


def test_batches_are_offered_per_picture_size() -> None:
    rig = Rig()
    stage = paint(5, batch_ms=lambda count: 5)
    views = []
    for index, size in enumerate([(4, 8), (4, 8), (8, 4)]):
        stream = rig.add(f"s{index}", stage)
        rig.posted = []
        stream.put(make_frame(0, 0, stream.name, size), 0)
        views.append(view_of(stream).stages[0])
        rig.posted = None
    assert views[0].batch_key == views[1].batch_key != views[2].batch_key
    assert set(views[0].rungs[0].batches or {}) == set(range(2, 9))


def test_a_stage_without_a_batch_key_offers_none() -> None:
    rig = Rig()
    give(rig, stream := busy(rig), 1, 33)
    assert view_of(stream).stages[0].batch_key == ""
    assert view_of(stream).stages[0].rungs[0].batches is None


def test_no_more_than_eight_frames_are_between_mailbox_and_output() -> None:
    rig = Rig(capacity=16)
    stages = [recognize(f"r{index}", None) for index in range(1)]
    stream = rig.add("s", *stages)
    for seq in range(20):
        give(rig, stream, seq, 33 * seq)
    assert len(stream.tickets) <= MAX_TICKETS
    rig.check()


def test_a_minimum_rate_makes_a_stream_urgent_when_that_long_was_not_served() -> None:
    rig = Rig()
    stream = busy(rig, min_fps=4)
    give(rig, stream, 1, 33)
    assert view_of(stream).urgent_at_ns == NS_PER_S / 4
    without = rig.add("t", generate("style", 5))
    rig.posted = []
    without.put(make_frame(0, 0, "t"), 0)
    assert view_of(without).urgent_at_ns == float("inf")


def test_a_stream_that_was_away_saves_up_no_turns() -> None:
    rig = Rig()
    stream = rig.add("s", of_cost("m", lambda call: 1))
    rig.feed("s", times(33, 200))
    rig.run(300)
    rig.pipeline.turn = 10.0 * NS_PER_S  # others were served a lot meanwhile
    rig.posted = []
    now_ns = rig.clock.now_ns()
    stream.put(make_frame(50, now_ns, "s"), now_ns)
    assert now_ns - 165 * MS > AWAY * 33 * MS
    assert view_of(stream).turn == rig.pipeline.turn


def test_heavier_streams_pay_less_for_the_same_time() -> None:
    rig = Rig()
    for name, weight in (("light", 1), ("heavy", 4)):
        rig.add(name, of_cost(name, lambda call: 20), weight=weight)
        rig.feed(name, times(100, 1000))
    rig.run(1500)
    light, heavy = (rig.streams[name]._turns._next for name in ("light", "heavy"))
    assert light == pytest.approx(4 * heavy) and light > 150 * MS


def test_ladder_events_are_bounded_and_go_to_the_log_too() -> None:
    rig = Rig()
    stream = rig.add("s", of_cost("m", lambda call: 20, 10))
    for _ in range(EVENTS + 5):
        stream._note_change("style", "v0", "v1", "it takes 20 ms, and there are 10")
    assert len(stream.ladder_events) == EVENTS
    assert len(rig.runs["s"].ladder) == EVENTS + 5


def test_offline_work_takes_the_next_frame_only_when_the_last_is_out() -> None:
    rig = Rig()
    given: list[Frame] = []
    counts = FrameCounts()
    stream = rig.pipeline.attach("s", [generate("style", 10)], 100 * MS, given.append, counts, Terms(waits=True))
    posted: list[Any] = []
    rig.posted = posted
    source = threading.Thread(target=lambda: [stream.put(make_frame(seq), 0) for seq in range(5)], daemon=True)
    source.start()
    done: list[Frame] = []
    for _ in range(1000):
        while posted:
            posted.pop(0)()
        if not rig.machine.run_next() and given:
            frame = given.pop(0)
            stream.sent(frame, rig.clock.now_ns())
            done.append(frame)
        assert len(given) <= 2 and len(stream.tickets) <= 1
        if len(done) == 5:
            break
        source.join(0.001)
    assert [frame.seq for frame in done] == [0, 1, 2, 3, 4]
    assert (counts.captured, counts.shown, counts.dropped.total()) == (5, 5, 0)


def test_a_result_is_lent_only_while_it_is_young_enough() -> None:
    rig = Rig()
    stream = rig.add("s", recognize("boxes", 5, None, max_age_ms=100))
    rig.feed("s", times(33, 400))
    rig.run(420)
    ages = [frame.result_age_ns.get("boxes") for frame in rig.sent["s"]]
    assert ages[0] == 0
    assert all(age is None or age <= 100 * MS for age in ages)
    assert ages[-1] is None
    assert stream.stages["boxes"].skips > 0 and stream.stages["boxes"].reuses > 0


def test_closing_drops_what_is_inside_and_takes_no_more() -> None:
    rig = Rig()
    stream = busy(rig)
    give(rig, stream, 1, 33)
    stream.close()
    give(rig, stream, 2, 66)
    counts = stream.account.counts
    assert (counts.captured, dict(counts.dropped), counts.in_flight) == (2, {"stopped": 2}, 0)


def test_a_change_of_picture_size_is_planned_with_its_own_costs() -> None:
    rig = Rig()
    stage = of_cost("m", lambda call: 5)
    stream = rig.add("s", stage)
    rig.pipeline.expect(stage, 4, 8, 5 * MS)
    rig.pipeline.expect(stage, 8, 4, 9 * MS)
    rig.posted = []
    for seq, (size, cost_ms) in enumerate([((4, 8), 5), ((8, 4), 9)]):
        stream.put(make_frame(seq, 0, "s", size), 0)
        assert view_of(stream).stages[0].predicted_ns == cost_ms * MS
        assert stream.size == size
        assert stream.take(seq) is not None


def test_a_stream_asks_for_less_on_a_lighter_level_but_wishes_the_same() -> None:
    rig = Rig()
    stage = of_cost("m", lambda call: 30, 15)
    for rung, cost_ms in enumerate((30, 15)):
        rig.pipeline.expect(stage, 4, 8, cost_ms * MS, rung)
    stream = busy(rig, replace(stage, model=generate("x", None).model))
    for seq in range(1, 4):
        give(rig, stream, seq, 60 * seq)
    assert stream.demand() == {"generate": pytest.approx(0.5)}
    stream.stages["style"].control.level = 1
    assert stream.demand() == {"generate": pytest.approx(0.25)}
    assert stream.demand(at_best=True) == {"generate": pytest.approx(0.5)}


def test_a_log_that_nobody_wants_is_not_needed() -> None:
    rig = Rig()
    pipeline: Pipeline = rig.pipeline
    stream = pipeline.attach("s", [], 100 * MS, lambda frame: None, FrameCounts())
    stream.put(make_frame(), 0)
    assert stream.terms.log is None and stream.account.counts.captured == 1
    assert Run(RunInfo("s", "", "", "", 0, 0, ())).arrivals == []
