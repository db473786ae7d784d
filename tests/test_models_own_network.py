"""The file that people copy works as it is, and what goes wrong while they change it is told."""

import shutil

import numpy as np
import pytest
import torch

from models.base import Kind, Target
from models.own_network import OwnNetwork
from models.registry import load, parse
from models.runner import open_runner
from stream.errors import ModelError
from tests.golden import picture
from tests.server import ROOT

CPU = Target("cpu", 1)
EXAMPLE = (((1, 8, 8, 3), "uint8"),)


@pytest.fixture
def copied(tmp_path):
    return shutil.copy(ROOT / "demos" / "own_network.py", tmp_path / "mine.py")


def red_square():
    image = np.zeros((64, 96, 3), np.uint8)
    image[16:48, 32:64, 0] = 255
    return image


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_the_copied_file_finds_what_is_red(copied, backend):
    name = f"{copied}:RedThings:share=0.2,backend={backend}"
    assert parse(name, Kind.RECOGNIZE).attribute == "RedThings"
    model = load(name, CPU, Kind.RECOGNIZE)
    model.warm(64, 96)
    found = model(red_square())
    assert (found.boxes.tolist(), found.labels) == ([[32, 16, 64, 48]], ("red",))
    assert backend in model.variant
    other = model(picture("astronaut"))  # another size, the orange suit
    assert len(other.boxes) >= 1


def test_the_copied_file_can_be_followed(copied):
    model = load(f"{copied}:RedThings:track=on", CPU, Kind.RECOGNIZE)
    assert [model(red_square()).track_ids.tolist() for _ in range(2)] == [[], [1]]


def test_a_changed_file_is_converted_again(tmp_path):
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"one")
    network = OwnNetwork("n", EXAMPLE, make=torch.nn.Identity, files=(weights,))
    before = network.version()
    assert network.version() == before
    weights.write_bytes(b"two")
    assert network.version() != before


def broken():
    raise KeyError("layer")


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (OwnNetwork("mine", EXAMPLE, files=(__file__,)), "mine: say which function makes the network"),
        (OwnNetwork("mine", EXAMPLE, make=broken, files=(__file__,)), "mine: making it: KeyError: 'layer'"),
        (OwnNetwork("mine", EXAMPLE, make=dict, files=(__file__,)), r"expected a torch.nn.Module, got dict"),
    ],
)
def test_what_makes_no_network_is_told(network, says):
    with pytest.raises(ModelError, match=says):
        open_runner(network, CPU, "torch")


def test_files_must_be_named_and_there(tmp_path):
    with pytest.raises(ModelError, match="name the files it is made of"):
        OwnNetwork("mine", EXAMPLE, make=torch.nn.Identity).version()
    with pytest.raises(ModelError, match=r"no file .*gone\.bin"):
        OwnNetwork("mine", EXAMPLE, make=torch.nn.Identity, files=(tmp_path / "gone.bin",)).version()
