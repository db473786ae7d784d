"""One picture of one stream, from capture to the viewer."""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stream.results import Results
from stream.trace import Trace

Picture = NDArray[np.uint8]  # [H,W,3] rgb 0..255


@dataclass(slots=True)
class Frame:
    """A picture with its place in time. Made by a source; one owner at a time, then the next.

    image        [H,W,3] uint8 rgb at the working size; read only (several models may look at once)
    pts          ticks of time_base, strictly increasing within a stream, also over loops and reconnects
    captured_ns  monotonic clock: when the packet arrived, or when its time in a file came
    deadline_ns  captured_ns + budget - measured downstream; set by the pipeline when it takes the frame
    """

    stream: str
    seq: int
    pts: int
    time_base: Fraction
    captured_ns: int
    image: Picture
    source_size: tuple[int, int]  # (height, width) before fitting to the working size
    trace: Trace
    deadline_ns: int = 0
    generated: Picture | None = None  # the generation stage's picture, perhaps enlarged; None when none ran
    results: dict[str, Results] = field(default_factory=dict)  # stage name -> newest fitting results
    result_age_ns: dict[str, int] = field(default_factory=dict)  # stage name -> age, 0 when from this frame

    def age_ns(self, now_ns: int) -> int:
        """Return the time since capture."""
        return now_ns - self.captured_ns
