"""How late the event loop is: what blocks it blocks every viewer, so it is measured all the time."""

import sys

from stream.clock import NS_PER_MS, Clock, ns_to_ms
from stream.stats import Distribution

SWITCH_INTERVAL_S = 0.001  # threads hand the interpreter over this often: a frame must not wait 5 ms, Python's default
PROBE_EVERY_NS = 50 * NS_PER_MS  # a block of 50 ms is always seen; each probe wakes the loop


def hand_over_often() -> None:
    """Have threads hand over the interpreter every millisecond. For the whole process; of every real-time command."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)


class LoopLag:
    """Sleeps again and again, and records by how much each sleep overran."""

    def __init__(self, clock: Clock) -> None:
        self.lag_ms = Distribution()
        self._clock = clock

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            due_ns = self._clock.now_ns() + PROBE_EVERY_NS
            await self._clock.sleep_until(due_ns)
            self.lag_ms.add(ns_to_ms(self._clock.now_ns() - due_ns))
