import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

from stream.broadcast import Broadcast
from stream.channel import ViewerChannel
from stream.clock import MonotonicClock
from stream.compose import Composer
from stream.errors import ProtocolError
from stream.offer import negotiated_codec
from stream.sessions import Session, Sessions
from stream.webrtc import VIEWER, check_player, open_viewer
from tests.fakes import make_frame


@pytest.fixture
async def broadcast() -> AsyncIterator[Broadcast]:
    """A stream that shows a flat colour at 30 fps."""
    clock = MonotonicClock()
    made = Broadcast("s", clock, Composer(), lambda frame: None, lambda reason: None)

    async def feed() -> None:
        seq = 0
        while True:
            frame = make_frame(seq, clock.now_ns(), size=(120, 160))
            frame.image[:] = (32, 160, 96)
            made.put(frame)
            seq += 1
            await asyncio.sleep(1 / 30)

    feeding = asyncio.create_task(feed())
    yield made
    feeding.cancel()
    made.close()


class Player:
    """A viewer of aiortc's own."""

    def __init__(self, codec: str | None = None) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transceiver = self.connection.addTransceiver("video", direction="recvonly")
        if codec:
            offered = RTCRtpReceiver.getCapabilities("video").codecs
            transceiver.setCodecPreferences([c for c in offered if c.mimeType == f"video/{codec}"])

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def play(self, answer: str, count: int) -> list[np.ndarray]:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        track = self.connection.getReceivers()[0].track
        async with asyncio.timeout(20):
            return [(await track.recv()).to_ndarray(format="rgb24") for _ in range(count)]


async def join(sessions: Sessions, broadcast: Broadcast, offer: str) -> tuple[Session, str]:
    check_player(offer)
    channel = ViewerChannel("s", MonotonicClock(), lambda seq, shown_ns: None, lambda: None)
    return await sessions.open(lambda: open_viewer("s", broadcast, offer, channel))


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_viewer_sees_the_picture_in_the_codec_it_offers(broadcast: Broadcast, codec: str) -> None:
    viewers, player = Sessions(), Player(codec)
    _, answer = await join(viewers, broadcast, await player.offer())
    assert "a=sendonly" in answer and "a=candidate" in answer
    assert negotiated_codec(answer) == codec
    pictures = await player.play(answer, 10)
    assert np.abs(pictures[-1].astype(int).mean((0, 1)) - (32, 160, 96)).max() < 10
    await viewers.close_all()
    await player.connection.close()


async def test_h264_is_chosen_when_both_are_offered(broadcast: Broadcast) -> None:
    viewers, player = Sessions(), Player()
    _, answer = await join(viewers, broadcast, await player.offer())
    assert negotiated_codec(answer) == "H264"
    await viewers.close_all()
    await player.connection.close()


async def test_a_second_viewer_starts_on_the_running_stream(broadcast: Broadcast) -> None:
    viewers, first, second = Sessions(), Player(), Player()
    for player in (first, second):
        _, answer = await join(viewers, broadcast, await player.offer())
        await player.play(answer, 3)
    assert viewers.count() == 2
    async with asyncio.timeout(20):
        while broadcast.viewer_count() < 2:
            await asyncio.sleep(0.01)
    await viewers.close_all()
    assert viewers.count() == broadcast.viewer_count() == 0
    for player in (first, second):
        await player.connection.close()


async def test_ending_a_session_frees_it_once(broadcast: Broadcast) -> None:
    viewers, player = Sessions(), Player()
    session, _ = await join(viewers, broadcast, await player.offer())
    with pytest.raises(ProtocolError) as wrong_stream:
        viewers.find(session.id, "other", VIEWER)
    for _ in range(2):
        await viewers.end(session, "left")
    with pytest.raises(ProtocolError) as again:
        viewers.find(session.id, "s", VIEWER)
    assert (wrong_stream.value.status, again.value.status) == (404, 404)
    assert broadcast.viewer_count() == 0
    await player.connection.close()


async def test_a_viewer_that_never_connects_gets_no_packets_and_holds_no_frames(broadcast: Broadcast) -> None:
    viewers, player = Sessions(), Player()
    await join(viewers, broadcast, await player.offer())
    await asyncio.sleep(0.5)
    assert broadcast.viewer_count() == 0
    assert broadcast.codecs == frozenset()
    await viewers.close_all()
    await player.connection.close()


async def test_nobody_is_let_in_while_the_server_stops(broadcast: Broadcast) -> None:
    viewers, player = Sessions(), Player()
    offer = await player.offer()
    await viewers.close_all()
    with pytest.raises(ProtocolError) as caught:
        await join(viewers, broadcast, offer)
    assert caught.value.status == 503
    await player.connection.close()


async def test_the_limit_of_viewers_holds_for_offers_at_the_same_time(
    broadcast: Broadcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.sessions.MAX_SESSIONS", 2)
    viewers, players = Sessions(), [Player() for _ in range(5)]
    offers = [await player.offer() for player in players]
    found = await asyncio.gather(*(join(viewers, broadcast, offer) for offer in offers), return_exceptions=True)
    assert sum(isinstance(one, ProtocolError) and one.status == 503 for one in found) == 3
    assert viewers.count() == 2
    await viewers.close_all()
    for player in players:
        await player.connection.close()


async def test_a_viewer_that_goes_away_is_removed(broadcast: Broadcast) -> None:
    viewers, player = Sessions(), Player()
    _, answer = await join(viewers, broadcast, await player.offer())
    await player.play(answer, 2)
    await player.connection.close()
    async with asyncio.timeout(35):
        while viewers.count():
            await asyncio.sleep(0.05)
    assert broadcast.viewer_count() == 0


VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n"
GOOD_HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


@pytest.mark.parametrize(
    ("offer", "status"),
    [
        ("", 400),
        ("hello", 400),
        (GOOD_HEAD, 422),
        (GOOD_HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\n", 422),
        (
            GOOD_HEAD + VIDEO.replace("recvonly", "sendonly"),
            422,
        ),
        (
            GOOD_HEAD + VIDEO.replace("VP8", "AV1"),
            406,
        ),
        (
            GOOD_HEAD + VIDEO,
            422,
        ),
        (GOOD_HEAD + "m=video x y z\r\n", 400),
        (GOOD_HEAD + VIDEO.replace("m=video 9", "m=video 0"), 422),
        (GOOD_HEAD + VIDEO + "a=fmtp:96 packetization-mode\r\n", 422),
        (GOOD_HEAD + VIDEO * 50, 422),
    ],
)
async def test_an_offer_that_cannot_be_used_says_why(broadcast: Broadcast, offer: str, status: int) -> None:
    viewers = Sessions()
    with pytest.raises(ProtocolError) as caught:
        await join(viewers, broadcast, offer)
    assert caught.value.status == status
    assert viewers.count() == broadcast.viewer_count() == 0
