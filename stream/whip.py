"""WHIP publishers over aiortc: an offer comes in, an answer goes out, encoded frames flow into a source (RFC 9725)."""

from stream.aiortc_hooks import Reception
from stream.clock import Clock
from stream.jitter_buffer import EncodedFrame
from stream.offer import answer, check_offer, ice_ufrag, negotiated_codec, negotiating, prefer_codecs
from stream.publisher import Publication, PublisherReader
from stream.sessions import Session

PUBLISHER = "publisher"


def check_publisher(offer: str) -> None:
    """Refuse what a publisher does not offer. Raises ProtocolError."""
    check_offer(offer, ("sendonly", "sendrecv"), "a publisher offers one sendonly video transceiver")


async def open_publisher(stream: str, reader: PublisherReader, clock: Clock, offer: str) -> tuple[Session, str]:
    """Return a session for a publisher's offer, and the answer. Its frames are shown once it is connected.

    Audio is declined. Raises ProtocolError; the connection is closed then.
    """
    async with negotiating() as connection:
        transceiver = connection.addTransceiver("video", direction="recvonly")
        prefer_codecs(transceiver)
        relay = _Relay(reader)
        relay.reception = Reception(transceiver.receiver, relay.take, clock.now_ns)
        said = await answer(connection, offer)
        negotiated_codec(said)  # raises when there is none
    return Session(stream, PUBLISHER, connection, ice_ufrag(offer), lambda: None, relay.close), said


class _Relay:
    """Gives a connection's frames to the source; a change of codec in mid-call begins another publication."""

    def __init__(self, reader: PublisherReader) -> None:
        self.reception: Reception | None = None  # None until the hook is in place
        self._reader = reader
        self._publication: Publication | None = None  # None until the first frame
        self._is_closed = False

    def take(self, codec: str, frame: EncodedFrame) -> None:
        if self._is_closed or self.reception is None:
            return
        if self._publication is None or self._publication.codec != codec:
            self._publication = Publication(codec, self.reception.ask_keyframe)
            self._reader.publish(self._publication)
        self._publication.offer(frame)

    def close(self) -> None:
        self._is_closed = True
        if self._publication is not None:
            self._publication.close()
