"""Server-sent events: what is known of each frame, for programs without WebRTC (WHATWG HTML, section 9.2)."""

import asyncio
import contextlib

from aiohttp import web

from stream.broadcast import Broadcast
from stream.errors import ProtocolError
from stream.news import Backlog

MAX_LISTENERS = 20
WRITE_S = 10.0  # for a program to take a message; one that does not read must not keep a place for ever
KEEP_ALIVE_S = 15.0  # a comment line while no frame comes: proxies close what is silent
HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}  # the latter: nginx must not hold it back


class EventListener:
    """One program's messages. Event loop only."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.has_ended = False
        self._wake = asyncio.Event()

    def offer(self, text: str) -> None:
        """Take a message; never blocks, and the stalest are lost when the program is slow."""
        self.backlog.add(text)
        self._wake.set()

    def end(self) -> None:
        """Have `next` return None once everything is told."""
        self.has_ended = True
        self._wake.set()

    async def next(self, timeout_s: float) -> str | None:
        """Return the next message; None at the end. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while (text := self.backlog.take()) is None and not self.has_ended:
                self._wake.clear()
                await self._wake.wait()
        return text


class EventStreams:
    """All programs that listen to this server."""

    def __init__(self) -> None:
        self._count = 0

    async def serve(self, request: web.Request, broadcast: Broadcast) -> web.StreamResponse:
        """Answer with events until the program goes away or the stream ends. Raises ProtocolError 503."""
        if self._count >= MAX_LISTENERS:
            raise ProtocolError(f"{MAX_LISTENERS} programs listen, the limit; try again later", 503)
        listener = EventListener()
        self._count += 1
        broadcast.add_listener(listener)
        try:
            response = web.StreamResponse(headers=HEADERS)
            with contextlib.suppress(
                ConnectionResetError, TimeoutError
            ):  # it went away, which is how most end, or stopped reading
                await response.prepare(request)
                await _pump(response, listener)
        finally:
            broadcast.remove_listener(listener)
            self._count -= 1
        return response


async def _pump(response: web.StreamResponse, listener: EventListener) -> None:
    """Write messages until the stream ends. Raises TimeoutError for a program that does not read."""
    lost = 0
    while True:
        try:
            text = await listener.next(KEEP_ALIVE_S)
        except TimeoutError:
            await _write(response, b": still here\n\n")
            continue
        if text is None:
            return
        if listener.backlog.lost > lost:
            lost = listener.backlog.lost
            await _write(response, b'event: lost\ndata: {"messages":%d}\n\n' % lost)
        await _write(response, b"event: frame\ndata: " + text.encode() + b"\n\n")


async def _write(response: web.StreamResponse, message: bytes) -> None:
    async with asyncio.timeout(WRITE_S):
        await response.write(message)
