from dataclasses import replace

from stream.admission import refusal
from stream.inflow import Terms
from stream.promise import ask, describe
from stream.run import RungInfo, RunInfo
from stream.stage import Stage, Variant
from stream.view import StageKind
from tests.fakes import MS, recognize
from tests.test_pipeline import Costly, Rig, times

SIZE = (4, 8)


def style(name: str = "style", needs: frozenset[str] = frozenset(), variants: int = 3) -> Stage:
    models = [Costly(lambda call: 1) for _ in range(variants)]
    lighter = tuple(Variant(f"v{i}", 1 - i / 10, model) for i, model in enumerate(models[1:], 1))
    return Stage(name, StageKind.GENERATE, models[0], "v0", lighter=lighter, needs=needs)


def know(rig: Rig, stage: Stage, *costs_ms: float) -> None:
    for rung, cost_ms in enumerate(costs_ms):
        rig.pipeline.expect(stage, *SIZE, round(cost_ms * MS), rung)


def test_the_least_is_every_stage_at_its_lightest_along_the_longest_chain() -> None:
    rig = Rig()
    mask, boxes = recognize("mask", 1), recognize("boxes", 1, max_age_ms=300)
    painted = style(needs=frozenset({"mask"}))
    know(rig, painted, 40, 20, 10)
    know(rig, mask, 6)
    know(rig, boxes, 90)
    found = ask(rig.pipeline, "s", [mask, boxes, painted], 150 * MS, Terms(min_fps=5), SIZE)
    assert found.models_ns == 16 * MS  # boxes never hold a frame up
    assert found.lanes_ns == {"recognize mask": 6 * MS, "generate": 10 * MS}
    assert (found.budget_ns, found.min_fps) == (150 * MS, 5)


def test_while_the_lightest_is_not_compiled_the_best_stands_for_it() -> None:
    rig = Rig()
    painted = style()
    know(rig, painted, 40)
    assert ask(rig.pipeline, "s", [painted], 150 * MS, Terms(), SIZE).models_ns == 40 * MS


def test_two_stages_of_one_lane_add_up() -> None:
    rig = Rig()
    first, second = style("one", variants=1), style("two", variants=1)
    know(rig, first, 20)
    know(rig, second, 30)
    found = ask(rig.pipeline, "s", [first, second], 150 * MS, Terms(), SIZE)
    assert (found.models_ns, found.lanes_ns) == (50 * MS, {"generate": 50 * MS})


def test_a_refused_stream_leaves_those_that_play_alone() -> None:
    rig = Rig()
    playing, heavy = style("style"), style("heavy")
    know(rig, playing, 10, 10, 10)
    know(rig, heavy, 900, 700, 500)
    rig.add("plays", playing, min_fps=10)
    rig.feed("plays", times(33, 1000))
    rig.run(500)
    before = rig.shown("plays")
    others = [ask(rig.pipeline, "plays", [playing], 150 * MS, Terms(min_fps=10), SIZE)]
    why = refusal(ask(rig.pipeline, "new", [heavy], 150 * MS, Terms(), SIZE), others)
    assert why is not None and "500 ms" in why
    rig.run_to(1500)
    rig.finish()
    assert rig.shown("plays") > before and list(rig.pipeline.streams()) == ["plays"]
    assert rig.streams["plays"].account.counts.dropped == {}


def test_minimum_rates_of_all_streams_must_fit_together() -> None:
    rig = Rig()
    playing = style()
    know(rig, playing, 40, 20, 10)
    found = ask(rig.pipeline, "plays", [playing], 150 * MS, Terms(min_fps=30), SIZE)
    assert (found.stream, found.min_fps, found.lanes_ns) == ("plays", 30, {"generate": 10 * MS})
    new = style("other")
    know(rig, new, 70, 70, 70)
    assert refusal(ask(rig.pipeline, "new", [new], 150 * MS, Terms(min_fps=9), SIZE), [found]) is None
    why = refusal(ask(rig.pipeline, "new", [new], 150 * MS, Terms(min_fps=10), SIZE), [found])
    assert why is not None and "plays 30, new 10" in why


def test_a_description_holds_what_a_replay_needs() -> None:
    rig = Rig()
    painted = replace(style(needs=frozenset({"mask"})), cost_name="style/candy")
    mask = recognize("mask", 1)
    know(rig, painted, 40, 20)
    stream = rig.add("s", mask, painted, budget_ms=120, weight=2, min_fps=3)
    stream.tail.add(7 * MS)
    about = RunInfo("other", "walk.mkv", "", "CPU, 2 cores", 0, 0, (), created="2026-11-25T08:00:00Z")
    found = describe(rig.pipeline, "s", SIZE, about)
    assert (found.stream, found.clip, found.device, found.device_text) == ("s", "walk.mkv", "fake", "CPU, 2 cores")
    assert (found.budget_ns, found.weight, found.min_fps, found.tail_ns) == (120 * MS, 2, 3, 7 * MS)
    assert [stage.name for stage in found.stages] == ["mask", "style"]
    last = found.stages[1]
    assert (last.lane, last.needs, last.model, last.kind) == ("generate", ("mask",), "style/candy", "generate")
    assert last.ladder == (RungInfo("v0", 1.0, 40 * MS), RungInfo("v1", 0.9, 20 * MS), RungInfo("v2", 0.8, 0))
