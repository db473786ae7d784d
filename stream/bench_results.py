"""What `livelens bench` measured, as plain data: one document, and the table of it for programs. Pure."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SCHEMA_VERSION = 1
REFERENCE, DEFAULT, LIGHTER, WAY = "reference", "as it is", "lighter", "way"  # as models.variants.Role
COLUMNS = (
    "model", "variant", "name", "role", "size", "batch", "threads",
    "images_per_s", "images_per_s_low", "images_per_s_high", "times_reference",
    "p50_ms", "p50_low_ms", "p50_high_ms", "p95_ms", "p99_ms", "calls",
    "load_ms", "warm_ms", "host_peak_bytes", "device_peak_bytes", "weight_bytes",
    "quality_measure", "quality", "quality_unit", "quality_text", "below_reference", "below_floor",
    "error", "notes", "other_load", "speed_probe_ms", "device", "device_text", "processor", "versions", "created",
)  # fmt: skip

Document = Mapping[str, Any]


def document(about: Mapping[str, Any], models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the whole of a bench: `about` says device, versions and settings, `models` are from `model_entry`."""
    is_complete = all(model["is_complete"] for model in models)
    return {"schema_version": SCHEMA_VERSION, **about, "is_complete": is_complete, "models": list(models)}


def model_entry(report: Mapping[str, Any], **surroundings: Any) -> dict[str, Any]:
    """Return one model of a document from `dataclasses.asdict` of a models.bench.Report."""
    plan, variants = report["plan"], [_variant(one) for one in report["variants"]]
    base = next((one["timings"][0]["p50_ms"] for one in variants if _is_base(one, variants)), None)
    for one in variants:
        p50_ms = next((timing["p50_ms"] for timing in one["timings"] if timing["batch"] == 1), None)
        one["times_reference"] = base / p50_ms if base and p50_ms else None
    return {
        "name": plan["name"],
        "threads": plan["threads"],
        "pictures": report["pictures"],
        "groups": report["groups"],
        "is_complete": report["is_complete"],
        **surroundings,
        "variants": variants,
    }


def _is_base(one: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a variant is what the others' speed is told by: the reference, else the model as it is."""
    roles = [other["role"] for other in variants if other["timings"] and other["timings"][0]["batch"] == 1]
    wanted = REFERENCE if REFERENCE in roles else DEFAULT
    return bool(one["role"] == wanted and one["timings"] and one["timings"][0]["batch"] == 1)


def _variant(found: Mapping[str, Any]) -> dict[str, Any]:
    memory, kept = found["memory"], ("name", "label", "variant", "rung", "load_ms", "warm_ms", "notes", "error")
    return {
        **{name: found[name] for name in kept},
        "role": str(found["role"]),
        "host_peak_bytes": memory["host"],
        "device_peak_bytes": memory["device"],
        "weight_bytes": memory["weights"],
        "quality": found["likeness"],
        "timings": list(found["timings"]),
    }


def csv_text(found: Document) -> str:
    """Return a row for each variant and batch, with all that is known of it; a variant that failed is a row too."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(found))
    return text.getvalue()


def _rows(found: Document) -> Iterator[dict[str, Any]]:
    about = {name: found[name] for name in ("size", "device", "device_text", "processor", "created")}
    about["versions"] = "; ".join(f"{name} {version}" for name, version in found["versions"].items())
    for model in found["models"]:
        of_model = {name: model[name] for name in ("threads", "other_load", "speed_probe_ms")}
        for one in model["variants"]:
            for timing in one["timings"] or [{}]:
                yield about | of_model | _row(model, one, timing)


def _row(model: Mapping[str, Any], one: Mapping[str, Any], timing: Mapping[str, Any]) -> dict[str, Any]:
    quality = one["quality"] or {}
    same = ("name", "role", "load_ms", "warm_ms", "host_peak_bytes", "device_peak_bytes", "weight_bytes", "error")
    return {
        **{name: one[name] for name in same},
        "model": model["name"],
        "variant": one["label"],
        "batch": timing.get("batch"),
        "images_per_s": timing.get("rate"),
        "images_per_s_low": timing.get("rate_low"),
        "images_per_s_high": timing.get("rate_high"),
        "times_reference": one["times_reference"],
        "p50_ms": timing.get("p50_ms"),
        "p50_low_ms": timing.get("low_ms"),
        "p50_high_ms": timing.get("high_ms"),
        "p95_ms": timing.get("p95_ms"),
        "p99_ms": timing.get("p99_ms"),
        "calls": timing.get("calls"),
        "quality_measure": quality.get("measure"),
        "quality": quality.get("value"),
        "quality_unit": quality.get("unit"),
        "quality_text": quality.get("text"),
        "below_reference": quality.get("is_less"),
        "below_floor": quality.get("below"),
        "notes": "; ".join(one["notes"]),
    }


def timing_at(one: Mapping[str, Any], batch: int) -> Mapping[str, Any] | None:
    """Return the timing of a variant at a batch size; None when it was not measured."""
    return next((timing for timing in one["timings"] if timing["batch"] == batch), None)


def quality_words(one: Mapping[str, Any]) -> str:
    """Return the quality of a variant as the tables show it; the floor that it misses is said, too."""
    if one["role"] == REFERENCE:
        return "the reference"
    if one["quality"] is None:
        return ""
    text = str(one["quality"]["text"])
    return f"{text}; below its floor" if one["quality"]["below"] else text


def bytes_words(count: int | None) -> str:
    """Return a size as a person reads it; "" when it is not known."""
    if count is None:
        return ""
    return (
        f"{count / 1e6:.0f} MB"
        if count >= 20e6
        else f"{count / 1e6:.1f} MB"
        if count >= 1e5
        else f"{count / 1e3:.0f} kB"
    )


def ms_words(value_ms: float | None) -> str:
    """Return milliseconds with three digits that say something; "" when not known."""
    if value_ms is None:
        return ""
    return f"{value_ms:.0f}" if value_ms >= 100 else f"{value_ms:.1f}" if value_ms >= 10 else f"{value_ms:.2f}"


def seconds_words(value_ms: float | None) -> str:
    """Return a long time in seconds; "" when not known."""
    return "" if value_ms is None else f"{value_ms / 1000:.2f} s"


def heading(found: Document, model: Mapping[str, Any]) -> str:
    """Return what the numbers of one model hold for, in a line."""
    parts = [model["name"], found["size"], found["device_text"]]
    if found["device"] == "cpu":
        parts.append(f"{model['threads']} thread{'' if model['threads'] == 1 else 's'}")
    parts.append(f"{model['pictures']} pictures")
    return " · ".join(parts)


def remarks(model: Mapping[str, Any]) -> list[str]:
    """Return what to know before believing the numbers of one model."""
    said = []
    if model["other_load"] is not None:
        said.append(f"Other programs took {model['other_load']:.0%} of the processor meanwhile.")
    if model["groups"] > 1:
        said.append(f"Measured in {model['groups']} groups one after the other, as memory did not bear all at once.")
    if not model["is_complete"]:
        said.append("Stopped before its end: fewer rounds than planned, or none.")
    said += [
        f"{one['label']} is not as good as it must be to stand in: {one['quality']['below']}."
        for one in model["variants"]
        if one["quality"] and one["quality"]["below"]
    ]
    of_note: dict[str, list[str]] = {}
    for one in model["variants"]:
        for note in one["notes"]:
            of_note.setdefault(note, []).append(one["label"])
    all_of_it = [one["label"] for one in model["variants"] if one["timings"]]
    return said + [f"{'all' if who == all_of_it else '; '.join(who)}: {note}." for note, who in of_note.items()]
