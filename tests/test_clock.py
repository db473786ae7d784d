import asyncio
import threading

import pytest

from stream.clock import MonotonicClock, VirtualClock, ms_to_ns, ns_to_ms


async def test_virtual_sleepers_wake_in_order_of_due_time() -> None:
    clock, woken = VirtualClock(), []

    async def sleep(at_ns: int) -> None:
        await clock.sleep_until(at_ns)
        woken.append((at_ns, clock.now_ns()))

    async with asyncio.TaskGroup() as group:
        for at_ns in (30, 10, 20):
            group.create_task(sleep(at_ns))
        await asyncio.sleep(0)
        assert clock.next_due_ns() == 10
        clock.advance_to(25)
        await asyncio.sleep(0)
        assert [at for at, _ in woken] == [10, 20]
        clock.advance_to(30)
    assert clock.now_ns() == 30
    assert clock.next_due_ns() is None


async def test_virtual_sleep_until_the_past_returns_at_once() -> None:
    await VirtualClock(start_ns=5).sleep_until(5)


def test_time_never_goes_back() -> None:
    clock = VirtualClock(start_ns=100)
    clock.advance_to(50)
    assert clock.now_ns() == 100


def test_monotonic_wait_ends_at_once_when_stopped() -> None:
    clock, stop = MonotonicClock(), threading.Event()
    stop.set()
    assert clock.wait_until(clock.now_ns() + ms_to_ns(60_000), stop) is False


def test_monotonic_wait_is_not_early() -> None:
    clock = MonotonicClock()
    at_ns = clock.now_ns() + ms_to_ns(5)
    assert clock.wait_until(at_ns, threading.Event()) is True
    assert clock.now_ns() >= at_ns


@pytest.mark.parametrize("value_ms", [0, 1, 33.367, 150])
def test_milliseconds_survive_the_way_to_nanoseconds_and_back(value_ms: float) -> None:
    assert ns_to_ms(ms_to_ns(value_ms)) == pytest.approx(value_ms)
