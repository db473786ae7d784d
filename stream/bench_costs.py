"""What a bench measured becomes what the next stream expects: costs for the store that every start reads.

A cost is kept under each name by which a stream asks for the same work, with the words that a stage has for its variant
(stream/wiring.py), so that the first prediction is the bench's.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stream.bench_results import DEFAULT, LIGHTER, Document
from stream.budget import CostKey, CostModel
from stream.clock import ms_to_ns
from stream.coststore import load_costs, save_costs
from stream.wiring import variant_text


def keep_costs(found: Document, path: Path, machine: str) -> int:
    """Put the costs of a document into the store and return how many; of those already there, the new ones win.

    Only a model that ran with as many threads as a stream gives it. Blocks.
    """
    measured = dict(costs_of(found))
    if not measured:
        return 0
    known = CostModel()
    load_costs(path, machine, known)
    others = {key: cost_ns for key, cost_ns in known.priors().items() if key not in measured}
    save_costs(path, machine, others | measured)
    return len(measured)


def costs_of(found: Document) -> Iterator[tuple[CostKey, int]]:
    """Yield a cost for each name, variant and batch. It is the best round's median: noise only ever adds."""
    width, height = (int(side) for side in found["size"].split("x"))
    for model in found["models"]:
        if not model["is_as_served"]:
            continue
        for one in model["variants"]:
            for stage, variant in _places(model, one):
                for timing in one["timings"]:
                    key = CostKey(stage, variant, height, width, found["device"], timing["batch"])
                    yield key, max(1, ms_to_ns(timing["low_ms"]))


def _places(model: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (stage, variant) of every stage that this variant is, or is a rung of."""
    from models.variants import same_work

    for name in same_work(one["name"]):
        yield name, one["variant"]
    if one["role"] in (DEFAULT, LIGHTER):
        for name in same_work(model["name"]):
            yield name, variant_text(one["variant"], one["rung"])
