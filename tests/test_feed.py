import asyncio

import av
import pytest

from stream.feed import FEED_BOUND, Delivery, Feed
from stream.frame import Frame
from stream.mailbox import Closed
from tests.fakes import make_frame


def packet(is_keyframe: bool = False) -> av.Packet:
    made = av.Packet(b"\0\0\0\1x")
    made.is_keyframe = is_keyframe
    return made


class Offers:
    """Offers packets to a feed and counts the deliveries that settled."""

    def __init__(self) -> None:
        self.requests = 0
        self.settled: list[Frame] = []
        self.feed = Feed("H264", self._request)

    def _request(self) -> None:
        self.requests += 1

    def offer(self, is_keyframe: bool = False) -> None:
        self.feed.offer(packet(is_keyframe), Delivery(make_frame(), 1, self.settled.append))


async def test_a_feed_begins_at_a_keyframe() -> None:
    offers = Offers()
    offers.offer()
    offers.offer(is_keyframe=True)
    offers.offer()
    assert (await offers.feed.next()).is_keyframe
    assert not (await offers.feed.next()).is_keyframe
    assert len(offers.settled) == 2  # the one before the keyframe, and the one that is sent


async def test_a_slow_viewer_loses_its_own_packets_and_resumes_at_a_keyframe() -> None:
    offers = Offers()
    offers.offer(is_keyframe=True)
    for _ in range(FEED_BOUND + 5):
        offers.offer()
    assert offers.requests == 1
    assert offers.feed.lost == FEED_BOUND + 1
    offers.offer()
    offers.offer(is_keyframe=True)
    assert (await offers.feed.next()).is_keyframe


async def test_closing_settles_everything_and_ends_the_feed() -> None:
    offers = Offers()
    offers.offer(is_keyframe=True)
    offers.offer()
    await offers.feed.next()
    offers.feed.close()
    assert len(offers.settled) == 2
    with pytest.raises(Closed):
        await offers.feed.next()


async def test_a_waiting_viewer_wakes_when_its_feed_closes() -> None:
    offers = Offers()
    waiting = asyncio.create_task(offers.feed.next())
    await asyncio.sleep(0)
    offers.feed.close()
    with pytest.raises(Closed):
        await asyncio.wait_for(waiting, 5)


async def test_a_frame_that_finds_others_before_it_says_that_a_viewer_is_behind() -> None:
    offers = Offers()
    offers.offer(is_keyframe=True)
    offers.offer()
    await offers.feed.next()
    await offers.feed.next()
    offers.offer()
    await offers.feed.next()
    await asyncio.sleep(0)
    offers.feed.close()
    assert [frame.trace.is_viewer_behind for frame in offers.settled] == [False, True, False]
