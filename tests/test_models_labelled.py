"""Labelled data: what ships, folders as people have them, CIFAR-10, and what is refused."""

import hashlib
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import checkpoint, labelled, picture
from models.labelled import CIFAR_GROUPS, LARGEST_PX, SHIPPED, open_data, read_picture, truths_of
from stream.errors import ModelError
from stream.still import read_still

IMAGENET = checkpoint.labels("imagenet")


def put(path: Path, size=(8, 6), colour=(200, 10, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_the_shipped_pictures_are_readable_and_each_folder_names_labels():
    data = open_data("", IMAGENET, 100)
    assert len(data.examples) == 6 and data.has_truth
    assert data.text == "6 photographs that come with Livelens"
    assert all(label in IMAGENET for example in data.examples for label in example.truth)
    for example in data.examples:
        picture = example.read()
        assert min(picture.shape[:2]) == 256 and picture.dtype == np.uint8
    assert frozenset({"tabby", "tiger cat", "Egyptian cat"}) in {example.truth for example in data.examples}


def test_every_shipped_picture_stands_in_the_notice_and_in_the_package():
    import tomllib

    notice = (labelled.DATA / "NOTICE").read_text("utf-8")
    for path in SHIPPED.rglob("*.jpg"):
        assert f"{path.relative_to(SHIPPED).as_posix()} " in notice
    root = Path(labelled.__file__).parent.parent
    packaged = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    kept = {path for pattern in packaged["models"] for path in (root / "models").glob(pattern)}
    assert {path for path in labelled.DATA.rglob("*") if path.is_file()} <= kept


def test_the_synsets_are_those_of_the_labels():
    lines = (labelled.DATA / "imagenet_synsets.txt").read_text("utf-8").splitlines()
    assert len(lines) == len(IMAGENET)
    for line, label in zip(lines, IMAGENET, strict=True):
        words = line.partition("\t")[2].lower().split(",")
        # torchvision tells its two cranes and two maillots apart with a word more
        assert label.lower().removesuffix(" bird").removesuffix(" tank suit") in [word.strip() for word in words]


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("espresso", "espresso"),
        ("Egyptian_cat", "Egyptian cat"),
        ("egyptian-cat", "Egyptian cat"),
        ("n07920052", "espresso"),
        ("967", "espresso"),
        ("Carassius auratus", "goldfish"),
        ("crane bird", "crane bird"),
        ("crane", "crane"),  # a label goes before a synonym
    ],
)
def test_a_folder_is_named_by_label_synonym_id_or_number(folder, label):
    assert truths_of([folder], IMAGENET, "x") == {folder: frozenset({label})}


def test_a_folder_may_have_several_right_labels():
    assert truths_of(["tabby+n02124075"], IMAGENET, "x") == {"tabby+n02124075": frozenset({"tabby", "Egyptian cat"})}


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (["espresso", "my holiday"], "no category of the network: 'my holiday'; name a folder by a label"),
        (["expresso"], "'expresso' (did you mean espresso?)"),
        (["panda"], "'panda' (is it giant panda or lesser panda?)"),
        (["1000"], "'1000'"),
        ([f"nothing {i}" for i in range(9)], "and 4 more"),
    ],
)
def test_a_folder_that_names_nothing_is_one_clear_line(folders, says):
    with pytest.raises(ModelError) as caught:
        truths_of(folders, IMAGENET, "--data x")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_another_networks_labels_are_its_own():
    assert truths_of(["Cat", "1"], ("cat", "dog"), "x") == {"Cat": frozenset({"cat"}), "1": frozenset({"dog"})}
    with pytest.raises(ModelError):
        truths_of(["n07920052"], ("cat", "dog"), "x")


def test_a_labelled_folder_is_read_evenly_when_there_is_too_much(tmp_path):
    for i in range(10):
        put(tmp_path / "espresso" / "deep" / f"{i}.png")
        put(tmp_path / "tabby" / f"{i}.jpg")
    (tmp_path / ".git").mkdir()
    (tmp_path / "tabby" / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()  # nothing in it, so it need not name a label
    data = open_data(str(tmp_path), IMAGENET, 6)
    assert [sorted(example.truth) for example in data.examples] == [["espresso"]] * 3 + [["tabby"]] * 3
    assert len(open_data(str(tmp_path), IMAGENET, 99).examples) == 20


@pytest.mark.parametrize("folders", [["espresso"], ["espresso", "n07920052"], []])
def test_one_category_says_nothing_and_is_refused(tmp_path, folders):
    for folder in folders:
        put(tmp_path / folder / "a.png")
    with pytest.raises(ModelError, match=r"expected folders of at least two categories, got .*says nothing"):
        open_data(str(tmp_path), IMAGENET, 9)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    for labels in (IMAGENET, None):
        with pytest.raises(ModelError, match=r"--data .*nowhere: expected a folder"):
            open_data(str(tmp_path / "nowhere"), labels, 9)


def test_without_labels_any_folder_of_pictures_will_do(tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "deep" / "b.JPG")
    put(tmp_path / ".thumbs" / "c.png")
    data = open_data(str(tmp_path), None, 9)
    assert len(data.examples) == 2 and not data.has_truth
    with pytest.raises(ModelError, match="found none"):
        (tmp_path / "void").mkdir()
        open_data(str(tmp_path / "void"), None, 9)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not a picture")
    cut = put(tmp_path / "b.png", (640, 480))
    cut.write_bytes(cut.read_bytes()[:60])
    for path in (tmp_path / "a.png", cut, tmp_path / "gone.png"):
        with pytest.raises(ModelError, match=f"expected pictures: {path.name}"):
            read_picture(path)


def test_a_picture_comes_upright_in_rgb_and_no_larger_than_needed(tmp_path):
    turned = Image.new("RGB", (30, 20), (255, 0, 0))
    exif = turned.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").shape == (30, 20, 3)
    Image.new("L", (4, 4), 9).save(tmp_path / "grey.png")
    assert read_picture(tmp_path / "grey.png").tolist() == [[[9, 9, 9]] * 4] * 4
    put(tmp_path / "large.jpg", (5000, 1000))
    assert read_picture(tmp_path / "large.jpg").shape == (256, LARGEST_PX, 3)


def test_a_picture_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    put(tmp_path / "huge.png", (300, 300))
    monkeypatch.setattr(picture, "read_still", partial(read_still, max_pixels=300 * 299))
    with pytest.raises(ModelError, match="300x300 pixels, more than the limit"):
        read_picture(tmp_path / "huge.png")


# CIFAR-10


def test_the_groups_of_cifar_are_what_they_say():
    named = {name: {IMAGENET[i] for i in group} for name, group in CIFAR_GROUPS.items()}
    assert len(named) == 10 and sum(map(len, named.values())) == len(set().union(*named.values()))
    assert named["airplane"] == {"airliner", "warplane"}
    assert {"cock", "great grey owl", "black grouse", "black swan", "white stork", "albatross"} <= named["bird"]
    assert {"Chihuahua", "Mexican hairless"} <= named["dog"] and len(named["dog"]) == 118
    assert named["cat"] == {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}
    assert "pickup" not in named["truck"] and "schooner" in named["ship"]


def test_a_local_cifar_is_read_and_a_damaged_one_refused(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.arange(4, dtype=np.uint8).repeat(3072).reshape(4, 3072)
    files = {
        "test_batch": {"data": pixels, "labels": [0, 3, 4, 9]},
        "batches.meta": {"label_names": list(CIFAR_GROUPS)},
    }
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in files}
    monkeypatch.setattr(CIFAR10, "train_list", [])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    data = open_data(f"cifar10:{tmp_path}", IMAGENET, 2)
    assert data.text == "2 pictures of CIFAR-10's test set, 32x32"
    assert [example.read()[0, 0].tolist() for example in data.examples] == [[0, 0, 0], [2, 2, 2]]
    assert data.examples[1].truth == {"hartebeest", "impala", "gazelle"}

    (folder / "test_batch").write_bytes(b"other")
    with pytest.raises(ModelError, match="expected torchvision's CIFAR10 root"):
        open_data(f"cifar10:{tmp_path}", IMAGENET, 2)
    with pytest.raises(ModelError, match="this model gives none"):
        open_data(f"cifar10:{tmp_path}", None, 2)
