"""WHEP and WHIP sessions: who is connected, how many may be, and how each comes to its end.

A session is opened by an offer, is ended by DELETE, by its connection, by a handshake that takes too long, or by the
server's stop; whichever comes first, once.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiortc import RTCIceCandidate, RTCPeerConnection
from aiortc.sdp import candidate_from_sdp

from stream.errors import ProtocolError

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 15.0  # from the answer to a connected transport
MAX_SESSIONS = 200
MAX_CANDIDATES = 64  # of one trickle request; a browser has a handful


@dataclass(slots=True)
class Session:
    """One viewer or publisher. The id is 128 random bits, so that knowing one address tells nothing of another.

    role           "viewer" or "publisher", for the log
    ufrag          ICE user name of the other side: a trickle request must carry it
    on_connected   the transport stands
    on_end         it is over, for whatever reason; called once
    """

    stream: str
    role: str
    connection: RTCPeerConnection
    ufrag: str
    on_connected: Callable[[], None]
    on_end: Callable[[], None]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))


class Sessions:
    """All sessions of the server. Event loop only."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # handshake timers, cancelled by `close_all`
        self._opening = 0  # offers being answered just now
        self._is_closing = False

    def count(self, role: str | None = None) -> int:
        """Return how many there are, of one role or in all."""
        return sum(role in (None, session.role) for session in self._sessions.values())

    async def open(self, make: Callable[[], Awaitable[tuple[Session, str]]]) -> tuple[Session, str]:
        """Let a session in, made by `make` with its answer. Raises ProtocolError with the status to answer with."""
        if self._is_closing:
            raise ProtocolError("the server is stopping", 503)
        if len(self._sessions) + self._opening >= MAX_SESSIONS:
            raise ProtocolError(f"{MAX_SESSIONS} viewers are connected, the limit; try again later", 503)
        self._opening += 1
        try:
            session, answer = await make()
        finally:
            self._opening -= 1
        self._sessions[session.id] = session
        self._watch(session)
        log.info("%s: %s %s joined, %d in all", session.stream, session.role, session.id[:6], self.count())
        await self._end_if_closing(session)  # it may have begun while the offer was being answered
        return session, answer

    def find(self, session_id: str, stream: str, role: str) -> Session:
        """Return a session. Raises ProtocolError 404 when there is none of this id and role on this stream."""
        session = self._sessions.get(session_id)
        if session is None or (session.stream, session.role) != (stream, role):
            raise ProtocolError("no such session; it may have ended already", 404)
        return session

    def of(self, stream: str, role: str) -> list[Session]:
        """Return a stream's sessions of one role."""
        return [session for session in self._sessions.values() if (session.stream, session.role) == (stream, role)]

    async def end(self, session: Session, reason: str) -> None:
        """End a session, once."""
        if self._sessions.pop(session.id, None) is None:
            return
        session.on_end()
        log.info("%s: %s %s gone: %s", session.stream, session.role, session.id[:6], reason)
        await session.connection.close()

    async def close_all(self) -> None:
        """Let nobody in any more, and end every session; returns when all are gone."""
        self._is_closing = True
        ends = [self.end(session, "server stops") for session in list(self._sessions.values())]
        for error in await asyncio.gather(*ends, return_exceptions=True):
            if error is not None:
                log.warning("a session did not close cleanly: %s", error)
        for task in list(self._tasks):
            task.cancel()

    async def _end_if_closing(self, session: Session) -> None:
        if self._is_closing:
            await self.end(session, "server stops")

    def _watch(self, session: Session) -> None:
        connection = session.connection

        @connection.on("connectionstatechange")
        async def _changed() -> None:
            if connection.connectionState in ("failed", "closed"):
                await self.end(session, connection.connectionState)
            elif connection.connectionState == "connected":
                session.on_connected()

        self._spawn(self._end_unless_connected(session))

    async def _end_unless_connected(self, session: Session) -> None:
        await asyncio.sleep(HANDSHAKE_TIMEOUT_S)
        if session.connection.connectionState != "connected":
            await self.end(session, f"not connected after {HANDSHAKE_TIMEOUT_S:.0f} s")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def trickle(session: Session, fragment: str) -> None:
    """Take the candidates of an SDP fragment (RFC 8840). Raises ProtocolError.

    A fragment with another ICE user name asks for an ICE restart, which aiortc cannot do: 422, and the session goes on.
    """
    ufrags = [line[12:].strip() for line in fragment.splitlines() if line.startswith("a=ice-ufrag:")]
    if any(ufrag != session.ufrag for ufrag in ufrags):
        raise ProtocolError("an ICE restart is not supported; open a new session", 422)
    candidates = _candidates(fragment)
    if not candidates and "a=end-of-candidates" not in fragment:
        raise ProtocolError("the fragment holds no a=candidate line", 400)
    for candidate in candidates:
        await session.connection.addIceCandidate(candidate)


def _candidates(fragment: str) -> list[RTCIceCandidate]:
    """Return the candidates of a fragment, each for its media section. Raises ProtocolError 400."""
    found: list[RTCIceCandidate] = []
    mid = None
    for line in fragment.splitlines():
        if line.startswith("a=mid:"):
            mid = line[6:].strip()
        if not line.startswith("a=candidate:"):
            continue
        try:
            candidate = candidate_from_sdp(line[12:])
        except (AssertionError, ValueError, IndexError) as error:
            raise ProtocolError(f"a candidate cannot be read: {line[:80]}", 400) from error
        candidate.sdpMid, candidate.sdpMLineIndex = mid, None if mid is not None else 0
        found.append(candidate)
        if len(found) > MAX_CANDIDATES:
            raise ProtocolError(f"more than {MAX_CANDIDATES} candidates in one request", 413)
    return found
