"""Run a module with TensorRT by way of torch_tensorrt: an engine for each shape of its inputs, built at first sight.

https://docs.pytorch.org/TensorRT/. What TensorRT cannot do stays with torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.cuda_graph import Outputs
from models.shape_cache import ShapeCache, Shapes
from stream.errors import ModelError


class TensorRtModule:
    """Builds an engine (seconds to minutes) when a shape is new. fp16 when the module is in half precision."""

    def __init__(self, module: nn.Module, compile_module: Callable[..., Any] | None = None) -> None:
        """Build nothing yet. `compile_module` stands for `torch_tensorrt.compile`, for tests without a GPU."""
        self._module = module
        self._compile = compile_module or _compiler()
        self._given: tuple[Tensor, ...] = ()  # inputs of the call at hand; an engine is built from them
        self._engines: ShapeCache[Callable[..., Outputs]] = ShapeCache(self._build)

    def __call__(self, *inputs: Tensor) -> Outputs:
        """Run the engine of these shapes. Raises ModelError when it cannot be built."""
        self._given = inputs
        engine = self._engines.get(tuple(tuple(one.shape) for one in inputs))
        self._given = ()
        return engine(*inputs)

    def _build(self, shapes: Shapes) -> Callable[..., Outputs]:
        try:
            engine: Callable[..., Outputs] = self._compile(
                self._module,
                ir="dynamo",
                inputs=[one.clone() for one in self._given],  # as an example: its shape and type hold for the engine
                use_explicit_typing=True,  # the module's own types: fp16 where it was made half
                min_block_size=1,
            )
        except torch.OutOfMemoryError:
            raise  # the device's own business: it frees, and tries smaller
        except Exception as error:  # the compiler raises types of many packages
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"backend=tensorrt: no engine for shapes {shapes}: {line}; say backend=torch") from error
        return engine


def _compiler() -> Callable[..., Any]:
    import torch_tensorrt

    compile_module: Callable[..., Any] = torch_tensorrt.compile
    return compile_module
