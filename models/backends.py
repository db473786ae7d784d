"""What may run a network: the backends by name, the number formats they take, and whether they are here."""

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to run a network.

    package     the module that must be importable
    install     the command that brings it
    devices     kinds of device it runs on: "cpu", "cuda", "mps", "xpu"
    precisions  number formats it takes on every device; the first is the reference's
    summary     what it is
    cuda_only   number formats it takes on CUDA besides
    layouts     whether the order of a picture's numbers in memory may be chosen
    """

    name: str
    package: str
    install: str
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    summary: str
    cuda_only: tuple[str, ...] = ()
    layouts: bool = False

    def takes(self, kind: str) -> tuple[str, ...]:
        """Return the number formats it takes on a kind of device."""
        return self.precisions + (self.cuda_only if kind == "cuda" else ())


PRECISIONS = ("fp32", "bf16", "fp16", "int8")
LAYOUTS = ("channels_first", "channels_last")
TORCH_DEVICES = ("cpu", "cuda", "mps", "xpu")
_FLOATS = ("fp32", "bf16", "fp16")
_TORCH = "pip install torch"
BACKENDS: tuple[Backend, ...] = (
    Backend("torch", "torch", _TORCH, TORCH_DEVICES, _FLOATS, "torch eager; the reference", ("int8",), True),
    Backend("compile", "torch", _TORCH, ("cpu", "cuda"), _FLOATS, "torch.compile (inductor)", ("int8",), True),
    Backend("cudagraph", "torch", _TORCH, ("cuda",), _FLOATS, "a CUDA graph for each shape", (), True),
    Backend("openvino", "openvino", "pip install openvino", ("cpu",), PRECISIONS, "OpenVINO"),
    Backend(
        "onnxruntime",
        "onnxruntime",
        "pip install 'livelens[onnx]'",
        ("cpu", "cuda"),
        ("fp32",),
        "ONNX Runtime",
        ("fp16",),
    ),
    Backend(
        "tensorrt",
        "torch_tensorrt",
        "pip install torch-tensorrt",
        ("cuda",),
        ("fp32", "fp16"),
        "TensorRT by way of torch",
    ),
)
BY_NAME = {backend.name: backend for backend in BACKENDS}


def device_kind(device: str) -> str:
    """Return "cuda" of "cuda:1"."""
    return device.partition(":")[0]


def missing(backend: Backend, device: str) -> str | None:
    """Return why a backend cannot be used for `device` here, with what to do; None when it can."""
    kind = device_kind(device)
    if kind not in backend.devices:
        return f"{backend.name} runs on {' or '.join(backend.devices)}, not on {kind}"
    if importlib.util.find_spec(backend.package) is None:
        return f"{backend.name} is not installed: {backend.install}"
    return None
