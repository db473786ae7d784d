"""How networks are run: the graph cache, precisions, devices, and what must not be imported."""

import subprocess
import sys

import numpy as np
import pytest

from models import backends, openvino_runner, runner, torch_runner
from models.base import Target
from models.openvino_runner import OpenVinoRunner, load_graph
from models.person_mask import NETWORK as MASK
from models.runner import Network, Way, choose, open_runner
from models.shape_cache import KEPT_AT_MOST
from models.style import NETWORK as STYLE
from stream.errors import ModelError
from tests.golden import picture

CPU = Target("cpu", 1)
PICTURE = np.zeros((1, 256, 256, 3), np.uint8)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "livelens" / "graphs"


def refuse_to_convert(network):
    raise AssertionError(f"{network.name} was converted again")


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


def test_source_of_the_fast_graphs_counts_for_those_that_have_one(monkeypatch):
    before = MASK.version(), STYLE.version()
    read = runner.Path.read_bytes
    monkeypatch.setattr(
        runner.Path, "read_bytes", lambda path: b"changed" if path.name == "rounding.py" else read(path)
    )
    assert MASK.version() == before[0]
    assert STYLE.version() != before[1]


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
    sizes = [(16, 16 + 4 * i) for i in range(KEPT_AT_MOST + 2)]
    for height, width in sizes:
        ran(np.zeros((1, height, width, 3), np.uint8), weights)
    assert [shapes[0][1:3] for shapes in ran._requests.shapes()] == sizes[-KEPT_AT_MOST:]


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


def test_fp16_on_a_processor_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(openvino_runner, "_capabilities", lambda: frozenset({"FP32", "BF16"}))
    with pytest.raises(ModelError, match="does not compute in fp16; say bf16 or fp32"):
        open_runner(MASK, CPU, "openvino", "fp16")


@pytest.mark.parametrize(
    ("device", "asked", "way"),
    [
        ("cpu", (), Way("openvino", None, None)),
        ("cpu", ("auto", "int8"), Way("openvino", "int8", None)),
        ("cpu", ("auto", "auto", "channels_last"), Way("torch", None, "channels_last")),
        ("cpu", ("compile", "bf16", "channels_first"), Way("compile", "bf16", "channels_first")),
        ("cuda:1", (), Way("torch", None, None)),
        ("cuda:1", ("cudagraph", "fp16"), Way("cudagraph", "fp16", None)),
        ("mps", (), Way("torch", None, None)),
        ("xpu", ("torch", "bf16"), Way("torch", "bf16", None)),
    ],
)
def test_way_is_chosen_for_the_device(device, asked, way):
    assert choose(Target(device), *asked) == way


@pytest.mark.parametrize(
    ("device", "asked", "message"),
    [
        ("cuda:0", ("openvino",), r"openvino runs on cpu, not on cuda; or say backend=auto"),
        ("cpu", ("cudagraph",), r"cudagraph runs on cuda, not on cpu"),
        ("cpu", ("tensorrt",), r"tensorrt runs on cuda, not on cpu"),
        ("cpu", ("torch", "int8"), r"backend=torch takes precision=fp32 or bf16 or fp16 on cpu, not int8"),
        ("cpu", ("onnxruntime", "bf16"), r"backend=onnxruntime takes precision=fp32 on cpu, not bf16"),
        ("cpu", ("openvino", "auto", "channels_last"), r"layout=channels_last is for backend=torch or compile or"),
        ("tpu", (), r"device 'tpu': expected cpu, cuda, mps or xpu"),
    ],
)
def test_what_does_not_go_together_says_what_is_allowed(device, asked, message):
    with pytest.raises(ModelError, match=message) as caught:
        choose(Target(device), *asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta", "mps", "xpu:7"])
def test_device_that_is_not_there_is_refused(device):
    with pytest.raises(ModelError, match=device):
        open_runner(MASK, Target(device))


def test_without_openvino_torch_runs_and_a_warning_says_so(monkeypatch, caplog):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None if name == "openvino" else name)
    assert open_runner(MASK, CPU).variant == "torch fp32"
    assert "not installed" in caplog.text
    with pytest.raises(ModelError, match="pip install openvino"):
        open_runner(MASK, CPU, "openvino")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_layouts_and_precisions_of_torch_agree(precision, layout):
    shown = picture("astronaut")[None, :256, :256]
    (expected,) = open_runner(MASK, CPU, "torch")(shown)
    ran = open_runner(MASK, CPU, "torch", precision, layout)
    assert ran.variant == f"torch {precision} {layout}"
    limit = {"fp32": 0.01, "bf16": 3.0}[precision]
    assert np.abs(ran(shown)[0].astype(int) - expected).mean() < limit


@pytest.mark.parametrize(("layout", "is_last"), [("channels_first", False), ("channels_last", True)])
def test_layout_is_what_the_network_sees(layout, is_last):
    ran = open_runner(MASK, CPU, "torch", "fp32", layout)
    seen = []
    stem = ran._run.network.stem
    stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ran(PICTURE)
    assert seen[0].is_contiguous() != is_last
    assert stem.weight.is_contiguous() != is_last


class Tiny:
    """A network of one layer; those of ours take a minute to compile on a busy machine."""

    name = "tiny"

    def build(self):
        import torch

        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Hardswish()).eval()


@pytest.mark.slow
def test_compiled_network_agrees_with_eager():
    shown = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    ran = open_runner(Tiny(), CPU, "compile")
    assert ran.variant == "compile fp32"
    for size in (2, 1):
        got, expected = ran(shown[:size])[0], open_runner(Tiny(), CPU, "torch")(shown[:size])[0]
        assert np.abs(got - expected).max() < 1e-5


def test_compile_without_a_compiler_says_what_to_install(monkeypatch):
    from torch._inductor import cpp_builder, exc

    def fail():
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", fail)
    with pytest.raises(ModelError, match=r"needs a C\+\+ compiler on a CPU: apt-get install g\+\+"):
        open_runner(MASK, CPU, "compile")


def test_failed_compilation_is_one_line(monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    def fail(*inputs):
        raise TorchDynamoException("cannot trace\nthis")

    monkeypatch.setattr(torch_runner.torch, "compile", lambda module, dynamic: fail)
    with pytest.raises(ModelError, match=r"^compile fp32: torch.compile failed: cannot trace; say backend=torch$"):
        open_runner(MASK, CPU, "compile")(PICTURE)


def test_each_thread_keeps_its_own_number_of_threads():
    import threading

    import torch

    one, two = open_runner(MASK, Target("cpu", 1), "torch"), open_runner(MASK, Target("cpu", 2), "torch")
    counts = {}

    def lane(ran):
        for _ in range(3):
            ran(PICTURE)
        counts[ran] = torch.get_num_threads()

    lanes = [threading.Thread(target=lane, args=(ran,)) for ran in (one, two)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join(60)
    assert (counts[one], counts[two]) == (1, 2)


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


def test_closed_runner_gives_its_memory_back():
    code = (
        "import ctypes, gc, re, numpy\n"
        "from models.base import Target\n"
        "from models.registry import load\n"
        "def used_mb():\n"
        "    gc.collect(); ctypes.CDLL(None).malloc_trim(0)\n"
        "    return int(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
        "def opened():\n"
        "    model = load('style:backend=openvino', Target('cpu', 1))\n"
        "    model.warm(720, 1280)\n"
        "    return model\n"
        "opened().close()\n"  # what stays for good: the library itself
        "before = used_mb(); model = opened(); open_mb = used_mb() - before\n"
        "model.close(); left_mb = used_mb() - before\n"
        "print(open_mb, left_mb)\n"
        "assert open_mb > 50, open_mb\n"
        "assert left_mb < open_mb / 2, (open_mb, left_mb)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=110)
