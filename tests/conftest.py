"""For every test: what `livelens models check` found on this machine changes the ladders, and must change no test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

USUAL = os.environ.get("XDG_CACHE_HOME")  # compiled graphs are kept there, and tests share them


@pytest.fixture(autouse=True)
def nothing_was_checked_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Have no finding but those that a test makes in a cache of its own."""
    from models import findings

    nowhere, real = tmp_path_factory.getbasetemp() / "no findings" / "checks.json", findings.kept_at

    def kept_at() -> Path:
        return nowhere if os.environ.get("XDG_CACHE_HOME") == USUAL else real()

    monkeypatch.setattr(findings, "kept_at", kept_at)
    yield
