"""WHEP viewers over aiortc: an offer comes in, an answer goes out, shared packets flow.

draft-ietf-wish-whep; the words player, endpoint and session are its own.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass, field

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription

from stream.aiortc_hooks import on_keyframe_request
from stream.broadcast import Broadcast, Feed
from stream.encoder import VideoPacket
from stream.errors import ProtocolError
from stream.mailbox import Closed

log = logging.getLogger(__name__)

CODECS = ("H264", "VP8")  # in order of preference
HANDSHAKE_TIMEOUT_S = 15.0  # from the answer to a connected transport
MAX_SESSIONS = 200
RETRY_AFTER_S = 2


class PacketTrack(MediaStreamTrack):
    """Gives a viewer's sender the packets of its feed. aiortc sends av.Packet as they are."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.feed: Feed | None = None  # None until the codec is negotiated

    async def recv(self) -> VideoPacket:
        if self.feed is None:
            raise MediaStreamError
        try:
            return await self.feed.next()
        except Closed:
            raise MediaStreamError from None


@dataclass(slots=True)
class Session:
    """One viewer. The id is 128 random bits, so that knowing one address tells nothing of another."""

    stream: str
    connection: RTCPeerConnection
    broadcast: Broadcast
    feed: Feed
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))


class Viewers:
    """All WHEP sessions of the server. Event loop only."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # closings and handshake timers, each ended by `close`

    def count(self) -> int:
        return len(self._sessions)

    async def open(self, stream: str, broadcast: Broadcast, offer: str) -> tuple[Session, str]:
        """Answer a player's offer. Raises ProtocolError with the status to answer with."""
        if len(self._sessions) >= MAX_SESSIONS:
            raise ProtocolError(f"{MAX_SESSIONS} viewers are connected, the limit; try again later", 503)
        _check_offer(offer)
        connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[])
        )  # no STUN: a LAN needs none, and it may not answer
        track = PacketTrack()
        try:
            answer = await _answer(connection, track, offer)
            codec = _negotiated_codec(answer)
        except (
            ProtocolError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
        ) as error:  # aiortc's parser raises these
            await connection.close()
            if isinstance(error, ProtocolError):
                raise
            raise ProtocolError(f"the offer could not be used: {error}", 422) from error
        track.feed = broadcast.add_viewer(codec)
        session = Session(stream, connection, broadcast, track.feed)
        self._sessions[session.id] = session
        self._watch(session)
        log.info("%s: viewer %s joined, %s, %d watching", stream, session.id[:6], codec, broadcast.viewer_count())
        return session, answer

    async def close(self, session_id: str, stream: str) -> None:
        """End a session. Raises ProtocolError 404 when there is none of this id on this stream."""
        session = self._sessions.get(session_id)
        if session is None or session.stream != stream:
            raise ProtocolError("no such session; it may have ended already", 404)
        await self._end(session, "left")

    async def close_all(self) -> None:
        """End every session; returns when all are gone."""
        await asyncio.gather(*(self._end(session, "server stops") for session in list(self._sessions.values())))
        for task in list(self._tasks):
            task.cancel()

    def _watch(self, session: Session) -> None:
        connection = session.connection
        on_keyframe_request(connection.getSenders()[0], lambda: session.broadcast.request_keyframe(session.feed.codec))

        @connection.on("connectionstatechange")
        async def _changed() -> None:
            if connection.connectionState in ("failed", "closed"):
                await self._end(session, connection.connectionState)
            elif connection.connectionState == "connected":
                session.broadcast.request_keyframe(session.feed.codec)

        self._spawn(self._end_unless_connected(session))

    async def _end_unless_connected(self, session: Session) -> None:
        await asyncio.sleep(HANDSHAKE_TIMEOUT_S)
        if session.connection.connectionState != "connected":
            await self._end(session, f"not connected after {HANDSHAKE_TIMEOUT_S:.0f} s")

    def _spawn(self, work: "asyncio.coroutines.Coroutine[None, None, None]") -> None:  # type: ignore[name-defined]
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, session: Session, reason: str) -> None:
        if self._sessions.pop(session.id, None) is None:
            return
        session.broadcast.remove_viewer(session.feed)
        log.info("%s: viewer %s gone: %s", session.stream, session.id[:6], reason)
        await session.connection.close()


def _check_offer(offer: str) -> None:
    """Refuse what is no offer to receive video, before any socket is opened."""
    if not offer.startswith("v=0"):  # RFC 8866 section 5: a description begins with its version
        raise ProtocolError("the body is not a session description: it does not begin with v=0", 400)
    try:
        media = SessionDescription.parse(offer).media
    except (ValueError, KeyError, IndexError, AttributeError, AssertionError) as error:
        raise ProtocolError(f"the body is not a session description: {error}", 400) from error
    video = [m for m in media if m.kind == "video"]
    if not video:
        raise ProtocolError("the offer has no video section; add a recvonly video transceiver", 422)
    if video[0].direction not in ("recvonly", "sendrecv"):
        raise ProtocolError(f"the offer's video is {video[0].direction}; a player offers recvonly", 422)
    offered = {codec.name.upper() for codec in video[0].rtp.codecs}
    if not offered & set(CODECS):
        raise ProtocolError(f"no common codec: offered {', '.join(sorted(offered)) or 'none'}; needed H264 or VP8", 406)


async def _answer(connection: RTCPeerConnection, track: MediaStreamTrack, offer: str) -> str:
    connection.addTrack(track)
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    wanted = [c for name in CODECS for c in capabilities if c.mimeType.upper() == f"VIDEO/{name}"]
    retransmission = [c for c in capabilities if c.mimeType.lower() == "video/rtx"]
    connection.getTransceivers()[0].setCodecPreferences(wanted + retransmission)
    await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    return str(connection.localDescription.sdp)


def _negotiated_codec(answer: str) -> str:
    """Return the codec that will be sent: the first of the answer's video section."""
    for media in SessionDescription.parse(answer).media:
        if media.kind == "video" and media.port and media.rtp.codecs:
            return str(media.rtp.codecs[0].name).upper()
    raise ProtocolError("no common video codec; needed H264 or VP8", 406)
