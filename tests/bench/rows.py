"""What a measurement says, on which machine, and how it is printed and stored."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
VERSIONS_OF = ("torch", "openvino", "av", "aiortc", "numpy", "opencv-python")


@dataclass(frozen=True, slots=True)
class Row:
    """One number. `aim` is what it should be, in words; `is_met` None where there is no aim."""

    what: str
    value: float
    unit: str
    aim: str = ""
    is_met: bool | None = None
    quality: str = ""  # of the picture or result the speed was bought with
    note: str = ""


def machine() -> dict[str, object]:
    """Return the device and versions a result holds for."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS_OF},
    }


def show(title: str, rows: Iterable[Row]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for column, justify in (
        ("what", "left"),
        ("value", "right"),
        ("aim", "left"),
        ("quality", "left"),
        ("note", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        style = {True: "green", False: "red", None: ""}[row.is_met]
        table.add_row(row.what, f"{row.value:g} {row.unit}", row.aim, row.quality, row.note, style=style)
    Console().print(table)


def store(name: str, rows: list[Row], command: str, card: str = "") -> None:
    """Write `results/NAME.json` and `results/NAME.md`, replacing the earlier ones whole. `card` is a GPU's own name."""
    RESULTS.mkdir(exist_ok=True)
    about = machine() | ({"gpu": card} if card else {})
    found = {"command": command, "machine": about, "rows": [asdict(row) for row in rows]}
    _replace(RESULTS / f"{name}.json", json.dumps(found, indent=1) + "\n")
    _replace(RESULTS / f"{name}.md", _markdown(name, rows, about, command))


def _markdown(name: str, rows: list[Row], about: dict[str, object], command: str) -> str:
    versions = ", ".join(f"{key} {value}" for key, value in about["versions"].items())  # type: ignore[attr-defined]
    cores = f"{about['gpu']}, {about['cores']} cores" if "gpu" in about else f"{about['cores']} cores"
    lines = [
        f"# {name}",
        "",
        f"`{command}` on {about['date']}: {about['cpu']}, {cores}, Python {about['python']}, {versions}.",
        "",
        "| what | value | aim | met | quality | note |",
        "|---|---:|---|---|---|---|",
    ]
    for row in rows:
        met = {True: "yes", False: "no", None: ""}[row.is_met]
        lines.append(f"| {row.what} | {row.value:g} {row.unit} | {row.aim} | {met} | {row.quality} | {row.note} |")
    return "\n".join(lines) + "\n"


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(path.suffix + ".new")
    beside.write_text(text)
    beside.replace(path)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    return (names[0] if names else platform.machine()) + (" (AVX-512 bf16)" if "avx512_bf16" in flags else "")
