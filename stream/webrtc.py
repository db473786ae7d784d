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
from stream.broadcast import Broadcast
from stream.encoder import VideoPacket
from stream.errors import ProtocolError
from stream.feed import Feed
from stream.mailbox import Closed

log = logging.getLogger(__name__)

CODECS = ("H264", "VP8")  # in order of preference
HANDSHAKE_TIMEOUT_S = 15.0  # from the answer to a connected transport
MAX_SESSIONS = 200
MAX_MEDIA_SECTIONS = 4  # a player needs one or two; each costs the loop about 2 ms to answer
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

    def stop(self) -> None:
        """End the feed too: aiortc calls this when its sender ends, for whatever reason."""
        super().stop()
        if self.feed is not None:
            self.feed.close()


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
        self._tasks: set[asyncio.Task[None]] = set()  # handshake timers, cancelled by `close_all`
        self._opening = 0  # offers being answered just now
        self._is_closing = False

    def count(self) -> int:
        return len(self._sessions)

    async def open(self, stream: str, broadcast: Broadcast, offer: str) -> tuple[Session, str]:
        """Answer a player's offer. Raises ProtocolError with the status to answer with."""
        if self._is_closing:
            raise ProtocolError("the server is stopping", 503)
        if len(self._sessions) + self._opening >= MAX_SESSIONS:
            raise ProtocolError(f"{MAX_SESSIONS} viewers are connected, the limit; try again later", 503)
        _check_offer(offer)
        self._opening += 1
        try:
            session, answer = await _negotiate(stream, broadcast, offer)
        finally:
            self._opening -= 1
        self._sessions[session.id] = session
        self._watch(session)
        log.info("%s: viewer %s joined, %s, %d in all", stream, session.id[:6], session.feed.codec, self.count())
        await self._end_if_closing(session)  # it may have begun while the offer was being answered
        return session, answer

    async def close(self, session_id: str, stream: str) -> None:
        """End a session. Raises ProtocolError 404 when there is none of this id on this stream."""
        session = self._sessions.get(session_id)
        if session is None or session.stream != stream:
            raise ProtocolError("no such session; it may have ended already", 404)
        await self._end(session, "left")

    async def close_all(self) -> None:
        """Let nobody in any more, and end every session; returns when all are gone."""
        self._is_closing = True
        ends = [self._end(session, "server stops") for session in list(self._sessions.values())]
        for error in await asyncio.gather(*ends, return_exceptions=True):
            if error is not None:
                log.warning("a session did not close cleanly: %s", error)
        for task in list(self._tasks):
            task.cancel()

    async def _end_if_closing(self, session: Session) -> None:
        if self._is_closing:
            await self._end(session, "server stops")

    def _watch(self, session: Session) -> None:
        connection = session.connection
        on_keyframe_request(connection.getSenders()[0], lambda: session.broadcast.request_keyframe(session.feed.codec))

        @connection.on("connectionstatechange")
        async def _changed() -> None:
            if connection.connectionState in ("failed", "closed"):
                await self._end(session, connection.connectionState)
            elif connection.connectionState == "connected":
                session.broadcast.add_viewer(session.feed)  # not before: nobody would empty the feed

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
    if offer.count("\nm=") > MAX_MEDIA_SECTIONS:
        raise ProtocolError(f"the offer has more than {MAX_MEDIA_SECTIONS} media sections; offer one of video", 422)
    try:
        media = SessionDescription.parse(offer).media
    except Exception as error:  # aiortc's parser lets whatever its regular code raises through
        raise ProtocolError(f"the body is not a session description: {error}", 400) from error
    video = [m for m in media if m.kind == "video" and m.port]
    if not video:
        raise ProtocolError("the offer has no video section; add a recvonly video transceiver", 422)
    if video[0].direction not in ("recvonly", "sendrecv"):
        raise ProtocolError(f"the offer's video is {video[0].direction}; a player offers recvonly", 422)
    offered = {codec.name.upper() for codec in video[0].rtp.codecs}
    if not offered & set(CODECS):
        raise ProtocolError(f"no common codec: offered {', '.join(sorted(offered)) or 'none'}; needed H264 or VP8", 406)
    dtls, ice = video[0].dtls, video[0].ice
    if not (dtls and dtls.fingerprints and ice and ice.usernameFragment):
        raise ProtocolError("the offer lacks a=fingerprint or a=ice-ufrag; WebRTC needs both", 422)


async def _negotiate(stream: str, broadcast: Broadcast, offer: str) -> tuple[Session, str]:
    """Open a connection for an offer; it is closed again when the offer turns out to be of no use."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # no STUN: a LAN needs none, and it may not answer
    track = PacketTrack()
    try:
        answer = await _answer(connection, track, offer)
        track.feed = broadcast.make_feed(_negotiated_codec(answer))
    except BaseException as error:
        await connection.close()
        if isinstance(error, ProtocolError) or not isinstance(error, Exception):
            raise
        raise ProtocolError(f"the offer could not be used: {error}", 422) from error
    return Session(stream, connection, broadcast, track.feed), answer


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
