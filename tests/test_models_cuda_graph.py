"""Graphs for each shape: what is captured, what is replayed, and that there are few of them. Real ones need a GPU."""

import numpy as np
import pytest
import torch

from models.base import Target
from models.cuda_graph import GraphedModule
from models.person_mask import NETWORK as MASK
from models.runner import open_runner
from models.shape_cache import KEPT_AT_MOST
from models.style import NETWORK as STYLE


class FakeGraph:
    """Stands for a captured graph on a CPU: reads and writes the same tensors at every replay."""

    def __init__(self, module, inputs):
        self.inputs = tuple(one.clone() for one in inputs)
        self.outputs = module(*self.inputs)
        self._module = module
        self.replays = 0

    def replay(self):
        self.replays += 1
        self.outputs.copy_(self._module(*self.inputs))


class Capture:
    def __init__(self):
        self.graphs = []

    def __call__(self, module, inputs):
        self.graphs.append(FakeGraph(module, inputs))
        return self.graphs[-1]


def test_shape_is_captured_once_and_replayed_with_new_numbers():
    capture = Capture()
    doubled = GraphedModule(lambda x: x * 2, capture)
    assert doubled(torch.tensor([1.0, 2.0])).tolist() == [2.0, 4.0]
    assert doubled(torch.tensor([5.0, 6.0])).tolist() == [10.0, 12.0]
    assert [graph.replays for graph in capture.graphs] == [2]


def test_output_is_the_graphs_own_tensor():
    doubled = GraphedModule(lambda x: x * 2, Capture())
    first = doubled(torch.tensor([1.0]))
    assert doubled(torch.tensor([3.0])) is first


def test_every_input_is_copied():
    added = GraphedModule(lambda x, y: x + y, Capture())
    added(torch.tensor([1.0]), torch.tensor([1.0]))
    assert added(torch.tensor([1.0]), torch.tensor([9.0])).tolist() == [10.0]


def test_graphs_are_bounded_and_a_dropped_one_is_captured_again():
    capture = Capture()
    same = GraphedModule(lambda x: x * 1, capture)
    for length in range(1, KEPT_AT_MOST + 2):
        same(torch.zeros(length))
    assert len(capture.graphs) == KEPT_AT_MOST + 1
    same(torch.zeros(2))  # still there
    assert len(capture.graphs) == KEPT_AT_MOST + 1
    same(torch.zeros(1))  # the oldest was let go
    assert len(capture.graphs) == KEPT_AT_MOST + 2


def test_inputs_of_a_call_are_not_kept_alive():
    import weakref

    same = GraphedModule(lambda x: x * 1, Capture())
    given = torch.zeros(3)
    gone = weakref.ref(given)
    same(given)
    del given
    assert gone() is None


@pytest.mark.gpu
def test_cuda_graph_agrees_with_eager_at_several_shapes():
    weights = np.eye(26, dtype=np.float32)[0]
    graphed = open_runner(STYLE, Target("cuda:0"), "cudagraph", "fp32")
    eager = open_runner(STYLE, Target("cuda:0"), "torch", "fp32")
    pictures = np.random.default_rng(0).integers(0, 255, (2, 1, 64, 96, 3), np.uint8)
    for picture in (pictures[0], pictures[1], pictures[0][:, :32], pictures[1]):
        (got,), (expected,) = graphed(picture, weights), eager(picture, weights)
        assert np.abs(got.astype(int) - expected).max() <= 1


@pytest.mark.gpu
def test_capture_beside_another_lane_that_allocates():
    """The other lane's allocations must not break a capture; in torch's default mode they do."""
    import threading

    stop = threading.Event()

    def allocate():
        with torch.cuda.stream(torch.cuda.Stream()):
            while not stop.is_set():
                torch.empty(1 << 22, device="cuda").zero_()
                torch.cuda.empty_cache()

    lane = threading.Thread(target=allocate, daemon=True)
    lane.start()
    try:
        graphed = open_runner(MASK, Target("cuda:0"), "cudagraph")
        assert graphed(np.zeros((1, 256, 256, 3), np.uint8))[0].shape == (1, 256, 256, 1)
    finally:
        stop.set()
        lane.join(10)
    assert not lane.is_alive()
