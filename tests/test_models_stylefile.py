"""Files of learnt styles: what is written is read again, and whatever is not one is refused in one line."""

import numpy as np
import pytest
from safetensors.numpy import save

from models import checkpoint, stylefile
from models.stylefile import FORMAT, NUMBERS, SHAPES, StyleFile
from stream.errors import ModelError


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def row():
    return stylefile.row_of(checkpoint.arrays("style"), 3)


def write_raw(tensors, **about):
    path = stylefile.path_of("mine")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(tensors, metadata={"format": FORMAT, **about}))
    return path


def test_shapes_are_those_of_the_network():
    weights = checkpoint.arrays("style")
    assert {key: value.shape[1:] for key, value in weights.items() if ".norm." in key} == SHAPES
    assert NUMBERS == 990


def test_what_is_written_is_read_again(row, home):
    path = stylefile.path_of("mine")
    assert path == home / "livelens" / "styles" / "mine.safetensors"
    stylefile.write(path, StyleFile(row, {"painting": "a.jpg", "qualities": '{"scale=0.5": 0.4}'}))
    found = stylefile.read(path)
    assert all(np.array_equal(found.row[key], row[key]) for key in SHAPES)
    assert found.about["painting"] == "a.jpg"
    assert found.qualities == {"scale=0.5": 0.4}
    assert stylefile.names() == ["mine"]
    assert [one.name for one in path.parent.iterdir()] == ["mine.safetensors"], "nothing else is left"


def test_relative_data_home_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "here")
    assert stylefile.folder().is_absolute()


def test_no_folder_means_no_styles():
    assert stylefile.names() == []


def test_row_is_put_behind_the_others_and_nothing_else_changes(row):
    weights = checkpoint.arrays("style")
    more = stylefile.with_row(weights, row)
    for key, value in weights.items():
        if key in SHAPES:
            assert np.array_equal(more[key][:26], value)
            assert np.array_equal(more[key][26], row[key])
        else:
            assert more[key] is value


def broken(row, **changed):
    return {**row, **changed}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: {k: v for k, v in row.items() if k != "paint.norm.beta"}, "lacks paint.norm.beta"),
        (lambda row: broken(row, extra=np.zeros(3, np.float32)), "unknown extra"),
        (
            lambda row: broken(row, **{"paint.norm.beta": np.zeros(4, np.float32)}),
            r"expected \(3,\) float32, got \(4,\)",
        ),
        (lambda row: broken(row, **{"paint.norm.beta": np.zeros(3, np.float64)}), "got .* float64"),
        (lambda row: broken(row, **{"paint.norm.beta": np.full(3, np.nan, np.float32)}), "NaN"),
    ],
)
def test_wrong_numbers_are_refused(row, change, said):
    path = write_raw(change(row))
    with pytest.raises(ModelError, match=said) as refused:
        stylefile.read(path)
    assert "\n" not in str(refused.value)
    assert "learn-style" in str(refused.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "damaged"),
        (b"\x80\x04\x95pickle", "damaged"),
        (b"\xff" * 200, "damaged"),
        (bytes(1 << 19), "got 524288 bytes"),
    ],
)
def test_what_is_no_style_file_is_refused(data, said):
    path = stylefile.path_of("mine")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(ModelError, match=said):
        stylefile.read(path)


def test_half_a_file_is_refused(row):
    path = write_raw(row)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="damaged"):
        stylefile.read(path)


def test_missing_file_is_refused():
    with pytest.raises(ModelError, match="no such file"):
        stylefile.read(stylefile.path_of("mine"))


def test_another_format_is_refused(row):
    with pytest.raises(ModelError, match="expected format 'livelens style 1', got 'something'"):
        stylefile.read(write_raw(row, format="something"))


@pytest.mark.parametrize("qualities", ["[]", "{", '{"scale=0.5": 2}', '{"scale=0.5": "x"}'])
def test_qualities_that_are_none_are_refused(row, qualities):
    with pytest.raises(ModelError, match="qualities"):
        stylefile.read(write_raw(row, qualities=qualities))


def test_disk_that_takes_nothing_is_told(row, home):
    (home / "livelens").write_text("a file where the folder should be")
    with pytest.raises(ModelError, match="cannot be written"):
        stylefile.write(stylefile.path_of("mine"), StyleFile(row, {}))
