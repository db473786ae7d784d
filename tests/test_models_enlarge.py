"""Pictures enlarged: the network against ncnn's own answer, and a picture larger than its frame through the stream."""

import asyncio
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from models.base import Card, Kind, Target
from models.networks.enlarge import build
from models.quality import psnr_db
from models.registry import load
from stream.compose import Composer
from stream.errors import ModelError
from stream.frame import Frame
from stream.results import Results
from stream.stage import Stage
from stream.trace import Trace
from stream.view import StageKind
from stream.wiring import WarmStage
from tests.golden import FOLDER, picture
from tests.golden.make_enlarged import PIECE
from tests.test_server import Site

CPU = Target("cpu", 2)


@pytest.fixture(scope="module")
def four():
    model = load("enlarge/x4", CPU, Kind.GENERATE)
    yield model
    model.close()


def test_network_agrees_with_the_original_run_by_ncnn():
    with np.load(FOLDER / "enlarged.npz") as kept:
        expected = kept["enlarged"].astype(np.float32)
    x = torch.from_numpy(picture("astronaut")[PIECE].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        got = build().network(x)[0].numpy()
    assert np.abs(got - expected).max() < 5e-4  # kept as float16; ncnn's own float32 is within 1e-6


def test_fast_path_is_close_to_the_reference(four):
    image = picture("astronaut")[PIECE].copy()
    assert psnr_db(four(image), load("enlarge/x4:backend=torch", CPU)(image)) > 40


def sharpness(image):
    return cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std()


def test_enlarged_picture_is_crisper_than_a_stretched_one_and_as_near_the_truth(four):
    large = picture("astronaut")[:240, :240].copy()
    small = cv2.resize(large, (60, 60), interpolation=cv2.INTER_AREA)
    stretched = cv2.resize(small, (240, 240), interpolation=cv2.INTER_LINEAR)
    made = four(small)
    assert sharpness(made) > 2 * sharpness(stretched)
    assert psnr_db(made, large) > psnr_db(stretched, large) - 0.5  # its details are invented, so no nearer either


@pytest.mark.parametrize(("name", "times"), [("enlarge/x4", 4), ("enlarge/x2", 2)])
@pytest.mark.parametrize("size", [(1, 1), (17, 31), (32, 48)])
def test_any_size_is_enlarged_by_the_whole_number(name, times, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    made = load(name, CPU)(image)
    assert (made.shape, made.dtype) == ((size[0] * times, size[1] * times, 3), np.uint8)


@pytest.mark.parametrize("value", [0, 255])
def test_flat_picture_stays_flat(four, value):
    assert np.abs(four(np.full((16, 16, 3), value, np.uint8)).astype(int) - value).max() <= 6


def test_picture_too_large_to_be_sent_says_which_size_to_ask_for(four):
    with pytest.raises(ModelError, match=r"1280x720 would become 5120x2880, at most 4096x2304 .* --size 1024x576"):
        four(np.zeros((720, 1280, 3), np.uint8))


def frame_of(image, **more):
    return Frame("s", 0, 0, Fraction(1, 90_000), 0, image, image.shape[:2], Trace(0), **more)


def test_stage_takes_the_larger_picture_and_no_other(four):
    image = picture("astronaut")[:16, :24].copy()
    stage = WarmStage(four, StageKind.GENERATE, 2).stage
    assert stage.enlargement == 4
    assert stage.apply(frame_of(image)).shape == (64, 96, 3)
    plain = Stage("plain", StageKind.GENERATE, four)
    with pytest.raises(ModelError, match=r"plain: expected a uint8 \(16, 24, 3\) picture, got uint8 \(64, 96, 3\)"):
        plain.apply(frame_of(image))


def test_boxes_and_joints_are_drawn_where_they_are_in_the_larger_picture():
    image = np.zeros((90, 160, 3), np.uint8)
    results = Results(
        boxes=np.array([[40, 30, 80, 70]], np.float32),
        scores=np.ones(1, np.float32),
        class_ids=np.zeros(1, np.int64),
        labels=("cup",),
        keypoints=np.array([[[120, 20, 1.0]] * 3], np.float32),
    )
    frame = frame_of(image, generated=np.zeros((360, 640, 3), np.uint8), results={"boxes": results})
    shown = Composer().compose(frame)
    assert shown.shape == (360, 640, 3)
    drawn = np.argwhere(shown.any(axis=2))
    assert np.abs(drawn - (120, 160)).sum(1).min() <= 4  # the upper left corner of the box
    assert np.abs(drawn - (280, 320)).sum(1).min() <= 4  # the lower right one
    assert np.abs(drawn - (80, 480)).sum(1).min() <= 4  # the joint
    assert not frame.generated.any()


class Doubled:
    """Repeats every pixel: an enlargement that costs nothing."""

    card = Card("doubled", Kind.GENERATE, "twice as large", "x", "x")
    variant, enlargement = "own", 2

    def warm(self, height, width): ...

    def __call__(self, image):
        return image.repeat(2, 0).repeat(2, 1)

    def close(self): ...


async def test_viewers_get_the_larger_picture_and_the_frame_keeps_its_size():
    site = Site()
    await site.client.start_server()
    try:
        stream = await site.add(load_stages=[lambda: WarmStage(Doubled(), StageKind.GENERATE, 1)])
        feed = stream.broadcast.make_feed("H264")
        stream.broadcast.add_viewer(feed)
        decoder = av.CodecContext.create("h264", "r")
        async with asyncio.timeout(20):
            pictures = []
            while not pictures:
                pictures = decoder.decode(await feed.next())
        assert (pictures[0].width, pictures[0].height) == (640, 360)
        assert (stream.status()["width"], stream.status()["height"]) == (320, 180)
    finally:
        await site.close()
