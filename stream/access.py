"""Who may ask the server for what: this machine's names, a bearer token, and the sites whose pages may."""

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from stream.errors import ProtocolError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = ("/", "/favicon.ico", "/healthz")  # and the page's own files: they say nothing of the streams
PREFLIGHT_S = 600  # how long a browser may remember what it was allowed
EXPOSED = "Location, ETag, Link"  # what a player of another site must be able to read (WHIP, WHEP)
ALLOWED_HEADERS = "Authorization, Content-Type, If-Match"
ALLOWED_METHODS = "GET, HEAD, OPTIONS, POST, PATCH, DELETE"


class Access:
    """The rules of one server.

    token        what requests must carry as `Authorization: Bearer`; None asks for none
    origins      sites whose pages may use the server too, such as "https://example.org"
    is_loopback  the server is meant for this machine alone: requests for another host's name are refused
    """

    def __init__(self, token: str | None = None, origins: tuple[str, ...] = (), *, is_loopback: bool = True) -> None:
        self._token = token
        self._origins = frozenset(origins)
        self._is_loopback = is_loopback

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer what may be asked; raise ProtocolError 401 or 403 for the rest."""
        self._check_host(request)
        is_preflight = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        self._check_origin(request, is_preflight=is_preflight)
        if is_preflight:  # carries no token (Fetch, section 3.2.2)
            return web.Response(status=204)
        if request.method != hdrs.METH_OPTIONS:
            self._check_token(request)
        return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Tell a browser that a page of an allowed site may read the answer. For `on_response_prepare`."""
        origin = request.headers.get(hdrs.ORIGIN)
        if not self._origins:
            return
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if origin in self._origins:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = str(origin)
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
            if request.method == hdrs.METH_OPTIONS:
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = ALLOWED_METHODS
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ALLOWED_HEADERS
                response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(PREFLIGHT_S)

    def _check_host(self, request: web.Request) -> None:
        """On loopback the Host must be this machine's.

        A site can point its own name at 127.0.0.1 (DNS rebinding) and would then read everything as its own.
        """
        if self._is_loopback and _host_name(request.host) not in LOOPBACK_NAMES:
            raise ProtocolError(f"this server answers to {', '.join(LOOPBACK_NAMES)} only; start it with --host", 403)

    def _check_origin(self, request: web.Request, *, is_preflight: bool) -> None:
        """Anything but reading takes a page of ours, or of a site that was allowed."""
        origin = request.headers.get(hdrs.ORIGIN)
        is_reading = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
        is_known = not origin or _netloc(origin) == request.host or origin in self._origins
        if not is_known and (is_preflight or not is_reading):
            raise ProtocolError("requests from other sites' pages are not allowed; see --allow-origin", 403)

    def _check_token(self, request: web.Request) -> None:
        if self._token is None or request.path in OPEN_PATHS or request.path.startswith("/page/"):
            return
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        is_right = hmac.compare_digest(_bytes(given.strip()), _bytes(self._token))  # in constant time
        if scheme.lower() != "bearer" or not is_right:
            raise ProtocolError("this server asks for its token: Authorization: Bearer TOKEN", 401)


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # a bracket too few, which is nobody's name
        return ""


def _netloc(origin: str) -> str | None:
    """Return the host and port of an Origin header; None for what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _bytes(text: str) -> bytes:
    """Return a header's text as it came: aiohttp keeps what is no UTF-8 as lone surrogates."""
    return text.encode("utf-8", "surrogateescape")
