"""Weights are read only when they are the ones that were committed, and fit."""

import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save
from torch import nn

from models import checkpoint
from stream.errors import ModelError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path)
    checkpoint.checksum.cache_clear()
    yield tmp_path
    checkpoint.checksum.cache_clear()


def keep(folder, tensors):
    data = save(tensors)
    (folder / "tiny.safetensors").write_bytes(data)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(data).hexdigest()}  tiny.safetensors\n")


def test_half_weights_are_loaded_as_float32(folder):
    keep(folder, {"weight": torch.ones(2, 3, dtype=torch.float16), "bias": torch.zeros(2)})
    layer = nn.Linear(3, 2)
    checkpoint.load_into(layer, "tiny")
    assert layer.weight.dtype == torch.float32
    assert layer.weight.sum() == 6


def test_whole_number_weights_are_scaled_row_by_row(folder):
    whole = torch.tensor([[1, -2, 3], [127, 0, -127]], dtype=torch.int8)
    keep(folder, {"weight": whole, "weight_scale": torch.tensor([0.5, 0.25]), "bias": torch.zeros(2)})
    layer = nn.Linear(3, 2)
    checkpoint.load_into(layer, "tiny")
    assert layer.weight.tolist() == [[0.5, -1.0, 1.5], [31.75, 0.0, -31.75]]
    assert checkpoint.arrays("tiny")["weight"].tolist() == layer.weight.tolist()


def test_scale_of_nothing_is_an_unknown_key(folder):
    keep(folder, {"weight": torch.ones(2, 3), "bias": torch.zeros(2), "other_scale": torch.ones(2)})
    with pytest.raises(ModelError, match="have unknown other_scale"):
        checkpoint.load_into(nn.Linear(3, 2), "tiny")


def test_missing_file_says_how_to_make_it(folder):
    with pytest.raises(ModelError, match="convert_tiny"):
        checkpoint.load_into(nn.Linear(3, 2), "tiny")


def test_missing_list_is_told(folder):
    (folder / "tiny.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="weights list not found"):
        checkpoint.load_into(nn.Linear(3, 2), "tiny")


def test_one_flipped_bit_is_found(folder):
    keep(folder, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)})
    file = folder / "tiny.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match=r"damaged: expected sha256 \w{64}, got \w{64}"):
        checkpoint.load_into(nn.Linear(3, 2), "tiny")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.ones(2, 3)}, "lack bias"),
        ({"weight": torch.ones(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)}, "have unknown more"),
        ({"weight": torch.ones(3, 2), "bias": torch.zeros(2)}, r"weight \(expected \(2, 3\), got \(3, 2\)\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, tensors, message):
    keep(folder, tensors)
    with pytest.raises(ModelError, match=message):
        checkpoint.load_into(nn.Linear(3, 2), "tiny")


@pytest.mark.parametrize("name", ["style", "person_mask", "boxes", "classify", "pose", "faces"])
def test_committed_weights_have_their_checksum(name):
    assert hashlib.sha256(checkpoint.path(name).read_bytes()).hexdigest() == checkpoint.checksum(name)


def test_label_lists_are_whole():
    coco, imagenet = checkpoint.labels("coco"), checkpoint.labels("imagenet")
    assert (len(coco), coco[0], coco[79]) == (80, "person", "toothbrush")
    assert (len(imagenet), imagenet[967]) == (1000, "espresso")


@pytest.fixture
def state():
    return {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
def test_own_file_gives_its_tensors(tmp_path, state, suffix):
    file = tmp_path / f"own.{suffix}"
    file.write_bytes(save(state)) if suffix == "safetensors" else torch.save(state, file)
    tensors = checkpoint.load_file(file, hashlib.sha256(file.read_bytes()).hexdigest())
    layer = nn.Linear(3, 2)
    checkpoint.put_into(layer, tensors, str(file))
    assert layer.weight.sum() == 6


@pytest.mark.parametrize("key", ["state_dict", "model", "params"])
def test_state_dict_of_a_trainer_is_found(tmp_path, state, key):
    file = tmp_path / "own.pt"
    torch.save({"epoch": 3, key: state}, file)
    assert checkpoint.load_file(file).keys() == state.keys()


def test_file_of_the_old_format_is_read(tmp_path, state):
    file = tmp_path / "own.pth"
    torch.save(state, file, _use_new_zipfile_serialization=False)
    assert checkpoint.load_file(file)["weight"].sum() == 6


class Touch:
    """Pickled, it makes a file when it is read by a reader that runs code."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        import pathlib

        return (pathlib.Path.touch, (self.canary,))


@pytest.mark.parametrize("is_new", [True, False])
def test_pickle_with_code_is_refused_and_does_not_run(tmp_path, state, is_new):
    canary, file = tmp_path / "canary", tmp_path / "own.pt"
    torch.save(state | {"bad": Touch(canary)}, file, _use_new_zipfile_serialization=is_new)
    with pytest.raises(ModelError, match="nothing that runs code, got a pickle that would run code") as caught:
        checkpoint.load_file(file)
    assert not canary.exists()
    assert "\n" not in str(caught.value)
    torch.load(file, weights_only=False)
    assert canary.exists()  # so the file was a real danger


def test_plain_pickle_with_code_is_refused_under_any_name(tmp_path):
    import pickle

    for name in ("own.pt", "own.safetensors", "own.bin"):
        canary, file = tmp_path / "canary", tmp_path / name
        file.write_bytes(pickle.dumps(Touch(canary)))
        with pytest.raises(ModelError, match=f"{name}: expected"):
            checkpoint.load_file(file)
        assert not canary.exists()


@pytest.mark.parametrize("name", ["own.safetensors", "own.pt"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 64, b"PK\x03\x04cut off"])
def test_file_that_is_no_weights_is_refused(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: expected .*, got ") as caught:
        checkpoint.load_file(file)
    assert "\n" not in str(caught.value)


def test_cut_off_file_is_refused(tmp_path, state):
    for name in ("own.safetensors", "own.pt"):
        file = tmp_path / name
        file.write_bytes(save(state)) if name.endswith("s") else torch.save(state, file)
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(ModelError, match=f"{name}: expected"):
            checkpoint.load_file(file)


@pytest.mark.parametrize("held", [[1, 2], {"weight": "text"}, {1: 2}, {}, torch.ones(2)])
def test_what_holds_no_tensors_by_name_is_refused(tmp_path, held):
    file = tmp_path / "own.pt"
    torch.save(held, file)
    with pytest.raises(ModelError, match=r"expected (tensors by name|a tensor at)"):
        checkpoint.load_file(file)


def test_wrong_checksum_of_an_own_file_is_told(tmp_path, state):
    file = tmp_path / "own.pt"
    torch.save(state, file)
    with pytest.raises(ModelError, match=r"expected sha256 0{64}, got \w{64}"):
        checkpoint.load_file(file, "0" * 64)


def test_own_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"none.pt: expected a .safetensors, .pt or .pth file, found none"):
        checkpoint.load_file(tmp_path / "none.pt")


def test_own_tensors_that_do_not_fit_are_named(state):
    with pytest.raises(ModelError, match=r"mine lack bias"):
        checkpoint.put_into(nn.Linear(3, 2), {"weight": state["weight"]}, "mine")


def test_a_plain_pickle_is_refused_without_a_warning_beside_it(tmp_path, recwarn):
    file = tmp_path / "odd.pth"
    file.write_bytes(pickle.dumps(print, protocol=4))
    with pytest.raises(ModelError, match="would run code"):
        checkpoint.load_file(file)
    assert not recwarn.list
