"""`livelens models tune`: kept where it is better on what it did not see, and not where it is not."""

import cv2
import numpy as np
import pytest
import torch

from models import checkpoint, stylefile
from models.stylefile import StyleFile
from models.tune import Tuner
from stream import cli, tune_cli
from tests.golden import picture


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(tune_cli, "SIZE_PX", (160, 96))
    yield tmp_path
    torch.set_num_threads(2)


@pytest.fixture
def content(home):
    folder = home / "content"
    folder.mkdir()
    for name in ("astronaut", "coffee", "street"):  # coffee is the one held out
        cv2.imwrite(str(folder / f"{name}.png"), picture(name)[:, :, ::-1])
    return folder


def tune(content, name, *more):
    given = ["models", "tune", name, "--content", str(content), "--threads", "1", "--seconds", "300"]
    return cli._run([*given, *more])


def test_better_numbers_are_kept_with_their_quality_and_can_be_undone(content, capfd):
    assert tune(content, "style/ink:scale=0.5", "--steps", "20") == 0
    printed = capfd.readouterr().out
    assert "kept, and used wherever this scale runs" in printed
    path = stylefile.tuned_path("22", 0.5)
    found = stylefile.read(path)
    before, after = (float(found.about[key].split(",")[0]) for key in ("before", "after"))
    assert after > before
    assert found.qualities == {"scale=0.5": round(after, 2)}
    assert not stylefile.tuned_path("22", 0.75).exists()
    assert cli._run(["models", "tune", "style/ink", "--undo"]) == 0
    assert not path.exists()


def test_numbers_that_are_no_better_are_not_kept(content, capfd, monkeypatch):
    ruined = {key: np.zeros(shape, np.float32) for key, shape in stylefile.SHAPES.items()}
    monkeypatch.setattr(Tuner, "row", lambda self: ruined)
    assert tune(content, "style/0:scale=0.5", "--steps", "1") == 0
    assert "not kept, the style as it is is no worse" in capfd.readouterr().out
    assert not stylefile.tuned_path("0", 0.5).exists()


def test_what_was_tuned_before_stays_when_it_was_better(content, capfd):
    path, row = stylefile.tuned_path("0", 0.5), stylefile.row_of(checkpoint.arrays("style"), 1)
    stylefile.write(path, StyleFile(row, {"qualities": '{"scale=0.5": 0.99}'}))
    assert tune(content, "style:scale=0.5", "--steps", "2") == 0
    assert "what was tuned before is no worse (0.990)" in capfd.readouterr().out
    assert stylefile.read(path).qualities == {"scale=0.5": 0.99}


def test_learnt_style_is_tuned_under_its_name_at_every_scale_of_the_ladder(content, capfd):
    row = stylefile.row_of(checkpoint.arrays("style"), 3)
    stylefile.write(stylefile.path_of("mine"), StyleFile(row, {}))
    assert tune(content, "style/mine", "--steps", "6") == 0
    told = capfd.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in told] == ["style/mine:scale=0.75", "style/mine:scale=0.5"]


def test_ctrl_c_goes_on_with_the_last_whole_step(content, capfd, monkeypatch):
    whole = Tuner.learn

    def interrupted(self, clock):
        for progress in whole(self, clock):
            yield progress
            if progress.step == 12:
                raise KeyboardInterrupt

    monkeypatch.setattr(Tuner, "learn", interrupted)
    assert tune(content, "style/2:scale=0.5", "--steps", "200") == 0
    assert "style/2:scale=0.5: SSIM" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("boxes/coco", "recognizes"),
        ("style/any", "expected a style such as"),
        ("style/2:strength=0.5", "expected a style such as"),
        ("style/2:scale=1", "expected a scale below 1"),
        ("style/nothing", "no model"),
    ],
)
def test_what_cannot_be_tuned_is_refused(content, capfd, name, said):
    assert tune(content, name) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line


def test_too_few_pictures_are_refused(content, capfd):
    (content / "street.png").unlink()
    assert tune(content, "style/2:scale=0.5") == 2
    assert "3 pictures at least, one to hold out, got 2" in capfd.readouterr().err
