"""What programs and pages are told of each frame, as one line of JSON made once for all who listen.

docs/frame-messages.md documents the schema. Version 1.
"""

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from stream.clock import ns_to_ms
from stream.frame import Frame

SCHEMA_VERSION = 1
BACKLOG = 30  # messages that wait for one listener, a second; the oldest are given up first


class Listener(Protocol):
    """Somebody who is told of each frame. Event loop only."""

    def offer(self, text: str) -> None:
        """Take a message; never blocks, and may lose it."""
        ...

    def end(self) -> None:
        """Take note that the stream has ended."""
        ...


def frame_message(frame: Frame, rtp_ts: int | None) -> str:
    """Return what is known of a frame once it is encoded.

    rtp_ts is in 1/90000 s as the stream counts; a viewer adds the `rtp_origin` of its hello. None when nobody watches.
    """
    height, width = frame.image.shape[:2]
    message: dict[str, Any] = {
        "type": "frame",
        "seq": frame.seq,
        "rtp": rtp_ts,
        "captured_ms": ns_to_ms(frame.captured_ns),
        "deadline_ms": ns_to_ms(frame.deadline_ns),
        "size": [width, height],
        "results": {
            name: found.to_json() | {"age_ms": round(ns_to_ms(frame.result_age_ns.get(name, 0)), 1)}
            for name, found in frame.results.items()
        },
        "decisions": {
            name: {"action": one.action, "variant": one.variant, "reason": one.reason}
            for name, one in frame.trace.decisions.items()
        },
        "steps_ms": {name: round(value, 2) for name, value in frame.trace.step_ms().items()},
    }
    return json.dumps(message, separators=(",", ":"))


class Backlog:
    """Messages that wait for a listener: bounded, the stalest are given up and counted."""

    def __init__(self) -> None:
        self.lost = 0
        self._waiting: deque[str] = deque()

    def add(self, text: str) -> None:
        """Add a message, and give up the oldest when there are too many."""
        self._waiting.append(text)
        if len(self._waiting) > BACKLOG:
            self._waiting.popleft()
            self.lost += 1

    def pour(self, has_room: Callable[[], bool], send: Callable[[str], None]) -> None:
        """Send what there is room for, oldest first."""
        while self._waiting and has_room():
            send(self._waiting.popleft())

    def take(self) -> str | None:
        """Return the oldest message; None when there is none."""
        return self._waiting.popleft() if self._waiting else None
