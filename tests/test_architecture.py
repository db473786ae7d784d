"""The rules of the code that no linter knows: which way imports point, and what may not be written anywhere.

Everything is read from the source with `ast`; nothing is imported or run.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST_FILE = 500  # lines
LONGEST_FUNCTION = 60  # lines, with its docstring

# stream/ from the bottom to the top: a module imports from its own layer and those below, never upwards.
LAYERS: tuple[set[str], ...] = (
    {"errors", "clock", "results", "trace", "frame", "stats", "still", "pool", "run"},
    {"signals", "mailbox", "budget", "shares", "turns", "placement", "admission", "lag", "port", "config"},
    {"jitter_buffer"},
    {"glass", "news"},
    {"compose", "encoder"},
    {"aiortc_hooks"},
    {"address", "averrors", "backoff", "convert", "fit", "interrupt", "tap", "timeline"},
    {"view", "intake", "feed", "ladder", "coststore"},
    {"batching"},
    {"scheduler"},
    {"cause", "policies"},
    {"machine", "summary"},
    {"baseline", "bench_results", "bootstrap", "perfetto", "report"},
    {"bench_plots"},
    {"bench_report"},
    {"clip", "recorder", "recording", "sound", "tape"},
    {"lanes"},
    {"gpu", "stage", "camera", "demux", "pattern", "pictures", "readers", "source", "publisher"},
    {"device", "account", "clairvoyant", "controls", "costs"},
    {"synthetic"},
    {"inflow"},
    {"pipeline", "broadcast", "channel"},
    {"promise", "shadow", "status"},
    {"virtual"},
    {"warming"},
    {"parts"},
    {"live", "offer", "access"},
    {"sessions"},
    {"webrtc", "whip", "events"},
    {"publish"},
    {"metrics", "server", "wiring"},
    {"bench_costs", "headless", "verdict"},
    {"replay", "record", "simulate"},
    {"app", "doctor"},
    {"bench_table", "listing", "tables", "options", "latency_options", "outputs", "preflight", "progress"},
    {"trial"},
    {"bench_cli", "check_cli", "learn_cli", "pull_cli"},
    {"tune_cli"},
    {"models_cli"},
    {"latency_cli", "cli", "__main__"},
    {"testing"},  # a pytest plugin: beside the command line, not under it
)

# The only files of stream/ that know models/:
MEETS_MODELS = {
    "stream/bench_cli.py",
    "stream/bench_costs.py",
    "stream/check_cli.py",
    "stream/learn_cli.py",
    "stream/models_cli.py",
    "stream/preflight.py",
    "stream/pull_cli.py",
    "stream/tune_cli.py",
    "stream/wiring.py",
}
MODELS_KNOW = {"stream.errors", "stream.frame", "stream.results", "stream.clock", "stream.still", "stream.pool"}
KNOWS_TORCH = {"stream/device.py"}  # and models/

# Decided here, awaited elsewhere: standard library only, so that they can be read and replayed on their own.
TIMELESS = {"trace", "budget", "scheduler", "stats"}  # time is handed in
TIMELESS |= {"view", "placement", "batching", "ladder", "shares", "turns", "admission", "cause", "policies", "costs"}
PLAIN = TIMELESS | {"errors", "clock", "mailbox", "run"}
TIME_AND_CHANCE = {"asyncio", "time", "datetime", "threading", "random", "os", "socket"}

# Modules without a tests/test_<module>.py of their own, and why that is right.
TESTED_ELSEWHERE = {
    "stream/errors.py": "types only; every test of a failure uses them",
    "stream/frame.py": "data only; used by every pipeline test",
    "stream/options.py": "text of --help; test_cli.py reads it",
    "stream/latency_options.py": "text of --help; test_latency_cli.py reads it",
    "stream/models_cli.py": "test_cli.py",
    "stream/parts.py": "data; every test of a live stream is made of it",
    "stream/offer.py": "test_webrtc.py and test_whip.py",
    "stream/sessions.py": "test_webrtc.py and test_whip.py",
    "stream/outputs.py": "test_latency_cli.py",
    "stream/sound.py": "test_replay.py damages side files",
    "stream/progress.py": "test_latency_cli.py",
    "stream/preflight.py": "test_cli.py, and test_latency_cli.py",
    "stream/metrics.py": "test_server.py reads /metrics of running streams",
    "stream/signals.py": "test_app.py and test_record.py end programs with signals",
    "stream/view.py": "data; test_scheduler.py and test_pipeline.py are made of it",
    "stream/batching.py": "test_scheduler.py and test_pipeline.py: batches are gathered by decisions",
    "stream/averrors.py": "test_source_*.py bring each failure about",
    "stream/readers.py": "test_source_*.py open every kind",
    "stream/tap.py": "test_source_pace.py and test_recorder.py",
    "stream/tape.py": "test_recorder.py",
    "models/entry.py": "test_models_registry.py",
    "models/torchvision_names.py": "test_models_torchvision_models.py",
    "models/torchvision_weights.py": "test_models_torchvision_models.py",
    "stream/pull_cli.py": "test_models_pull.py",
    "models/openvino_runner.py": "test_models_runner.py",
    "models/torch_runner.py": "test_models_runner.py",
    "models/base.py": "types only; the contract test of each model uses them",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield each imported module; `from stream import port` gives stream.port, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            module = node.module or ""
            is_package = module in ("stream", "models")
            yield from (f"{module}.{alias.name}" for alias in node.names) if is_package else [module]


def layer(module: str) -> int:
    found = [height for height, names in enumerate(LAYERS) if module in names]
    assert found, f"stream/{module}.py is in no layer; give it a place in LAYERS of tests/test_architecture.py"
    return found[0]


def stream_imports(path: Path) -> set[str]:
    """Return the modules of stream/ that a file imports, without the `__version__` of the package itself."""
    named = {name.split(".")[1] for name in imports(tree_of(path)) if name.startswith("stream.")}
    return {name for name in named if (ROOT / "stream" / f"{name}.py").exists() and name != "__init__"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield (dotted name as written, call)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


def wall_clock_reads(tree: ast.AST) -> list[int]:
    """Return the lines that read the wall clock for what may be an interval."""
    named = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}
    lines = [call.lineno for name, call in calls(tree) if name in named]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            lines += [node.lineno for alias in node.names if alias.name in ("time", "time_ns")]
    return lines


def unbounded_queues(tree: ast.AST) -> list[int]:
    """Return the lines that make a queue without a bound."""
    kinds = {"Queue", "LifoQueue", "PriorityQueue", "JoinableQueue"}
    lines = []
    for name, call in calls(tree):
        kind = name.rpartition(".")[2]
        size = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "maxsize"), None)
        is_open = size is None or (isinstance(size, ast.Constant) and not size.value)
        if kind == "SimpleQueue" or (kind in kinds and is_open):
            lines.append(call.lineno)
    return lines


def long_functions(tree: ast.AST) -> list[str]:
    """Return the functions that no longer fit a screen."""
    return [
        f"{node.name} ({length} lines)"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]


# ---- which way imports point


@pytest.mark.parametrize("path", sources("stream"), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    if path.stem == "__init__" or path.parent != ROOT / "stream":
        return
    height = layer(path.stem)
    upwards = {name for name in stream_imports(path) if layer(name) > height}
    assert not upwards, f"{name_of(path)} imports from a layer above it: {sorted(upwards)}"


def test_imports_make_no_circle() -> None:
    graph = {path.stem: stream_imports(path) for path in sources("stream") if path.stem != "__init__"}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError and names the circle


def test_every_layer_names_files_that_exist() -> None:
    named = set().union(*LAYERS)
    assert sum(map(len, LAYERS)) == len(named), "a module is in two layers"
    assert {name for name in named if not (ROOT / "stream" / f"{name}.py").exists()} == set()


def test_stream_meets_models_only_where_they_are_joined() -> None:
    meets = {
        name_of(path)
        for path in sources("stream")
        if any(name.split(".")[0] == "models" for name in imports(tree_of(path)))
    }
    assert meets == MEETS_MODELS


def test_models_know_only_the_words_of_stream() -> None:
    for path in sources("models"):
        known = {name for name in imports(tree_of(path)) if name.split(".")[0] == "stream"}
        assert known <= MODELS_KNOW, f"{name_of(path)} imports {sorted(known - MODELS_KNOW)}"


def test_torch_is_imported_only_by_device_and_models() -> None:
    users = {
        name_of(path)
        for path in sources("stream")
        if {n.split(".")[0] for n in imports(tree_of(path))} & {"torch", "torchvision"}
    }
    assert users <= KNOWS_TORCH


@pytest.mark.parametrize("module", sorted(PLAIN))
def test_plain_modules_need_the_standard_library_only(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(tree_of(ROOT / "stream" / f"{module}.py"))}
    assert roots - sys.stdlib_module_names <= {"stream"}


@pytest.mark.parametrize("module", sorted(TIMELESS))
def test_timeless_modules_are_handed_the_time(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(tree_of(ROOT / "stream" / f"{module}.py"))}
    assert not roots & TIME_AND_CHANCE


# ---- what may not be written


@pytest.mark.parametrize("path", sources("stream", "models", "demos"), ids=name_of)
def test_file_keeps_the_rules(path: Path) -> None:
    tree = tree_of(path)
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{lines} lines; split it by its nouns"
    assert long_functions(tree) == []
    assert wall_clock_reads(tree) == [], "intervals come from a Clock; see stream/clock.py"
    assert unbounded_queues(tree) == [], "a queue has a bound; see stream/mailbox.py"


@pytest.mark.parametrize("path", sources("demos"), ids=name_of)
def test_demo_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 80


@pytest.mark.parametrize(
    ("finder", "bad", "good"),
    [
        (wall_clock_reads, "import time\nx = time.time()", "import time\nx = time.monotonic_ns()"),
        (wall_clock_reads, "from time import time", "from time import monotonic"),
        (unbounded_queues, "q = asyncio.Queue()", "q = asyncio.Queue(3)"),
        (unbounded_queues, "q = queue.Queue(maxsize=0)", "q = queue.Queue(maxsize=2)"),
        (unbounded_queues, "q = queue.SimpleQueue()", "q = Mailbox(2)"),
        (long_functions, "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION, "def f():\n    x = 1\n"),
    ],
)
def test_finder_finds_the_bad_and_passes_the_good(finder: object, bad: str, good: str) -> None:
    assert callable(finder)
    assert finder(ast.parse(bad))
    assert not finder(ast.parse(good))


def test_imports_inside_functions_count() -> None:
    found = set(
        imports(
            ast.parse("def f():\n    import torch.cuda\n    from stream import port\n    from models.base import Kind")
        )
    )
    assert found == {"torch.cuda", "stream.port", "models.base"}


# ---- what must be there


def test_every_module_has_its_test_or_a_reason() -> None:
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    modules = [
        path for path in sources("stream", "models") if path.parent.parent == ROOT and not path.stem.startswith("__")
    ]
    untested = {
        name_of(path) for path in modules if not {f"test_{path.stem}.py", f"test_models_{path.stem}.py"} & tests
    }
    assert untested - TESTED_ELSEWHERE.keys() == set()
    gone = {name for name in TESTED_ELSEWHERE if not (ROOT / name).exists()}
    assert gone == set(), "these are listed and no longer exist"
