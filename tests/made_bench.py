"""A document of a bench as `livelens bench --json` writes it, with made numbers."""

from typing import Any

from stream.bench_results import document, model_entry


def timing(p50_ms: float, batch: int = 1, low_ms: float = 0.0) -> dict[str, Any]:
    rate = 1000 * batch / p50_ms
    return {
        "batch": batch,
        "calls": 40,
        "p50_ms": p50_ms,
        "p95_ms": p50_ms * 1.2,
        "p99_ms": p50_ms * 1.5,
        "low_ms": low_ms or p50_ms * 0.9,
        "high_ms": p50_ms * 1.1,
        "rate": rate,
        "rate_low": rate * 0.9,
        "rate_high": rate * 1.1,
    }


def quality(value: float, text: str, below: str = "", measure: str = "PSNR", unit: str = "dB") -> dict[str, Any]:
    return {"measure": measure, "value": value, "unit": unit, "text": text, "is_less": True, "below": below}


def variant(label: str, role: str, *timings: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "style",
        "label": label,
        "role": role,
        "variant": label.partition(",")[0],
        "rung": "",
        "load_ms": 160.0,
        "warm_ms": 217.0,
        "memory": {"host": 137_000_000, "device": None, "weights": 670_000},
        "likeness": None,
        "timings": list(timings),
        "notes": [],
        "error": None,
    } | changes


def report(*variants: dict[str, Any], **changes: Any) -> dict[str, Any]:
    plan = {"name": "style", "threads": 2}
    return {"plan": plan, "pictures": 12, "variants": variants, "is_complete": True, "groups": 1} | changes


def made_variants() -> list[dict[str, Any]]:
    """Return the reference, the model, a rung, a way that misses its floor, and one that is not here."""
    lighter = {"name": "style:scale=0.5", "rung": "scale=0.5", "likeness": quality(19.1, "19.1 dB, SSIM .528")}
    int8 = quality(31.0, "31.0 dB, SSIM .910", "PSNR 31.0 dB is below the floor of 35")
    reference = {"name": "style:backend=torch,precision=fp32"}
    return [
        variant("torch fp32", "reference", timing(100.0), timing(190.0, 2), **reference),
        variant("openvino bf16", "as it is", timing(25.0), likeness=quality(51.5, "51.5 dB, SSIM .998")),
        variant("openvino bf16, scale=0.5", "lighter", timing(10.0, low_ms=8.0), **lighter),
        variant("openvino int8", "way", timing(12.0), name="style:precision=int8", likeness=int8),
        variant("tensorrt", "way", name="style:backend=tensorrt", error="tensorrt runs on cuda, not on cpu"),
    ]


ABOUT = {
    "command": "livelens bench style",
    "created": "2026-01-02T03:04:05Z",
    "device": "cpu",
    "device_text": "CPU, 2 cores",
    "processor": "A processor",
    "python": "3.11.7",
    "versions": {"torch": "2.14.1", "openvino": "2026.4.1"},
    "size": "640x360",
    "batches": [1, 2],
    "seconds": 3.0,
    "rounds": 5,
}


def made_model(*variants: dict[str, Any], **changes: Any) -> dict[str, Any]:
    told = {"other_load": 0.25, "speed_probe_ms": 0.5, "is_as_served": True} | changes
    return model_entry(report(*(variants or made_variants())), **told)


def made_document(*models: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document(ABOUT | changes, models or [made_model()])
