import json
from pathlib import Path
from typing import Any

import pytest

from stream.budget import CostKey, CostModel
from stream.coststore import KEPT_AT_MOST, SCHEMA_VERSION, load_costs, save_costs

MACHINE = "CPU, 2 cores; openvino 2025.3"
KEY = CostKey("style", "bf16", 360, 640, "cpu")
BATCH = CostKey("style", "bf16", 360, 640, "cpu", 4)
ENTRY = {"key": {"stage": "style", "variant": "", "height": 4, "width": 8, "device": "cpu", "batch": 1}, "cost_ns": 7}


def write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION, "machine": MACHINE, "costs": [ENTRY]} | changes))
    return path


def test_what_was_saved_is_the_prior_of_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "costs.json"
    save_costs(path, MACHINE, {KEY: 20, BATCH: 50})
    costs = CostModel()
    assert load_costs(path, MACHINE, costs) == 2
    assert (costs.predict_ns(KEY), costs.predict_ns(BATCH)) == (20, 50)
    assert costs.priors() == {KEY: 20, BATCH: 50}
    assert list(path.parent.iterdir()) == [path]


def test_saving_again_replaces_and_leaves_streams_own_times_out(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    save_costs(path, MACHINE, {KEY: 20})
    others = {CostKey(stage, "front door", 0, 0, ""): 5 for stage in ("tail", "wait")}
    save_costs(path, MACHINE, {KEY: 30} | others)
    costs = CostModel()
    load_costs(path, MACHINE, costs)
    assert costs.priors() == {KEY: 30}


def test_no_more_than_the_newest_are_kept(tmp_path: Path) -> None:
    path, many = tmp_path / "costs.json", KEPT_AT_MOST + 3
    keys = {CostKey("style", str(index), 4, 8, "cpu"): index + 1 for index in range(many)}
    tails = {CostKey("tail", str(index), 0, 0, ""): 1 for index in range(50)}  # these take no places
    save_costs(path, MACHINE, keys | tails)
    costs = CostModel()
    assert load_costs(path, MACHINE, costs) == KEPT_AT_MOST
    assert costs.predict_ns(CostKey("style", str(many - 1), 4, 8, "cpu")) == many
    assert costs.predict_ns(CostKey("style", "0", 4, 8, "cpu")) == 0


@pytest.mark.parametrize("changes", [{"machine": "CUDA"}, {"schema_version": SCHEMA_VERSION + 1}])
def test_costs_of_another_machine_or_schema_say_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    costs = CostModel()
    assert load_costs(write(tmp_path / "costs.json", **changes), MACHINE, costs) == 0
    assert costs.priors() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '"costs"',
        "{}",
        "\x00\xff",
        "[" * 100_000,
        json.dumps({"schema_version": SCHEMA_VERSION, "machine": MACHINE}),
    ],
)
def test_a_damaged_file_is_as_none_and_says_so(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    path, costs = tmp_path / "costs.json", CostModel()
    path.write_text(text, "latin-1")
    assert load_costs(path, MACHINE, costs) == 0
    assert "measured anew" in caplog.text


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY | {"cost_ns": float("inf")},
        ENTRY | {"cost_ns": float("nan")},
        ENTRY | {"cost_ns": -5},
        ENTRY | {"cost_ns": 0},
        ENTRY | {"cost_ns": "7"},
        ENTRY | {"key": {"stage": "style"}},
        ENTRY | {"key": ENTRY["key"] | {"stage": []}},  # type: ignore[operator]
        ENTRY | {"key": ENTRY["key"] | {"height": "4"}},  # type: ignore[operator]
        ENTRY | {"key": ENTRY["key"] | {"colour": 1}},  # type: ignore[operator]
        {},
        None,
    ],
)
def test_one_bad_entry_makes_the_file_none_and_gives_nothing(
    tmp_path: Path, entry: Any, caplog: pytest.LogCaptureFixture
) -> None:
    costs = CostModel()
    assert load_costs(write(tmp_path / "costs.json", costs=[ENTRY, entry]), MACHINE, costs) == 0
    assert costs.priors() == {}
    assert "measured anew" in caplog.text


def test_no_file_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_costs(tmp_path / "none.json", MACHINE, CostModel()) == 0
    assert caplog.text == ""


def test_a_folder_in_its_place_is_a_warning_and_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "costs.json"
    path.mkdir()
    assert load_costs(path, MACHINE, CostModel()) == 0
    save_costs(path, MACHINE, {KEY: 20})
    assert "cannot be kept" in caplog.text
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    save_costs(tmp_path / "file" / "costs.json", MACHINE, {KEY: 20})
    assert "cannot be kept" in caplog.text
