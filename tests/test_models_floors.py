"""Floors: what reaches them, and how a measure below is told."""

import pytest

from models.accuracy import Measure
from models.floors import FLOORS, MEANINGS, below, number, told


def test_every_floor_is_of_a_measure_that_is_explained():
    assert FLOORS.keys() <= MEANINGS.keys()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("top1_lost", 1.0, 1.01),
        ("same_sure", 0.95, 0.94),
        ("map50", 0.95, 0.9499),
        ("mask_iou", 0.97, 0.969),
        ("point_distance", 0.025, 0.0251),
        ("points_near", 0.95, 0.9),
        ("points_f1", 0.9, 0.89),
        ("psnr", 35, 34.99),
        ("flicker", 1.1, 1.2),
    ],
)
def test_a_floor_is_reached_at_its_limit(name, good, bad):
    assert below([Measure(name, good, 1)]) == ""
    assert MEANINGS[name].text in below([Measure(name, bad, 1)])


def test_what_is_below_is_told_with_its_limit():
    said = below([Measure("psnr", 31.24, 9), Measure("ssim", 0.1, 9), Measure("top1_lost", 2.5, 9)])
    assert said == "PSNR 31.2 dB is below the floor of 35; top-1 lost 2.5 points is above the most allowed, 1"


def test_nan_reaches_no_floor():
    assert below([Measure("psnr", float("nan"), 1)])


def test_a_number_is_not_rounded_to_the_good_side_of_its_floor():
    assert number(Measure("psnr", 34.96, 1)) == "34.96 dB"
    assert number(Measure("map50", 0.94996, 1)) == "0.94996"
    assert told(Measure("ssim", 0.98765, 1)) == "SSIM 0.988"
