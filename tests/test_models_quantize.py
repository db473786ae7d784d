"""8-bit networks: what they are calibrated on, what is kept, and how near the reference they stay."""

import av
import numpy as np
import openvino as ov
import pytest
import torch
from torch import nn

from models import quantize
from models.base import Target
from models.openvino_runner import OpenVinoRunner
from models.person_mask import NETWORK as MASK
from models.quantize import Calibration, quantise_linear
from models.runner import Network, open_runner
from stream.errors import ModelError
from tests.golden import picture

CPU = Target("cpu", 1)


@pytest.fixture
def clip(tmp_path):
    """A clip of nine pictures that grow brighter."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(9):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level * 25, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_pictures_are_spread_over_the_clip(clip):
    found = Calibration(clip, 3).pictures()
    assert [round(float(one.mean()) / 25) for one in found] == [0, 4, 8]
    assert found[0].shape == (48, 64, 3)


def test_a_short_clip_gives_all_it_has(clip):
    assert len(Calibration(clip, 100).pictures()) == 9


def test_digest_changes_with_the_pictures(clip, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes() + b"\0")
    assert len({Calibration(clip, 3).digest(), Calibration(clip, 4).digest(), Calibration(other, 3).digest()}) == 3


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_a_file_that_is_no_clip_is_refused(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"calibration=.*notes.txt: expected a video file"):
        Calibration(path).pictures()


def test_a_clip_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        Calibration(tmp_path / "none.mp4").digest()


@pytest.mark.slow
def test_int8_mask_stays_near_and_is_made_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shown = np.ascontiguousarray(picture("astronaut")[:256, :256])[None]
    eight_bit = open_runner(MASK, CPU, precision="int8")
    assert capfd.readouterr().out == ""  # a command's own output may be read by a program
    assert eight_bit.variant == "openvino int8"
    assert "FakeQuantize" in {node.get_type_name() for node in eight_bit._graph.get_ops()}
    (got,), (expected,) = eight_bit(shown), open_runner(MASK, CPU, "torch")(shown)
    assert np.mean((got > 127) != (expected > 127)) < 0.03
    assert not np.array_equal(got, expected)  # it is another computation
    monkeypatch.setattr(quantize, "quantise", lambda *args: pytest.fail("quantised again"))
    assert np.array_equal(OpenVinoRunner(MASK, CPU, "int8")(shown)[0], got)


def test_network_that_says_nothing_of_its_pictures_is_refused():
    with pytest.raises(ModelError, match="precision=int8 is not possible"):
        quantize.quantised_graph(Network("boxes", ()), ov.Model([], []), Calibration())


def test_without_nncf_the_message_has_the_command(monkeypatch):
    monkeypatch.setattr(quantize.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'livelens\[int8\]'"):
        OpenVinoRunner(MASK, CPU, "int8")


def test_calibration_of_another_precision_is_refused(clip):
    with pytest.raises(ModelError, match="precision=int8 only"):
        open_runner(MASK, CPU, precision="bf16", calibration=clip)


class Small(nn.Module):
    """A 1x1 convolution, one that is none, a linear layer that fits, and one that does not."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(32, 64, 1, bias=False)
        self.look = nn.Conv2d(64, 64, 3, padding=1)
        self.fit = nn.Linear(64, 48)
        self.odd = nn.Linear(48, 5)

    def forward(self, x):
        return self.odd(self.fit(self.look(self.mix(x)).mean((2, 3))))


def test_matrix_products_become_8_bit_and_answers_stay_near():
    torch.manual_seed(0)
    module, x = Small().eval(), torch.randn(1, 32, 6, 7)
    with torch.no_grad():
        before = module(x)
        quantise_linear(module, "small")
        after = module(x)
    kinds = {name: type(one.weight).__name__ for name, one in module.named_modules() if hasattr(one, "weight")}
    assert kinds == {"mix.mod": "Int8Tensor", "look": "Parameter", "fit": "Int8Tensor", "odd": "Parameter"}
    assert 0 < (after - before).abs().max() < 0.05 * before.abs().max()


def test_network_without_matrix_products_is_refused():
    with pytest.raises(ModelError, match="it has none; say precision=fp16"):
        quantise_linear(nn.Sequential(nn.Conv2d(3, 8, 3)), "small")


def test_without_torchao_the_message_has_the_command(monkeypatch):
    monkeypatch.setattr(quantize.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install torchao"):
        quantise_linear(nn.Linear(16, 16), "small")


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["torch", "compile"])
def test_int8_on_cuda_names_the_same_category(backend):
    from models.classify import NETWORK
    from tests.golden import middle_of

    shown = middle_of("coffee")[None]
    (got,) = open_runner(NETWORK, Target("cuda:0"), backend, "int8")(shown)
    (expected,) = open_runner(NETWORK, CPU, "torch")(shown)
    assert got[0].argmax() == expected[0].argmax()
