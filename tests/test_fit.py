"""The working size."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.fit import fit

sides = st.integers(64, 8000)


@pytest.mark.parametrize(
    ("source", "limit", "work"),
    [
        ((1920, 1080), (640, 360), (640, 360)),
        ((1080, 1920), (640, 360), (360, 640)),  # a limit nobody asked for turns with an upright picture
        ((641, 359), None, (640, 360)),
        ((641, 359), (1280, 720), (640, 360)),
        ((320, 240), (640, 360), (320, 240)),  # never enlarged
        ((674, 389), None, (672, 388)),
        ((1280, 720), (641, 361), (640, 360)),  # the limit itself is brought to multiples of 4
    ],
)
def test_a_picture_is_shrunk_to_fit(
    source: tuple[int, int], limit: tuple[int, int] | None, work: tuple[int, int]
) -> None:
    assert fit(*source, limit).work == work


@given(width=sides, height=sides, limit=st.tuples(st.integers(32, 1000), st.integers(32, 1000)))
def test_a_fitted_size_suits_every_encoder_and_its_limit(width: int, height: int, limit: tuple[int, int]) -> None:
    work = fit(width, height, limit).work
    assert all(side % 4 == 0 and side >= 16 for side in work)
    assert all(side <= most for side, most in zip(sorted(work), sorted(limit), strict=True))


@given(width=sides, height=sides)
def test_the_aspect_is_kept_to_the_nearest_step(width: int, height: int) -> None:
    wide, high = fit(width, height, None).work
    assert abs(wide - width) <= 2
    assert abs(high - height) <= 2


@given(width=sides, height=sides, steps=st.tuples(st.integers(16, 300), st.integers(16, 300)))
def test_an_exact_size_is_that_size_with_the_picture_in_its_middle(
    width: int, height: int, steps: tuple[int, int]
) -> None:
    wanted = (steps[0] * 4, steps[1] * 4)
    fitted = fit(width, height, wanted, exact=True)
    assert fitted.work == wanted
    for offset, inner, work in zip(fitted.offset, fitted.inner, fitted.work, strict=True):
        assert 0 <= offset <= work - inner - offset <= offset + 2  # as much black on both sides, to 2 pixels
    assert min(work - inner for inner, work in zip(fitted.inner, fitted.work, strict=True)) <= 2  # fills one side


def test_an_exact_size_enlarges() -> None:
    fitted = fit(320, 240, (640, 360), exact=True)
    assert (fitted.inner, fitted.offset) == ((480, 360), (80, 0))


def test_wide_pixels_are_made_square() -> None:
    assert fit(720, 576, None, pixel_aspect=Fraction(64, 45)).work == (1024, 576)
    assert fit(720, 480, None, pixel_aspect=Fraction(8, 9)).work == (720, 540)
    assert fit(720, 576, None, pixel_aspect=Fraction(0)).work == (720, 576)  # said wrong


def test_a_size_that_was_asked_for_is_not_turned() -> None:
    assert fit(1080, 1920, (640, 360), exact=True).work == (640, 360)
