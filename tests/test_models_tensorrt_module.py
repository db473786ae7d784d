"""Engines for each shape, and what is said when there is none. Real ones need a GPU and torch_tensorrt."""

import numpy as np
import pytest
import torch
from torch import nn

from models.base import Target
from models.runner import open_runner
from models.shape_cache import KEPT_AT_MOST
from models.tensorrt_module import TensorRtModule
from stream.errors import ModelError


class Compiler:
    """Stands for torch_tensorrt.compile."""

    def __init__(self):
        self.inputs = []

    def __call__(self, module, ir, inputs, **settings):
        self.inputs.append([tuple(one.shape) for one in inputs])
        return module


def test_engine_is_built_once_for_a_shape():
    compiler = Compiler()
    run = TensorRtModule(nn.ReLU(), compiler)
    for length in (2, 2, 3):
        assert run(-torch.ones(length)).sum() == 0
    assert compiler.inputs == [[(2,)], [(3,)]]


def test_engines_are_bounded():
    compiler = Compiler()
    run = TensorRtModule(nn.ReLU(), compiler)
    for length in [*range(1, KEPT_AT_MOST + 2), 1]:
        run(torch.ones(length))
    assert len(compiler.inputs) == KEPT_AT_MOST + 2


def test_engine_that_cannot_be_built_is_one_line():
    def fail(*args, **kwargs):
        raise RuntimeError("no converter for aten.foo\nmany more lines")

    with pytest.raises(ModelError, match=r"^backend=tensorrt: no engine for shapes .*aten\.foo; say backend=torch$"):
        TensorRtModule(nn.ReLU(), fail)(torch.ones(2))


def test_memory_that_ran_out_is_left_to_the_device():
    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        TensorRtModule(nn.ReLU(), fail)(torch.ones(2))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_agrees_with_the_reference(precision):
    pytest.importorskip("torch_tensorrt")
    from models.person_mask import NETWORK
    from tests.golden import picture

    shown = np.ascontiguousarray(picture("astronaut")[:256, :256])[None]
    (got,) = open_runner(NETWORK, Target("cuda:0"), "tensorrt", precision)(shown)
    (expected,) = open_runner(NETWORK, Target("cpu", 1), "torch", "fp32")(shown)
    assert np.abs(got.astype(int) - expected).mean() < 2
