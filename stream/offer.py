"""Offers and answers: what may be answered, and with what. Everything here is refused before a socket is opened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.sdp import MediaDescription, SessionDescription

from stream.errors import ProtocolError

CODECS = ("H264", "VP8")  # in order of preference
MAX_MEDIA_SECTIONS = 4  # a player needs one or two; each costs the loop about 2 ms to answer


def check_offer(offer: str, directions: tuple[str, ...], wanted: str) -> None:
    """Refuse what is no offer of video in one of `directions`; `wanted` says in words what to offer.

    Raises ProtocolError with the status to answer with.
    """
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
        raise ProtocolError(f"the offer has no video section; {wanted}", 422)
    if len(video) > 1:
        raise ProtocolError(f"the offer has {len(video)} video sections; offer one", 422)
    _check_video(video[0], directions, wanted)


def _check_video(video: MediaDescription, directions: tuple[str, ...], wanted: str) -> None:
    if video.direction not in directions:
        raise ProtocolError(f"the offer's video is {video.direction}; {wanted}", 422)
    offered = {codec.name.upper() for codec in video.rtp.codecs}
    if not offered & set(CODECS):
        raise ProtocolError(f"no common codec: offered {', '.join(sorted(offered)) or 'none'}; needed H264 or VP8", 406)
    dtls, ice = video.dtls, video.ice
    if not (dtls and dtls.fingerprints and ice and ice.usernameFragment):
        raise ProtocolError("the offer lacks a=fingerprint or a=ice-ufrag; WebRTC needs both", 422)


def new_connection() -> RTCPeerConnection:
    """Return a connection without STUN: a LAN needs none, and it may not answer."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


@asynccontextmanager
async def negotiating() -> AsyncIterator[RTCPeerConnection]:
    """Give a connection to answer an offer with; where that fails it is closed, and the failure a ProtocolError 422."""
    connection = new_connection()
    try:
        yield connection
    except BaseException as error:
        await connection.close()
        if isinstance(error, ProtocolError) or not isinstance(error, Exception):
            raise
        raise ProtocolError(f"the offer could not be used: {error}", 422) from error


def prefer_codecs(transceiver: RTCRtpTransceiver) -> None:
    """Allow the codecs that this program encodes and decodes, the best first, and retransmission."""
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    wanted = [c for name in CODECS for c in capabilities if c.mimeType.upper() == f"VIDEO/{name}"]
    transceiver.setCodecPreferences(wanted + [c for c in capabilities if c.mimeType.lower() == "video/rtx"])


async def answer(connection: RTCPeerConnection, offer: str) -> str:
    """Answer an offer; what is neither video nor asked for is declined. The answer holds every candidate there is."""
    await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    for transceiver in connection.getTransceivers():
        if transceiver.kind != "video":
            transceiver.direction = "inactive"  # RFC 8829 section 4.2.3
    await connection.setLocalDescription(await connection.createAnswer())
    return str(connection.localDescription.sdp)


def ice_ufrag(offer: str) -> str:
    """Return the ICE user name of an offer that was checked; of several sections the first's."""
    return next(line[12:].strip() for line in offer.splitlines() if line.startswith("a=ice-ufrag:"))


def negotiated_codec(description: str) -> str:
    """Return the codec of the answer's video: its first."""
    for media in SessionDescription.parse(description).media:
        if media.kind == "video" and media.port and media.rtp.codecs:
            return str(media.rtp.codecs[0].name).upper()
    raise ProtocolError("no common video codec; needed H264 or VP8", 406)
