"""`livelens models learn-style` from the command line: the whole walk, Ctrl-C, and what is refused before anything."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models import learn, stylefile
from models.base import Target
from models.ladder import STYLE_QUALITIES
from models.registry import load
from stream import cli, learn_cli
from tests.golden import FOLDER, picture

COFFEE = FOLDER / "pictures" / "coffee.png"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(learn, "CROP_PX", 64)
    monkeypatch.setattr(learn, "TRIED_PX", 64)
    monkeypatch.setattr(learn_cli, "MEASURED_ON_EVERY", 350)  # two pictures
    yield tmp_path
    torch.set_num_threads(2)


@pytest.fixture
def content(home):
    folder = home / "content"
    folder.mkdir()
    for name in ("astronaut", "street"):
        cv2.imwrite(str(folder / f"{name}.png"), picture(name)[:, :, ::-1])
    (folder / "notes.txt").write_text("no picture")
    return folder


def learn_style(content, *more, painting=COFFEE, name="mine"):
    given = [str(painting), "--name", name, "--content", str(content), "--size", "96x72", "--steps", "3"]
    return cli._run(["models", "learn-style", *given, "--threads", "1", *more])


def test_walk_from_painting_to_painted_picture(content, capfd):
    preview = content.parent / "out.png"
    assert learn_style(content, "--preview", str(preview)) == 0
    printed = capfd.readouterr().out
    assert re.search(r"style/mine: learnt from coffee.png in \d+ s, 3 steps; .* style loss [\d.]+ -> [\d.]+", printed)
    found = stylefile.read(stylefile.path_of("mine"))
    assert found.about["painting"] == "coffee.png"
    assert found.qualities.keys() == STYLE_QUALITIES.keys()
    assert f"preview {preview}" in printed
    strip = cv2.imread(str(preview))
    assert strip.shape[0] == 72
    assert strip.shape[1] > 2 * 96, "the painting, a picture, and the picture painted"

    assert cli._run(["models"]) == 0
    listed = capfd.readouterr().out
    assert "style/mine" in listed
    assert "learnt from coffee.png" in " ".join(listed.split())
    image = picture("astronaut")[:64, :96].copy()
    assert load("style/mine:strength=1", Target("cpu", 1))(image).shape == image.shape


def test_existing_name_needs_overwrite_and_is_then_replaced(content, capfd):
    assert learn_style(content) == 0
    first = stylefile.path_of("mine").read_bytes()
    assert learn_style(content, "--seed", "5") == 2
    assert "--overwrite" in capfd.readouterr().err
    assert stylefile.path_of("mine").read_bytes() == first
    assert learn_style(content, "--seed", "5", "--overwrite") == 0
    assert stylefile.path_of("mine").read_bytes() != first


def test_ctrl_c_keeps_what_is_learnt(content, capfd, monkeypatch):
    whole = learn.Student.learn

    def interrupted(self, clock):
        for progress in whole(self, clock):
            yield progress
            if progress.step == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(learn.Student, "learn", interrupted)
    assert learn_style(content) == 0
    assert "2 steps (stopped)" in capfd.readouterr().out
    assert stylefile.read(stylefile.path_of("mine")).qualities


def test_ctrl_c_before_anything_is_learnt_writes_nothing(content, monkeypatch):
    def interrupted(self, clock):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(learn.Student, "learn", interrupted)
    assert learn_style(content) == 130
    assert stylefile.names() == []


def test_ctrl_c_while_measuring_leaves_a_style_without_lighter_scales(content, capfd, monkeypatch):
    def interrupted(course):
        raise KeyboardInterrupt

    monkeypatch.setattr(learn_cli, "_measure", interrupted)
    assert learn_style(content) == 0
    assert "not measured" in capfd.readouterr().out
    assert stylefile.read(stylefile.path_of("mine")).qualities == {}


def test_pictures_come_from_a_clip_and_from_the_sample(tmp_path):
    sample = learn_cli.content_pictures(None)
    assert len(sample) == learn_cli.PICTURES_AT_MOST
    assert sample[0].shape == (360, 640, 3)
    apart = np.abs(sample[0].astype(int) - sample[-1]).mean()
    assert apart > 10, "from all over the clip"


@pytest.fixture
def refused(home, capfd):
    def run(*arguments):
        assert cli._run(["models", "learn-style", *arguments]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert stylefile.names() == []
        return line

    return run


def test_painting_that_is_none_is_refused(refused, tmp_path):
    text, tiny, broken = tmp_path / "a.jpg", tmp_path / "tiny.png", tmp_path / "broken.png"
    text.write_text("hello")
    cv2.imwrite(str(tiny), np.zeros((20, 20, 3), np.uint8))
    broken.write_bytes(COFFEE.read_bytes()[:3000])
    assert "a.jpg is no picture" in refused(str(text), "--name", "mine")
    assert "20x20 pixels; a painting needs 64" in refused(str(tiny), "--name", "mine")
    assert "broken.png is damaged" in refused(str(broken), "--name", "mine")
    assert "no such file" in refused(str(tmp_path / "gone.jpg"), "--name", "mine")


def test_painting_of_too_many_pixels_is_refused_by_its_header(refused, tmp_path):
    huge = tmp_path / "huge.bmp"
    header = bytearray(cv2.imencode(".bmp", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    header[18:26] = (20_000).to_bytes(4, "little") * 2
    huge.write_bytes(bytes(header))
    assert "20000x20000 pixels, more than the limit" in refused(str(huge), "--name", "mine")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--name", "ink"], "taken by the built-in"),
        (["--name", "My Style"], "expected 1 to 32"),
        (["--name", "mine", "--preview", "a.gif"], "expected a name that ends in .jpg"),
        (["--name", "mine", "--preview", "/no/such/a.png"], "there is no folder /no/such"),
        (["--name", "mine", "--size", "640"], "expected WxH"),
        (["--name", "mine", "--size", "16x640"], "expected WxH from 64x64"),
        (["--name", "mine", "--content", "/no/such"], "no such file or folder"),
        (["--name", "mine", "--content", str(COFFEE.parent.parent / "__init__.py")], "a folder of pictures or a video"),
        (["--name", "mine", "--seconds", "0"], "--seconds"),
        ([], "--name"),
    ],
)
def test_wrong_option_is_refused(refused, more, said):
    assert said in refused(str(COFFEE), *more)


def test_folder_with_one_picture_is_refused(refused, tmp_path):
    Path(tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "a.png"), picture("street"))
    assert "two pictures at least, got 1" in refused(str(COFFEE), "--name", "mine", "--content", str(tmp_path / "one"))
