"""Replay a network as a CUDA graph: one launch for all of its kernels, for each shape of its inputs.

A small network's kernels are shorter than the time a processor takes to launch them; a graph is launched at once
(https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from models.shape_cache import ShapeCache

Outputs = Tensor | tuple[Tensor, ...]
WARM_RUNS = (
    3  # before the capture, on a stream aside: cuDNN chooses its algorithms and allocates then (torch's own number)
)


class Replay(Protocol):
    """A captured graph with the tensors it reads and writes."""

    inputs: tuple[Tensor, ...]  # static: what is to be computed is copied here
    outputs: Outputs  # static: overwritten by the next replay

    def replay(self) -> None:
        """Launch it on the current stream; returns before it has run."""
        ...


class CapturedGraph:
    """A graph on one GPU. Made on the thread and the stream that will replay it."""

    def __init__(self, module: Callable[..., Outputs], inputs: tuple[Tensor, ...]) -> None:
        """Run `module` a few times, then capture it. Waits for the device once (torch does, before a capture)."""
        self.inputs = tuple(torch.empty_like(one).copy_(one) for one in inputs)
        current, aside = torch.cuda.current_stream(inputs[0].device), torch.cuda.Stream(inputs[0].device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(WARM_RUNS):
                module(*self.inputs)
        current.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: the other lane may allocate meanwhile, which in the default mode would break this capture
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self.outputs = module(*self.inputs)

    def replay(self) -> None:
        """Launch it on the current stream."""
        self._graph.replay()


class GraphedModule:
    """A module that is captured when a shape is new and replayed from then on. Outputs last until the next call."""

    def __init__(
        self,
        module: Callable[..., Outputs],
        capture: Callable[[Callable[..., Outputs], tuple[Tensor, ...]], Replay] = CapturedGraph,
    ) -> None:
        """Capture nothing yet. `capture` is there for tests without a GPU."""
        self._given: tuple[Tensor, ...] = ()  # inputs of the call at hand; a capture needs them
        self._graphs: ShapeCache[Replay] = ShapeCache(lambda shapes: capture(module, self._given))

    def __call__(self, *inputs: Tensor) -> Outputs:
        """Copy the inputs to where the graph reads them, and replay it."""
        self._given = inputs
        graph = self._graphs.get(tuple(tuple(one.shape) for one in inputs))
        self._given = ()
        for static, given in zip(graph.inputs, inputs, strict=True):
            static.copy_(given, non_blocking=True)
        graph.replay()
        return graph.outputs
