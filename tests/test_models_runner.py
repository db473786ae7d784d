"""How networks are run: the graph cache, precisions, devices, and what must not be imported."""

import subprocess
import sys

import numpy as np
import pytest

from models import openvino_runner, runner
from models.base import Target
from models.openvino_runner import COMPILED_AT_MOST, OpenVinoRunner, cache_folder, load_graph
from models.person_mask import NETWORK as MASK
from models.runner import Network, open_runner
from models.style import NETWORK as STYLE
from stream.errors import ModelError

CPU = Target("cpu", 1)
PICTURE = np.zeros((1, 256, 256, 3), np.uint8)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "livelens" / "graphs"


def refuse_to_convert(network):
    raise AssertionError(f"{network.name} was converted again")


def test_cache_folder_follows_xdg_and_ignores_relative_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "livelens"
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "livelens"


def test_graph_is_converted_once_and_then_read(empty_cache, monkeypatch):
    load_graph(MASK)
    assert [path.name[0] for path in empty_cache.iterdir()] == ["p"]  # no half-written folder is left
    monkeypatch.setattr(openvino_runner, "convert", refuse_to_convert)
    assert len(load_graph(MASK).inputs) == 1


def test_damaged_cache_entry_is_replaced(empty_cache, caplog):
    load_graph(MASK)
    (kept,) = empty_cache.iterdir()
    (kept / "graph.xml").write_text("<net")
    load_graph(MASK)
    assert "damaged" in caplog.text
    caplog.clear()
    load_graph(MASK)
    assert not caplog.text


def test_cut_off_weights_in_the_cache_are_replaced(empty_cache, caplog):
    load_graph(MASK)
    (kept,) = empty_cache.iterdir()
    weights = kept / "graph.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    mask = OpenVinoRunner(MASK, CPU)
    assert mask(PICTURE)[0].shape == (1, 256, 256, 1)
    assert "damaged" in caplog.text


def test_cache_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch, caplog):
    (tmp_path / "livelens").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert len(load_graph(MASK).inputs) == 1
    assert "each start will convert again" in caplog.text


def test_changed_source_or_weights_give_another_key(monkeypatch):
    before = MASK.version()
    monkeypatch.setattr(runner.checkpoint, "checksum", lambda name: "0" * 64)
    assert MASK.version() != before
    assert STYLE.version() != MASK.version()


def test_warm_start_imports_no_torch():
    load_graph(MASK)
    code = (
        "import sys, numpy\n"
        "from models.base import Target\n"
        "from models.registry import cards, load, parse\n"
        "cards(); parse('style:strength=0.5')\n"
        "assert not {'torch', 'openvino'} & set(sys.modules), 'names need neither'\n"
        "model = load('mask/person', Target()); model.warm(90, 160)\n"
        "assert model(numpy.zeros((90, 160, 3), 'uint8')).mask.shape == (90, 160)\n"
        "assert 'torch' not in sys.modules, 'the warm path needs no torch'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_compiled_shapes_are_bounded_and_newest_kept():
    ran = open_runner(STYLE, CPU)
    weights = np.eye(26, dtype=np.float32)[0]
    sizes = [(16, 16 + 4 * i) for i in range(COMPILED_AT_MOST + 2)]
    for height, width in sizes:
        ran(np.zeros((1, height, width, 3), np.uint8), weights)
    assert [shapes[0][1:3] for shapes in ran._requests] == sizes[-COMPILED_AT_MOST:]


def test_fixed_network_refuses_another_shape():
    with pytest.raises(ModelError, match=r"expected input shapes .*256.*got .*128"):
        open_runner(MASK, CPU)(np.zeros((1, 128, 128, 3), np.uint8))


def test_results_belong_to_the_caller():
    ran = open_runner(MASK, CPU)
    first = ran(PICTURE)[0]
    kept = first.copy()
    ran(np.full_like(PICTURE, 255))
    assert np.array_equal(first, kept)
    assert first.flags.owndata


@pytest.mark.parametrize(
    ("backend", "precision", "variant"),
    [("openvino", "fp32", "openvino fp32"), ("torch", "auto", "torch fp32"), ("torch", "fp32", "torch fp32")],
)
def test_variant_says_backend_and_precision(backend, precision, variant):
    ran = open_runner(MASK, CPU, backend, precision)
    assert ran.variant == variant
    assert ran(PICTURE)[0].shape == (1, 256, 256, 1)


def test_fp16_on_openvino_is_refused():
    with pytest.raises(ModelError, match="fp32 or bf16"):
        open_runner(MASK, CPU, "openvino", "fp16")


def test_openvino_on_a_gpu_is_refused():
    with pytest.raises(ModelError, match="backend=torch"):
        open_runner(MASK, Target("cuda:0"), "openvino")


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta"])
def test_device_that_is_not_there_is_refused(device):
    with pytest.raises(ModelError, match=device):
        open_runner(MASK, Target(device))


def test_without_openvino_torch_runs_and_a_warning_says_so(monkeypatch, caplog):
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda name: None)
    assert open_runner(MASK, CPU).variant == "torch fp32"
    assert "not installed" in caplog.text
    with pytest.raises(ModelError, match="pip install openvino"):
        open_runner(MASK, CPU, "openvino")


def test_closed_torch_runner_says_so():
    ran = open_runner(MASK, CPU, "torch")
    ran.close()
    ran.close()
    with pytest.raises(ModelError, match="after close"):
        ran(PICTURE)


def test_unknown_network_is_a_programming_error():
    with pytest.raises(ModelError, match="SHA256SUMS"):
        Network("nothing", ()).version()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["style", "mask/person", "boxes/coco", "classify/imagenet"])
def test_cuda_agrees_with_the_reference(name):
    from models.registry import load
    from tests.golden import picture

    image = picture("astronaut")
    fast, reference = load(name, Target("cuda:0")), load(f"{name}:backend=torch", CPU)
    got, expected = fast(image), reference(image)
    if name == "style":
        assert 10 * np.log10(255**2 / np.mean((got.astype(float) - expected) ** 2)) > 40
    elif name == "mask/person":
        assert np.abs(got.mask.astype(int) - expected.mask).mean() < 2
    elif name == "boxes/coco":
        assert got.labels == expected.labels
    else:
        assert got.classes[0][0] == expected.classes[0][0]
