"""Publishing over WHIP: aiortc on the other side, its own encoder, and the test pattern to read the pictures by."""

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction

import av
import pytest
from aiohttp import ClientResponse
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack

from stream.frame import Frame
from stream.pattern import Pattern, read_bars
from stream.source import SourceState
from tests.test_server import Site, site

__all__ = ["site"]  # the fixture


class Bars(VideoStreamTrack):
    """The test pattern at 30 fps; when paused, a picture for each `release`."""

    def __init__(self, width: int = 320, height: int = 180) -> None:
        super().__init__()
        self._pattern = Pattern(width, height)
        self._number = 0
        self.is_paused = False
        self.release = asyncio.Event()

    async def recv(self) -> av.VideoFrame:
        if self.is_paused:
            await self.release.wait()
            self.release.clear()
        await asyncio.sleep(1 / 30)
        frame = av.VideoFrame.from_ndarray(self._pattern.draw(self._number, self._number / 30), format="rgb24")
        frame.pts, frame.time_base = self._number * 3000, Fraction(1, 90_000)
        self._number += 1
        return frame


class Publisher:
    """A publisher of aiortc's own."""

    def __init__(self, codec: str = "VP8", *, has_audio: bool = False) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.track = Bars()
        transceiver = self.connection.addTransceiver(self.track, direction="sendonly")
        offered = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in offered if c.mimeType == f"video/{codec}"])
        if has_audio:
            self.connection.addTransceiver("audio", direction="sendonly")

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        await self.connection.close()


@pytest.fixture
async def publishers() -> AsyncIterator[list[Publisher]]:
    made: list[Publisher] = []
    yield made
    for one in made:
        await one.close()


async def post(site: Site, offer: str, name: str = "cam", content_type: str = "application/sdp") -> ClientResponse:
    return await site.client.post(f"/whip/{name}", data=offer, headers={"Content-Type": content_type})


async def publish(site: Site, publisher: Publisher) -> str:
    """Publish to the stream `cam`; return the session's address."""
    answer = await post(site, await publisher.offer())
    assert answer.status == 201, await answer.text()
    await publisher.take(await answer.text())
    return answer.headers["Location"]


async def collect(site: Site) -> list[Frame]:
    """Return a list that grows by the frames of the stream `cam`."""
    stream = await site.add("cam", "browser", is_warm=False)
    frames: list[Frame] = []
    stream._source._intake._emit = frames.append  # type: ignore[attr-defined]
    return frames


async def until(is_true: object, timeout_s: float = 20) -> None:
    assert callable(is_true)
    async with asyncio.timeout(timeout_s):
        while not is_true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_what_is_published_becomes_the_streams_pictures(
    site: Site, publishers: list[Publisher], codec: str
) -> None:
    frames = await collect(site)
    publishers.append(Publisher(codec))
    location = await publish(site, publishers[0])
    assert location.startswith("/whip/cam/") and len(location.rsplit("/", 1)[1]) >= 22  # 128 bits
    await until(lambda: len(frames) >= 20)
    numbers = [read_bars(frame.image) for frame in frames[:20]]
    assert None not in numbers
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    assert site.streams["cam"].source_status().state is SourceState.RUNNING
    assert (await site.client.delete(location)).status == 200
    await until(lambda: site.streams["cam"].source_status().state is SourceState.WAITING)
    assert (await site.client.delete(location)).status == 404


async def test_a_frame_is_there_before_the_next_one_is_sent(site: Site, publishers: list[Publisher]) -> None:
    """aiortc's own buffer would hold each picture until the next one begins."""
    frames = await collect(site)
    publishers.append(Publisher("VP8"))
    publishers[0].track.is_paused = True
    await publish(site, publishers[0])
    await until(lambda: publishers[0].connection.connectionState == "connected")
    for count in range(1, 6):
        publishers[0].track.release.set()
        await until(lambda wanted=count: len(frames) >= wanted)


async def test_a_published_stream_plays_to_a_viewer(site: Site, publishers: list[Publisher]) -> None:
    stream = await site.add("cam", "browser", is_warm=False)
    publishers.append(Publisher("VP8"))
    await publish(site, publishers[0])
    async with asyncio.timeout(20):
        await stream.warm_up()
    await site.show(stream, 5)
    assert stream.counts.shown >= 5


async def test_a_second_publisher_takes_the_place_of_the_first(site: Site, publishers: list[Publisher]) -> None:
    frames = await collect(site)
    publishers += [Publisher("VP8"), Publisher("H264")]
    first = await publish(site, publishers[0])
    await until(lambda: len(frames) >= 5)
    second = await publish(site, publishers[1])
    assert (await site.client.delete(first)).status == 404
    seen = len(frames)
    await until(lambda: len(frames) >= seen + 10)
    assert site.streams["cam"].source_status().codec == "h264"
    assert (await site.client.delete(second)).status == 200


async def test_a_publisher_that_vanishes_leaves_the_stream_waiting(site: Site, publishers: list[Publisher]) -> None:
    frames = await collect(site)
    publishers.append(Publisher("VP8"))
    await publish(site, publishers[0])
    await until(lambda: len(frames) >= 3)
    await publishers[0].close()
    await until(lambda: site.streams["cam"].source_status().state is SourceState.WAITING, 35)
    assert site.server.sessions.count() == 0


async def test_audio_beside_the_video_is_declined(site: Site, publishers: list[Publisher]) -> None:
    await collect(site)
    publishers.append(Publisher("VP8", has_audio=True))
    answer = await (await post(site, await publishers[0].offer())).text()
    audio = answer[answer.index("m=audio") :]
    assert "a=inactive" in audio.split("m=video")[0] and "a=recvonly" in answer
    await publishers[0].take(answer)


async def test_a_stream_with_a_source_of_its_own_takes_no_publisher(site: Site, publishers: list[Publisher]) -> None:
    await site.add("s", is_warm=False)
    publishers.append(Publisher())
    answer = await post(site, await publishers[0].offer(), "s")
    assert answer.status == 409
    assert "a source of its own" in (await answer.json())["error"]


@pytest.mark.parametrize(
    ("body", "content_type", "name", "status"),
    [
        ("v=0", "application/sdp", "nobody", 404),
        ("v=0", "application/json", "cam", 415),
        ("hello", "application/sdp", "cam", 400),
        (b"\xff\xfe", "application/sdp", "cam", 400),
        ("v=0\r\n", "application/sdp", "cam", 422),
        ("v=0\r\n" + "a" * 70_000, "application/sdp", "cam", 413),
    ],
)
async def test_a_wrong_request_gets_its_status(site: Site, body, content_type: str, name: str, status: int) -> None:  # type: ignore[no-untyped-def]
    await collect(site)
    answer = await post(site, body, name, content_type)
    assert answer.status == status
    assert site.server.sessions.count() == 0


async def test_a_players_offer_is_refused_with_what_to_offer(site: Site, publishers: list[Publisher]) -> None:
    await collect(site)
    publishers.append(Publisher())
    answer = await post(site, (await publishers[0].offer()).replace("a=sendonly", "a=recvonly"))
    assert answer.status == 422
    assert "sendonly" in (await answer.json())["error"]


async def test_endpoints_answer_get_head_and_options(site: Site) -> None:
    await collect(site)
    for path in ("/whip/cam", "/whep/cam"):
        assert (await site.client.get(path)).status == 204
        assert (await site.client.head(path)).status == 204
        options = await site.client.options(path)
        assert (options.status, options.headers["Accept-Post"]) == (200, "application/sdp")
        assert (await site.client.get(path + "x")).status == 404


CANDIDATE = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"


@pytest.mark.parametrize(
    ("fragment", "content_type", "status"),
    [
        (f"a=ice-ufrag:{{ufrag}}\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n{CANDIDATE}\r\n", "frag", 204),
        (f"{CANDIDATE}\r\n", "frag", 204),
        ("a=ice-ufrag:{ufrag}\r\na=end-of-candidates\r\n", "frag", 204),
        (f"a=ice-ufrag:other\r\na=ice-pwd:x\r\n{CANDIDATE}\r\n", "frag", 422),
        ("a=candidate:x\r\n", "frag", 400),
        ("a=candidate:1 1 udp x 192.0.2.1 y typ host\r\n", "frag", 400),
        ("", "frag", 400),
        (f"{CANDIDATE}\r\n" * 65, "frag", 413),
        (CANDIDATE, "application/sdp", 415),
    ],
)
async def test_candidates_may_trickle(
    site: Site, publishers: list[Publisher], fragment: str, content_type: str, status: int
) -> None:
    await collect(site)
    publishers.append(Publisher())
    offer = await publishers[0].offer()
    location = (await post(site, offer)).headers["Location"]
    ufrag = next(line[12:] for line in offer.splitlines() if line.startswith("a=ice-ufrag:"))
    kind = "application/trickle-ice-sdpfrag" if content_type == "frag" else content_type
    body = fragment.replace("{ufrag}", ufrag)
    answer = await site.client.patch(location, data=body, headers={"Content-Type": kind})
    assert answer.status == status, await answer.text()
    assert (await site.client.delete(location)).status == 200  # whatever came, the session was still there


async def test_a_session_is_known_to_its_own_protocol_only(site: Site, publishers: list[Publisher]) -> None:
    await collect(site)
    publishers.append(Publisher())
    location = (await post(site, await publishers[0].offer())).headers["Location"]
    assert (await site.client.delete(location.replace("/whip/", "/whep/"))).status == 404
    assert (await site.client.delete(location)).status == 200
