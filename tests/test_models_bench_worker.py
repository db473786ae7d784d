"""What one variant's process does, without the process."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from models import bench_worker
from models.base import Kind, Target
from models.bench_worker import Job, Worker, one_line, resident_bytes, weight_bytes
from stream.errors import ModelError

PICTURES = [np.full((4, 6, 3), grey, np.uint8) for grey in (1, 2, 3)]


class Batches:
    """Stands for a loaded model that takes several pictures."""

    variant = "made up"

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.many([image])[0]

    def many(self, images: list[np.ndarray]) -> list[np.ndarray]:
        self.seen.append([int(image[0, 0, 0]) for image in images])
        return images


def worker_with(model: object) -> Worker:
    worker = Worker(Job("made up", Target(), Kind.GENERATE))
    worker._model = model
    worker.take(PICTURES)
    return worker


def test_pictures_take_turns_over_calls_and_batches() -> None:
    model = Batches()
    worker = worker_with(model)
    worker.round(2, 0.0)
    assert model.seen == [[1, 2]], "a round has one call at least"
    worker.prepare(2)
    assert model.seen[1:] == [[3, 1], [2, 3]]


def test_a_round_counts_its_calls_and_pictures() -> None:
    found = worker_with(Batches()).round(3, 0.02)
    took_s = sum(found.calls_ns) / 1e9
    assert len(found.calls_ns) > 1 and min(found.calls_ns) > 0
    assert 0 < found.rate <= 3 * len(found.calls_ns) / took_s


def test_a_batch_that_comes_back_short_is_refused() -> None:
    class Short(Batches):
        def many(self, images: list[np.ndarray]) -> list[np.ndarray]:
            return images[:1]

    with pytest.raises(ModelError, match="expected 3 answers for as many pictures, got 1"):
        worker_with(Short()).prepare(3)


def test_a_model_that_needs_results_is_given_some() -> None:
    class Needy:
        variant, needs = "needy", ("boxes",)

        def __call__(self, image: np.ndarray, results: dict[str, object]) -> list[str]:
            return list(results)

    assert worker_with(Needy()).answers() == [["boxes"]] * 3


def test_weights_are_counted_wherever_a_model_holds_them() -> None:
    class Runner:
        __slots__ = ("_module",)

    class Model:
        def __init__(self) -> None:
            self._runner = Runner()
            self.more = {"list": [nn.Linear(3, 2)]}  # 8 numbers
            self.itself = self

    model = Model()
    model._runner._module = nn.Linear(10, 10, bias=False).half()  # type: ignore[attr-defined]
    assert weight_bytes(model) == 100 * 2 + 8 * 4
    assert weight_bytes(object()) is None


def test_a_model_that_says_what_its_weights_are_is_believed() -> None:
    model = Batches()
    model.weight_bytes = 12  # type: ignore[attr-defined]
    assert weight_bytes(model) == 12


def test_weights_shared_by_two_layers_count_once() -> None:
    pair = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    pair[1].weight = pair[0].weight
    assert weight_bytes([pair]) == 64


def test_resident_memory_is_read_or_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    monkeypatch.setattr(bench_worker, "STATUS", status)
    assert (resident_bytes("VmRSS"), resident_bytes("VmHWM")) == (2**20, 2**21)
    monkeypatch.setattr(bench_worker, "STATUS", tmp_path / "gone")
    assert resident_bytes("VmRSS") is None


def test_an_error_is_one_line() -> None:
    assert one_line(ModelError("a\n b")) == "a b"
    assert one_line(RuntimeError("out of\nmemory")) == "RuntimeError: out of memory"
    assert one_line(MemoryError()) == "MemoryError: MemoryError"
    assert len(one_line(ValueError("x" * 5000))) <= 300
