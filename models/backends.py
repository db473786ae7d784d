"""What may run a network: the backends by name, the precisions they take, and whether they are here."""

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to run a network.

    package     the module that must be importable
    install     the command that brings it
    devices     kinds of device it runs on: "cpu", "cuda", "mps", "xpu"
    precisions  number formats it takes; the first is the reference's
    """

    name: str
    package: str
    install: str
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    summary: str


TORCH_DEVICES = ("cpu", "cuda", "mps", "xpu")
BACKENDS: tuple[Backend, ...] = (
    Backend(
        "torch", "torch", "pip install torch", TORCH_DEVICES, ("fp32", "bf16", "fp16"), "torch eager; the reference"
    ),
    Backend(
        "compile", "torch", "pip install torch", ("cpu", "cuda"), ("fp32", "bf16", "fp16"), "torch.compile (inductor)"
    ),
    Backend(
        "cudagraph", "torch", "pip install torch", ("cuda",), ("fp32", "bf16", "fp16"), "a CUDA graph for each shape"
    ),
    Backend("openvino", "openvino", "pip install openvino", ("cpu",), ("fp32", "bf16", "fp16", "int8"), "OpenVINO"),
    Backend("onnxruntime", "onnxruntime", "pip install 'livelens[onnx]'", ("cpu", "cuda"), ("fp32",), "ONNX Runtime"),
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
