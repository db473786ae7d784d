"""The HTTP side: the page, WHEP, the API, health and metrics. Handlers only translate; nothing blocks."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from stream import __version__
from stream.access import Access
from stream.clock import Clock
from stream.errors import ProtocolError
from stream.events import EventStreams
from stream.lag import LoopLag
from stream.live import LiveStream
from stream.metrics import Metrics
from stream.sessions import Session, Sessions, trickle
from stream.source import SourceState
from stream.webrtc import VIEWER, check_player, open_viewer
from stream.whip import PUBLISHER, check_publisher, open_publisher

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = Path(__file__).parent / "page"
BODY_LIMIT_BYTES = 64 * 1024  # a browser's offer with every codec is about 8 KB
RETRY_AFTER_S = 2
SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"  # RFC 8866, RFC 8840
ROLES = {"whep": VIEWER, "whip": PUBLISHER}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Server:
    """Routes requests to the streams.

    device_text  what the page shows as the device
    access       who may ask; by default this machine, without a token
    """

    def __init__(
        self,
        streams: dict[str, LiveStream],
        lag: LoopLag,
        device_text: str,
        clock: Clock,
        access: Access | None = None,
    ) -> None:
        self.sessions = Sessions()
        self._event_streams = EventStreams()
        self._access = access or Access()
        self._streams = streams
        self._lag = lag
        self._clock = clock
        self._device_text = device_text
        self._metrics = Metrics(streams, lag)

    def app(self) -> web.Application:
        """Return the application, with every route."""
        app = web.Application(middlewares=[_answer_errors, self._access.guard], client_max_size=BODY_LIMIT_BYTES)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/favicon.ico", self._favicon),
                web.get("/api/streams", self._api_streams),
                web.get("/api/streams/{stream}/events", self._events),
                web.patch("/api/streams/{stream}/stages/{stage}", self._change_stage),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._get_metrics),
                web.post("/whep/{stream}", self._whep_open),
                web.post("/whip/{stream}", self._whip_open),
                web.get("/{protocol:whep|whip}/{stream}", self._endpoint),
                web.options("/{protocol:whep|whip}/{stream}", self._endpoint_options),
                web.patch("/{protocol:whep|whip}/{stream}/{session}", self._session_trickle),
                web.delete("/{protocol:whep|whip}/{stream}/{session}", self._session_close),
                web.static("/page", PAGE),
            ]
        )
        app.on_response_prepare.append(_add_headers)
        app.on_response_prepare.append(self._access.add_headers)
        return app

    async def _index(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _favicon(self, _request: web.Request) -> web.StreamResponse:
        raise web.HTTPMovedPermanently("/page/favicon.svg")

    async def _api_streams(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "version": __version__,
                "device": self._device_text,
                "loop_lag_ms": self._lag.lag_ms.summary(),
                "sessions": self.sessions.count(),
                "streams": [stream.status() for stream in self._streams.values()],
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Tell a program of each frame, as server-sent events, until it goes away."""
        stream = self._stream(request)
        if stream.broadcast is None:
            raise ProtocolError(stream.why_no_pictures() or "not ready", 503)
        return await self._event_streams.serve(request, stream.broadcast)

    async def _change_stage(self, request: web.Request) -> web.Response:
        """Change a model's options while it plays, such as {"prompt": "a town in winter"}."""
        stream = self._stream(request)
        if request.content_type != "application/json":
            raise ProtocolError(f"the body must be application/json, not {request.content_type}", 415)
        try:
            body: object = json.loads(await request.read())
        except ValueError as error:  # no JSON, or no UTF-8
            raise ProtocolError(f"the body is not JSON: {error}", 400) from error
        return web.json_response({"live": await stream.change(request.match_info["stage"], body)})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        streams = self._streams.values()
        hopeless = {s.name: s.why_no_pictures() for s in streams if not s.is_ready and _has_no_source(s)}
        waiting = [s.name for s in streams if not s.is_ready and s.name not in hopeless and not _waits_for_publisher(s)]
        missing = {s.name: s.problem for s in streams if s.problem}
        is_any_left = len(hopeless) < len(self._streams)  # a source that cannot work must not hold back the others
        is_ready = not waiting and not missing and is_any_left
        found = {"ready": is_ready, "waiting_for": waiting, "problems": hopeless | missing}
        return web.json_response(found, status=200 if is_ready else 503)

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    # WHEP (draft-ietf-wish-whep section 4) and WHIP (RFC 9725 section 4)

    async def _whep_open(self, request: web.Request) -> web.Response:
        stream, offer = self._stream(request), await _read_text(request, SDP)
        broadcast, why_not = stream.broadcast, stream.why_no_pictures()
        if broadcast is None or why_not is not None:
            is_starting = stream.source_status().state in (SourceState.CONNECTING, SourceState.RUNNING)
            raise ProtocolError(why_not or "not ready", 503 if is_starting else 409)
        check_player(offer)
        channel = stream.new_channel()
        return _created(*await self.sessions.open(lambda: open_viewer(stream.name, broadcast, offer, channel)))

    async def _whip_open(self, request: web.Request) -> web.Response:
        """Let somebody send video; the last one who did is sent away: a page that was reloaded is somebody new."""
        stream, offer = self._stream(request), await _read_text(request, SDP)
        reader = stream.publisher
        if reader is None:
            raise ProtocolError(
                f"stream {stream.name} has a source of its own; publish to one with source browser", 409
            )
        check_publisher(offer)
        opened = await self.sessions.open(lambda: open_publisher(stream.name, reader, self._clock, offer))
        for other in self.sessions.of(stream.name, PUBLISHER):
            if other is not opened[0]:
                await self.sessions.end(other, "another publisher came")
        return _created(*opened)

    async def _endpoint(self, request: web.Request) -> web.Response:
        """Answer GET and HEAD: there is nothing to see, and no error either (RFC 9725 section 4.2)."""
        self._stream(request)
        return web.Response(status=204)

    async def _endpoint_options(self, request: web.Request) -> web.Response:
        self._stream(request)
        return web.Response(headers={"Accept-Post": SDP, "Allow": "GET, HEAD, OPTIONS, POST"})

    async def _session_trickle(self, request: web.Request) -> web.Response:
        session = self._session(request)
        await trickle(session, await _read_text(request, FRAGMENT))
        return web.Response(status=204)

    async def _session_close(self, request: web.Request) -> web.Response:
        await self.sessions.end(self._session(request), "left")
        return web.Response(status=200)

    def _session(self, request: web.Request) -> Session:
        found = request.match_info
        return self.sessions.find(found["session"], found["stream"], ROLES[found["protocol"]])

    def _stream(self, request: web.Request) -> LiveStream:
        name = request.match_info["stream"]
        if name not in self._streams:
            raise ProtocolError("no such stream; GET /api/streams lists them", 404)
        return self._streams[name]


async def _read_text(request: web.Request, content_type: str) -> str:
    """Return the body as text. Raises ProtocolError for another type, or for what is no text."""
    if request.content_type != content_type:
        raise ProtocolError(f"the body must be {content_type}, not {request.content_type}", 415)
    try:
        return (await request.read()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError("the body is not UTF-8 text", 400) from error


def _created(session: Session, answer: str) -> web.Response:
    protocol = next(name for name, role in ROLES.items() if role == session.role)
    headers = {"Location": f"/{protocol}/{session.stream}/{session.id}", "Content-Type": SDP}
    return web.Response(status=201, text=answer, headers=headers)


def _has_no_source(stream: LiveStream) -> bool:
    return stream.source_status().state in (SourceState.ERROR, SourceState.FINISHED)


def _waits_for_publisher(stream: LiveStream) -> bool:
    return stream.source_status().state is SourceState.WAITING


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn a ProtocolError into its status with one clear line of JSON."""
    try:
        return await handler(request)
    except ProtocolError as error:
        headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status in (409, 503) else {}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return web.json_response({"error": str(error)}, status=error.status, headers=headers)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
