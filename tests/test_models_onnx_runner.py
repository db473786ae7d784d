"""ONNX Runtime against the reference, and its graphs in the cache. Each export takes seconds, so the mask network."""

import numpy as np
import pytest

from models import onnx_runner
from models.base import Target
from models.classify import NETWORK as CLASSIFY
from models.onnx_runner import OnnxRunner
from models.person_mask import NETWORK as MASK
from models.runner import open_runner
from models.style import NETWORK as STYLE
from stream.errors import ModelError
from tests.golden import middle_of, picture

CPU = Target("cpu", 1)
SHOWN = np.ascontiguousarray(picture("astronaut")[:256, :256])[None]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "livelens" / "graphs"


@pytest.mark.slow
def test_it_agrees_with_the_reference_and_is_exported_once(empty_cache, monkeypatch):
    (got,) = open_runner(MASK, CPU, "onnxruntime")(SHOWN)
    (expected,) = open_runner(MASK, CPU, "torch")(SHOWN)
    assert np.abs(got.astype(int) - expected).max() <= 1
    (kept,) = empty_cache.iterdir()

    def refuse(*args):
        raise AssertionError("exported again")

    monkeypatch.setattr(onnx_runner, "export", refuse)
    again = OnnxRunner(MASK, CPU)
    assert again.variant == "onnxruntime fp32"
    assert np.array_equal(again(SHOWN)[0], got)
    again.close()
    with pytest.raises(ModelError, match="after close"):
        again(SHOWN)
    with pytest.raises(ModelError, match=r"expected input shapes .*256.*got .*128"):
        OnnxRunner(MASK, CPU)(SHOWN[:, :128])
    (kept / onnx_runner.FILE).write_bytes(b"cut off")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_cache.parent.parent))
    assert OnnxRunner(MASK, CPU)(SHOWN)[0].shape == (1, 256, 256, 1)


@pytest.mark.slow
def test_sizes_of_a_network_that_takes_any_are_free(empty_cache):
    weights = np.eye(26, dtype=np.float32)[12]
    onnx, reference = open_runner(STYLE, CPU, "onnxruntime"), open_runner(STYLE, CPU, "torch")
    for height, width in ((32, 48), (64, 40)):
        shown = np.ascontiguousarray(picture("street")[None, :height, :width])
        difference = np.abs(onnx(shown, weights)[0].astype(int) - reference(shown, weights)[0])
        assert difference.max() <= 1


def test_cuda_without_its_provider_says_what_to_install(monkeypatch):
    monkeypatch.setattr(onnx_runner.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        OnnxRunner(MASK, Target("cuda:0"))


def test_missing_exporter_is_named(empty_cache, monkeypatch):
    monkeypatch.setattr(onnx_runner.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ModelError, match=r"onnxscript, not installed: pip install 'livelens\[onnx\]'"):
        OnnxRunner(MASK, CPU)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_cuda_agrees_with_the_reference(precision):
    shown = middle_of("coffee")[None]
    (got,) = open_runner(CLASSIFY, Target("cuda:0"), "onnxruntime", precision)(shown)
    (expected,) = open_runner(CLASSIFY, CPU, "torch")(shown)
    assert got[0].argmax() == expected[0].argmax()
