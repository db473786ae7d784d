"""The shadow check: a frame now and then, only in spare time, and seldom when frames were lost beside it."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.judge import Judgement
from stream import shadow as module
from stream.clock import NS_PER_S, Clock, VirtualClock
from stream.device import Completed
from stream.errors import ModelError, ProtocolError
from stream.pipeline import Pipeline
from stream.shadow import SELDOM, Shadow, frames_lost, why_busy
from stream.stage import Stage, Variant
from stream.stats import BusyTime, FrameCounts
from stream.view import StageKind
from tests.fakes import MS, FakeDevice, RecordingSink, ScriptedModel, generate, make_frame, settle
from tests.stand import Loaded, Stand

EVERY_S = 10


class ScriptedJudge:
    """Says how far an answer is by a list; remembers what it was asked, on which thread, and whether it was closed."""

    def __init__(self, *answers: Judgement | Exception, before: Callable[[], None] = lambda: None) -> None:
        self.asked: list[tuple[Any, Any]] = []
        self.changed: list[dict[str, str]] = []
        self.threads: set[str] = set()
        self.is_closed = False
        self._answers = answers or (Judgement("PSNR", 50.0, "dB", ""),)
        self._before = before

    def ask(self, image: Any, found: Any, changed: Mapping[str, str]) -> Judgement:
        self.changed.append(dict(changed))
        self.threads.add(threading.current_thread().name)
        self._before()
        self.asked.append((image, found))
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.is_closed = True


async def at_once(clock: Clock, work: Callable[[], Any]) -> Completed:
    """Stand for a thread, so that no test waits for one."""
    try:
        return Completed(work(), None, 0, 0)
    except ModelError as error:
        return Completed(None, error, 0, 0)


class Rig:
    """A shadow over scripted judges, with stages that give a result whenever they are asked for one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **judges: ScriptedJudge) -> None:
        self.clock = VirtualClock()
        self.busy = ""
        self.lost = 0
        self.judges = judges
        monkeypatch.setattr(module, "SAMPLE_S", 0.2)
        monkeypatch.setattr(module, "run_aside", at_once)
        self.shadow = Shadow("s", judges, EVERY_S * NS_PER_S, self.clock, lambda: self.busy, lambda: self.lost)
        self.frame = make_frame()
        self.given = object()

    async def run(self, until_s: float) -> None:
        """Let time pass second by second, every stage giving a result in each."""
        task = asyncio.create_task(self.shadow.run())
        try:
            for second in range(int(until_s) + 1):
                self.clock.advance_to(second * NS_PER_S)
                await settle()
                for stage in self.judges:
                    self.shadow.offer(stage, "bf16", self.frame, self.given)
                await settle()
        finally:
            task.cancel()

    def frames(self) -> dict[str, int]:
        return {stage: drift.frames for stage, drift in self.shadow.drifts.items()}


async def test_stages_are_judged_in_turn_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, boxes=ScriptedJudge(), style=ScriptedJudge(Judgement("PSNR", 31.0, "dB", "PSNR is below")))
    await rig.run(4 * EVERY_S + 5)
    assert rig.frames() == {"boxes": 2, "style": 2}
    image, found = rig.judges["style"].asked[0]
    assert image is rig.frame.image and found is rig.given
    boxes, style = rig.shadow.status()["stages"]
    assert (style["value"], style["unit"], style["variant"], style["frames_below"]) == (31.0, "dB", "bf16", 2)
    assert (boxes["below"], boxes["frames"]) == ("", 2)
    assert 0 <= style["at_s_ago"] <= 2 * EVERY_S


async def test_nothing_is_judged_while_the_device_is_busy_and_the_status_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(monkeypatch, style=ScriptedJudge())
    rig.busy = "0.3 of 2 threads are free"
    await rig.run(5 * EVERY_S)
    assert rig.frames() == {"style": 0} and rig.shadow.status()["waits_for"] == "0.3 of 2 threads are free"
    rig.busy = ""
    await rig.run(7 * EVERY_S)
    assert rig.frames()["style"] >= 1 and rig.shadow.status()["waits_for"] is None


async def test_a_device_that_fills_up_while_a_result_is_awaited_is_not_disturbed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(monkeypatch, style=ScriptedJudge())
    said = iter(["", *["full"] * 1000])
    rig.shadow._is_busy = lambda: next(said)
    await rig.run(3 * EVERY_S)
    assert rig.frames() == {"style": 0}


async def test_a_stage_that_does_not_run_gives_its_turn_away(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, boxes=ScriptedJudge(), style=ScriptedJudge())
    rig.shadow._is_busy = lambda: ""

    async def none(stage: str) -> None:
        return None

    real = rig.shadow._next_result
    rig.shadow._next_result = lambda stage: none(stage) if stage == "boxes" else real(stage)  # type: ignore[method-assign]
    await rig.run(3 * EVERY_S)
    assert rig.frames()["boxes"] == 0 and rig.frames()["style"] >= 1


async def test_a_result_that_never_comes_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, style=ScriptedJudge())
    async with asyncio.timeout(5):
        assert await rig.shadow._next_result("style") is None
    rig.shadow.offer("style", "bf16", rig.frame, rig.given)  # nobody wants it any more


async def test_frames_lost_beside_a_check_make_it_seldom_and_none_lost_make_it_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig: Rig
    harms = iter([1, 1, 1, 1, 1, 1, 0])

    def lose() -> None:
        rig.lost += next(harms)

    rig = Rig(monkeypatch, style=ScriptedJudge(before=lose))
    sample = await _sample(rig)
    seen = []
    for _ in range(7):
        await rig.shadow._judge("style", sample)
        seen.append(rig.shadow.status()["every_s"] / EVERY_S)
    assert seen == [2, 4, 8, SELDOM, SELDOM, SELDOM, 1]


async def _sample(rig: Rig) -> Any:
    waiting = asyncio.ensure_future(rig.shadow._next_result("style"))
    await settle()
    rig.shadow.offer("other", "bf16", rig.frame, rig.given)
    rig.shadow.offer("style", "bf16", rig.frame, rig.given)
    rig.shadow.offer("style", "bf16", rig.frame, object())  # the first one is it
    sample = await waiting
    assert sample is not None and sample.found is rig.given
    return sample


async def test_a_judge_that_fails_is_a_problem_that_shows_once_and_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(
        monkeypatch, style=ScriptedJudge(ModelError("no torch"), ModelError("no torch"), Judgement("", 1, "", ""))
    )
    sample = await _sample(rig)
    await rig.shadow._judge("style", sample)
    await rig.shadow._judge("style", sample)
    assert rig.shadow.status()["stages"][0]["problem"] == "no torch"
    assert caplog.text.count("cannot be checked: no torch") == 1
    await rig.shadow._judge("style", sample)
    [stage] = rig.shadow.status()["stages"]
    assert stage["problem"] is None and stage["frames"] == 1 and stage["value"] is None  # nothing found by either


async def test_closing_ends_the_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, boxes=ScriptedJudge(), style=ScriptedJudge())
    await rig.shadow.close()
    assert all(judge.is_closed for judge in rig.judges.values())


# spare time, by the pipeline's account


def test_busy_time_is_threads_at_work_over_two_seconds() -> None:
    busy = BusyTime()
    for i in range(1, 21):
        busy.add(i * 100 * MS, 2 * 25 * MS)  # two threads for a quarter of the time
    assert busy.threads(2000 * MS) == pytest.approx(0.5)
    assert busy.threads(3000 * MS) == pytest.approx(0.275)
    assert busy.threads(9000 * MS) == 0


@pytest.mark.parametrize(
    ("cost_ms", "every_ms", "is_busy"),
    [
        (5, 33, False),  # 0.3 of two threads
        (22, 33, True),  # the default style at 30 a second, on two cores
        (22, 100, False),  # ... and at ten
    ],
)
async def test_a_device_has_spare_time_when_a_thread_and_a_quarter_are_free(cost_ms, every_ms, is_busy) -> None:
    clock = VirtualClock()
    device = FakeDevice(clock, capacity=2)
    pipeline = Pipeline(device, clock)
    stage = generate("style", cost_ms)
    stage = Stage("style", stage.kind, stage.model, threads=2)
    stream = pipeline.attach("s", [stage], 150 * MS, RecordingSink(clock), FrameCounts())
    seen = []
    stream.on_result = lambda *given: seen.append(given)
    for number in range(2000 // every_ms):
        stream.put(make_frame(number, clock.now_ns()), clock.now_ns())
        await settle()
        clock.advance_to(clock.now_ns() + cost_ms * MS)
        device.complete_due()
        await settle()
        clock.advance_to((number + 1) * every_ms * MS)
    assert bool(why_busy(pipeline)) is is_busy
    if is_busy:
        assert "of 2 threads are free, and it takes 1.25" in why_busy(pipeline)
    name, _, frame, found = seen[-1]
    assert name == "style" and (found == frame.image + 1).all()


async def test_a_lighter_variant_in_use_means_there_is_no_time_to_spare() -> None:
    clock = VirtualClock()
    pipeline = Pipeline(FakeDevice(clock, capacity=16), clock)
    model = ScriptedModel([1], StageKind.GENERATE)
    stage = Stage("style", StageKind.GENERATE, model, lighter=(Variant("scale=0.5", 0.5, model),))
    stream = pipeline.attach("s", [stage], 150 * MS, RecordingSink(clock), FrameCounts(late=2))
    assert why_busy(pipeline) == ""
    stream.stages["style"].control.level = 1
    assert why_busy(pipeline) == "s: style runs lighter than it could"
    assert frames_lost(pipeline) == 2


# in a live stream


def paint(image: Any) -> Any:
    return np.asarray(image) + 1


async def test_a_live_stream_shows_its_drift_and_ends_its_judge() -> None:
    judge = ScriptedJudge()
    stand = await Stand(Loaded("style", StageKind.GENERATE, paint), judges={"style": judge}, shadow_ns=1_000_000).open()
    stand.pipeline.capacity = 64  # so that the machine is never too busy for it
    checking = asyncio.create_task(stand.stream.check_in_spare_time())
    async with asyncio.timeout(20):
        while not judge.asked:
            await stand.show(1)
    image, found = judge.asked[0]
    assert (found == image + 1).all()
    assert threading.current_thread().name not in judge.threads
    async with asyncio.timeout(5):
        while stand.stream.status()["shadow"]["stages"][0]["value"] != 50.0:
            await asyncio.sleep(0.01)
    checking.cancel()
    await stand.stream.stop()
    assert judge.is_closed


class Brighter:
    """Adds a level that may change while it plays."""

    live_options = frozenset({"level"})
    level = 1

    def __call__(self, image: Any) -> Any:
        return np.asarray(image) + self.level

    def change(self, level: str) -> None:
        if level == "no":
            raise ModelError("level: expected a number")
        self.level = int(level)


async def test_the_reference_takes_what_was_changed_while_it_plays() -> None:
    judge = ScriptedJudge()
    loaded = Loaded("style", StageKind.GENERATE, Brighter())
    stand = await Stand(loaded, judges={"style": judge}, shadow_ns=1_000_000).open()
    stand.pipeline.capacity = 64  # so that the machine is never too busy for it
    checking = asyncio.create_task(stand.stream.check_in_spare_time())
    await stand.stream.change("style", {"level": 7})
    with pytest.raises(ProtocolError, match="expected a number"):
        await stand.stream.change("style", {"level": "no"})
    async with asyncio.timeout(20):
        while not judge.asked:
            await stand.show(1)
    image, found = judge.asked[0]
    assert (found == image + 7).all() and judge.changed[0] == {"level": "7"}
    checking.cancel()
    await stand.stream.stop()


def test_a_result_that_may_be_from_before_a_change_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    shadow = Rig(monkeypatch, style=ScriptedJudge()).shadow
    frame: Any = SimpleNamespace(image="picture")
    shadow._wanted, shadow._sample = "style", SimpleNamespace(done=lambda: False, set_result=taken.append)  # type: ignore[assignment]
    with shadow.changing("style", {"strength": "0"}):
        shadow.offer("style", "v", frame, "old or new")
    assert not taken
    shadow.offer("style", "v", frame, "new")
    assert taken[0].found == "new" and taken[0].changed == {"strength": "0"}


async def test_without_it_nothing_is_judged_and_the_status_says_so() -> None:
    judge = ScriptedJudge()
    stand = await Stand(Loaded("style", StageKind.GENERATE, paint), judges={"style": judge}).open()
    async with asyncio.timeout(5):
        await stand.stream.check_in_spare_time()  # returns at once
    await stand.show(3)
    assert stand.stream.status()["shadow"] is None and not judge.asked
    await stand.stream.stop()
