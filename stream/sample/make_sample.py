"""Make sample.mp4: what a newcomer without a camera sees first.

    python stream/sample/make_sample.py ASTRONAUT.png VTEST.avi sample.mp4

Part A is for person masks and styles: NASA's portrait of Eileen Collins, with a little life in it (the
camera drifts, she sways, tilts her head and breathes; the wall behind moves less than she does). Part B
is for boxes: OpenCV's pedestrians, ten pictures a second brought to thirty along their optical flow.
Each part fades into the other, so the clip loops. NOTICE says where the inputs come from.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

Rgb = NDArray[Any]  # [H,W,3] uint8
Plane = NDArray[Any]  # [H,W] float

SIZE = (640, 360)
FPS = 30
PART = 195  # frames of each part, its fades included
FADE = 15  # frames that two parts share
START_S = 20.4  # into the pedestrians: six people cross, near and far
CROP = (212, 96, 512, 288)  # x, y, width, height of the pedestrians that are shown
NECK = (222.0, 190.0)  # in the portrait: what the head turns about
WAIST = (220.0, 420.0)  # what she sways about


def portrait(path: str) -> Iterator[Rgb]:
    """Yield part A, [360,640,3] uint8 rgb."""
    photo = read_picture(path)
    person = person_mask(photo)
    wall = cv2.inpaint(photo, cv2.dilate((person > 0.02).astype(np.uint8), np.ones((9, 9))), 5, cv2.INPAINT_TELEA)
    wall = cv2.GaussianBlur(wall, (0, 0), 1.2)  # the eye takes a soft wall for depth
    for index in range(PART):
        yield compose(photo, wall, person, index / FPS, ease(index / (PART - 1)))


def compose(photo: Rgb, wall: Rgb, person: Plane, time_s: float, progress: float) -> Rgb:
    """Return one picture: the wall, and the person before it, each seen by the drifting camera."""
    zoom = 1.36 + 0.11 * progress
    centre = (232.0 - 14 * progress, 135.0 - 2 * progress)
    x, y = camera(zoom, centre)
    far_x, far_y = camera(zoom * 0.985, (centre[0] * 0.75 + 232 * 0.25 + 2.5 * wave(time_s, 5.3), centre[1]))
    near_x, near_y = moved(x, y, time_s)
    behind, front, cover = sample(wall, far_x, far_y), sample(photo, near_x, near_y), sample(person, near_x, near_y)
    mixed = behind + (front - behind) * cover[..., None]
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def moved(x: Plane, y: Plane, time_s: float) -> tuple[Plane, Plane]:
    """Return where in the portrait each point of her comes from: swaying, breathing, the head tilting."""
    x, y = turned(x, y, WAIST, 0.9 * wave(time_s, 4.7))
    breath = 1 - 0.006 * wave(time_s, 3.1) * np.clip((y - 190) / 80, 0, 1)
    x, y = WAIST[0] + (x - WAIST[0]) * breath, y
    loose = ease(np.clip((245 - y) / 95, 0, 1))  # 0 at the collar, 1 at the face
    x, y = turned(x, y, NECK, (3.2 * wave(time_s, 3.9, 0.8)) * loose)
    return x + 2.5 * loose * wave(time_s, 3.3, 0.3), y + 1.8 * loose * wave(time_s, 2.6)


def camera(zoom: float, centre: tuple[float, float]) -> tuple[Plane, Plane]:
    """Return the portrait's coordinates of every output pixel; `zoom` is output pixels per portrait pixel."""
    x, y = np.meshgrid(np.arange(SIZE[0], dtype=np.float32), np.arange(SIZE[1], dtype=np.float32))
    return (x - SIZE[0] / 2) / zoom + centre[0], (y - SIZE[1] / 2) / zoom + centre[1]


def turned(x: Plane, y: Plane, about: tuple[float, float], degrees: Any) -> tuple[Plane, Plane]:
    """Return the points turned about one of them; `degrees` may differ from point to point."""
    angle = np.deg2rad(degrees)
    right, down = x - about[0], y - about[1]
    return (
        about[0] + right * np.cos(angle) - down * np.sin(angle),
        about[1] + right * np.sin(angle) + down * np.cos(angle),
    )


def sample(picture: NDArray[Any], x: Plane, y: Plane) -> NDArray[Any]:
    """Return the picture at these coordinates, as float."""
    floats = np.ascontiguousarray(picture, np.float32)
    return np.asarray(
        cv2.remap(floats, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    )


def person_mask(photo: Rgb) -> Plane:
    """Return how much each pixel of the portrait is her, 0 to 1, with a soft edge."""
    guess = np.full(photo.shape[:2], cv2.GC_PR_BGD, np.uint8)
    cv2.ellipse(guess, (228, 95), (88, 98), 0, 0, 360, cv2.GC_PR_FGD, -1)  # head and hair
    cv2.ellipse(guess, (224, 105), (48, 70), 0, 0, 360, cv2.GC_FGD, -1)  # face
    cv2.ellipse(guess, (195, 480), (185, 270), 0, 0, 360, cv2.GC_PR_FGD, -1)  # suit
    cv2.ellipse(guess, (200, 460), (120, 230), 0, 0, 360, cv2.GC_FGD, -1)
    guess[:, 385:] = cv2.GC_BGD  # the model of the shuttle
    guess[:10] = cv2.GC_BGD
    guess[:170, :130] = cv2.GC_BGD  # the flag beside her
    guess[:150, 315:] = cv2.GC_BGD
    cv2.grabCut(photo, guess, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    hard: NDArray[Any] = np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    hard = cv2.morphologyEx(cv2.morphologyEx(hard, cv2.MORPH_OPEN, np.ones((5, 5))), cv2.MORPH_CLOSE, np.ones((9, 9)))
    return np.asarray(cv2.GaussianBlur(hard.astype(np.float32), (0, 0), 1.3))


def pedestrians(path: str) -> Iterator[Rgb]:
    """Yield part B, [360,640,3] uint8 rgb: crops of the video at three times its rate."""
    shots = crops(path)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    before = next(shots)
    count = 0
    for after in shots:
        pairs = ((before, after), (after, before))
        forth, back = (
            flow.calc(grey(one), grey(other), np.zeros((*SIZE[::-1], 2), np.float32)) for one, other in pairs
        )
        for part in range(3):
            yield between(before, after, forth, back, part / 3)
            count += 1
            if count == PART:
                return
        before = after


def crops(path: str) -> Iterator[Rgb]:
    left, top, width, height = CROP
    with av.open(path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index >= START_S * 10:
                picture = frame.to_ndarray(format="rgb24")[top : top + height, left : left + width]
                yield np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def between(before: Rgb, after: Rgb, forth: NDArray[Any], back: NDArray[Any], part: float) -> Rgb:
    """Return the picture at `part` of the way from one to the next, moved along the flow from both sides."""
    if part == 0:
        return before
    x, y = np.meshgrid(np.arange(SIZE[0], dtype=np.float32), np.arange(SIZE[1], dtype=np.float32))
    early = sample(before, x - part * forth[..., 0], y - part * forth[..., 1])
    late = sample(after, x - (1 - part) * back[..., 0], y - (1 - part) * back[..., 1])
    return np.asarray(np.clip(early * (1 - part) + late * part + 0.5, 0, 255), np.uint8)


def joined(first: list[Rgb], second: list[Rgb]) -> list[Rgb]:
    """Return both parts, each faded into the other, the end into the beginning."""
    return [
        *first[FADE:-FADE],
        *faded(first[-FADE:], second[:FADE]),
        *second[FADE:-FADE],
        *faded(second[-FADE:], first[:FADE]),
    ]


def faded(old: list[Rgb], new: list[Rgb]) -> list[Rgb]:
    shares = [float(ease((index + 1) / (FADE + 1))) for index in range(FADE)]
    return [
        np.asarray(cv2.addWeighted(one, 1 - share, other, share, 0), np.uint8)
        for one, other, share in zip(old, new, shares, strict=True)
    ]


def write(path: str, pictures: list[Rgb]) -> None:
    """Encode as H.264: no B-frames, a closed GOP each second, BT.709 and said so."""
    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        options = {"preset": "veryslow", "crf": "23", "bf": "0", "x264-params": "open-gop=0:scenecut=0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.gop_size, stream.max_b_frames = "yuv420p", FPS, 0
        context = stream.codec_context
        context.colorspace, context.color_range = 1, ColorRange.MPEG
        context.color_primaries, context.color_trc = 1, 1
        context.time_base = Fraction(1, FPS)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_picture(path: str) -> Rgb:
    picture = cv2.imread(path, cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} is no picture")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def grey(picture: Rgb) -> Rgb:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def wave(time_s: float, period_s: float, phase: float = 0.0) -> float:
    return float(np.sin(2 * np.pi * (time_s / period_s + phase)))


def ease(progress: Any) -> Any:
    """Return 0 to 1 for 0 to 1, slow at both ends."""
    return progress * progress * (3 - 2 * progress)


def main(photo_path: str, video_path: str, clip_path: str) -> None:
    """Make the clip."""
    write(clip_path, joined(list(portrait(photo_path)), list(pedestrians(video_path))))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
