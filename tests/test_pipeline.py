import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.clock import VirtualClock
from stream.inflow import MAX_TICKETS, Inflow
from stream.pipeline import Pipeline
from stream.stage import ERRORS_TO_OPEN, RETRY_AFTER_NS, Stage
from stream.stats import FrameCounts
from tests.fakes import MS, FakeDevice, RecordingSink, generate, make_frame, recognize, settle

FRAME_MS = 33


class Bench:
    """A pipeline in virtual time with a fake device and sinks that remember."""

    def __init__(self, capacity: int = 4, *, has_two_lanes: bool = False) -> None:
        self.clock = VirtualClock()
        self.device = FakeDevice(self.clock, capacity, has_two_lanes=has_two_lanes)
        self.pipeline = Pipeline(self.device, self.clock)
        self.sinks: dict[str, RecordingSink] = {}
        self.streams: dict[str, Inflow] = {}

    def add(self, *stages: Stage, name: str = "s", budget_ms: int = 150) -> RecordingSink:
        self.sinks[name] = RecordingSink(self.clock)
        attached = self.pipeline.attach(name, list(stages), budget_ms * MS, self.sinks[name], FrameCounts())
        self.streams[name] = attached
        return self.sinks[name]

    async def run(self, arrivals_ms: Iterable[tuple[float, str]], until_ms: float) -> None:
        """Feed frames at the given times and let time pass to `until_ms`, ticking as the server does."""
        seqs = dict.fromkeys(self.streams, -1)
        events = sorted(arrivals_ms)
        ticks = [(t, "") for t in range(250, int(until_ms), 250)]
        for at_ms, name in [*sorted([*events, *ticks]), (until_ms, "")]:
            await self._advance(round(at_ms * MS))
            if name:
                seqs[name] += 1
                self.streams[name].put(make_frame(seqs[name], self.clock.now_ns(), name), self.clock.now_ns())
            else:
                self.pipeline.tick()
            await settle()

    async def _advance(self, at_ns: int) -> None:
        while self.device.next_due_ns() <= at_ns:
            self.clock.advance_to(self.device.next_due_ns())
            self.device.complete_due()
            await settle()
        self.clock.advance_to(at_ns)

    def check_account(self, name: str = "s") -> FrameCounts:
        """Check that every captured frame was handed on, dropped, or is still inside."""
        stream, sink = self.streams[name], self.sinks[name]
        inside = len(stream.tickets) + stream.inbox.stats().depth
        assert stream.account.counts.captured == len(sink.frames) + stream.account.counts.dropped.total() + inside
        assert [f.seq for f in sink.frames] == sorted({f.seq for f in sink.frames})
        return stream.account.counts


def every(interval_ms: float, count: int, name: str = "s") -> list[tuple[float, str]]:
    return [(index * interval_ms, name) for index in range(count)]


async def test_a_fast_model_runs_on_every_frame() -> None:
    bench = Bench()
    sink = bench.add(generate("style", 20))
    await bench.run(every(FRAME_MS, 30), 2000)
    assert len(sink.frames) == 30
    assert all(frame.generated is not None and frame.generated.max() == 1 for frame in sink.frames)
    assert bench.check_account().dropped == {}


async def test_a_slow_model_gets_the_newest_frame_and_age_stays_flat() -> None:
    bench = Bench()
    sink = bench.add(generate("style", 100), budget_ms=200)
    await bench.run(every(FRAME_MS, 300), 10_000)
    ages = sink.ages_ms()
    assert max(ages) <= 100 + FRAME_MS
    assert len(sink.frames) >= 9_900 / 100 * 0.97
    assert bench.check_account().dropped["superseded"] > 100


async def test_recognition_and_generation_run_beside_each_other() -> None:
    bench = Bench()
    sink = bench.add(recognize("mask", 15), generate("style", 20))
    await bench.run([(0, "s")], 100)
    assert sink.ages_ms() == [20]
    assert {lane for lane, at in bench.device.jobs if at == 0} == {"recognize mask", "generate"}


async def test_a_stage_that_needs_another_runs_after_it_with_its_result() -> None:
    bench = Bench()
    sink = bench.add(recognize("mask", 15), generate("style", 20, needs=["mask"]))
    await bench.run([(0, "s")], 100)
    assert sink.ages_ms() == [35]
    assert bench.device.jobs == [("recognize mask", 0), ("generate", 15 * MS)]


async def test_recognisers_that_share_a_lane_take_turns_on_the_same_frame() -> None:
    bench = Bench(has_two_lanes=True)
    sink = bench.add(recognize("mask", 4), recognize("boxes", 8), generate("style", 20))
    await bench.run(every(FRAME_MS, 60), 3000)
    assert len(sink.frames) == 60
    assert all(set(frame.results) == {"mask", "boxes"} for frame in sink.frames)
    assert set(sink.ages_ms()) == {20}


async def test_a_need_behind_in_the_same_lane_does_not_block() -> None:
    bench = Bench(has_two_lanes=True)
    sink = bench.add(recognize("above", 4, needs=["below"]), recognize("below", 8))
    await bench.run([(0, "s")], 100)
    assert sink.ages_ms() == [12]


async def test_a_spike_near_the_budget_does_not_stop_the_stream_for_ever() -> None:
    bench = Bench()
    sink = bench.add(generate("style", *[20] * 20, *[140] * 4, 20), budget_ms=150)
    bench.streams["s"].tail.predicted_ns = 9 * MS
    await bench.run([(at + 8, "s") for at, _ in every(FRAME_MS, 200)], 200 * FRAME_MS)
    assert sum(at > 150 * FRAME_MS * MS for at in sink.at_ns) >= 45


async def test_a_slow_recogniser_shows_every_frame_with_aged_results() -> None:
    bench = Bench()
    sink = bench.add(recognize("boxes", 100, max_age_ms=300))
    await bench.run(every(FRAME_MS, 60), 3000)
    assert len(sink.frames) == 60
    assert max(sink.ages_ms()[4:]) == 0  # before its first cost is known, the first frame waits for it
    later = sink.frames[10:]
    assert all("boxes" in frame.results and frame.result_age_ns["boxes"] <= 300 * MS for frame in later)
    assert all(frame.result_age_ns["boxes"] > 0 for frame in later)


async def test_a_failing_generator_passes_the_picture_on_and_is_left_out_then_tried_again() -> None:
    bench = Bench()
    broken = RuntimeError("no")
    sink = bench.add(generate("style", *[broken] * ERRORS_TO_OPEN, 10))
    await bench.run(every(FRAME_MS, 400), 14_000)
    assert len(sink.frames) == 400
    state = bench.streams["s"].stages["style"]
    assert state.errors == ERRORS_TO_OPEN
    assert sink.frames[ERRORS_TO_OPEN + 2].generated is None
    back_at = next(at for at, frame in zip(sink.at_ns, sink.frames, strict=True) if frame.generated is not None)
    assert RETRY_AFTER_NS <= back_at <= RETRY_AFTER_NS + 1_000 * MS
    assert state.last_error is None


async def test_a_model_that_returns_the_wrong_thing_is_an_error_that_says_what_was_expected() -> None:
    bench = Bench()
    stage = generate("style", 1)
    bench.add(Stage("style", stage.kind, lambda image: None))
    await bench.run([(0, "s")], 10)
    assert "expected a uint8 (4, 8, 3) picture, got NoneType" in str(bench.streams["s"].stages["style"].last_error)


async def test_a_recogniser_that_never_returns_is_an_error_that_shows() -> None:
    bench = Bench()
    sink = bench.add(recognize("boxes", 10, None, max_age_ms=200))
    await bench.run(every(FRAME_MS, 300), 10_000)
    assert len(sink.frames) > 290
    assert max(sink.ages_ms()) < 150 + 250  # the budget, and the time between two looks
    state = bench.streams["s"].stages["boxes"]
    assert (state.errors, state.last_error) == (1, "has not answered for 5 s")


async def test_a_model_that_never_returns_does_not_stop_the_video() -> None:
    bench = Bench()
    sink = bench.add(generate("style", 10, 10, None))
    await bench.run(every(FRAME_MS, 400), 13_500)
    assert sink.frames[-1].seq == 399
    counts = bench.check_account()
    assert counts.dropped["superseded"] < 5_500 / FRAME_MS
    assert sink.frames[-1].generated is None


async def test_two_streams_share_a_lane_without_starving_either() -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.add(generate("style", 30), name=name, budget_ms=200)
    arrivals = every(FRAME_MS, 300, "a") + [(at + 11, "b") for at, _ in every(FRAME_MS, 300)]
    await bench.run(arrivals, 11_000)
    shown = [len(bench.sinks[name].frames) for name in ("a", "b")]
    assert min(shown) >= 0.9 * max(shown)
    assert sum(shown) >= 0.95 * 300 * FRAME_MS / 30


async def test_a_frame_too_late_when_it_arrives_is_dropped_with_its_reason() -> None:
    bench = Bench()
    bench.add(generate("style", 20), budget_ms=50)
    await bench.run(every(FRAME_MS, 3), 150)
    late = make_frame(3, 110 * MS)
    bench.streams["s"].put(late, bench.clock.now_ns())
    await settle()
    assert bench.check_account().dropped == {"no_time": 1}


async def test_detaching_accounts_for_frames_inside() -> None:
    bench = Bench()
    bench.add(generate("style", 50))
    await bench.run(every(FRAME_MS, 3), 70)
    bench.pipeline.detach("s")
    stream = bench.streams["s"]
    assert stream.account.counts.captured == len(bench.sinks["s"].frames) + stream.account.counts.dropped.total()
    stream.put(make_frame(9), 0)  # ignored, and no error


costs = st.lists(
    st.sampled_from([0.0, 1.0, 5.0, 20.0, 40.0, 120.0, 400.0]) | st.just(RuntimeError("scripted")),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([1, 10, 33, 70]), min_size=1, max_size=60),
    style=costs,
    boxes=costs,
    mask=costs,
    capacity=st.integers(1, 4),
    budget_ms=st.sampled_from([20, 100, 300]),
    has_two_lanes=st.booleans(),
    needs=st.sampled_from([(), ("mask",), ("boxes",), ("mask", "boxes")]),
)
@example(
    gaps=[1, 1, 1, 1],
    style=[0.0, RuntimeError("scripted"), 400.0],
    boxes=[RuntimeError("scripted")],
    mask=[0.0, RuntimeError("scripted"), 400.0],
    capacity=1,
    budget_ms=20,
    has_two_lanes=False,
    needs=("mask",),
)  # two frames of 800 ms: the longest that a test may have to wait, seen once
def test_whatever_happens_order_and_account_hold(
    gaps, style, boxes, mask, capacity, budget_ms, has_two_lanes, needs
) -> None:
    async def scenario() -> None:
        bench = Bench(capacity, has_two_lanes=has_two_lanes)
        stages = [
            recognize("mask", *mask),
            recognize("boxes", *boxes, max_age_ms=200),
            generate("style", *style, needs=needs),
        ]
        bench.add(*stages, budget_ms=budget_ms)
        at_ms, arrivals = 0, []
        for gap in gaps:
            at_ms += gap
            arrivals.append((float(at_ms), "s"))
        # the frame in work and the one behind it, each of three stages of 400 ms one after the other, and some air
        await bench.run(arrivals, at_ms + 2 * 3 * 400 + 600)
        counts = bench.check_account()
        stream = bench.streams["s"]
        assert stream.inbox.stats().peak_depth <= 1
        assert len(stream.tickets) <= MAX_TICKETS
        assert counts.captured == len(gaps)
        assert not stream.tickets and stream.inbox.stats().depth == 0  # nothing waits for ever

    asyncio.run(scenario())


def test_the_same_arrivals_and_costs_give_the_same_decisions() -> None:
    async def scenario() -> list[dict[str, str]]:
        bench = Bench(2)
        sink = bench.add(recognize("boxes", 5, 40, 90, 12, max_age_ms=200), generate("style", 20, 70, 31))
        await bench.run(every(FRAME_MS, 60), 3000)
        return [frame.trace.decisions for frame in sink.frames]

    assert asyncio.run(scenario()) == asyncio.run(scenario())


@pytest.mark.parametrize("count", [1, 3])
async def test_a_lane_is_never_given_two_jobs_at_once(count: int) -> None:
    bench = Bench()  # FakeDevice asserts it
    for index in range(count):
        bench.add(recognize("boxes", 50, max_age_ms=100), generate("style", 45), name=f"s{index}")
    await bench.run([event for i in range(count) for event in every(FRAME_MS, 90, f"s{i}")], 4000)
    assert len(bench.device.jobs) > 60
