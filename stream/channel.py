"""One viewer's data channel: what is known of each frame goes out, when it was shown comes back.

The viewer opens the channel in its offer. Text messages of JSON both ways; docs/frame-messages.md has them.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection

from stream.clock import NS_PER_MS, Clock, ns_to_ms
from stream.news import SCHEMA_VERSION, Backlog

log = logging.getLogger(__name__)

LABEL = "livelens"
MESSAGE_LIMIT_BYTES = 4096  # of what a viewer sends; a report of a second's frames has some 800
REPORTS_AT_MOST = 120  # frames in one message
BUFFERED_AT_MOST_BYTES = 64 * 1024  # unsent in the transport; beyond it messages wait here, and the stalest are lost
MALFORMED_AT_MOST = 20  # messages that make no sense, after which no more of this viewer's are read

Shown = Callable[[int, int], None]  # (seq, shown_ns on our clock)


class ViewerChannel:
    """A listener over WebRTC. Event loop only."""

    def __init__(self, stream: str, clock: Clock, on_shown: Shown, on_closed: Callable[[], None]) -> None:
        self.malformed = 0
        self._stream = stream
        self._clock = clock
        self._on_shown = on_shown
        self._on_closed = on_closed
        self._is_closed = False
        self._backlog = Backlog()
        self._channel: RTCDataChannel | None = None  # None until the viewer's is open
        self._origin: int | None = None  # what the transport adds to RTP timestamps; None until the first packet left
        self._has_greeted = False

    @property
    def lost(self) -> int:
        """Messages given up because the viewer is too slow."""
        return self._backlog.lost

    def listen(self, connection: RTCPeerConnection) -> None:
        """Take the viewer's channel once it opens one; others are left alone."""

        @connection.on("datachannel")
        def _opened(channel: RTCDataChannel) -> None:
            if channel.label != LABEL or self._channel is not None:
                return
            self._channel = channel
            channel.on("message", self._received)
            self._pour()

    def close(self) -> None:
        """Take note that the viewer has gone; what it may still say counts no more. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._on_closed()

    def found_origin(self, origin: int) -> None:
        """Say by how much the transport's RTP timestamps are ahead of the stream's."""
        self._origin = origin
        self._pour()

    def offer(self, text: str) -> None:
        """Take a message; never blocks, and may lose it."""
        self._backlog.add(text)
        self._pour()

    def end(self) -> None:
        """Take note that the stream has ended; the session ends by itself."""

    def _pour(self) -> None:
        if self._channel is None or self._channel.readyState != "open" or self._origin is None:
            return
        if not self._has_greeted:
            self._has_greeted = True
            self._send({"type": "hello", "version": SCHEMA_VERSION, "stream": self._stream, "rtp_origin": self._origin})
        self._backlog.pour(self._has_room, self._channel.send)

    def _has_room(self) -> bool:
        channel = self._channel
        return channel is not None and channel.readyState == "open" and channel.bufferedAmount < BUFFERED_AT_MOST_BYTES

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps(message, separators=(",", ":")))

    def _received(self, data: object) -> None:
        """Take a viewer's message; what makes no sense is counted, and nothing else happens."""
        if self._is_closed or self.malformed >= MALFORMED_AT_MOST:
            return
        try:
            self._handle(_read(data))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self.malformed += 1
            log.debug("%s: a viewer's message makes no sense: %s", self._stream, error)

    def _handle(self, message: dict[str, Any]) -> None:
        if message["type"] == "ping":
            self._pong(message["t"])
        elif message["type"] == "shown":
            for seq, shown_ms in _reports(message["frames"]):
                self._on_shown(seq, round(shown_ms * NS_PER_MS))
        else:
            raise ValueError(f"type {message['type']!r}")

    def _pong(self, sent: Any) -> None:
        if not _is_number(sent):
            raise ValueError("t is no number")
        if self._has_room():
            self._send({"type": "pong", "t": sent, "server_ms": ns_to_ms(self._clock.now_ns())})


def _read(data: object) -> dict[str, Any]:
    """Return a message. Raises ValueError for anything that is none."""
    if not isinstance(data, str) or len(data) > MESSAGE_LIMIT_BYTES:
        raise ValueError("expected a short text message")
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("expected an object")
    return message


def _reports(frames: Any) -> list[tuple[int, float]]:
    """Return (seq, shown_ms) pairs. Raises ValueError when one of them is none."""
    if not isinstance(frames, list) or len(frames) > REPORTS_AT_MOST:
        raise ValueError("expected a list of frames")
    pairs = [tuple(one) for one in frames if isinstance(one, list) and len(one) == 2]
    if len(pairs) != len(frames) or not all(type(seq) is int and _is_number(at) for seq, at in pairs):
        raise ValueError("expected [seq, shown_ms] pairs")
    return [(seq, float(at)) for seq, at in pairs]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e15  # also refuses nan and infinity
