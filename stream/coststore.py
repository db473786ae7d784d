"""Costs kept from one run to the next, so that a start plans with what this machine is known to take."""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stream.budget import CostKey, CostModel

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
KEPT_AT_MOST = 2000  # keys; a machine with many models and sizes has some hundred


def load_costs(path: Path, machine: str, costs: CostModel) -> int:
    """Give the costs kept for this machine to the model as priors, and return how many there were.

    `machine` names device and versions: costs of others say nothing here. A file that cannot be read is as none.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["schema_version"] != SCHEMA_VERSION or found["machine"] != machine:
            return 0
        kept = [_entry(entry) for entry in found["costs"]]
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("%s: kept costs cannot be read and are measured anew: %s", path, error)
        return 0
    for key, cost_ns in kept:
        costs.expect(key, cost_ns)
    return len(kept)


def save_costs(path: Path, machine: str, costs: Mapping[CostKey, int]) -> None:
    """Write the costs beside their place, then rename. A place that cannot be written is a warning. Blocks."""
    newest = [one for one in costs.items() if one[0].stage not in ("tail", "wait")][-KEPT_AT_MOST:]
    entries = [{"key": asdict(key), "cost_ns": cost_ns} for key, cost_ns in newest]
    text = json.dumps({"schema_version": SCHEMA_VERSION, "machine": machine, "costs": entries}, indent=0)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, "utf-8")
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        log.warning("costs cannot be kept in %s: %s", path, error)


def _entry(found: dict[str, Any]) -> tuple[CostKey, int]:
    """Return a kept cost. Raises ValueError, KeyError or TypeError for what is none."""
    key, cost_ns = CostKey(**found["key"]), found["cost_ns"]
    words = (key.stage, key.variant, key.device)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"{words}: names must be text")
    if not all(type(number) is int for number in (key.height, key.width, key.batch, cost_ns)) or cost_ns <= 0:
        raise ValueError(f"{found}: sizes must be whole numbers, and a cost above 0 ns")
    return key, cost_ns
