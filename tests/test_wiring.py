from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.findings import Finding, remember
from models.registry import parse
from stream.clock import MonotonicClock, VirtualClock
from stream.config import StreamConfig
from stream.device import CpuDevice
from stream.errors import ConfigError, ModelError
from stream.pipeline import Pipeline
from stream.results import Results
from stream.stats import FrameCounts
from stream.view import StageKind
from stream.wiring import stage_name, stream_parts
from tests.fakes import FakeDevice, RecordingSink, make_frame, settle

OWN = """
from stream.pipeline import Pipeline
from stream.results import Results

class Bright:
    def __init__(self, above="100"):
        self.above = float(above)
    def __call__(self, image):
        return Results(classes=(("bright" if image.mean() > self.above else "dark", 1.0),))
"""


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("boxes/coco", "boxes"),
        ("style:where=background", "style"),
        ("style/12:strength=0.5", "style"),
        ("path/to/file.py:Class:key=value", "Class"),
        ("package.module:factory", "factory"),
    ],
)
def test_a_stage_has_a_short_name(model: str, name: str) -> None:
    assert stage_name(model) == name


def test_own_models_and_registry_models_become_stages(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN)
    clock = MonotonicClock()
    config = StreamConfig(source="test:", recognize=[f"{own}:Bright:above=10", f"{own}:Bright", "mask/person"])
    parts = stream_parts(config, CpuDevice(clock, 2), clock)
    stages = [load().stage for load in parts.load_stages]
    assert [s.name for s in stages] == ["Bright", "Bright-2", "mask"]
    assert stages[2].max_age_ns == 0  # a mask is never reused
    assert all(s.kind is StageKind.RECOGNIZE for s in stages)
    found = stages[0].model(np.full((8, 8, 3), 50, np.uint8))
    assert isinstance(found, Results) and found.classes[0][0] == "bright"


def test_warming_a_stage_measures_its_cost() -> None:
    clock = MonotonicClock()
    parts = stream_parts(StreamConfig(source="test:", generate="style:where=background"), CpuDevice(clock, 2), clock)
    [load] = parts.load_stages
    loaded = load()
    assert loaded.stage.background and loaded.stage.threads == 2
    assert all(cost_ns > 0 for cost_ns in loaded.warm(64, 96))
    loaded.close()


def test_a_wrong_address_is_refused_before_anything_is_made() -> None:
    clock = MonotonicClock()
    with pytest.raises(ConfigError):
        stream_parts(StreamConfig(source="nowhere.mp4"), CpuDevice(clock), clock)


NEEDY = """
class Blur:
    needs = ("Boxes",)
    def __call__(self, image, results):
        for left, top, right, bottom in results["Boxes"].boxes.astype(int):
            image[top:bottom, left:right] = 0
        return image

def Boxes(image):
    return [(2, 2, 6, 6, 0.9, "face")]
"""


async def test_an_own_generator_is_given_the_results_it_needs(tmp_path: Path) -> None:
    own = tmp_path / "needy.py"
    own.write_text(NEEDY)
    clock = VirtualClock()
    parts = stream_parts(
        StreamConfig(source="test:", recognize=[f"{own}:Boxes"], generate=f"{own}:Blur"), CpuDevice(clock, 2), clock
    )
    device, shown = FakeDevice(clock), RecordingSink(clock)
    stream = Pipeline(device, clock).attach(
        "s", [load().stage for load in parts.load_stages], 10**9, shown, FrameCounts()
    )
    frame = make_frame(size=(8, 8))
    frame.image[:] = 200
    stream.put(frame, 0)
    for _ in range(4):
        await settle()
        device.complete_due()
    await settle()
    [seen] = shown.frames
    assert seen.generated is not None and seen.generated[4, 4].tolist() == [0, 0, 0]
    assert seen.generated[0, 0].tolist() == [200, 200, 200]
    assert (seen.image == 200).all()  # painting on it changed a picture of its own


def test_two_models_of_one_slow_file_load_at_the_same_time(tmp_path: Path) -> None:
    own = tmp_path / "slow.py"
    own.write_text("import time\ntime.sleep(0.3)\n" + OWN + "\nclass Other(Bright):\n    pass\n")
    clock = MonotonicClock()
    parts = stream_parts(
        StreamConfig(source="test:", recognize=[f"{own}:Bright", f"{own}:Other"]), CpuDevice(clock), clock
    )
    with ThreadPoolExecutor(2) as threads:
        names = [done.result().stage.name for done in [threads.submit(load) for load in parts.load_stages]]
    assert names == ["Bright", "Other"]


def test_a_model_with_needs_warms_with_empty_results(tmp_path: Path) -> None:
    own = tmp_path / "needy.py"
    own.write_text(NEEDY)
    clock = MonotonicClock()
    config = StreamConfig(source="test:", recognize=[f"{own}:Boxes"], generate=f"{own}:Blur")
    loaded = [load() for load in stream_parts(config, CpuDevice(clock), clock).load_stages]
    assert all(len(one.warm(16, 16)) == 3 for one in loaded)


def test_a_name_its_file_does_not_define_is_refused_before_anything_runs(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("raise SystemExit('ran')\n" + OWN)
    with pytest.raises(ModelError, match="has no 'Nope'; it has Bright"):
        parse(f"{own}:Nope")
    assert parse(f"{own}:Bright").attribute == "Bright"


def test_a_shadow_check_has_a_judge_for_each_stage_with_a_reference_and_starts_none(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN)
    clock = MonotonicClock()
    asked = {"source": "test:", "recognize": ["boxes/coco", "boxes/coco:size=320", f"{own}:Bright"]}
    device = CpuDevice(clock, 2)
    parts = stream_parts(StreamConfig(**asked, generate="background/blur", shadow_s=2.5), device, clock)
    assert list(parts.judges) == ["boxes", "boxes-2"] and parts.shadow_ns == 2_500_000_000
    without = stream_parts(StreamConfig(**asked), device, clock)
    assert without.judges == {} and without.shadow_ns == 0


def test_a_model_found_below_its_floors_is_loaded_in_fp32_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember([Finding("mask/person", "openvino bf16", "IoU of masks 0.9 is below the floor of 0.97", 0.9, 1.0, "x")])
    clock = MonotonicClock()
    parts = stream_parts(StreamConfig(source="test:", recognize=["mask/person"]), CpuDevice(clock, 2), clock)
    [load] = parts.load_stages
    loaded = load()
    assert loaded.stage.variant == "openvino fp32"
    assert "mask: mask/person is not in the ladder: IoU of masks 0.9 is below the floor of 0.97" in caplog.text
    loaded.close()
