"""The HTTP side: the page, WHEP, the API, health and metrics. Handlers only translate; nothing blocks."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from stream import __version__
from stream.errors import ProtocolError
from stream.lag import LoopLag
from stream.live import LiveStream
from stream.metrics import Metrics
from stream.source import SourceState
from stream.webrtc import RETRY_AFTER_S, Session, Viewers

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = Path(__file__).parent / "page"
BODY_LIMIT_BYTES = 64 * 1024  # a browser's offer with every codec is about 8 KB
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Server:
    """Routes requests to the streams.

    device_text  what the page shows as the device
    is_loopback  the server is meant for this machine alone: requests for another host's name are refused
    """

    def __init__(
        self, streams: dict[str, LiveStream], lag: LoopLag, device_text: str, *, is_loopback: bool = True
    ) -> None:
        self.viewers = Viewers()
        self._is_loopback = is_loopback
        self._streams = streams
        self._lag = lag
        self._device_text = device_text
        self._metrics = Metrics(streams, lag)

    def app(self) -> web.Application:
        """Return the application, with every route."""
        app = web.Application(middlewares=[_answer_errors, self._guard], client_max_size=BODY_LIMIT_BYTES)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/favicon.ico", self._favicon),
                web.get("/api/streams", self._api_streams),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._get_metrics),
                web.post("/whep/{stream}", self._whep_open),
                web.delete("/whep/{stream}/{session}", self._whep_close),
                web.static("/page", PAGE),
            ]
        )
        app.on_response_prepare.append(_add_headers)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests that another site's page makes a browser send.

        On loopback the Host must be this machine's: a site can point its own name at 127.0.0.1 (DNS
        rebinding) and would then read everything as its own. Anywhere, an Origin must be the Host's.
        """
        host = _host_name(request.host)
        if self._is_loopback and host not in LOOPBACK_NAMES:
            raise ProtocolError(f"this server answers to {', '.join(LOOPBACK_NAMES)} only; start it with --host", 403)
        origin = request.headers.get("Origin")
        if request.method not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != request.host:
            raise ProtocolError("requests from other sites' pages are not allowed", 403)
        return await handler(request)

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
                "sessions": self.viewers.count(),
                "streams": [stream.status() for stream in self._streams.values()],
            }
        )

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

    # WHEP (draft-ietf-wish-whep section 4)

    async def _whep_open(self, request: web.Request) -> web.Response:
        stream = self._stream(request)
        if request.content_type != "application/sdp":
            raise ProtocolError(f"the body must be application/sdp, not {request.content_type}", 415)
        broadcast, why_not = stream.broadcast, stream.why_no_pictures()
        if broadcast is None or why_not is not None:
            is_starting = stream.source_status().state in (SourceState.CONNECTING, SourceState.RUNNING)
            raise ProtocolError(why_not or "not ready", 503 if is_starting else 409)
        try:
            offer = (await request.read()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolError("the body is not UTF-8 text", 400) from error
        session, answer = await self.viewers.open(stream.name, broadcast, offer)
        headers = {"Location": _location(session), "Content-Type": "application/sdp"}
        return web.Response(status=201, text=answer, headers=headers)

    async def _whep_close(self, request: web.Request) -> web.Response:
        await self.viewers.close(request.match_info["session"], request.match_info["stream"])
        return web.Response(status=200)

    def _stream(self, request: web.Request) -> LiveStream:
        name = request.match_info["stream"]
        if name not in self._streams:
            raise ProtocolError("no such stream; GET /api/streams lists them", 404)
        return self._streams[name]


def _location(session: Session) -> str:
    return f"/whep/{session.stream}/{session.id}"


def _has_no_source(stream: LiveStream) -> bool:
    return stream.source_status().state in (SourceState.ERROR, SourceState.FINISHED)


def _waits_for_publisher(stream: LiveStream) -> bool:
    return stream.source_status().state is SourceState.WAITING


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port and brackets."""
    return urlsplit(f"//{host}").hostname or ""


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn a ProtocolError into its status with one clear line of JSON."""
    try:
        return await handler(request)
    except ProtocolError as error:
        retry = {"Retry-After": str(RETRY_AFTER_S)} if error.status in (409, 503) else {}
        return web.json_response({"error": str(error)}, status=error.status, headers=retry)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
