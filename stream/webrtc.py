"""WHEP viewers over aiortc: an offer comes in, an answer goes out, shared packets flow.

draft-ietf-wish-whep; the words player, endpoint and session are its own.
"""

from collections.abc import Callable

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from stream.aiortc_hooks import on_keyframe_request, sent_timestamp
from stream.broadcast import Broadcast
from stream.channel import ViewerChannel
from stream.encoder import VideoPacket
from stream.feed import Feed
from stream.jitter_buffer import TIMESTAMP_MOD
from stream.mailbox import Closed
from stream.offer import answer, check_offer, ice_ufrag, negotiated_codec, negotiating, prefer_codecs
from stream.sessions import Session

VIEWER = "viewer"


class PacketTrack(MediaStreamTrack):
    """Gives a viewer's sender the packets of its feed. aiortc sends av.Packet as they are."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.feed: Feed | None = None  # None until the codec is negotiated
        self.on_first_sent: Callable[[int], None] | None = None  # called with the pts of the first packet, once it left
        self._first_pts: int | None = None  # None before the first packet

    async def recv(self) -> VideoPacket:
        if self.feed is None:
            raise MediaStreamError
        if self._first_pts is not None and self.on_first_sent is not None:  # being asked again says that it was sent
            self.on_first_sent(self._first_pts)
            self.on_first_sent = None
        try:
            packet = await self.feed.next()
        except Closed:
            raise MediaStreamError from None
        if self._first_pts is None:
            self._first_pts = packet.pts
        return packet

    def stop(self) -> None:
        """End the feed too: aiortc calls this when its sender ends, for whatever reason."""
        super().stop()
        if self.feed is not None:
            self.feed.close()


def check_player(offer: str) -> None:
    """Refuse what a player does not offer. Raises ProtocolError."""
    check_offer(offer, ("recvonly", "sendrecv"), "a player offers one recvonly video transceiver")


async def open_viewer(stream: str, broadcast: Broadcast, offer: str, channel: ViewerChannel) -> tuple[Session, str]:
    """Return a session for a player's offer, and the answer; the connection is closed when the offer is of no use.

    Raises ProtocolError.
    """
    async with negotiating() as connection:
        channel.listen(connection)
        track = PacketTrack()
        sender = connection.addTrack(track)
        prefer_codecs(connection.getTransceivers()[0])
        said = await answer(connection, offer)
        feed = track.feed = broadcast.make_feed(negotiated_codec(said))
    on_keyframe_request(sender, lambda: broadcast.request_keyframe(feed.codec))
    track.on_first_sent = lambda pts: channel.found_origin((sent_timestamp(sender) - pts) % TIMESTAMP_MOD)

    def connected() -> None:
        broadcast.add_viewer(feed)  # not before: nobody would empty the feed
        broadcast.add_listener(channel)

    def ended() -> None:
        broadcast.remove_viewer(feed)
        broadcast.remove_listener(channel)
        channel.close()

    return Session(stream, VIEWER, connection, ice_ufrag(offer), connected, ended), said
