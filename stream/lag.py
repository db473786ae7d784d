"""How late the event loop is: what blocks it blocks every viewer, so it is measured all the time."""

from stream.clock import NS_PER_MS, Clock, ns_to_ms
from stream.stats import Distribution

PROBE_EVERY_NS = 20 * NS_PER_MS  # 50 probes a second see a block of 20 ms or more, and cost nothing


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
