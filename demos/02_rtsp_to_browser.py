"""An RTSP camera in the browser, with a model of your own beside the built-in ones.

You will see: the camera's picture with boxes around what is recognised, and in the lower left corner
how bright the picture is, found by the ten-line model below. Unplug the camera: the page says so, and
goes on by itself when it is back.

    python demos/02_rtsp_to_browser.py rtsp://user:password@192.168.1.20/stream1
"""

import argparse
import logging

import numpy as np

from stream.app import run
from stream.config import ServeConfig, StreamConfig
from stream.results import Results


class Brightness:
    """Any callable on a picture `[H,W,3] uint8 rgb` is a model; a recogniser returns Results."""

    def __init__(self, dark: str = "60") -> None:
        self._dark = float(dark)  # options arrive as text: NAME:dark=80

    def __call__(self, image: np.ndarray) -> Results:
        level = float(image[::8, ::8].mean())
        name = "dark" if level < self._dark else "bright"
        return Results(classes=((name, level / 255),))


def main() -> int:
    """Serve until Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="rtsp://…, or any other source that livelens serve takes")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    stream = StreamConfig(
        name="camera",
        source=given.address,
        recognize=["boxes/coco", f"{__file__}:Brightness:dark=80"],
        budget_ms=120,
    )
    return run(ServeConfig(streams=[stream], port=given.port))


if __name__ == "__main__":
    raise SystemExit(main())
