"""Play a source in a test and keep what came out."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from stream.clock import Clock, MonotonicClock, VirtualClock
from stream.frame import Frame
from stream.source import Source, SourceState, SourceStatus, open_source, parse_source

OVER = (SourceState.FINISHED, SourceState.ERROR)


class Player:
    """A source with its frames and states. A context manager: it is stopped at the end."""

    def __init__(self, address: str, clock: Clock | None = None, **wish: Any) -> None:
        self.frames: list[Frame] = []
        self.statuses: list[SourceStatus] = []
        wish = {"loop": False, "stream": "cam", **wish}
        self.source: Source = open_source(
            parse_source(address),
            clock=clock or MonotonicClock(),
            emit=self.frames.append,
            on_state=self.statuses.append,
            **wish,
        )

    def __enter__(self) -> "Player":
        self.source.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()

    @property
    def state(self) -> SourceState:
        return self.source.status().state

    def wait(self, is_true: "Callable[[Player], Any]", timeout_s: float = 10.0) -> "Player":
        """Wait until `is_true(self)`; fail with the status otherwise."""
        ends_s = time.monotonic() + timeout_s
        while not is_true(self):
            assert time.monotonic() < ends_s, f"not within {timeout_s} s: {self.source.status()}"
            time.sleep(0.01)
        return self

    def wait_state(self, *states: SourceState, timeout_s: float = 10.0) -> "Player":
        return self.wait(lambda player: player.state in states, timeout_s)

    def wait_frames(self, more: int, timeout_s: float = 10.0) -> "Player":
        """Wait for so many more frames."""
        wanted = len(self.frames) + more
        return self.wait(lambda player: len(player.frames) >= wanted, timeout_s)


def play(address: object, timeout_s: float = 20.0, **wish: Any) -> Player:
    """Play a recording to its end as fast as it decodes, in virtual time."""
    with Player(str(address), VirtualClock(), **wish) as player:
        return player.wait_state(*OVER, timeout_s=timeout_s)


def steps(frames: list[Frame]) -> list[int]:
    """Return the pts differences of following frames."""
    return [after.pts - before.pts for before, after in itertools.pairwise(frames)]


def source_threads(stream: str = "cam") -> list[str]:
    """Return the names of the threads that belong to a source."""
    return [thread.name for thread in threading.enumerate() if thread.name in (f"source-{stream}", f"read-{stream}")]


def stop_in_time(player: Player) -> None:
    """Stop, and see that it took under 2 s and left no thread."""
    started_s = time.monotonic()
    player.source.stop()
    assert time.monotonic() - started_s < 2
    assert source_threads() == []
    assert player.state is SourceState.FINISHED
