"""One variant in a process of its own: it loads, warms, answers and is timed as the other end of a pipe asks.

A process of its own shows what the variant alone takes to load and holds in memory, keeps torch's process-wide
settings apart, and when a native library crashes only that variant is lost.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from models.base import Kind, Target
from stream.errors import ModelError
from stream.frame import Picture

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux only
RESET_PEAK = "5"  # Documentation/filesystems/proc.rst: sets the peak to what is resident now
STEADY_CALLS = 2  # not timed, before each round: other variants have had the caches since the last one
CONVERTING = ("openvino", "onnxruntime")  # backends that need torch only to make the graph that they keep
OBJECTS_AT_MOST = 20_000  # looked at for weights
DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to run. `size` is (height, width)."""

    name: str
    target: Target
    kind: Kind


@dataclass(frozen=True, slots=True)
class Loaded:
    """A variant that has been loaded.

    variant        the words it has for itself
    takes_batches  whether it takes several pictures in one call
    needs          names of stages whose results it is given; here they are empty
    has_converted  a graph was made by way of torch, which the next load will find in the cache
    """

    variant: str
    load_ms: float
    takes_batches: bool
    needs: tuple[str, ...]
    has_converted: bool


@dataclass(frozen=True, slots=True)
class Round:
    """Calls of one round, in ns each, and the pictures per second over all of it."""

    calls_ns: tuple[int, ...]
    rate: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What a variant holds, in bytes; None where that is not known.

    host     highest resident memory above what the process had before it was loaded, its libraries included
    device   highest torch allocated on the GPU
    weights  numbers of the network, as the backend was given them
    """

    host: int | None
    device: int | None
    weights: int | None


def serve(pipe: Connection, job: Job, words: str) -> None:
    """Answer (what, arguments) with ("ok", value) or ("error", one line) until "end" or the pipe closes.

    `words` is a file that takes what libraries print. Ctrl-C is for the other end, which then closes the pipe.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _print_into(words)
    _track_own_resources()
    worker = Worker(job)
    calls: dict[str, Callable[..., Any]] = {
        "pictures": worker.take,
        "load": worker.load,
        "warm": worker.warm,
        "answers": worker.answers,
        "prepare": worker.prepare,
        "round": worker.round,
        "memory": worker.memory,
    }
    while True:
        try:
            what, arguments = pipe.recv()
        except EOFError:
            break
        if what == "end":
            break
        try:
            pipe.send(("ok", calls[what](*arguments)))
        except Exception as error:  # the task boundary: a backend may raise anything
            pipe.send(("error", one_line(error)))
    pipe.close()
    os._exit(0)  # without the interpreter's end: native libraries abort there now and then, and nobody waits for it


def one_line(error: BaseException) -> str:
    """Return what went wrong in a line: our own messages as they are, others with their type and first words."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ModelError) else f"{type(error).__name__}: {text}"[:300]


class Worker:
    """Holds one model and does with it what is asked."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._model: Any = None  # None until loaded
        self._pictures: list[Picture] = []
        self._next = 0  # picture that comes next
        self._before: int | None = None  # resident bytes before the model came
        self._weights: int | None = None  # None until they were counted, or where there are none

    def take(self, pictures: Sequence[Picture]) -> None:
        """Keep the pictures to run on."""
        self._pictures = list(pictures)

    def load(self) -> Loaded:
        """Load the model and say how long that took, imports of its backend included. Raises ModelError."""
        from models.registry import load

        with suppress(OSError):  # not Linux, or a container that does not allow it: then the peak of the start counts
            CLEAR.write_text(RESET_PEAK)
        self._before = resident_bytes("VmRSS")
        started_ns = time.perf_counter_ns()
        self._model = load(self._job.name, self._job.target, kind=self._job.kind)
        took_ms = (time.perf_counter_ns() - started_ns) / 1e6
        variant = str(self._model.variant)
        has_converted = variant.startswith(CONVERTING) and "torch" in sys.modules
        needs = tuple(getattr(self._model, "needs", ()))
        return Loaded(variant, took_ms, callable(getattr(self._model, "many", None)), needs, has_converted)

    def warm(self, height: int, width: int) -> float:
        """Warm the model and return how many ms that took."""
        started_ns = time.perf_counter_ns()
        self._model.warm(height, width)
        return (time.perf_counter_ns() - started_ns) / 1e6

    def answers(self) -> list[Any]:
        """Return what the model makes of each picture."""
        return [self._call([picture])[0] for picture in self._pictures]

    def prepare(self, batch: int) -> None:
        """Run so many pictures at once for the first time, which may compile something."""
        for _ in range(STEADY_CALLS):
            found = self._call(self._take_next(batch))
        if len(found) != batch:
            raise ModelError(f"expected {batch} answers for as many pictures, got {len(found)}")

    def round(self, batch: int, seconds: float) -> Round:
        """Call the model with `batch` pictures at a time for so long, at least once."""
        calls_ns: list[int] = []
        begun_ns = time.perf_counter_ns()
        for _ in range(STEADY_CALLS):
            if time.perf_counter_ns() - begun_ns < seconds * 1e9:  # one so slow that it is steady enough
                self._call(self._take_next(batch))
        started_ns = now_ns = time.perf_counter_ns()
        while not calls_ns or now_ns - started_ns < seconds * 1e9:
            pictures = self._take_next(batch)
            before_ns = time.perf_counter_ns()
            self._call(pictures)  # the answer is in host memory, so a GPU has ended its work too
            now_ns = time.perf_counter_ns()
            calls_ns.append(now_ns - before_ns)
        return Round(tuple(calls_ns), batch * len(calls_ns) / ((now_ns - started_ns) / 1e9))

    def memory(self) -> Memory:
        """Return what was needed at most since before the load."""
        peak = resident_bytes("VmHWM")
        grown = None if peak is None or self._before is None else max(0, peak - self._before)
        self._weights = self._weights or weight_bytes(self._model)
        return Memory(grown, self._device_bytes(), self._weights)

    def _device_bytes(self) -> int | None:
        torch = sys.modules.get("torch")
        if torch is None or not self._job.target.device.startswith("cuda"):
            return None
        return int(torch.cuda.max_memory_allocated(self._job.target.device))

    def _take_next(self, count: int) -> list[Picture]:
        places = [(self._next + one) % len(self._pictures) for one in range(count)]
        self._next = (self._next + count) % len(self._pictures)
        return [self._pictures[place] for place in places]

    def _call(self, pictures: list[Picture]) -> list[Any]:
        if len(pictures) > 1:
            return list(self._model.many(pictures))
        needs = getattr(self._model, "needs", ())
        if needs:
            from stream.results import Results

            return [self._model(pictures[0], {name: Results() for name in needs})]
        return [self._model(pictures[0])]


def resident_bytes(what: str) -> int | None:
    """Return VmRSS (resident now) or VmHWM (most so far) of this process; None where the system does not tell.

    Not getrusage: its peak is handed down from the parent, which may have been larger.
    """
    try:
        lines = STATUS.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return None
    found = next((line.split()[1] for line in lines if line.startswith(f"{what}:")), None)
    return None if found is None else int(found) * 1024


def weight_bytes(model: object) -> int | None:
    """Return the bytes of the numbers that a loaded model's networks hold; None when none is found.

    Of torch the parameters and buffers, of OpenVINO the constants of its graph, of ONNX Runtime the file. A model that
    has `weight_bytes` of its own is believed.
    """
    told = getattr(model, "weight_bytes", None)
    if isinstance(told, int):
        return told
    parts, seen, left = 0, set[int](), [(model, 0)]
    while left and len(seen) < OBJECTS_AT_MOST:
        one, depth = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        held = _held_bytes(one)
        if held is not None:
            parts += held
        elif depth < DEEPEST:
            left += [(inner, depth + 1) for inner in _inside(one)]
    return parts or None


def _held_bytes(one: object) -> int | None:
    """Return the bytes of a network of a library we know; None for anything else."""
    torch, openvino, onnxruntime = (sys.modules.get(name) for name in ("torch", "openvino", "onnxruntime"))
    if torch is not None and isinstance(one, torch.nn.Module):
        tensors = {tensor.data_ptr(): tensor for tensor in (*one.parameters(), *one.buffers())}
        return sum(int(tensor.nbytes) for tensor in tensors.values())
    if openvino is not None and isinstance(one, openvino.Model):
        constants = (node for node in one.get_ordered_ops() if node.get_type_name() == "Constant")
        return sum(int(node.get_byte_size()) for node in constants)
    if onnxruntime is not None and isinstance(one, onnxruntime.InferenceSession):
        path, data = getattr(one, "_model_path", None), getattr(one, "_model_bytes", None)
        return Path(path).stat().st_size if path else len(data or b"")
    return None


def _inside(one: object) -> list[object]:
    """Return what an object of a model's code holds; nothing of what is plainly no network."""
    if isinstance(one, dict):
        return list(one.values())
    if isinstance(one, list | tuple | set):
        return list(one)
    if isinstance(one, type) or (callable(one) and not hasattr(one, "__dict__")):
        return []
    slots = (getattr(one, name, None) for name in getattr(type(one), "__slots__", ()) if isinstance(name, str))
    return [*getattr(one, "__dict__", {}).values(), *slots]


def _track_own_resources() -> None:
    """Have what libraries share among processes (torch.compile does) tracked here, not by the other end.

    A worker ends without cleaning up, and the other end's tracker would complain of that on its terminal when it ends.
    Without these parts of the standard library nothing breaks but that.
    """
    from multiprocessing import resource_tracker

    tracker: Any = getattr(resource_tracker, "_resource_tracker", None)
    if tracker is not None:
        tracker._fd = tracker._pid = None  # a new one is started when the first resource is made


def _print_into(words: str) -> None:
    """Send what libraries print to a file: it would break the table and the progress of the other end."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
