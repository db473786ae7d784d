"""What a bench measured is what the next stream expects."""

from pathlib import Path

import pytest

from stream.bench_costs import costs_of, keep_costs
from stream.budget import CostKey, CostModel
from stream.clock import VirtualClock
from stream.config import StreamConfig
from stream.coststore import load_costs, save_costs
from stream.device import CpuDevice
from stream.pipeline import Pipeline
from stream.stats import FrameCounts
from stream.wiring import stream_parts
from tests.fakes import RecordingSink
from tests.made_bench import made_document, made_model, timing, variant

MACHINE = "CPU, 2 cores; openvino 2026.4"


def key(stage: str, variant: str, batch: int = 1) -> CostKey:
    return CostKey(stage, variant, 360, 640, "cpu", batch)


def test_costs_are_kept_under_every_name_that_asks_for_the_same_work() -> None:
    found = dict(costs_of(made_document()))
    for name in ("style", "style:where=background", "style:where=all"):
        assert found[key(name, "openvino bf16")] == 22_500_000, "the best round's median"
        assert found[key(name, "openvino bf16, scale=0.5")] == 8_000_000
    assert found[key("style:scale=0.5", "openvino bf16")] == 8_000_000
    assert found[key("style:backend=torch,precision=fp32", "torch fp32", 2)] == 171_000_000
    assert not any(one.stage == "style" and one.variant.startswith("torch") for one in found)


def test_costs_with_another_number_of_threads_are_not_kept(tmp_path: Path) -> None:
    found = made_document(made_model(is_as_served=False))
    assert keep_costs(found, tmp_path / "costs.json", MACHINE) == 0
    assert not (tmp_path / "costs.json").exists()


def test_new_costs_win_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    save_costs(path, MACHINE, {key("style", "openvino bf16"): 5, key("boxes/coco", "openvino bf16"): 7})
    assert keep_costs(made_document(), path, MACHINE) > 5
    costs = CostModel()
    load_costs(path, MACHINE, costs)
    assert costs.predict_ns(key("style", "openvino bf16")) == 22_500_000
    assert costs.predict_ns(key("boxes/coco", "openvino bf16")) == 7


def test_costs_of_another_machine_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    save_costs(path, "another", {key("boxes/coco", "openvino bf16"): 7})
    keep_costs(made_document(), path, MACHINE)
    costs = CostModel()
    load_costs(path, MACHINE, costs)
    assert costs.predict_ns(key("boxes/coco", "openvino bf16")) == 0


@pytest.mark.parametrize("generate", ["style", "style:where=background"])
async def test_a_bench_is_a_streams_first_prediction(tmp_path: Path, generate: str) -> None:
    """The stage is the one that a server makes of its configuration; its variants' words come from the models."""
    path, clock = tmp_path / "costs.json", VirtualClock()
    device = CpuDevice(clock, 2)
    parts = stream_parts(StreamConfig(source="test:", generate=generate), device, clock)
    loaded = parts.load_stages[0]()
    best = loaded.stage.variant
    rungs = []
    for scale, ms in (("scale=0.75", 14.0), ("scale=0.5", 7.0)):
        named = {"name": f"style:{scale}", "rung": scale, "variant": best}
        rungs.append(variant(f"{best}, {scale}", "lighter", timing(ms, low_ms=ms), **named))
    model = made_model(variant(best, "as it is", timing(21.0, low_ms=21.0)), *rungs)
    keep_costs(made_document(model), path, MACHINE)
    costs = CostModel()
    load_costs(path, MACHINE, costs)
    pipeline = Pipeline(device, clock, costs)
    inner = pipeline.attach("s", [loaded.stage], 150_000_000, RecordingSink(clock), FrameCounts(), parts.terms)
    state = inner.stages[loaded.stage.name]
    state.ready = 3
    expected = [rung.forecast.predicted_ns for rung in inner.rungs(state, 360, 640)]
    assert expected == [21_000_000, 14_000_000, 7_000_000]
    loaded.close()
