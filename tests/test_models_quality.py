"""The measures, on pictures and boxes whose answer is known."""

import math

import cv2
import numpy as np
import pytest

from models import quality
from models.base import Target
from models.quality import compare_boxes, compare_paintings, f1, iou_of, measure, psnr_db, same_boxes, ssim
from stream.results import Results

CHANCE = np.random.default_rng(0)
NOISE = CHANCE.integers(0, 256, (40, 60, 3), np.uint8)
SMOOTH = cv2.GaussianBlur(NOISE, (0, 0), 4)


def ssim_by_hand(x, y):
    """Return equation 13 of the paper written out: one window after another, its weights in the plane."""
    axis = np.arange(11) - 5
    weights = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    weights /= weights.sum()
    x, y = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) for picture in (x, y))
    values = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = (picture[row : row + 11, column : column + 11] for picture in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            shared = (weights * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append(
                (2 * mean_a * mean_b + c1) * (2 * shared + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return np.mean(values)


@pytest.mark.parametrize("other", [SMOOTH, 255 - NOISE, np.full_like(NOISE, 128), NOISE // 2])
def test_ssim_is_the_papers(other):
    assert ssim(NOISE, other) == pytest.approx(ssim_by_hand(NOISE, other), abs=1e-6)


def test_ssim_is_one_for_the_same_symmetric_and_falls_with_noise():
    assert ssim(NOISE, NOISE) == pytest.approx(1)
    assert ssim(NOISE, SMOOTH) == pytest.approx(ssim(SMOOTH, NOISE))
    noisy = [np.clip(SMOOTH + CHANCE.normal(0, sigma, SMOOTH.shape), 0, 255).astype(np.uint8) for sigma in (2, 10, 40)]
    values = [ssim(one, SMOOTH) for one in noisy]
    assert values == sorted(values, reverse=True)
    assert ssim(NOISE, 255 - NOISE) < 0


def test_ssim_of_two_flat_pictures_is_the_closeness_of_their_brightness():
    a, b = np.full((11, 11, 3), 100, np.uint8), np.full((11, 11, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(a, b) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


@pytest.mark.parametrize("other", [NOISE[:, :-1], NOISE[:10]])
def test_ssim_refuses_what_it_cannot_compare(other):
    with pytest.raises(ValueError, match="expected two pictures of one size from 11x11"):
        ssim(other if len(other) == 10 else NOISE, other)


def test_psnr_is_ten_times_the_log_of_peak_over_error():
    assert psnr_db(NOISE, NOISE) == math.inf
    assert psnr_db(np.zeros_like(NOISE), np.full_like(NOISE, 255)) == pytest.approx(0)
    assert psnr_db(np.full_like(NOISE, 10), np.full_like(NOISE, 20)) == pytest.approx(20 * math.log10(25.5))


def found(*boxes, ids=None, scores=None):
    count = len(boxes)
    return Results(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores or np.linspace(1, 0.5, count), np.float32),
        np.array(ids or [0] * count, np.int64),
        ("thing",) * count,
    )


def test_iou_of_boxes():
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]], np.float32)
    assert iou_of(a, b) == pytest.approx(np.array([[1, 1 / 3, 0, 0], [0, 0, 0, 0]]))
    assert iou_of(a[:0], b).shape == (0, 4)


def test_same_boxes_are_of_one_class_and_each_counts_once():
    reference = found((0, 0, 10, 10), (50, 50, 60, 60))
    assert same_boxes(reference, reference) == 2
    assert same_boxes(found((0, 0, 10, 10), (0, 0, 10, 9)), reference) == 1  # two for one object
    assert same_boxes(found((0, 0, 10, 10), ids=[7]), reference) == 0
    assert same_boxes(found((0, 0, 10, 5.1)), reference) == 1
    assert same_boxes(found((0, 0, 10, 4.9)), reference) == 0
    assert same_boxes(found(), reference) == same_boxes(reference, found()) == same_boxes(found(), found()) == 0


def test_the_surest_box_chooses_first():
    reference = found((0, 0, 10, 10), (0, 0, 10, 20))
    pair = found((0, 0, 10, 12), (0, 0, 10, 10), scores=[0.5, 0.9])
    assert same_boxes(pair, reference) == 2  # the exact one takes its like, the other what is left


@pytest.mark.parametrize(
    ("counts", "value"), [((0, 0, 0), 1), ((0, 3, 0), 0), ((0, 0, 3), 0), ((3, 3, 3), 1), ((2, 4, 2), 2 / 3)]
)
def test_f1(counts, value):
    assert f1(*counts) == pytest.approx(value)


def test_boxes_are_counted_over_all_pictures_together():
    many, one, none = found(*[(i * 20, 0, i * 20 + 10, 10) for i in range(9)]), found((0, 0, 5, 5)), found()
    result = compare_boxes([many, none, none], [many, one, none])
    assert (result.value, result.low, result.high) == (pytest.approx(18 / 19), 0, 1)
    assert result.detail == "9 of 10 boxes, 0 others"


def test_paintings_are_told_with_their_spread():
    result = compare_paintings([SMOOTH, NOISE], [SMOOTH, SMOOTH])
    assert (result.low, result.high) == (pytest.approx(ssim(NOISE, SMOOTH)), pytest.approx(1))
    assert result.value == pytest.approx((1 + ssim(NOISE, SMOOTH)) / 2)
    assert "dB" in result.detail


class Painter:
    """Paints with less detail at a smaller scale; counts who was closed."""

    def __init__(self, name, closed=None):
        self.name, self.closed = name, closed

    def __call__(self, image):
        return cv2.blur(image, (9, 9)) if "scale" in self.name else image

    def close(self):
        if self.closed is not None:
            self.closed.append(self.name)


def test_a_style_is_measured_against_itself_at_full_scale(monkeypatch):
    closed: list[str] = []
    monkeypatch.setattr(quality, "load", lambda name, target: Painter(name, closed))
    rows = dict(measure("style/19:strength=0.5", [NOISE], Target()))
    expected = ssim(cv2.blur(NOISE, (9, 9)), NOISE)
    assert [round(row.value - expected, 9) for row in rows.values()] == [0, 0]
    assert list(rows) == [f"style/19:strength=0.5,scale={scale}" for scale in ("0.75", "0.5")]  # no rungs, measured
    assert closed == ["style/19:strength=0.5", *rows]


def test_command_prints_a_row_for_each_variant_of_real_pictures(monkeypatch, capsys):
    monkeypatch.setattr(quality, "load", lambda name, target: Painter(name))
    monkeypatch.setattr("sys.argv", ["quality", "style/2", "--every", "180"])
    quality.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 pictures of 640x360"
    assert [line.split()[0] for line in lines[2:]] == ["style/2:scale=0.75", "style/2:scale=0.5"]


@pytest.mark.parametrize(("name", "every"), [("style/2", 120), ("style/23", 120), ("boxes/coco", 20)])
def test_the_ladders_numbers_are_those_that_are_measured(name, every):
    """A few pictures of the clip, on this machine's own backend: near the stored mean over all."""
    from models.ladder import measured

    stored = {rung.name: rung.quality for rung in measured(name)}
    for variant, result in measure(name, quality.sample_pictures(every), Target("cpu", 2)):
        assert result.value == pytest.approx(stored[variant], abs=0.08)
