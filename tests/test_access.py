"""Who may ask: tokens, other sites' pages, and names that are not this machine's."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientResponse

from stream.access import Access
from tests.test_server import Site

TOKEN = "open-sesame"
SITE = "https://site.example"


@pytest.fixture
async def guarded() -> AsyncIterator[Site]:
    """A server that asks for a token and lets one other site's pages in."""
    site = Site(Access(TOKEN, (SITE,)))
    await site.client.start_server()
    await site.add()
    yield site
    await site.close()


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/streams"),
        ("GET", "/api/streams/s/events"),
        ("GET", "/metrics"),
        ("GET", "/readyz"),
        ("GET", "/whep/s"),
        ("POST", "/whep/s"),
        ("POST", "/whip/s"),
        ("PATCH", "/whep/s/x"),
        ("DELETE", "/whep/s/x"),
        ("GET", "/nothing/here"),
    ],
)
async def test_without_the_token_nothing_is_told(guarded: Site, method: str, path: str) -> None:
    answer = await guarded.client.request(method, path, data="v=0" if method in ("POST", "PATCH") else None)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "token" in (await answer.json())["error"]


@pytest.mark.parametrize("given", ["", "open-sesam", "open-sesame-", "OPEN-SESAME", "ü", "open-sesame extra"])
async def test_a_wrong_token_is_refused(guarded: Site, given: str) -> None:
    headers = {"Authorization": f"Bearer {given}"}
    assert (await guarded.client.get("/api/streams", headers=headers)).status == 401


@pytest.mark.parametrize("header", [f"Basic {TOKEN}", TOKEN, f"Bearer{TOKEN}", "Bearer"])
async def test_a_token_in_another_form_is_refused(guarded: Site, header: str) -> None:
    assert (await guarded.client.get("/api/streams", headers={"Authorization": header})).status == 401


async def test_with_the_token_everything_is_as_ever(guarded: Site) -> None:
    assert (await guarded.client.get("/api/streams", headers=bearer())).status == 200
    assert (await guarded.client.get("/api/streams", headers={"Authorization": f"bearer {TOKEN}"})).status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/page/app.js"])
async def test_the_page_itself_needs_no_token_since_it_asks_for_it(guarded: Site, path: str) -> None:
    assert (await guarded.client.get(path)).status == 200


async def test_the_token_is_in_no_answer(guarded: Site) -> None:
    for path in ("/", "/api/streams", "/metrics"):
        assert TOKEN not in await (await guarded.client.get(path, headers=bearer())).text()


async def preflight(site: Site, origin: str, path: str = "/whep/s") -> ClientResponse:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return await site.client.options(path, headers=headers)


async def test_a_page_of_an_allowed_site_may_ask_without_a_token_first(guarded: Site) -> None:
    answer = await preflight(guarded, SITE)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert {"POST", "PATCH", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert {"Authorization", "Content-Type", "If-Match"} == set(
        answer.headers["Access-Control-Allow-Headers"].split(", ")
    )


async def test_a_page_of_an_allowed_site_may_read_where_its_session_is(guarded: Site) -> None:
    answer = await guarded.client.get("/api/streams", headers={"Origin": SITE, **bearer()})
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "Location" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://site.example", "https://site.example.evil", "null"])
async def test_a_page_of_another_site_may_not(guarded: Site, origin: str) -> None:
    refused = await preflight(guarded, origin)
    assert refused.status == 403
    assert "Access-Control-Allow-Origin" not in refused.headers
    posted = await guarded.client.post("/whep/s", data="v=0", headers={"Origin": origin, **bearer()})
    assert posted.status == 403
    read = await guarded.client.get("/api/streams", headers={"Origin": origin, **bearer()})
    assert "Access-Control-Allow-Origin" not in read.headers  # the browser keeps the answer from that page


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Host: localhost\r\nAuthorization: Bearer \xff\xfe", b"401"),
        (b"Host: [::1", b"403"),
        (b"Host: localhost\r\nOrigin: http://[\r\nContent-Length: 0", b"403"),
    ],
)
async def test_headers_that_make_no_sense_are_refused_and_no_error_of_the_server(
    guarded: Site, header: bytes, status: bytes
) -> None:
    method = b"POST" if b"Origin" in header else b"GET"
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", guarded.client.port)
        writer.write(method + b" /whep/s HTTP/1.1\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        line = await reader.readline()
        writer.close()
    assert line.split()[1] == status
