"""From the decoder to the packet, no array as large as a picture is made once the pools are warm."""

import resource
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from models.base import Target
from models.registry import load
from stream.address import sample_clip
from stream.clock import VirtualClock
from stream.compose import Composer
from stream.convert import Converter
from stream.encoder import EncoderSettings, VideoEncoder
from stream.fit import fit
from stream.frame import Frame
from stream.intake import Intake, Wish
from stream.pool import BufferPool
from stream.results import Results
from stream.trace import Trace

WARM_FRAMES = 25
FRAMES = 100


@dataclass
class Way:
    """A stream's way from packet to packet, on one thread; the models are stand-ins that own their result."""

    wish: Wish
    is_background: bool = True
    boxed: bool = False
    is_generated: bool = True
    pool: BufferPool = field(default_factory=BufferPool)

    def __post_init__(self) -> None:
        self.frames: list[Frame] = []
        self.intake = Intake("s", VirtualClock(), self.frames.append, self.wish, pool=self.pool)
        self.converter = Converter(self.pool)
        boxing = frozenset({"boxes"} if self.boxed else ())
        self.composer = Composer(self.is_background, boxing, self.pool)
        self.encoder: VideoEncoder | None = None
        self.packets = 0
        self.shown: Any = None

    def take(self, decoded: av.VideoFrame, number: int) -> None:
        """Bring one decoded picture to packets."""
        size = (decoded.width, decoded.height)
        self.intake.picture(number * 3000, number, size, 1, lambda size: self.converter.picture(decoded, size))
        frame = self.frames.pop()
        self._recognize(frame)
        if self.is_generated:
            frame.generated = self._paint(frame.image)
        self.shown = self.composer.compose(frame)
        height, width = self.shown.shape[:2]
        self.encoder = self.encoder or VideoEncoder(EncoderSettings("H264", width, height, 30, 1_000_000), self.pool)
        self.packets += len(self.encoder.encode(self.shown, number * 3000, is_keyframe=False))

    def _paint(self, image: np.ndarray) -> np.ndarray:
        painted = self.pool.take(image.shape)
        np.subtract(255, image, out=painted)
        return painted

    def _recognize(self, frame: Frame) -> None:
        mask = self.pool.take(frame.image.shape[:2])
        mask[:] = 255
        frame.results["mask"] = Results(mask=mask)
        if self.boxed:
            box = np.array([[40, 40, 200, 160]], np.float32)
            frame.results["boxes"] = Results(box, np.ones(1, np.float32), np.zeros(1, np.int64), ("person",))


def pictures() -> Iterator[av.VideoFrame]:
    while True:
        with av.open(sample_clip().target) as container:
            yield from container.decode(video=0)


def large_steps(take: Callable[[av.VideoFrame, int], None], least_bytes: int, frames: int = FRAMES) -> list[int]:
    """Return the numbers of the frames during which numpy or cv2 asked for memory of a picture's size.

    What the last frame left is still held, so whatever a frame makes comes on top.
    """
    every, found = pictures(), []
    tracemalloc.start(1)
    try:
        for number in range(WARM_FRAMES + frames):
            decoded = next(every)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            take(decoded, number)
            _, peak = tracemalloc.get_traced_memory()
            if number >= WARM_FRAMES and peak - before >= least_bytes:
                found.append(number)
    finally:
        tracemalloc.stop()
    return found


WAYS = {
    "as it comes": {"wish": Wish(None, False, None)},
    "shrunk": {"wish": Wish((320, 180), False, None)},
    "rows that FFmpeg pads": {"wish": Wish((300, 300), False, None)},
    "in a black frame": {"wish": Wish((400, 400), True, None)},
    "boxes and a mask": {"wish": Wish(None, False, None), "boxed": True},
    "dimmed": {"wish": Wish(None, False, None), "is_background": False, "is_generated": False},
    "drawn on the camera's picture": {"wish": Wish(None, False, None), "boxed": True, "is_background": False},
}


@pytest.mark.parametrize("case", WAYS, ids=str)
def test_no_picture_is_allocated_once_the_pools_are_warm(case: str) -> None:
    way = Way(**WAYS[case])
    way.composer.warm()
    height, width = fit(640, 360, way.wish.max_size, exact=way.wish.exact).work[::-1]
    assert large_steps(way.take, height * width) == []
    assert way.packets == WARM_FRAMES + FRAMES
    counts = way.pool.counts()
    assert counts.misses <= 16
    assert counts.outstanding <= 6


@pytest.mark.slow
@pytest.mark.parametrize("style", ["style", "style:scale=0.75", "style:strength=0.6"])
def test_the_real_models_of_the_flagship_picture_allocate_none_either(style: str) -> None:
    """Person mask and style by OpenVINO; its own buffers are of a compiled network, and made once."""
    way = Way(Wish(None, False, None))
    mask, painter = load("mask/person", Target("cpu", 1)), load(style, Target("cpu", 2))
    for model in (mask, painter):
        model.warm(360, 640)
    way._recognize = lambda frame: frame.results.update(mask=mask(frame.image))  # type: ignore[method-assign]
    way._paint = painter  # type: ignore[method-assign, assignment]
    for number, decoded in zip(range(5), pictures(), strict=False):  # before memory is traced, which slows it
        way.take(decoded, number)
    assert large_steps(lambda decoded, number: way.take(decoded, number + 5), 360 * 640, frames=15) == []


def test_the_count_sees_a_single_mask() -> None:
    """The test above would see one array of a byte a pixel; and what frees first hides nothing."""
    way = Way(Wish(None, False, None))

    def wasteful(decoded: av.VideoFrame, number: int) -> None:
        way.take(decoded, number)
        if number == WARM_FRAMES + 7:
            way.shown = None
            np.zeros((360, 640), np.uint8)

    assert large_steps(wasteful, 360 * 640) == [WARM_FRAMES + 7]


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults of one thread")
def test_no_fresh_memory_is_mapped_per_frame_by_ffmpeg_either() -> None:
    """tracemalloc does not see FFmpeg's own memory; a fresh rgb picture of 640x360 costs 169 page faults."""
    way, every = Way(Wish(None, False, None)), pictures()
    for number in range(WARM_FRAMES):
        way.take(next(every), number)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for number in range(WARM_FRAMES, WARM_FRAMES + FRAMES):
        way.take(next(every), number)
    assert (resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before) / FRAMES < 100


def test_what_a_viewer_or_a_result_holds_is_never_overwritten() -> None:
    way, every, kept = Way(Wish(None, False, None)), pictures(), []
    for number in range(60):
        way.take(next(every), number)
        if number % 7 == 0:
            kept.append((way.shown[10:90], way.shown[10:90].tobytes()))
    assert all(shown.tobytes() == content for shown, content in kept)


def test_a_frame_with_nothing_to_draw_is_not_copied() -> None:
    frame = Frame("s", 0, 0, Fraction(1, 90_000), 0, np.zeros((4, 8, 3), np.uint8), (4, 8), Trace(0))
    pool = BufferPool()
    assert Composer(pool=pool).compose(frame) is frame.image
    assert pool.counts().misses == 0
