"""Learning a style: the loss falls, nothing but the 990 numbers changes, and the same seed gives the same."""

import numpy as np
import pytest
import torch

from models import checkpoint, learn, stylefile
from models.learn import Lesson, Student
from stream.clock import NS_PER_S, MonotonicClock
from stream.errors import ModelError
from tests.golden import picture

SMALL = 64  # px of the crops here; the real ones would take a second for a few steps


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for size in ("CROP_PX", "TRIED_PX"):
        monkeypatch.setattr(learn, size, SMALL)
    yield
    torch.set_num_threads(2)


def lesson(**changed):
    given = {
        "painting": picture("coffee"),
        "pictures": [
            picture("astronaut"),
            picture("street")[:200],
            picture("street")[100:],
            picture("astronaut")[::-1],
        ],
        "size": (72, 96),
        "steps": 6,
        "seconds": 300.0,
        "threads": 1,
    }
    return Lesson(**{**given, **changed})


def finish(student):
    return list(student.learn(MonotonicClock()))


def test_a_few_steps_lower_the_style_loss_and_change_only_the_norms():
    student = Student(lesson(steps=12))
    frozen = {k: v.clone() for k, v in student.network.state_dict().items() if k not in stylefile.SHAPES}
    start = student.row()
    progress = finish(student)
    assert student.losses().style < 0.9 * student.before.style
    assert all(torch.equal(student.network.state_dict()[key], value) for key, value in frozen.items())
    weights = checkpoint.arrays("style")
    assert all(np.array_equal(value.numpy(), weights[key]) for key, value in frozen.items())
    assert all(not np.array_equal(value, start[key]) for key, value in student.row().items())
    stylefile.check(student.row(), "learnt")
    assert [p.step for p in progress] == list(range(1, 13))
    assert progress[-1].share == 1
    assert progress[-1].left_s == 0


def test_it_starts_from_the_built_in_style_with_the_least_loss():
    student = Student(lesson(steps=1))
    start = stylefile.row_of(checkpoint.arrays("style"), student.nearest)
    assert all(np.array_equal(student.row()[key], start[key]) for key in start)
    crops = torch.cat([learn._middle(one, SMALL) for one in student._held_out[:2]])
    losses = []
    for style in range(26):
        row = stylefile.row_of(checkpoint.arrays("style"), style)
        student.network.load_state_dict({k: torch.from_numpy(v)[None] for k, v in row.items()}, strict=False)
        with torch.no_grad():
            losses.append(float(student._loss(crops)))
    assert student.nearest == int(np.argmin(losses))


def test_same_seed_gives_the_same_numbers_and_another_seed_others():
    rows = []
    for seed in (1, 1, 2):
        student = Student(lesson(seed=seed, steps=3))
        finish(student)
        rows.append(student.row())
    assert all(np.array_equal(rows[0][key], rows[1][key]) for key in stylefile.SHAPES)
    assert any(not np.array_equal(rows[0][key], rows[2][key]) for key in stylefile.SHAPES)


class StepClock:
    """Passes a second at every look."""

    def __init__(self):
        self.at_ns = 0

    def now_ns(self):
        self.at_ns += NS_PER_S
        return self.at_ns


def test_time_that_is_up_ends_it():
    student = Student(lesson(seconds=9.0, steps=100))
    progress = list(student.learn(StepClock()))
    assert 2 <= len(progress) < 8  # two looks at the clock a step
    assert progress[-1].share == 1
    lefts = [p.left_s for p in progress]
    assert lefts[0] > lefts[-1] == 0


def test_the_row_is_what_is_painted_with():
    student = Student(lesson(steps=2))
    finish(student)
    image = picture("astronaut")[:64, :96]
    before = student.paint(image)
    assert (before.shape, before.dtype) == ((64, 96, 3), np.uint8)
    other = learn.single_style(checkpoint.arrays("style"), student.row())
    with torch.no_grad():
        painted = other(learn.to_tensor(image), torch.ones(1))[0].permute(1, 2, 0).numpy()
    assert np.abs(painted * 255 - before).max() <= 0.51


def test_held_out_pictures_are_never_trained_on():
    for count in (2, 3, 5, 48):
        pictures = [np.full((4, 4, 3), i, np.uint8) for i in range(count)]
        train, held_out = learn._split(pictures)
        assert {int(p[0, 0, 0]) for p in train} | {int(p[0, 0, 0]) for p in held_out} == set(range(count))
        assert not {int(p[0, 0, 0]) for p in train} & {int(p[0, 0, 0]) for p in held_out}
        assert 1 <= len(held_out) <= 4


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"painting": np.zeros((8, 300, 3), np.uint8)}, "the painting has 300x8 pixels; expected 32"),
        ({"pictures": [np.zeros((300, 8, 3), np.uint8)] * 2}, "a picture has 8x300"),
        ({"pictures": [np.zeros((300, 300, 3), np.uint8)]}, "two pictures"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(changed, said):
    with pytest.raises(ModelError, match=said):
        Student(lesson(**changed))


@pytest.mark.parametrize("painting", [np.zeros((64, 64, 3), np.uint8), np.full((40, 4000, 3), 255, np.uint8)])
def test_flat_or_long_painting_gives_finite_numbers(painting):
    student = Student(lesson(painting=painting, steps=2))
    finish(student)
    stylefile.check(student.row(), "learnt")


@pytest.mark.parametrize(
    ("worked", "all_took", "tried", "kept"),
    [(95, 60, "all", "all"), (95, 140, "all", "one"), (50, 10, "one", "one")],
    ids=["quicker", "slower", "busy"],
)
def test_all_threads_are_tried_where_a_core_is_free_and_kept_where_they_are_quicker(
    monkeypatch, worked, all_took, tried, kept
):
    monkeypatch.setattr(learn.os, "cpu_count", lambda: 2)
    worked_ns = iter([0, worked, worked + 2 * all_took])
    trial, counts = learn._Threads(0, lambda: next(worked_ns)), {"one": 1, "all": 2}
    seen = []
    for step, now_ns in enumerate((0, 100, 100 + all_took)):
        trial.before(step, now_ns)
        seen.append(torch.get_num_threads())
    assert seen == [1, counts[tried], counts[kept]]
