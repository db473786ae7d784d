"""What is known of a stream before and while it runs: the least it needs of the device, and what it is made of."""

from collections.abc import Sequence
from dataclasses import replace

from stream.admission import Ask
from stream.budget import CostKey, Forecast
from stream.inflow import Terms
from stream.pipeline import Pipeline
from stream.run import RungInfo, RunInfo, StageInfo
from stream.stage import Stage
from stream.view import RungView, StageView, must_run_ns

Size = tuple[int, int]  # (height, width)


def ask(pipeline: Pipeline, name: str, stages: Sequence[Stage], budget_ns: int, terms: Terms, size: Size) -> Ask:
    """Return the least a stream needs for pictures of `size`: each stage at its lightest variant."""
    lanes: dict[str, int] = {}
    views = []
    for stage in (one for one in stages if not one.max_age_ns):
        lane, least = pipeline.device.lane(stage.kind, stage.name), _least(pipeline, stage, size)
        lanes[lane] = lanes.get(lane, 0) + least.prior_ns
        views.append(StageView(stage.name, stage.kind, lane, (RungView("", 1.0, least),), needs=stage.needs))
    tail_ns = pipeline.costs.forecast(CostKey("tail", name, 0, 0, "")).prior_ns
    return Ask(name, budget_ns, must_run_ns(views), tail_ns, terms.min_fps, lanes)


def describe(pipeline: Pipeline, name: str, size: Size, about: RunInfo | None = None) -> RunInfo:
    """Return what a run of an attached stream is made of, with the costs known now; `about` has the rest."""
    stream = pipeline.streams()[name]
    return replace(
        about or RunInfo(name, "", "", "", 0, 0, ()),
        stream=name,
        device=pipeline.device.name,
        capacity=pipeline.device.capacity,
        budget_ns=stream.budget_ns,
        stages=tuple(_describe(pipeline, state.stage, size) for state in stream.stages.values()),
        weight=stream.terms.weight,
        min_fps=stream.terms.min_fps,
        tail_ns=stream.tail.predicted_ns,
    )


def _least(pipeline: Pipeline, stage: Stage, size: Size) -> Forecast:
    """Return the cost of the lightest variant; while that is not compiled, of the best one: it is no dearer."""
    rungs = range(len(stage.ladder))
    costs = [pipeline.costs.forecast(pipeline.cost_key(stage, rung, *size)).prior_ns for rung in rungs]
    return Forecast(costs[-1] or costs[0])


def _describe(pipeline: Pipeline, stage: Stage, size: Size) -> StageInfo:
    ladder = []
    for rung, variant in enumerate(stage.ladder):
        prior_ns = pipeline.costs.forecast(pipeline.cost_key(stage, rung, *size)).prior_ns
        ladder.append(RungInfo(variant.name, variant.quality, prior_ns))
    lane, needs = pipeline.device.lane(stage.kind, stage.name), tuple(sorted(stage.needs))
    return StageInfo(
        stage.name,
        stage.kind.value,
        lane,
        stage.threads,
        stage.max_age_ns,
        needs,
        tuple(ladder),
        model=stage.cost_name,
        batch_key=stage.batch_key,
        max_batch=stage.max_batch,
    )
