"""Make a blocking PyAV call return soon after its source was told to stop.

FFmpeg asks an interrupt callback about ten times a second while it waits for a network. PyAV's callback
(av/container/core.py, interrupt_cb) compares `time.monotonic()` with the time-out it was given, and
offers no other way in. So that module's `time` is replaced by one that, on a thread whose source has been
stopped, is 11 days later at each look, and tells the true time everywhere else.

This is the one place that reaches into PyAV; tests/test_interrupt.py fails when PyAV changes there.
Without it nothing breaks: a stopped source is then abandoned, and its thread ends at the next time-out.
"""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_on_this_thread = threading.local()
_later_s = itertools.count(10**9, 10**6)  # growing: a call that only begins after the stop must time out, too


class _Time:
    """Stands in for the `time` module inside av.container.core."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def monotonic() -> float:
        stop: threading.Event | None = getattr(_on_this_thread, "stop", None)
        return float(next(_later_s)) if stop is not None and stop.is_set() else time.monotonic()


@contextmanager
def interrupted_by(stop: threading.Event) -> Iterator[None]:
    """Within it, PyAV calls on this thread that have a time-out fail once `stop` is set."""
    import av.container.core as core

    core.time = _Time()  # type: ignore[attr-defined]
    _on_this_thread.stop = stop
    try:
        yield
    finally:
        _on_this_thread.stop = None
