"""What a person's own model may return, and what is said about the rest."""

import numpy as np
import pytest
import supervision as sv
import torch

from models.contract import guarded, to_picture, to_results
from stream.errors import ModelError
from stream.results import Results

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
GREY = np.full((4, 6), 100, np.uint8)
NAN = np.full((4, 6, 3), np.nan, np.float32)


def picture(value):
    return to_picture(value, IMAGE, "mine")


def results(value):
    return to_results(value, 40, 60, "mine")


def test_uint8_picture_is_copied():
    given = IMAGE.copy()
    taken = picture(given)
    given[:] = 0
    assert np.array_equal(taken, IMAGE)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_picture_is_scaled_and_a_small_overshoot_clipped(dtype):
    value = np.zeros((4, 6, 3), dtype)
    value[0], value[1], value[2] = 1, 1.4, -0.4
    taken = picture(value)
    assert taken.dtype == np.uint8
    assert taken[:, 0, 0].tolist() == [255, 255, 0, 0]


@pytest.mark.parametrize("value", [GREY, GREY[:, :, None], GREY / 255.0])
def test_grey_picture_gets_three_channels(value):
    assert (picture(value) == 100).all()
    assert picture(value).shape == (4, 6, 3)


@pytest.mark.parametrize(("alpha", "expected"), [(255, 200), (0, None), (128, None)])
def test_rgba_is_laid_over_the_input(alpha, expected):
    rgba = np.full((4, 6, 4), 200, np.uint8)
    rgba[:, :, 3] = alpha
    wanted = IMAGE if alpha == 0 else 200 if expected else np.round((200 * 128 + IMAGE * 127.0) / 255)
    assert np.abs(picture(rgba).astype(int) - wanted).max() <= 1


def test_torch_picture_that_trains_is_read():
    value = torch.full((4, 6, 3), 0.5, requires_grad=True)
    assert (picture(value) == 128).all()


def test_strided_picture_comes_out_contiguous():
    taken = picture(IMAGE[::-1, ::-1])
    assert taken.flags.c_contiguous
    assert np.array_equal(taken, IMAGE[::-1, ::-1])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "got None; does the model return its picture"),
        ("text", "got str"),
        ([1, [2]], "got list"),
        (object(), "got object"),
        (NAN, "got NaN or infinity"),
        (np.full((4, 6, 3), np.inf), "got NaN or infinity"),
        (IMAGE.astype(np.float32), "got float32 from 0 to 71"),
        (np.full((4, 6, 3), -1.0), "got float64 from -1 to -1"),
        (IMAGE.astype(np.int32), "got int32"),
        (np.zeros((4, 6, 3), bool), "got bool"),
        (IMAGE[:2], r"expected a picture \[4,6,3\].*got shape \[2, 6, 3\]"),
        (np.zeros((4, 6, 2), np.uint8), r"got shape \[4, 6, 2\]"),
        (np.zeros((1, 4, 6, 3), np.uint8), r"got shape \[1, 4, 6, 3\]"),
        (IMAGE.transpose(2, 0, 1), r"got shape \[3, 4, 6\]; the channels come first"),
        (np.zeros((0, 0, 3), np.uint8), r"got shape \[0, 0, 3\]"),
        (3.0, r"got shape \[\]"),
    ],
)
def test_other_pictures_are_refused_with_expected_and_got(value, message):
    with pytest.raises(ModelError, match=message):
        picture(value)


def test_dicts_become_boxes():
    found = results([{"box": (1, 2, 3, 4), "score": 0.5, "label": "cat"}, {"box": np.array([5, 6, 7, 8])}])
    assert found.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert found.scores.tolist() == [0.5, 1]
    assert found.labels == ("cat", "object")


def test_tuples_of_each_length_become_boxes():
    found = results([(1, 2, 3, 4), (1, 2, 3, 4, 0.5), (1, 2, 3, 4, 0.25, "dog")])
    assert found.scores.tolist() == [1, 0.5, 0.25]
    assert found.labels == ("object", "object", "dog")
    assert found.boxes.dtype == np.float32


def test_a_label_keeps_its_class_id_between_pictures():
    one, two = results([(1, 2, 3, 4, 1, "a"), (1, 2, 3, 4, 1, "b")]), results([(1, 2, 3, 4, 1, "b")])
    assert one.class_ids[1] == two.class_ids[0] != one.class_ids[0]


@pytest.mark.parametrize("empty", [[], (), sv.Detections.empty(), Results()])
def test_nothing_found_is_fine(empty):
    found = results(empty)
    assert found.boxes.shape == (0, 4)
    assert found.labels == ()


def test_supervision_detections_become_boxes_and_one_mask():
    masks = np.zeros((2, 40, 60), bool)
    masks[0, :5], masks[1, 10:15] = True, True
    found = results(
        sv.Detections(
            xyxy=np.array([[1, 2, 3, 4], [5, 6, 70, 8.0]]),
            mask=masks,
            class_id=np.array([3, 4]),
            data={"class_name": np.array(["cup", "bowl"])},
        )
    )
    assert found.labels == ("cup", "bowl")
    assert found.scores.tolist() == [1, 1]
    assert found.boxes[1].tolist() == [5, 6, 60, 8]  # clipped to the picture
    assert (found.mask == 255).sum() == 600


def test_bare_detections_get_names():
    found = results(sv.Detections(xyxy=np.array([[1, 2, 3, 4.0]])))
    assert (found.labels, found.class_ids.tolist()) == (("0",), [0])


def test_results_go_round_through_supervision():
    first = results([(1, 2, 3, 4, 0.5, "cat")])
    again = results(first.to_supervision())
    assert np.array_equal(first.boxes, again.boxes)
    assert first.labels == again.labels


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"got NoneType; return \[\] when nothing"),
        (np.zeros((4, 6)), "got ndarray"),
        ("person", "got str"),
        ({"box": (1, 2, 3, 4)}, "got dict"),
        ([{"score": 1}], "got {'score': 1}"),
        ([(1, 2, 3)], r"got \(1, 2, 3\)"),
        ([(1, 2, 3, 4, 5, 6, 7)], "got "),
        ([5], "got 5"),
        ([(1, 2, 3, "x")], "got "),
        ([(1, 2, float("nan"), 4)], "got NaN"),
        ([(1, 2, 3, 4, float("nan"))], "got NaN"),
        ([(10, 10, 5, 20)], r"x1 <= x2 and y1 <= y2, got \[10"),
        (Results(boxes=np.zeros((2, 4), np.float32)), r"got boxes \[2, 4\], 0 scores"),
        (Results(mask=np.zeros((4, 6), np.uint8)), r"expected a mask \[40,60\] uint8, got \[4, 6\] uint8"),
        (Results(mask=np.zeros((40, 60), np.float32)), "got .*float32"),
    ],
)
def test_other_results_are_refused_with_expected_and_got(value, message):
    with pytest.raises(ModelError, match=message):
        results(value)


@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(3), RuntimeError()])
def test_whatever_foreign_code_raises_becomes_a_model_error(error):
    def fail():
        raise error

    with pytest.raises(ModelError, match=f"mine: {type(error).__name__}") as caught:
        guarded("mine", fail)
    assert caught.value.__cause__ is error


def test_interrupt_passes_through():
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded("mine", fail)


def test_model_error_keeps_its_own_words():
    def fail():
        raise ModelError("exactly this")

    with pytest.raises(ModelError, match=r"^exactly this$"):
        guarded("mine", fail)
