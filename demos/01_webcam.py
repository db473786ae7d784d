"""Your webcam as a painting behind you, in the browser.

You will see: yourself as you are, everything behind you painted, a corner around each thing that is
recognised, and beside the picture how many milliseconds each step took against the budget.

    python demos/01_webcam.py                    the first camera; without one, the sample clip
    python demos/01_webcam.py --style style/12   another painter
    python demos/01_webcam.py --source camera:1
"""

import argparse
import logging

from stream.address import sample_clip
from stream.app import run
from stream.camera import first_camera
from stream.config import ServeConfig, StreamConfig


def main() -> int:
    """Serve until Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=(first_camera() or sample_clip()).address)
    parser.add_argument("--style", default="style")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    stream = StreamConfig(
        name="webcam",
        source=given.source,
        recognize=["mask/person", "boxes/coco"],
        generate=f"{given.style}:where=background",
        budget_ms=150,
    )
    return run(ServeConfig(streams=[stream], port=given.port))


if __name__ == "__main__":
    raise SystemExit(main())
