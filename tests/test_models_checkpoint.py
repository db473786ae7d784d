"""Weights are read only when they are the ones that were committed, and fit."""

import hashlib

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
