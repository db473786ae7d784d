"""What a model's variants are compared with: torch fp32 of the same network on the same input."""

from collections.abc import Mapping

from models.findings import EQUIVALENT
from models.ladder import is_allowed, spelled
from models.registry import code_of, parse

REFERENCE: Mapping[str, str] = {"backend": "torch", "precision": "fp32"}


def reference_of(name: str) -> str:
    """Return torch fp32 of a model; the model itself where its backend cannot be chosen, such as your own."""
    parsed = parse(name)
    kept = {key: value for key, value in parsed.options if key not in EQUIVALENT}
    wanted = spelled(parsed, {**kept, **REFERENCE})
    return wanted if code_of(parsed) is None and is_allowed(wanted) else name
