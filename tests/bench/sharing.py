"""Two networks on the same cores, and several pictures of one network at once: `python -m tests.bench.sharing`.

For each setting `style` and `boxes/coco` run beside each other, as the server's lanes do, and in turn; then one network
with one request, two requests of one thread each, and OpenVINO's own queue. Settings take turns, so that other programs
on the machine slow all of them; the table has medians over the rounds. What threads that fight for the cores waste is
the processor time spent, over that of the same work on one thread alone: a number that other programs hardly change.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov

from models.boxes import NETWORK as BOXES
from models.openvino_runner import load_graph
from models.runner import Network
from models.style import NETWORK as STYLE

PICTURES: dict[str, list[Any]] = {
    "style": [np.full((1, 360, 640, 3), 127, np.uint8), np.eye(26, dtype=np.float32)[0]],
    "boxes": [np.full((1, 256, 416, 3), 127, np.uint8)],
}


def compiled(network: Network, threads: int, **config: Any) -> ov.CompiledModel:
    """Compile a network for its picture, bf16."""
    graph = load_graph(network, "bf16").clone()
    graph.reshape({port: list(x.shape) for port, x in zip(graph.inputs, PICTURES[network.name], strict=True)})
    base = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return ov.Core().compile_model(graph, "CPU", base | {"ENABLE_CPU_PINNING": False} | config)


def runner(network: Network, threads: int, **config: Any) -> Callable[[], object]:
    """Return what runs a network once."""
    request, x = compiled(network, threads, **config).create_infer_request(), PICTURES[network.name]
    return lambda: request.infer(x, share_inputs=True, share_outputs=True)


def beside(runs: list[Callable[[], object]], seconds: float) -> list[int]:
    """Return how often each ran, in a thread of its own."""
    counts = [0] * len(runs)
    until = time.monotonic() + seconds

    def lane(i: int) -> None:
        while time.monotonic() < until:
            runs[i]()
            counts[i] += 1

    lanes = [threading.Thread(target=lane, args=(i,)) for i in range(len(runs))]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join(seconds + 60)
    return counts


def in_turn(runs: list[Callable[[], object]], seconds: float) -> list[int]:
    """Return how often each ran, one after the other."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for run in runs:
            run()
        count += 1
    return [count] * len(runs)


def cpu_seconds(run: Callable[[], object], seconds: float) -> float:
    """Return the processor time of one run."""
    started = time.process_time()
    (count,) = in_turn([run], seconds)
    return (time.process_time() - started) / count


def share_cores(rounds: int, seconds: float) -> None:
    """Print how many of both are done a second, and what share of the cores that is worth."""
    style2, style1 = runner(STYLE, 2), runner(STYLE, 1)
    boxes1, boxes2 = runner(BOXES, 1), runner(BOXES, 2)
    pinned = [runner(STYLE, 2, ENABLE_CPU_PINNING=True), runner(BOXES, 1, ENABLE_CPU_PINNING=True)]
    split = [runner(STYLE, 1, ENABLE_CPU_PINNING=True), runner(BOXES, 1, ENABLE_CPU_PINNING=True)]
    ways: dict[str, Callable[[], list[int]]] = {
        "in turn, style 2, boxes 2": lambda: in_turn([style2, boxes2], seconds),
        "in turn, style 2, boxes 1": lambda: in_turn([style2, boxes1], seconds),
        "beside, style 2, boxes 1": lambda: beside([style2, boxes1], seconds),
        "beside, style 2, boxes 2": lambda: beside([style2, boxes2], seconds),
        "beside, style 1, boxes 1": lambda: beside([style1, boxes1], seconds),
        "beside, style 2, boxes 1, pinned": lambda: beside(pinned, seconds),
        "beside, style 1, boxes 1, pinned": lambda: beside(split, seconds),
    }
    found: dict[str, list[list[int]]] = {name: [] for name in ways}
    wasted: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        alone = [cpu_seconds(run, seconds) for run in (style1, boxes1)]
        for name, way in ways.items():
            started = time.process_time()
            counts = way()
            spent = time.process_time() - started
            found[name].append(counts)
            wasted[name].append(spent / sum(n * cost for n, cost in zip(counts, alone, strict=True)))
    print("| setting | style / s | boxes / s | processor time over that of one thread alone |\n|---|---|---|---|")
    for name, rows in found.items():
        style, boxes = (statistics.median(column) / seconds for column in zip(*rows, strict=True))
        print(f"| {name} | {style:.1f} | {boxes:.1f} | {statistics.median(wasted[name]):.2f} |", flush=True)


def many_at_once(network: Network, rounds: int, seconds: float) -> None:
    """Print pictures a second of one network, one after the other and several at once."""
    one, half = runner(network, 2), [runner(network, 1), runner(network, 1)]
    queue_of: dict[int, Any] = {}
    for jobs in (2, 4):
        hint = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": 2}
        queue_of[jobs] = ov.AsyncInferQueue(compiled(network, 2, **hint), jobs)

    def queued(jobs: int) -> list[int]:
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            queue_of[jobs].start_async(PICTURES[network.name])
            count += 1
        queue_of[jobs].wait_all()
        return [count]

    ways: dict[str, Callable[[], list[int]]] = {
        "one request, 2 threads": lambda: in_turn([one], seconds),
        "two workers, 1 thread each": lambda: beside(half, seconds),
        "queue of 2, two streams": lambda: queued(2),
        "queue of 4, two streams": lambda: queued(4),
    }
    found: dict[str, list[int]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        alone = cpu_seconds(half[0], seconds)
        for name, way in ways.items():
            started = time.process_time()
            found[name].append(sum(way()))
            spent[name].append((time.process_time() - started) / (found[name][-1] * alone))
    base = found["one request, 2 threads"]
    for name, counts in found.items():
        ratio = statistics.median(count / first for count, first in zip(counts, base, strict=True))
        row = f"{statistics.median(counts) / seconds:.1f} | {ratio:.2f} | {statistics.median(spent[name]):.2f}"
        print(f"| {network.name}: {name} | {row} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Networks that share the cores.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each setting in each round")
    given = parser.parse_args()
    share_cores(given.rounds, given.seconds)
    print("| workers | pictures / s | times one request | processor time |\n|---|---|---|---|")
    for network in (STYLE, BOXES):
        many_at_once(network, given.rounds, given.seconds)


if __name__ == "__main__":
    main()
