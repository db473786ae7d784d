"""Steadiness in time: mix into each painting the one before, moved along with what moved in the picture.

A network that paints each picture by itself lets strokes tremble with the camera's noise. Here the motion from the
previous picture to this one is estimated on small copies (DIS optical flow: Kroeger et al. 2016, arXiv 1603.03590), the
previous painting is moved by it, and a share of it is mixed in where the two pictures agree (Ruder et al. 2016, arXiv
1604.08610, section 4, blends the same way but inside an optimisation). Where they do not agree (something was
uncovered, the light changed, the flow is wrong) the new painting is shown as it is, so nothing is left behind.

What it gains and costs is in docs/steadiness.md.
"""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.clock import NS_PER_S, Clock, MonotonicClock
from stream.frame import Picture

Map = NDArray[np.float32]
Numbers = TypeVar("Numbers", np.uint8, np.float32)

SMALL_PX = 160  # longer side of the pictures that motion is looked for in: at 640x360 a quarter, 0.1 ms of flow
LEAST_PX = 64  # shorter side of the same: at 24x160 OpenCV 5.0 crashes, its coarsest pictures are smaller than a patch
SURE, LOST = 3.0, 9.0  # difference, of 255 on the small pictures, up to which history counts in full, and not at all
STILL = 0.25  # a moved picture must fit better than the unmoved one by this: else what stands still would swim
SHARE_AT_MOST = 0.8  # of the previous painting, at steady=1; the rest is what lets slow changes come through
CUT_SHARE = 0.35  # agreement of the whole picture below which it is another scene
GAP_NS = NS_PER_S // 2  # after which a painting is too old to be mixed in


class Steady:
    """Remembers the last picture and painting of one stream. One thread at a time."""

    def __init__(self, amount: float, clock: Clock | None = None) -> None:
        """Take `amount` 0..1: how much of the previous painting is kept."""
        self._share = amount * SHARE_AT_MOST
        self._clock = clock or MonotonicClock()
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setUseSpatialPropagation(True)
        self._painting: Picture | None = None  # the last one given back; None before the first and after a reset
        self._small: Picture | None = None  # its picture, small
        self._at_ns = 0  # when that was

    def __call__(self, image: Picture, painting: Picture) -> Picture:
        """Return the painting made steadier; the first of a scene as it is. Both `[H,W,3] uint8` of one size.

        What is returned belongs to the caller.
        """
        small = shrink(image)
        before, self._small = self._small, small
        last, now_ns = self._painting, self._clock.now_ns()
        is_gap, self._at_ns = now_ns - self._at_ns > GAP_NS, now_ns
        shown = painting
        if before is not None and last is not None and not is_gap and last.shape == painting.shape:
            flow, trust = self._motion(small, before)
            if float(trust.mean()) >= CUT_SHARE:
                shown = self._mixed(painting, last, flow, trust * np.float32(self._share))
        self._painting = shown.copy()  # people draw on what they are given
        return shown

    def reset(self) -> None:
        """Forget the last painting."""
        self._painting = self._small = None

    def _motion(self, small: Picture, before: Picture) -> tuple[Map | None, Map]:
        """Return where each small pixel was, `[h,w,2]` px (None: nothing moved), and how far to believe it, 0..1."""
        grey, grey_before = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (small, before))
        flow = np.asarray(self._flow.calc(grey, grey_before, np.empty(0)), np.float32)
        still = difference(small, before)
        moved = difference(small, warped(before, flow))
        stays = moved > still - STILL
        flow[stays] = 0
        error = np.where(stays, still, moved)
        # the worst of the neighbours decides: a small pixel is 4 px wide, and an edge passes between two of them
        worst = cv2.dilate(error, np.ones((3, 3), np.uint8))
        trust = np.clip((LOST - worst) * np.float32(1 / (LOST - SURE)), 0, 1).astype(np.float32)
        return (None if stays.all() else flow), trust

    def _mixed(self, painting: Picture, last: Picture, flow: Map | None, share: Map) -> Picture:
        height, width = painting.shape[:2]
        if flow is not None:
            last = warped(last, self._enlarged(flow, height, width))
        keep = cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.blendLinear(last, painting, keep, 1 - keep), np.uint8)

    def _enlarged(self, flow: Map, height: int, width: int) -> Map:
        scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
        return np.asarray(cv2.resize(flow * scale, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def shrink(image: Picture) -> Picture:
    """Return the picture with a longer side of SMALL_PX at most and a shorter one of LEAST_PX at least."""
    height, width = image.shape[:2]
    scale = min(SMALL_PX / max(height, width), 1.0)
    size = max(round(width * scale), LEAST_PX), max(round(height * scale), LEAST_PX)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def difference(one: Picture, other: Picture) -> Map:
    """Return the mean difference of the channels over 3x3 pixels, `[H,W] float 0..255`: noise averages out."""
    apart = cv2.absdiff(one, other).astype(np.float32)
    return np.asarray(cv2.blur(cv2.transform(apart, np.full((1, 3), 1 / 3, np.float32)), (3, 3)), np.float32)


def warped(image: NDArray[Numbers], flow: Map) -> NDArray[Numbers]:
    """Return `image` sampled at each pixel plus its flow `[H,W,2]` px (x, y); the edge is repeated."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    where = flow + np.dstack([columns, rows])
    # bicubic keeps more of a pan's sharpness (0.61 instead of 0.58) and takes three times as long
    found = cv2.remap(image, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(found, image.dtype)
