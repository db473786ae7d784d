"""One viewer's packets on the event loop: bounded, beginning at a keyframe, and told when they have left."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stream.encoder import VideoPacket
from stream.frame import Frame
from stream.mailbox import Closed

FEED_BOUND = 60  # packets a viewer may lag behind, about two seconds; beyond it loses them and resumes at a keyframe


@dataclass(slots=True)
class Delivery:
    """A frame on its way to its viewers; settled when each has it, or has lost it."""

    frame: Frame
    left: int
    on_settled: Callable[[Frame], None]

    def settle(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.on_settled(self.frame)


class Feed:
    """One viewer's packets: bounded, begins at a keyframe, and after a loss begins again at one. Loop only."""

    def __init__(self, codec: str, request_keyframe: Callable[[], None]) -> None:
        self.codec = codec
        self.lost = 0  # packets this viewer did not get because it was too slow
        self._request_keyframe = request_keyframe
        self._items: deque[tuple[VideoPacket, Delivery]] = deque()
        self._in_hand: Delivery | None = None  # what the transport is sending; None between packets
        self._is_waiting_for_keyframe = True
        self._wake = asyncio.Event()
        self._is_closed = False

    def offer(self, packet: VideoPacket, delivery: Delivery) -> None:
        """Add a packet, or lose it: after the end, before a keyframe, or when the viewer lags too far."""
        if self._is_closed or (self._is_waiting_for_keyframe and not packet.is_keyframe):
            delivery.settle()
            return
        if len(self._items) >= FEED_BOUND:
            self._lose_all()
            if not packet.is_keyframe:
                self.lost += 1
                delivery.settle()
                return
        self._is_waiting_for_keyframe = False
        delivery.frame.trace.is_viewer_behind |= bool(self._items)
        self._items.append((packet, delivery))
        self._wake.set()

    async def next(self) -> VideoPacket:
        """Return the next packet; the call says that the one before is sent. Raises Closed at the end."""
        self._settle_in_hand()
        while not self._items:
            if self._is_closed:
                raise Closed
            self._wake.clear()
            await self._wake.wait()
        packet, self._in_hand = self._items.popleft()
        return packet

    def close(self) -> None:
        """End the feed; `next` raises from now on."""
        self._is_closed = True
        self._lose_all()
        self._settle_in_hand()
        self._wake.set()

    def _lose_all(self) -> None:
        self.lost += len(self._items)
        while self._items:
            self._items.popleft()[1].settle()
        self._is_waiting_for_keyframe = True
        self._request_keyframe()

    def _settle_in_hand(self) -> None:
        if self._in_hand is not None:
            delivery, self._in_hand = self._in_hand, None
            delivery.settle()
