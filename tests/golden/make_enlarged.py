"""Have ncnn enlarge a piece of a picture with the original files -> enlarged.npz. Needs `ncnn` (PyPI).

Run: python -m tests.golden.make_enlarged FOLDER_WITH_realesr-animevideov3-x4.bin_AND_.param
"""

import sys

import numpy as np

from tests.golden import FOLDER, picture

PIECE = (slice(60, 92), slice(100, 148))  # of the astronaut: eye and hair


def main() -> None:
    import ncnn

    net = ncnn.Net()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    base = f"{sys.argv[1]}/realesr-animevideov3-x4"
    if net.load_param(f"{base}.param") or net.load_model(f"{base}.bin"):
        sys.exit(f"{base}.param or .bin cannot be read")
    piece = np.ascontiguousarray(picture("astronaut")[PIECE].astype(np.float32).transpose(2, 0, 1) / 255)
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(piece).clone())  # a Mat only points to the array
    _, answer = extractor.extract("output")
    enlarged = np.array(answer)
    if not np.abs(enlarged).max() < 2:
        sys.exit(f"expected a picture of 0..1, got values up to {np.abs(enlarged).max()}")
    np.savez_compressed(FOLDER / "enlarged.npz", enlarged=enlarged.astype(np.float16))


if __name__ == "__main__":
    main()
