"""Threads of work: their ends, their times, and what they keep."""

import asyncio
import threading

from stream.clock import MonotonicClock
from stream.lanes import Completed, Job, Lane, LaneSet, Smaller, is_work_left, run_aside


async def test_run_aside_ends_its_thread() -> None:
    assert (await run_aside(MonotonicClock(), lambda: 5)).value == 5
    for thread in [t for t in threading.enumerate() if t.name == "lane aside"]:
        thread.join(5)
        assert not thread.is_alive()


async def test_the_value_of_a_smaller_job_is_told_as_such() -> None:
    completed = await run_aside(MonotonicClock(), lambda: Smaller(3))
    assert (completed.value, completed.is_smaller) == (3, True)


async def test_a_job_may_have_begun_before_its_lane_took_it() -> None:
    lanes, found = LaneSet("here", MonotonicClock()), asyncio.get_running_loop().create_future()
    lanes.get("a").submit(Job(int, found.set_result, asyncio.get_running_loop(), started_ns=5))
    completed: Completed = await asyncio.wait_for(found, 10)
    assert completed.started_ns == 5
    assert lanes.close(10)


def test_a_lane_that_ends_after_its_loop_tells_nobody_and_raises_nothing() -> None:
    loop = asyncio.new_event_loop()
    lane, go_on = Lane("late", MonotonicClock(), threading.Lock), threading.Event()
    lane.submit(Job(lambda: go_on.wait(10), lambda completed: None, loop))
    loop.close()
    go_on.set()
    lane.close()
    assert lane.join(10) and not lane.is_alive()


async def test_work_begun_aside_is_known_until_it_ends() -> None:
    go_on = threading.Event()
    done = run_aside(MonotonicClock(), go_on.wait)
    assert is_work_left()
    go_on.set()
    await done
    for _ in range(200):
        if not is_work_left():
            break
        await asyncio.sleep(0.01)
    assert not is_work_left()
