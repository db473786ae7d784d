import asyncio
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.clock import VirtualClock
from stream.device import Completed
from stream.errors import ConfigError
from stream.frame import Frame
from stream.inflow import MAX_TICKETS, Inflow, Terms
from stream.pipeline import Pipeline
from stream.policies import POLICIES, policy
from stream.results import Results
from stream.run import Run, RunInfo
from stream.scheduler import Scheduler
from stream.stage import ERRORS_TO_OPEN, RETRY_AFTER_NS, Stage, Variant
from stream.stats import FrameCounts
from stream.trace import Step
from stream.view import DropReason, StageKind
from stream.virtual import Machine
from tests.fakes import MS, FakeDevice, RecordingSink, ScriptedModel, generate, make_frame, recognize, settle

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


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Results(classes=(("cup", math.nan),)), "finite score"),
        (Results(mask=np.zeros((3, 3), np.uint8)), "expected a mask [4,8] uint8, got [3, 3] uint8"),
        ("a cup", "expected Results, got str"),
        (None, "expected Results, got NoneType"),
    ],
)
async def test_a_recogniser_outside_its_contract_leaves_the_video_as_it_was(value: object, says: str) -> None:
    bench = Bench()
    sink = bench.add(Stage("odd", StageKind.RECOGNIZE, lambda image: value))
    await bench.run(every(FRAME_MS, 30), 1500)
    assert len(sink.frames) == 30 and not any(frame.results for frame in sink.frames)
    assert says in str(bench.streams["s"].stages["odd"].last_error)


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
        assert stream.inbox.stats().peak_depth <= 2
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


# ---- many streams, in virtual time without a loop


class Costly:
    """A generator whose cost in ms depends on its call; several pictures at once take `batch_ms(count)`."""

    def __init__(self, cost_ms: Callable[[int], float], batch_ms: Callable[[int], float] | None = None) -> None:
        self._cost_ms = cost_ms
        self._batch_ms = batch_ms
        self.calls = 0
        self.batches: list[list[Any]] = []  # pictures of each batch

    def __call__(self, image: Any, *_results: Any) -> Any:
        self.calls += 1
        ScriptedModel.next_cost_ns = round(self._cost_ms(self.calls) * MS)
        return image + 1

    def many(self, images: list[Any]) -> list[Any]:
        assert self._batch_ms is not None
        assert len({image.shape for image in images}) == 1, "a batch of different sizes"
        self.batches.append(images)
        ScriptedModel.next_cost_ns = round(self._batch_ms(len(images)) * MS)
        return [image + 1 for image in images]


class RigDevice(FakeDevice):
    """The same device on a machine of events."""

    def __init__(self, machine: Machine, capacity: int, *, has_two_lanes: bool = False) -> None:
        super().__init__(machine.clock, capacity, has_two_lanes=has_two_lanes)
        self._machine = machine
        self.busy_ns: Counter[str] = Counter()

    def start(self, lane: str, work: Callable[[], Any], done: Callable[[Completed], None]) -> None:
        super().start(lane, work, done)
        if self.next_due_ns() < ScriptedModel.NEVER_NS:
            self._machine.at(max(due for due, *_ in self._running if due < ScriptedModel.NEVER_NS), self.complete_due)


class Rig:
    """Streams on one fake device; frames are sent `tail_ms` after their last stage. Checks the account at every event.

    `put_ns` of a stream is what the device gave to it.
    """

    def __init__(self, scheduler: Scheduler | None = None, capacity: int = 1, *, has_two_lanes: bool = False) -> None:
        self.machine = Machine(0)
        self.clock = self.machine.clock
        self.device = RigDevice(self.machine, capacity, has_two_lanes=has_two_lanes)
        self.posted: list[Callable[[], None]] | None = None  # collects what sources post; None: it runs at once
        self.pipeline = Pipeline(self.device, self.clock, scheduler=scheduler, post=self._post)
        self.streams: dict[str, Inflow] = {}
        self.runs: dict[str, Run] = {}
        self.sent: dict[str, list[Frame]] = {}
        self._outside: Counter[str] = Counter()  # handed on and not yet sent
        self._tail_ms = 0.0

    def add(
        self,
        name: str,
        *stages: Stage,
        budget_ms: float = 150,
        weight: float = 1,
        min_fps: float = 0,
        tail_ms: float = 0,
    ) -> Inflow:
        run = self.runs[name] = Run(RunInfo(name, "", "fake", "", 1, 0, ()))
        self.sent[name] = []

        def output(frame: Frame) -> None:
            self._outside[name] += 1
            self.machine.at(self.clock.now_ns() + round(tail_ms * MS), lambda: self._sent(frame))

        stream = self.pipeline.attach(
            name, list(stages), round(budget_ms * MS), output, FrameCounts(), Terms(weight, min_fps, log=run)
        )
        for state in stream.stages.values():
            state.ready = len(state.stage.ladder)
        self.streams[name] = stream
        return stream

    def feed(self, name: str, at_ms: Iterable[float], size: tuple[int, int] = (4, 8)) -> None:
        for seq, at in enumerate(at_ms):
            self.machine.at(round(at * MS), partial(self._give, name, seq, size))

    def run(self, until_ms: float) -> None:
        """Let time pass, ticking as the server does."""
        for at in range(0, int(until_ms), 250):
            self.machine.at(at * MS, self.pipeline.tick)
        self.run_to(until_ms)

    def run_to(self, until_ms: float) -> None:
        """Let time pass."""
        is_over: list[bool] = []
        self.machine.at(round(until_ms * MS), lambda: is_over.append(True))
        while not is_over and self.machine.run_next():
            self.check()

    def detach(self, name: str) -> None:
        """Take a stream out of the pipeline; what comes after is ignored."""
        self.pipeline.detach(name)

    def check(self) -> None:
        """Check that every frame is where the account says, that depths keep their bounds, and the order."""
        for name, stream in self.streams.items():
            counts, depth = stream.account.counts, stream.inbox.stats().depth
            inside = depth + len(stream.tickets) + self._outside[name]
            assert counts.in_flight == inside, f"{name}: {counts.in_flight} in flight, {inside} found"
            assert counts.shown + counts.dropped.total() + inside == counts.captured
            assert len(stream.tickets) <= MAX_TICKETS

    def finish(self) -> None:
        """Check what must hold when nothing comes any more."""
        for name, stream in self.streams.items():
            assert stream.account.counts.in_flight == 0, f"{name}: a frame waits for ever"
            seqs = [frame.seq for frame in self.sent[name]]
            assert seqs == sorted(set(seqs))
            outcomes = self.runs[name].outcomes
            assert sorted(one.seq for one in outcomes) == sorted(one.seq for one in self.runs[name].arrivals)
            assert len({one.seq for one in outcomes}) == len(outcomes)
            for one in outcomes:
                is_amiss = one.late_ns > 0 or (one.dropped and one.dropped != "stopped")
                assert one.cause or not is_amiss, f"{one} has no cause"

    def spent_ms(self, name: str) -> float:
        """Return what the device gave to a stream; a batch counts in equal parts."""
        costs = self.runs[name].costs
        return sum((one.finished_ns - one.started_ns) * len(one.seqs) / one.batch for one in costs) / MS

    def shown(self, name: str) -> int:
        return self.streams[name].account.counts.shown

    def _give(self, name: str, seq: int, size: tuple[int, int]) -> None:
        now_ns = self.clock.now_ns()
        self.streams[name].put(make_frame(seq, now_ns, name, size), now_ns)

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        if self.posted is None:
            call(*arguments)
        else:
            self.posted.append(partial(call, *arguments))

    def _sent(self, frame: Frame) -> None:
        now_ns = self.clock.now_ns()
        self._outside[frame.stream] -= 1
        self.sent[frame.stream].append(frame)
        frame.trace.stamp(Step.SENT, now_ns)
        self.streams[frame.stream].sent(frame, now_ns)


def paint(
    *costs_ms: float, name: str = "style", batch_ms: Callable[[int], float] | None = None, max_batch: int = 8
) -> Stage:
    """Return a generator with a variant for each cost, the best first, each a tenth poorer than the one before."""
    models = [Costly(lambda call, cost=cost: cost, batch_ms) for cost in costs_ms]  # type: ignore[misc]
    lighter = tuple(Variant(f"v{i}", 1 - i / 10, model) for i, model in enumerate(models[1:], 1))
    key, most = ("style", max_batch) if batch_ms else ("", 1)
    return Stage(
        name, StageKind.GENERATE, models[0], "v0", lighter=lighter, cost_name="style", batch_key=key, max_batch=most
    )


def times(interval_ms: float, until_ms: float, first_ms: float = 0) -> list[float]:
    return [first_ms + index * interval_ms for index in range(int((until_ms - first_ms) / interval_ms))]


async def test_a_refresh_in_a_shared_lane_stands_behind_what_the_frame_waits_for() -> None:
    bench = Bench(has_two_lanes=True)
    sink = bench.add(recognize("boxes", 60, max_age_ms=300), recognize("mask", 4), generate("style", 20))
    await bench.run(every(50, 60), 4000)
    assert max(sink.ages_ms()[3:]) <= 20 + 14  # the next frame finds the lane busy


async def test_what_stands_behind_a_stuck_job_is_let_go_with_it() -> None:
    bench = Bench(has_two_lanes=True)
    sink = bench.add(recognize("a", 5, None), recognize("b", 5), generate("style", 5))
    await bench.run(every(FRAME_MS, 400), 14_000)
    assert sink.frames[-1].seq == 399
    bench.check_account()


async def test_a_job_not_yet_started_ends_with_its_stream() -> None:
    """Its model is closed once the stream is detached, and must not be called after."""
    bench = Bench()
    style = generate("style", 20, needs=["mask"])
    bench.add(recognize("mask", 50), style)
    await bench.run([(0, "s")], 10)
    bench.pipeline.detach("s")
    await bench.run([], 200)
    assert style.model.calls == 0
    bench.add(generate("style", 20), name="t")
    await bench.run([(210, "t")], 400)
    assert len(bench.sinks["t"].frames) == 1


def test_a_batch_never_holds_pictures_of_different_sizes() -> None:
    rig = Rig()
    model = paint(8, batch_ms=lambda count: 8 + count)
    for index, size in enumerate([(2, 2), (4, 8), (8, 4), (4, 8), (8, 4)]):
        rig.add(f"s{index}", model)
        rig.feed(f"s{index}", times(50, 2000), size)
    rig.run(3000)
    rig.finish()
    assert all(len(images) == 2 for images in model.model.batches)
    assert model.model.batches
    assert all(state.errors == 0 for stream in rig.streams.values() for state in stream.stages.values())


def test_a_frame_of_another_size_that_comes_between_decision_and_start_gets_a_job_of_its_own() -> None:
    rig = Rig()
    model = paint(8, batch_ms=lambda count: 8 + count)
    first, second = rig.add("a", model), rig.add("b", model)
    rig.posted = []
    first.put(make_frame(0, 0, "a"), 0)
    second.put(make_frame(0, 0, "b"), 0)
    decide = rig.pipeline._scheduler.decide

    def decide_late(*args: Any, **kwargs: Any) -> Any:
        decisions = decide(*args, **kwargs)
        if len(decisions) == 2 and second.account.counts.captured:
            for seq in (1, 2):  # the mailbox holds two: the one decided on is pushed out
                second.put(make_frame(seq, 0, "b", (2, 2)), 0)
        return decisions

    rig.pipeline._scheduler.decide = decide_late  # type: ignore[method-assign]
    rig.pipeline.dispatch()
    for posted in rig.posted:
        posted()
    rig.posted = None
    rig.run(200)
    assert (rig.shown("a"), rig.shown("b")) == (1, 1)
    assert all(s.stages["style"].errors == 0 for s in (first, second))


def test_an_error_in_a_batch_fails_every_member_and_no_more() -> None:
    rig = Rig()

    class Broken(Costly):
        def many(self, images: list[Any]) -> list[Any]:
            super().many(images)
            raise RuntimeError("too many")

    model = Broken(lambda call: 20, lambda count: 25)
    shared = Stage("style", StageKind.GENERATE, model, "v0", batch_key="style", max_batch=2)
    for name in ("a", "b", "c"):
        rig.add(name, shared)
        rig.feed(name, [0.0])
    rig.run(500)
    rig.finish()
    assert [rig.streams[n].stages["style"].errors for n in "abc"].count(1) == 2 * len(model.batches)
    assert model.batches and model.calls
    assert sum(frame.generated is not None for sent in rig.sent.values() for frame in sent) == 3 - 2 * len(
        model.batches
    )


def test_streams_of_one_model_are_batched_and_show_more_than_alone() -> None:
    def shown(batch_ms: Callable[[int], float] | None) -> int:
        rig = Rig()
        for index in range(6):
            rig.add(f"s{index}", paint(20, batch_ms=batch_ms))
            rig.feed(f"s{index}", times(33, 4000, index * 5))
        rig.run(5000)
        rig.finish()
        return sum(rig.shown(name) for name in rig.streams)

    assert shown(lambda count: 16 + 4 * count) > 1.8 * shown(None)


def test_a_batch_measured_dearer_is_given_up_and_costs_are_learned_per_size() -> None:
    rig = Rig()
    stage = paint(10, batch_ms=lambda count: 15.0 * count)
    for name in ("a", "b", "c"):  # a starts at once, b and c wait together
        rig.add(name, stage)
        rig.feed(name, times(33, 6000))
    rig.run(7000)
    rig.finish()
    key = rig.pipeline.cost_key(stage, 0, 4, 8)
    assert rig.pipeline.costs.predict_ns(key) == 10 * MS
    assert rig.pipeline.costs.predict_ns(replace(key, batch=2)) == 30 * MS
    assert 2 <= len(stage.model.batches) <= 4
    assert min(rig.shown(name) for name in "abc") >= 180


def test_a_first_batch_that_is_slow_by_chance_is_not_the_end_of_batching() -> None:
    """The first batch of a size often compiles something; one sample is no measurement."""
    rig = Rig()
    took: list[int] = []

    def batch_ms(count: int) -> float:
        took.append(count)
        return 400 if len(took) == 1 else 14

    for name in ("a", "b", "c"):
        rig.add(name, paint(10, batch_ms=batch_ms))
        rig.feed(name, times(33, 10_000))
    rig.run(11_000)
    assert len(took) > 100


def test_an_error_costs_nothing_in_the_plans() -> None:
    """A model that fails at once would otherwise be taken for a fast one."""
    rig = Rig()
    flaky = [20.0] * 10 + [RuntimeError("no")] * 4 + [20.0] * 10
    stream = rig.add("s", generate("style", *flaky))
    rig.feed("s", times(33, 33 * 14))
    rig.run(800)
    assert rig.pipeline.costs.predict_ns(rig.pipeline.cost_key(stream.stages["style"].stage, 0, 4, 8)) == 20 * MS


def test_a_frame_taken_before_its_arrival_was_told_is_in_the_account_once() -> None:
    """A lane may fall free between the source's put and the loop hearing of it."""
    rig = Rig()
    stream = rig.add("s", generate("style", 20))
    rig.feed("s", times(33, 200))
    rig.run(300)
    rig.posted = []
    now_ns = rig.clock.now_ns()
    stream.put(make_frame(50, now_ns, "s"), now_ns)
    stream.put(make_frame(51, now_ns, "s"), now_ns)
    stream.put(make_frame(52, now_ns, "s"), now_ns)
    rig.pipeline.dispatch()  # another stream's job has ended
    assert len(stream.tickets) == 1
    assert stream.account.counts.in_flight == len(stream.tickets) + stream.inbox.stats().depth
    for posted in rig.posted:
        posted()
    rig.posted = None
    rig.check()
    rig.run(1000)
    rig.finish()
    assert stream.account.counts.dropped == {"superseded": 1}
    assert sorted([one.seq for one in rig.runs["s"].arrivals][-3:]) == [50, 51, 52]
    assert stream._turns.due_ns is None  # the next frame inherits nothing from one that was served


def test_a_frame_left_behind_by_a_detached_stream_is_counted_before_it_is_dropped() -> None:
    rig = Rig()
    stream = rig.add("s", generate("style", 20))
    rig.posted = []
    stream.put(make_frame(0, 0, "s"), 0)
    rig.pipeline.detach("s")
    counts = stream.account.counts
    assert (counts.captured, counts.dropped.total(), counts.in_flight) == (1, 1, 0)
    for posted in rig.posted:
        posted()
    assert (counts.captured, counts.dropped.total()) == (1, 1)


def test_an_error_of_our_own_in_the_pipeline_is_not_taken_for_the_end_of_the_stream() -> None:
    rig = Rig()

    def broken(frame: Frame) -> None:
        raise RuntimeError("a bug")

    stream = rig.pipeline.attach("s", [], 100 * MS, broken, FrameCounts())
    with pytest.raises(RuntimeError, match="a bug"):
        stream.put(make_frame(), 0)


def test_a_frame_that_comes_after_the_loop_has_closed_is_ignored() -> None:
    async def make() -> Inflow:
        bench = Bench()
        bench.add(generate("style", 20))
        return bench.streams["s"]

    asyncio.run(make()).put(make_frame(), 0)


def test_offline_work_goes_on_after_a_frame_that_the_encoder_dropped() -> None:
    rig = Rig()
    given: list[Frame] = []
    stream = rig.pipeline.attach("s", [], 100 * MS, given.append, FrameCounts(), Terms(waits=True))
    for seq in range(3):
        stream.put(make_frame(seq), 0)
        if seq == 1:
            assert len(given) == 2
    assert len(given) == 2  # one is being encoded, one waits
    stream.drop(given[0], DropReason.ENCODER_ERROR)
    assert len(given) == 3


# ---- shares, turns and deadlines of several streams


def of_cost(name: str, cost_ms: Callable[[int], float], *lighter_ms: float) -> Stage:
    """Return a generator with a cost of its own, and lighter variants."""
    models = [Costly(lambda call, cost=cost: cost) for cost in lighter_ms]  # type: ignore[misc]
    variants = tuple(Variant(f"v{i}", 1 - i / 10, model) for i, model in enumerate(models, 1))
    return Stage("style", StageKind.GENERATE, Costly(cost_ms), "v0", cost_name=name, lighter=variants)


def play_streams(
    costs_ms: list[float],
    weights: list[float],
    intervals_ms: list[float],
    budget_ms: float = 150,
    until_ms: int = 12_000,
) -> Rig:
    rig = Rig()
    for index, (cost_ms, weight, interval_ms) in enumerate(zip(costs_ms, weights, intervals_ms, strict=True)):
        name = f"s{index}"
        rig.add(name, of_cost(name, lambda call, cost=cost_ms: cost), weight=weight, budget_ms=budget_ms)  # type: ignore[misc]
        rig.feed(name, times(interval_ms, until_ms, index * 3))
    rig.run(until_ms + 2000)
    rig.finish()
    return rig


@pytest.mark.parametrize(
    ("costs_ms", "weights"),
    [
        ([16.7] * 8, [1] * 8),
        ([16.7] * 8, [1, 1, 1, 1, 2, 2, 4, 4]),
        ([8, 12, 16, 20, 24, 8, 20, 26], [1] * 8),
        ([12, 12, 16, 20, 24, 14, 20, 26], [1, 2, 3, 4, 1, 2, 3, 4]),
        ([60] * 8, [1] * 8),
        ([33] * 8, [1] * 8),
    ],
)
def test_eight_streams_at_fourfold_load_each_get_their_weighted_share_of_the_device(costs_ms, weights) -> None:
    rig = play_streams(costs_ms, weights, [33.3] * 8, budget_ms=100, until_ms=15_000)
    spent = [rig.spent_ms(name) for name in rig.streams]
    for got_ms, weight in zip(spent, weights, strict=True):
        assert got_ms == pytest.approx(sum(spent) * weight / sum(weights), rel=0.1)
    assert sum(spent) > 0.97 * 15_000


def test_what_a_slow_camera_leaves_goes_to_the_others_in_equal_parts() -> None:
    rig = play_streams([16.7] * 8, [1] * 8, [500] + [33.3] * 7, until_ms=10_000)
    assert rig.shown("s0") == 20 and rig.streams["s0"].account.counts.late == 0
    others = [rig.spent_ms(f"s{index}") for index in range(1, 8)]
    assert others == [pytest.approx((10_000 - 20 * 16.7) / 7, rel=0.1)] * 7


def test_a_stream_of_cheap_frames_does_not_lose_its_turn_between_two_of_them() -> None:
    """Dear frames of others that begin in the gap used to take its place: 6 % of the device instead of 12."""
    rig = play_streams([120] * 7 + [20], [1] * 8, [33.3] * 8, until_ms=20_000)
    spent = [rig.spent_ms(name) for name in rig.streams]
    assert spent[7] > 0.85 * sum(spent) / 8


@pytest.mark.parametrize("sigma", [0.0, 0.2])
def test_below_full_load_streams_with_different_budgets_all_meet_their_deadlines(sigma: float) -> None:
    chance, rig = random.Random(3), Rig()
    for name, budget_ms, cost_ms, interval_ms in (("tight", 60, 9, 33.3), ("a", 300, 18, 66), ("b", 400, 18, 66)):
        cost = lambda call, ms=cost_ms: ms * math.exp(chance.gauss(-sigma * sigma / 2, sigma))  # noqa: E731
        rig.add(name, of_cost(name, cost), budget_ms=budget_ms)
        rig.feed(name, times(interval_ms, 20_000, 7))
    rig.run(21_000)
    rig.finish()
    for name, stream in rig.streams.items():
        counts = stream.account.counts
        assert (counts.late, counts.dropped.total()) == (0, 0), name


def test_costs_that_scatter_below_full_load_are_no_overload() -> None:
    """The load is the mean, not the high quantile that a single frame is planned with."""
    chance, rig = random.Random(3), Rig()
    for name in ("a", "b"):
        rig.add(name, of_cost(name, lambda call: 12.5 * math.exp(chance.gauss(-0.08, 0.4))))
        rig.feed(name, times(33.3, 10_000))
    overloaded: list[bool] = []
    for at in range(1125, 10_000, 250):
        rig.machine.at(at * MS, lambda: overloaded.append(rig.pipeline._is_overloaded))
    rig.run(10_000)
    assert len(overloaded) > 30 and sum(overloaded) <= 2


def test_a_stream_that_went_lighter_for_a_while_comes_back_to_its_share() -> None:
    """Asked by what it takes now, it would be given less, and stay light for ever beside others that have more."""
    rig = Rig()
    for index in range(4):
        spike = 4 if index == 3 else 1
        stage = of_cost(f"m{index}", lambda call: 32, 7.7, 3)
        for rung, cost_ms in enumerate((32, 7.7, 3)):
            rig.pipeline.expect(stage, 4, 8, round(cost_ms * MS), rung)
        for model, cost_ms in zip([v.model for v in stage.ladder], (32, 7.7, 3), strict=True):
            model._cost_ms = partial(_spiked, rig, spike, cost_ms)
        rig.add(f"s{index}", stage)
        rig.feed(f"s{index}", times(33.3, 10_000, index * 5))
    rig.run(11_000)
    rig.finish()
    assert [stream.stages["style"].control.level for stream in rig.streams.values()] == [1, 1, 1, 1]
    assert len(rig.runs["s3"].ladder) >= 2  # it had gone lighter


def _spiked(rig: Rig, factor: float, cost_ms: float, call: int) -> float:
    return cost_ms * (factor if rig.clock.now_ns() < 3000 * MS else 1)


@pytest.mark.parametrize("late_budget_ms", [150, 20])
def test_a_minimum_rate_is_kept_beside_seven_heavier_streams(late_budget_ms: float) -> None:
    """With 20 ms no frame of it can be in time: it is shown late, at its minimum, rather than never."""
    rig = Rig()
    for index in range(8):
        name, is_last = f"s{index}", index == 7
        stage = of_cost(name, lambda call: 30)
        budget_ms = late_budget_ms if is_last else 150
        rig.add(name, stage, weight=0.1 if is_last else 5, budget_ms=budget_ms, min_fps=2 if is_last else 0)
        rig.feed(name, times(33.3, 20_000, index * 4))
    rig.run(21_000)
    rig.finish()
    assert rig.shown("s7") >= 2 * 20 * 0.9
    gaps = [b.captured_ns - a.captured_ns for a, b in itertools.pairwise(rig.sent["s7"])]
    assert max(gaps) < 700 * MS
    assert min(rig.shown(f"s{index}") for index in range(7)) > 60


random_costs = st.lists(st.sampled_from([0.0, 1.0, 7.0, 25.0, 60.0, 300.0]) | st.just(None), min_size=1, max_size=5)
random_streams = st.lists(
    st.fixed_dictionaries(
        {
            "costs": st.lists(random_costs, min_size=1, max_size=3),  # a variant each; None fails
            "boxes": st.none() | random_costs,
            "gaps": st.lists(st.sampled_from([0, 3, 20, 33, 120]), min_size=1, max_size=25),
            "budget_ms": st.sampled_from([15, 80, 250]),
            "weight": st.sampled_from([0.5, 1, 3]),
            "min_fps": st.sampled_from([0, 1, 20]),
            "batches": st.booleans(),
            "size": st.sampled_from([(4, 8), (8, 4)]),
            "tail_ms": st.sampled_from([0, 12]),
            "detach": st.booleans(),
        }
    ),
    min_size=1,
    max_size=4,
)


class Scripted(Costly):
    """Costs from a list, over and over; None raises."""

    def __init__(self, costs_ms: list[float | None]) -> None:
        super().__init__(lambda call: 0, lambda count: 0)
        self._list = costs_ms

    def __call__(self, image: Any, *results: Any) -> Any:
        self._spend(1)
        return image + 1

    def many(self, images: list[Any]) -> list[Any]:
        super().many(images)
        self._spend(len(images))
        return [image + 1 for image in images]

    def _spend(self, count: int) -> None:
        cost_ms = self._list[self.calls % len(self._list)]
        self.calls += 1
        if cost_ms is None:
            raise RuntimeError("scripted")
        ScriptedModel.next_cost_ns = round(cost_ms * (0.5 + 0.5 * count) * MS)


def play_random(streams: list[dict[str, Any]], policy_name: str, capacity: int, has_two_lanes: bool) -> Rig:
    rig = Rig(policy(policy_name, capacity), capacity, has_two_lanes=has_two_lanes)
    last_ms = 0.0
    for index, wish in enumerate(streams):
        name, models = f"s{index}", [Scripted(costs) for costs in wish["costs"]]
        lighter = tuple(Variant(f"v{i}", 1 - i / 10, model) for i, model in enumerate(models[1:], 1))
        key, most = ("style", 3) if wish["batches"] else ("", 1)
        style = Stage(
            "style", StageKind.GENERATE, models[0], "v0", lighter=lighter, cost_name=name, batch_key=key, max_batch=most
        )
        stages = [style]
        if wish["boxes"] is not None:
            costs = [RuntimeError("scripted") if cost is None else cost for cost in wish["boxes"]]
            stages.append(recognize(f"boxes{index}", *costs, max_age_ms=200))
        more = {key: wish[key] for key in ("budget_ms", "weight", "min_fps", "tail_ms")}
        rig.add(name, *stages, **more)
        at_ms = list(itertools.accumulate(wish["gaps"]))
        rig.feed(name, at_ms, wish["size"])
        last_ms = max(last_ms, at_ms[-1])
        if wish["detach"]:
            rig.machine.at(round(at_ms[len(at_ms) // 2] * MS), partial(rig.detach, name))
    frames_left = 25 * len(streams) if policy_name in ("fifo", "edf") else 4 * len(streams)
    rig.run(last_ms + frames_left * 2 * 300 * 2 + 1000)
    return rig


@settings(max_examples=60, deadline=None)
@given(random_streams, st.sampled_from(sorted(POLICIES)), st.integers(1, 3), st.booleans())
def test_every_frame_of_every_stream_is_settled_once_under_every_policy(
    streams, policy_name, capacity, has_two_lanes
) -> None:
    rig = play_random(streams, policy_name, capacity, has_two_lanes)  # it checks the account at every event
    rig.finish()
    bound = policy(policy_name, capacity).inbox_bound
    assert all(stream.inbox.stats().peak_depth <= bound for stream in rig.streams.values())


@settings(max_examples=25, deadline=None)
@given(random_streams, st.integers(1, 3), st.booleans())
def test_the_same_streams_give_the_same_account_again(streams, capacity, has_two_lanes) -> None:
    first, again = (play_random(streams, "livelens", capacity, has_two_lanes) for _ in range(2))
    assert {n: list(run.records()) for n, run in first.runs.items()} == {
        n: list(run.records()) for n, run in again.runs.items()
    }


async def test_stages_that_need_each_other_are_refused() -> None:
    bench = Bench()
    with pytest.raises(ConfigError, match="neither could ever begin"):
        bench.add(recognize("a", 1, needs=["b"]), recognize("b", 1, needs=["a"]))


async def test_running_ticks_until_it_is_cancelled() -> None:
    bench = Bench()
    bench.add(recognize("boxes", 10, None, max_age_ms=200))  # the second job never comes back
    running = asyncio.create_task(bench.pipeline.run())
    for at_ms in range(0, 8000, 50):
        await bench._advance(at_ms * MS)
        if at_ms % 500 == 0:
            bench.streams["s"].put(make_frame(at_ms // 500, bench.clock.now_ns(), "s"), bench.clock.now_ns())
        await settle()
    assert bench.streams["s"].stages["boxes"].last_error == "has not answered for 5 s"  # nothing but a tick tells
    running.cancel()
