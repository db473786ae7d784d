"""A stream sent on to a WHIP endpoint: another Livelens in a process of its own, and a server that says no."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stream.address import publish_address
from stream.errors import ConfigError, ProtocolError
from stream.offer import new_connection
from stream.publish import Publishing, PublishState, _post, _take_answer
from tests.server import Served, serve
from tests.test_server import Site

SOON_S = 60


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Served]:
    """A Livelens that waits for a publisher."""
    with serve("browser", "--name", "in", "--no-models", "--token", "open-sesame", log_path=tmp_path / "log") as one:
        one.headers["Authorization"] = "Bearer open-sesame"
        yield one


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.client.start_server()
    await made.add()
    yield made
    await made.close()


async def started(site: Site, address: str, token: str | None = "open-sesame") -> tuple[Publishing, asyncio.Task[None]]:
    publishing = Publishing("s", address, token, site.streams["s"].output, site.clock)
    return publishing, asyncio.create_task(publishing.run())


async def until(is_true: Any, what: str) -> None:
    try:
        async with asyncio.timeout(SOON_S):
            while not is_true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within {SOON_S} s: {what}")


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_stream_arrives_at_another_server_and_comes_back_after_it_was_gone(
    site: Site, receiver: Served, tmp_path: Path
) -> None:
    publishing, task = await started(site, f"{receiver.address}whip/in")
    await until(lambda: publishing.state is PublishState.SENDING, "sending")
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(
        None, lambda: receiver.wait_until(lambda: receiver.stream("in")["source"]["state"] == "running", what="frames")
    )
    assert (await loop.run_in_executor(None, lambda: receiver.stream("in")))["source"]["width"] == 320
    sessions = await loop.run_in_executor(None, lambda: receiver.get("/api/streams"))
    assert '"sessions": 1' in sessions[1]
    await ended(task)
    await loop.run_in_executor(
        None, lambda: receiver.wait_until(lambda: receiver.stream("in")["source"]["state"] == "waiting", what="the end")
    )


async def test_a_wrong_token_is_told_and_tried_slowly(site: Site, receiver: Served) -> None:
    publishing, task = await started(site, f"{receiver.address}whip/in", "not-the-token")
    await until(lambda: publishing.state is PublishState.RETRYING, "a refusal")
    assert "401" in publishing.message and "token" in publishing.message
    await ended(task)


class Refusing:
    """An endpoint that answers everything alike."""

    def __init__(self, answer: Callable[[], web.Response]) -> None:
        self.answer = answer

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/{any:.*}", self._answer)
        self.server = TestServer(app)
        await self.server.start_server()
        return str(self.server.make_url("/whip"))

    async def _answer(self, request: web.Request) -> web.Response:
        return self.answer()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: web.Response(status=503, text="full"), "answered 503: full"),
        (lambda: web.Response(status=201, text="no description"), ""),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), "answered 302"),
        (lambda: web.Response(status=307, headers={"Location": "/whip"}), "redirects"),
    ],
)
async def test_an_endpoint_that_says_no_is_named_and_tried_again(site: Site, answer: Any, says: str) -> None:
    endpoint = Refusing(answer)
    publishing, task = await started(site, await endpoint.start())
    await until(lambda: publishing.reconnects >= 2, "a second try")
    assert publishing.state in (PublishState.RETRYING, PublishState.CONNECTING)
    assert says in publishing.message or publishing.state is PublishState.CONNECTING
    assert not task.done()
    await ended(task)
    await endpoint.server.close()


async def test_an_answer_that_comes_in_pieces_is_read_whole() -> None:
    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201)
        await response.prepare(request)
        for part in (b"v=0\r\n", b"s=-\r\n", b"t=0 0\r\n"):
            await response.write(part)
            await asyncio.sleep(0.05)
        return response

    app = web.Application()
    app.router.add_post("/whip", in_pieces)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        assert await _post(http, str(server.make_url("/whip")), "v=0") == ("v=0\r\ns=-\r\nt=0 0\r\n", None)


async def test_an_answer_that_cannot_be_used_is_an_error_of_the_other_side() -> None:
    connection = new_connection()
    try:
        with pytest.raises(
            ProtocolError, match="cannot be used"
        ):  # no offer was made: aiortc raises an error of its own
            await _take_answer(connection, "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
    finally:
        await connection.close()


async def test_an_endpoint_that_is_not_there_is_tried_again(site: Site) -> None:
    publishing, task = await started(site, "http://127.0.0.1:9/whip")
    await until(lambda: publishing.reconnects >= 2, "a second try")
    await ended(task)
    assert site.streams["s"].broadcast is not None
    assert site.streams["s"].broadcast.viewer_count() == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("whip://host:8080/whip/in", "http://host:8080/whip/in"),
        ("whips://host/x?y=1", "https://host/x?y=1"),
        ("https://host/x", "https://host/x"),
    ],
)
def test_addresses_of_endpoints(text: str, address: str) -> None:
    assert publish_address(text) == address


@pytest.mark.parametrize("text", ["host/whip", "rtmp://host/x", "whip://", "whip://me:secret@host/x", ""])
def test_an_address_that_is_none_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        publish_address(text)
    assert "secret" not in str(caught.value)
