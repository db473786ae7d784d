"""Steadiness: noise no longer makes strokes tremble, and nothing that moves leaves a ghost.

The paintings here are made by a painter of our own, so that what is right is known; style/0 itself comes last.
"""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from models.base import Target
from models.flicker import flicker, made_steady, motion, still_camera
from models.quality import sample_pictures, ssim
from models.registry import load
from models.steady import GAP_NS, LEAST_PX, SHARE_AT_MOST, SMALL_PX, Steady, shrink, warped
from stream.clock import NS_PER_MS

HEIGHT, WIDTH, SIDE = 180, 320, 48
GHOST = 6.0  # of 255: what may be left of a square that is gone; its contrast is over 100


class Clock:
    """33 ms later at each picture."""

    def __init__(self):
        self.at_ns = 10**12

    def now_ns(self):
        self.at_ns += 33 * NS_PER_MS
        return self.at_ns


class RunningMean:
    """What must not be done: the mean of this painting and those before, wherever things have moved."""

    def __init__(self, share):
        self.share, self.last = share, None

    def __call__(self, image, painting):
        last = painting if self.last is None else self.last
        self.last = np.asarray(cv2.addWeighted(last, self.share, painting, 1 - self.share, 0))
        return self.last


@pytest.fixture
def background():
    noise = np.random.default_rng(1).normal(0, 1, (HEIGHT * 2, WIDTH * 2, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 5)
    return np.clip(128 + 300 * smooth, 60, 200).astype(np.uint8)


def square_at(background, left, top=60):
    image = background[:HEIGHT, :WIDTH].copy()
    image[top : top + SIDE, left : left + SIDE] = (250, 20, 20)
    return image


def paint(image):
    return 255 - image


def ghost(stabilise, background, step, later):
    """Return what is left, of 255, of the square where it was, so many pictures after it has gone from there."""
    lefts = [40] * 6 + [40 + step * i for i in range(1, later + 1)]
    for left in lefts:
        image = square_at(background, left)
        shown = stabilise(image, paint(image))
    uncovered = np.zeros((HEIGHT, WIDTH), bool)
    uncovered[60 : 60 + SIDE, 40 : 40 + SIDE] = True
    uncovered[60 : 60 + SIDE, lefts[-1] : lefts[-1] + SIDE] = False
    assert uncovered.sum() > 100
    return float(np.abs(shown.astype(int) - paint(image))[uncovered].mean())


@pytest.mark.parametrize("step", [6, 12, 30, 60])
@pytest.mark.parametrize("later", [1, 2])
def test_what_was_uncovered_shows_no_ghost(background, step, later):
    assert ghost(Steady(1.0, Clock()), background, step, later) < GHOST


@pytest.mark.parametrize("later", [1, 2])
def test_a_plain_running_mean_does_leave_a_ghost(background, later):
    assert ghost(RunningMean(SHARE_AT_MOST), background, 12, later) > 5 * GHOST


def test_what_moves_arrives_sharp(background):
    steady, mean = Steady(1.0, Clock()), RunningMean(SHARE_AT_MOST)
    for left in range(40, 140, 10):
        image = square_at(background, left)
        shown, smeared = steady(image, paint(image)), mean(image, paint(image))
    edge = np.s_[60 : 60 + SIDE, left - 12 : left + SIDE + 12]
    assert np.abs(shown[edge].astype(int) - paint(image)[edge]).mean() < GHOST
    assert np.abs(smeared[edge].astype(int) - paint(image)[edge]).mean() > 3 * GHOST


def test_pan_is_followed(background):
    steady, mean = Steady(1.0, Clock()), RunningMean(SHARE_AT_MOST)
    for i in range(10):
        image = np.ascontiguousarray(background[2 * i : 2 * i + HEIGHT, 4 * i : 4 * i + WIDTH])
        shown, smeared = steady(image, paint(image)), mean(image, paint(image))
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(shown[inner].astype(int) - paint(image)[inner]).mean() < 2
    assert np.abs(smeared[inner].astype(int) - paint(image)[inner]).mean() > 8


def trembling(pictures):
    """Return paintings whose strokes lie elsewhere in each, as noise makes them."""
    rng = np.random.default_rng(2)
    return [np.clip(paint(p) + rng.normal(0, 12, p.shape), 0, 255).astype(np.uint8) for p in pictures]


def test_more_is_steadier(background):
    pictures, motions = still_camera(background[:HEIGHT, :WIDTH], 8)
    paintings = trembling(pictures)
    amounts = [flicker(made_steady(pictures, paintings, amount), motions) for amount in (0, 0.25, 0.5, 0.75, 1)]
    assert amounts[0] == pytest.approx(flicker(paintings, motions), rel=0.01)
    assert amounts == sorted(amounts, reverse=True)
    assert amounts[3] < 0.6 * amounts[0]


def run(steady, pictures):
    for image in pictures:
        shown = steady(image, paint(image))
    return shown


def test_another_scene_begins_anew(background):
    steady, other = Steady(1.0, Clock()), np.ascontiguousarray(background[HEIGHT:, WIDTH:][::-1])
    run(steady, [square_at(background, 40)] * 5)
    assert np.array_equal(run(steady, [other]), paint(other))


def test_gap_of_time_begins_anew(background):
    clock, pictures = Clock(), still_camera(background[:HEIGHT, :WIDTH], 8)[0]
    steady = Steady(1.0, clock)
    run(steady, pictures[:5])
    assert not np.array_equal(run(steady, pictures[5:6]), paint(pictures[5]))
    clock.at_ns += GAP_NS
    assert np.array_equal(run(steady, pictures[6:7]), paint(pictures[6]))


def test_another_size_and_reset_begin_anew(background):
    steady = Steady(1.0, Clock())
    run(steady, [background[:HEIGHT, :WIDTH]] * 3)
    wide = np.ascontiguousarray(background[:HEIGHT, : WIDTH + 40])
    assert np.array_equal(run(steady, [wide]), paint(wide))
    noisy = still_camera(wide, 2)[0]
    steady.reset()
    assert np.array_equal(run(steady, noisy[:1]), paint(noisy[0]))


def test_light_that_changes_is_followed_at_once(background):
    steady, image = Steady(1.0, Clock()), background[:HEIGHT, :WIDTH]
    run(steady, [image] * 5)
    dark = (image * 0.7).astype(np.uint8)
    assert np.abs(run(steady, [dark]).astype(int) - paint(dark)).mean() < GHOST


def test_two_streams_do_not_know_each_other(background):
    one, other, image = Steady(1.0, Clock()), Steady(1.0, Clock()), square_at(background, 40)
    run(one, [background[:HEIGHT, :WIDTH]] * 3)
    assert np.array_equal(run(other, [image]), paint(image))


def test_what_is_shown_belongs_to_the_caller(background):
    steady, again = Steady(1.0, Clock()), Steady(1.0, Clock())
    pictures = still_camera(background[:HEIGHT, :WIDTH], 4)[0]
    for image in pictures:
        shown, untouched = steady(image, paint(image)), again(image, paint(image))
        assert np.array_equal(shown, untouched)
        shown[:] = 0


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 900), (360, 640), (900, 17)])
def test_any_size_is_taken(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    steady = Steady(1.0, Clock())
    for _ in range(3):
        assert steady(image, paint(image)).shape == image.shape
    small = shrink(image)
    assert max(small.shape[:2]) <= max(SMALL_PX, LEAST_PX)
    assert min(small.shape[:2]) >= LEAST_PX


def test_warping_by_whole_pixels_is_a_shift(background):
    flow = np.full((HEIGHT, WIDTH, 2), (3, 2), np.float32)
    image = np.ascontiguousarray(background[:HEIGHT, :WIDTH])
    assert np.array_equal(warped(image, flow)[:-2, :-3], image[2:, 3:])


@pytest.mark.parametrize("half", [slice(60, 74), slice(240, 254)], ids=["portrait", "street"])
def test_default_style_flickers_a_third_less_and_stays_like_itself(half):
    pictures = [np.asarray(cv2.resize(p, (480, 272), interpolation=cv2.INTER_AREA)) for p in sample_pictures(1)[half]]
    motions = [motion(image, before) for before, image in pairwise(pictures)]
    plain, steady = (load(f"style/0:steady={amount}", Target("cpu", 1)) for amount in (0, 1))
    paintings, shown = ([model(picture) for picture in pictures] for model in (plain, steady))
    assert flicker(shown, motions) < 0.7 * flicker(paintings, motions)
    assert ssim(shown[-1], paintings[-1]) > 0.9
