"""The judge: what it says of one picture, and its process from start to end."""

import numpy as np
import pytest

from models import judge as module
from models.base import Kind
from models.judge import Judge, has_judge, judge, judged_by
from stream.errors import ModelError
from stream.results import Results

PICTURE = np.random.default_rng(0).integers(0, 200, (48, 64, 3), np.uint8)


def test_a_picture_is_judged_by_its_psnr_and_the_floors():
    near, far = judge(PICTURE, PICTURE + 1, PICTURE), judge(PICTURE, PICTURE + 50, PICTURE)
    assert (near.measure, near.value, near.unit, near.below) == ("PSNR", 48.1, "dB", "")
    assert "below the floor of 35" in far.below


def test_nothing_found_by_either_has_no_measure():
    assert judge(PICTURE, Results(), Results()).measure == ""


def test_a_reference_that_is_not_sound_is_an_error_and_not_a_drift():
    with pytest.raises(ModelError, match="the reference gives no sound answer"):
        judge(PICTURE, PICTURE, PICTURE[:-1])


def test_the_reference_looks_at_each_picture_by_itself():
    assert judged_by("pose/person") == "pose/person:backend=torch,precision=fp32,follow=off"
    assert judged_by("boxes/coco:track=on") == "boxes/coco:track=off,backend=torch,precision=fp32"
    assert has_judge("style:where=background") and not has_judge("background/blur")


@pytest.mark.slow
def test_a_process_answers_fails_and_starts_anew():
    one = Judge("mask/person", Kind.RECOGNIZE)
    one.close()  # nothing was started
    mask = np.zeros(PICTURE.shape[:2], np.uint8)
    found = one.ask(PICTURE, Results(mask=mask))
    assert found.measure == "IoU of masks" and 0 <= found.value <= 1
    with pytest.raises(ModelError, match="expected a mask of the reference's size"):
        one.ask(PICTURE, Results())  # the process goes on
    first = one._process
    assert first is not None and first.is_alive()
    first.kill()
    first.join(5)
    with pytest.raises(ModelError, match="has ended"):
        one.ask(PICTURE, Results(mask=mask))
    assert one.ask(PICTURE, Results(mask=mask)) == found
    second = one._process
    one.close()
    assert second is not None and not second.is_alive()


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "START_S", 0.0)
    monkeypatch.setattr(module, "ANSWER_S", 0.0)
    one = Judge("mask/person", Kind.RECOGNIZE)
    with pytest.raises(ModelError, match="did not answer within 0 s"):
        one.ask(PICTURE, Results(mask=np.zeros(PICTURE.shape[:2], np.uint8)))
    assert one._process is None


@pytest.mark.slow
def test_the_reference_runs_with_the_options_that_were_changed_live():
    one = Judge("style", Kind.GENERATE)
    try:
        assert one.ask(PICTURE, PICTURE).below, "a photograph is no painting"
        assert one.ask(PICTURE, PICTURE, {"strength": "0"}).below == "", "and is all that strength 0 gives"
    finally:
        one.close()
