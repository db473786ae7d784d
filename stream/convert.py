"""From a decoded picture to what models and viewers see: uint8 rgb, upright, at the working size."""

import cv2
from av import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from stream.frame import Picture
from stream.pool import BufferPool

UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
HD_HEIGHT_PX = 720  # untagged video: BT.601 below, BT.709 from here on, as players assume


class Converter:
    """Scale, convert colours and turn pictures, in one swscale pass. One thread at a time.

    Measured on the 2-core reference machine, one swscale thread, to 640x360 rgb (ms):
                     from 640x360  1280x720  1920x1080
        AREA             0.28        1.03       1.52     no aliasing when shrinking: used then
        FAST_BILINEAR    0.42        1.01       0.88     samples every third pixel of 1080p: edges flicker
        BILINEAR         0.28        1.17       2.04     used for enlarging
        BICUBIC          0.28        1.66       5.18
    More swscale threads won at most 0.6 ms, and take a core from the models.

    The picture is a view of FFmpeg's own frame unless its rows are padded, it is turned, or a GPU will read it:
    then it comes from `pool`.
    """

    def __init__(self, pool: BufferPool | None = None) -> None:
        self._scaler = VideoReformatter()
        self._pool = pool or BufferPool()

    def picture(self, frame: VideoFrame, size: tuple[int, int]) -> Picture:
        """Return the picture upright at `size` (width, height), [H,W,3] uint8 rgb, C-contiguous."""
        turns = quarter_turns(frame)
        width, height = size if turns % 2 == 0 else size[::-1]
        shrinks = width < frame.width or height < frame.height
        scaled = self._scaler.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=_matrix(frame),
            interpolation=Interpolation.AREA if shrinks else Interpolation.BILINEAR,
            threads=1,
        )
        picture: Picture = scaled.to_ndarray()  # type: ignore[assignment]  # rgb24 is uint8
        if not turns and picture.flags.c_contiguous and not self._pool.is_locked:
            return picture
        upright: Picture = self._pool.take((*size[::-1], 3))
        if turns:
            cv2.rotate(picture, TURNS[turns], dst=upright)
        else:
            upright[:] = picture
        return upright


def quarter_turns(frame: VideoFrame) -> int:
    """Return how many quarter turns counterclockwise make the picture upright, 0 to 3."""
    return round(frame.rotation / 90) % 4


def upright_size(frame: VideoFrame) -> tuple[int, int]:
    """Return (width, height) of the picture once it is upright."""
    return (frame.width, frame.height) if quarter_turns(frame) % 2 == 0 else (frame.height, frame.width)


def _matrix(frame: VideoFrame) -> int | None:
    """Return the colour matrix to assume; None to believe the picture's own tag."""
    is_yuv = not frame.format.is_rgb
    if is_yuv and frame.colorspace == UNSPECIFIED and min(frame.width, frame.height) >= HD_HEIGHT_PX:
        return Colorspace.ITU709
    return None
