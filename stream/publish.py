"""Send a stream to a server that speaks WHIP (RFC 9725): an SFU, a platform, another Livelens.

It is sent once, as the packets that viewers get, and again when it was lost.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription

from stream.aiortc_hooks import on_keyframe_request
from stream.backoff import backoff_s
from stream.broadcast import Broadcast
from stream.clock import NS_PER_S, Clock
from stream.errors import ProtocolError
from stream.offer import negotiated_codec, new_connection, prefer_codecs
from stream.webrtc import PacketTrack

log = logging.getLogger(__name__)

POST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 15.0  # from the answer to a connected transport
MAX_REDIRECTS = 3
ANSWER_LIMIT_BYTES = 256 * 1024
GOOD_RUN_NS = 60 * NS_PER_S  # after which the next failure counts as the first
SDP = "application/sdp"


class PublishState(StrEnum):
    """Where publishing stands."""

    WAITING = "waiting"  # for the stream's own pictures
    CONNECTING = "connecting"
    SENDING = "sending"
    RETRYING = "retrying"


class Publishing:
    """One stream's way out. Event loop only; `run` until cancelled.

    output  waits for the stream's output: it comes once the models are warm
    """

    def __init__(
        self, stream: str, address: str, token: str | None, output: Callable[[], Awaitable[Broadcast]], clock: Clock
    ) -> None:
        self.state = PublishState.WAITING
        self.message = "waiting for the stream's pictures"
        self.reconnects = 0
        self._stream = stream
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._output = output
        self._clock = clock

    def status(self) -> dict[str, object]:
        """Return how it stands, for the API."""
        return {
            "host": urlsplit(self._address).netloc,
            "state": self.state.value,
            "message": self.message,
            "reconnects": self.reconnects,
        }

    async def run(self) -> None:
        """Send until cancelled; what fails is tried again with growing pauses."""
        failures = 0
        while True:
            broadcast = await self._output()
            started_ns = self._clock.now_ns()
            try:
                reason, is_slow = await self._send(broadcast), False
            except (ProtocolError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                reason = str(error) or "no answer in time"
                is_slow = isinstance(error, ProtocolError) and error.status in (401, 403)
            failures = 1 if self._clock.now_ns() - started_ns > GOOD_RUN_NS else failures + 1
            self._to(PublishState.RETRYING, reason)
            self.reconnects += 1
            pause_ns = round(backoff_s(failures, random.random(), is_slow=is_slow) * NS_PER_S)
            await self._clock.sleep_until(self._clock.now_ns() + pause_ns)

    async def _send(self, broadcast: Broadcast) -> str:
        """Send one session and return why it ended. Raises what keeps it from beginning."""
        self._to(PublishState.CONNECTING, f"asking {urlsplit(self._address).netloc}")
        async with aiohttp.ClientSession(headers=self._headers) as http, _peer() as connection:
            track, over, connected = PacketTrack(), asyncio.Event(), asyncio.Event()
            connection.on("connectionstatechange", lambda: _note(connection, connected, over))
            transceiver = connection.addTransceiver(track, direction="sendonly")
            prefer_codecs(transceiver)
            await connection.setLocalDescription(await connection.createOffer())
            answer, place = await _post(http, self._address, connection.localDescription.sdp)
            try:
                await _take_answer(connection, answer)
                feed = track.feed = broadcast.make_feed(negotiated_codec(answer))
                on_keyframe_request(transceiver.sender, lambda: broadcast.request_keyframe(feed.codec))
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await _first(connected, over)
                if over.is_set():
                    return "no path for the media; is UDP let through?"
                broadcast.add_viewer(feed)
                self._to(PublishState.SENDING, f"{feed.codec} to {urlsplit(self._address).netloc}")
                await over.wait()
                return "the other side has gone"
            finally:
                if track.feed is not None:
                    broadcast.remove_viewer(track.feed)
                if place is not None:
                    with suppress(aiohttp.ClientError, TimeoutError, OSError):
                        await http.delete(place, timeout=aiohttp.ClientTimeout(total=2))

    def _to(self, state: PublishState, message: str) -> None:
        if (state, message) != (self.state, self.message):
            level = logging.WARNING if state is PublishState.RETRYING else logging.INFO
            log.log(level, "%s: publishing: %s: %s", self._stream, state, message)
        self.state, self.message = state, message


@asynccontextmanager
async def _peer() -> AsyncIterator[RTCPeerConnection]:
    connection = new_connection()
    try:
        yield connection
    finally:
        await connection.close()


async def _note(connection: RTCPeerConnection, connected: asyncio.Event, over: asyncio.Event) -> None:
    if connection.connectionState == "connected":
        connected.set()
    elif connection.connectionState in ("failed", "closed"):
        over.set()


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _post(http: aiohttp.ClientSession, address: str, offer: str) -> tuple[str, str | None]:
    """Return the answer to an offer, and the session's address; follows 307 only (RFC 9725 section 4.5).

    Raises ProtocolError with the other side's status.
    """
    timeout = aiohttp.ClientTimeout(total=POST_TIMEOUT_S)
    for _ in range(MAX_REDIRECTS + 1):
        request = http.post(address, data=offer, headers={"Content-Type": SDP}, allow_redirects=False, timeout=timeout)
        async with request as response:
            if response.status == 307 and "Location" in response.headers:
                address = urljoin(address, response.headers["Location"])
                continue
            text = await _read_answer(response)
            if response.status != 201:
                said = " ".join(text.split())[:200]
                raise ProtocolError(f"the other side answered {response.status}: {said}", response.status)
            place = response.headers.get("Location")
            return text, urljoin(address, place) if place else None
    raise ProtocolError(f"more than {MAX_REDIRECTS} redirects", 508)


async def _read_answer(response: aiohttp.ClientResponse) -> str:
    """Return the body, of what is too long the beginning; one read gives only what has come so far."""
    body = bytearray()
    while len(body) < ANSWER_LIMIT_BYTES and (part := await response.content.read(ANSWER_LIMIT_BYTES - len(body))):
        body += part
    return body.decode("utf-8", "replace")


async def _take_answer(connection: RTCPeerConnection, answer: str) -> None:
    """Set the answer. Raises ProtocolError 502 when it cannot be used."""
    try:
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    except Exception as error:  # aiortc lets whatever its regular code raises through
        raise ProtocolError(f"the other side's answer cannot be used: {error}", 502) from error
