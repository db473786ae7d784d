"""A person's own model, from a file or a module."""

import numpy as np
import pytest

from models.base import Kind, Model, Target
from models.registry import load, parse
from stream.errors import ModelError

CPU = Target("cpu", 1)
IMAGE = np.full((8, 10, 3), 50, np.uint8)

SOURCE = '''
from dataclasses import dataclass
import numpy as np

class Brighter:
    """Adds light.

    More lines that no list shows."""
    def __init__(self, by="10"):
        self.by = int(by)
    def __call__(self, image):
        return image + self.by

class Finder:
    gives = {"boxes", "classes"}
    max_age_ms = 50
    closed = 0
    warmed = None
    def __call__(self, image):
        return [(1, 2, 3, 4, 0.5, "thing")]
    def warm(self, height, width):
        Finder.warmed = (height, width)
    def close(self):
        Finder.closed += 1

def invert(image, by="255"):
    return int(by) - image

def create(value="7"):
    return lambda image: np.full_like(image, int(value))

def placed(target, **options):
    return lambda image: np.full_like(image, target.threads + len(options))

@dataclass
class Data:
    size: str = "3"
    def __call__(self, image):
        return image[: int(self.size)]

class Broken:
    def __init__(self):
        raise OSError("no camera here")

def raises(image):
    raise ZeroDivisionError("one frame too many")

def nothing():
    return None

constant = 3
lut = np.frompyfunc(lambda v: v, 1, 1)
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "own models.py"
    path.write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return path


def generate(name):
    return load(name, CPU, Kind.GENERATE)


def test_class_is_made_with_its_options(file):
    model = generate(f"{file}:Brighter:by=20")
    assert isinstance(model, Model)
    assert (model(IMAGE) == 70).all()
    assert model.card.summary == "Adds light."
    assert model.card.kind is Kind.GENERATE
    assert (generate("own models.py:Brighter")(IMAGE) == 60).all()


def test_each_load_has_its_own_state(file):
    one, two = generate(f"{file}:Brighter:by=1"), generate(f"{file}:Brighter:by=2")
    assert (one(IMAGE)[0, 0, 0], two(IMAGE)[0, 0, 0]) == (51, 52)


def test_function_of_a_picture_is_the_model(file):
    assert (generate(f"{file}:invert")(IMAGE) == 205).all()
    assert (generate(f"{file}:invert:by=100")(IMAGE) == 50).all()


def test_function_that_needs_nothing_is_a_factory(file):
    assert (generate(f"{file}:create")(IMAGE) == 7).all()
    assert (generate(f"{file}:create:value=9")(IMAGE) == 9).all()


def test_target_is_given_where_it_is_asked_for(file):
    assert (generate(f"{file}:placed:a=1,b=2")(IMAGE) == 3).all()


def test_recognizer_says_what_it_gives_and_is_warmed_and_closed(file):
    model = load(f"{file}:Finder", CPU, Kind.RECOGNIZE)
    assert model(IMAGE).labels == ("thing",)
    assert (model.card.gives, model.card.max_age_ms) == ({"boxes", "classes"}, 50)
    model.warm(8, 10)
    model.close()
    finder = type(model._call)
    assert (finder.warmed, finder.closed) == ((8, 10), 1)


def test_warming_shows_a_broken_contract_before_the_start(file):
    with pytest.raises(ModelError, match=r"expected a picture \[8,10,3\].*got shape \[3, 10, 3\]"):
        generate(f"{file}:Data").warm(8, 10)


def test_what_the_model_raises_is_chained(file):
    with pytest.raises(ModelError, match="raises: ZeroDivisionError: one frame too many") as caught:
        generate(f"{file}:raises")(IMAGE)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own models.py:Nothing", "has no 'Nothing'; it has Brighter, Broken"),
        ("own models.py:constant", "expected a class or function, got int"),
        ("own models.py:Broken", "OSError: no camera here"),
        ("own models.py:nothing", "expected something to call with a picture, got NoneType"),
        ("own models.py:Brighter:bye=3", r"no option 'bye' \(got bye=3\); it takes by"),
        ("own models.py:invert:x=3", "no option 'x'"),
        ("own models.py:placed:target=3", "no option 'target'"),
        ("own models.py", "say which class or function of the file"),
        ("missing.py:Name", "no file missing.py"),
        ("no_such_package.a:b", "no module 'no_such_package'"),
        ("os.no_such_part:b", "ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_loaded_says_why(file, name, message):
    with pytest.raises(ModelError, match=message):
        generate(name)


def test_file_that_fails_to_import_is_told_with_its_cause(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import not_installed_here\nName = not_installed_here.Name\n")
    with pytest.raises(ModelError, match=r"importing .*bad.py: ModuleNotFoundError.*not_installed_here") as caught:
        generate(f"{bad}:Name")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    bad.write_text("class Name:\n    def __call__(self, image):\n        return image\n")
    assert (generate(f"{bad}:Name")(IMAGE) == 50).all()  # a failed import is not remembered


def test_file_that_exits_does_not_end_the_program(tmp_path):
    bad = tmp_path / "exits.py"
    bad.write_text("raise SystemExit(1)\nclass Name: ...\n")
    with pytest.raises(ModelError, match="SystemExit"):
        generate(f"{bad}:Name")


def test_module_in_the_working_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text("def same(image):\n    return image\n")
    monkeypatch.chdir(tmp_path)
    assert parse("mine_here:same").attribute == "same"
    assert (generate("mine_here:same")(IMAGE) == 50).all()


def test_kind_must_be_said(file):
    with pytest.raises(ModelError, match="--recognize or --generate"):
        load(f"{file}:Brighter", CPU)


def test_parsing_runs_nothing(tmp_path):
    trap = tmp_path / "trap.py"
    trap.write_text("raise AssertionError('this ran')\nclass Name: ...\n")
    assert parse(f"{trap}:Name:a=1").options == (("a", "1"),)


def test_an_error_in_own_code_tells_its_file_and_line(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("def broken(image):\n    raise ValueError('boom')\n")
    with pytest.raises(ModelError, match=r"ValueError: boom \(mine.py, line 2\)"):
        generate(f"{own}:broken")(IMAGE)
