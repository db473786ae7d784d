import asyncio
import time

from stream.clock import MonotonicClock
from stream.lag import LoopLag


async def test_a_blocked_loop_is_seen() -> None:
    lag = LoopLag(MonotonicClock())
    probe = asyncio.create_task(lag.run())
    await asyncio.sleep(0.06)
    time.sleep(0.2)  # noqa: ASYNC251 - the block that must be seen
    await asyncio.sleep(0.06)
    probe.cancel()
    assert lag.lag_ms.summary()["max"] > 100
