"""Fetching against a real HTTP server that cuts, forgets, lies and stalls."""

import asyncio
import errno
import hashlib
import re
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from models import pull
from models.pull import fetch, file_name, hash_in_name
from stream import pull_cli
from stream.errors import ModelError

BODY = bytes(range(256)) * 8192  # 2 MiB
SHA = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """What the server does, changed by tests, and what it was asked for."""

    body: bytes = BODY
    etag: str | None = '"v1"'
    knows_range: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which an answer is cut, one entry each
    stalls_after: int | None = None
    length: int | None = None  # what it says its length is, if that is wrong
    status: int = 200
    leads_to: str = ""
    port: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)  # set at the end of a test

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/files/net-{SHA[:8]}.pth"

    async def answer(self, request):
        self.asked.append(dict(request.headers))
        if self.leads_to:
            raise web.HTTPFound(self.leads_to)
        if self.status != 200:
            return web.Response(status=self.status, text="<html>no</html>")
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if wanted and self.knows_range and request.headers.get("If-Range", self.etag) == self.etag:
            start = int(wanted[1])
            if start >= len(self.body):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.body)}"})
        return await self._send(request, start)

    async def _send(self, request, start):
        answer = web.StreamResponse(status=206 if start else 200)
        if start:
            answer.headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        if self.etag:
            answer.headers["ETag"] = self.etag
        answer.content_length = (self.length or len(self.body)) - start
        await answer.prepare(request)
        rest = self.body[start:]
        cut = self.cuts.pop(0) if self.cuts else self.stalls_after
        await answer.write(rest[:cut])
        if cut is None and self.length is None:
            await answer.write_eof()
            return answer
        await asyncio.sleep(0.1)  # lets what was written leave
        if self.stalls_after is not None:
            await self.over.wait()
        request.transport.abort()
        return answer


@pytest.fixture
def site():
    served, is_up = Site(), threading.Event()
    loop = asyncio.new_event_loop()

    async def start():
        app = web.Application()
        app.router.add_get("/{tail:.*}", served.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        served.port = runner.addresses[0][1]
        is_up.set()
        return runner

    def run():
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert is_up.wait(10)
    yield served
    loop.call_soon_threadsafe(served.over.set)
    loop.call_soon_threadsafe(loop.call_later, 0.05, loop.stop)
    thread.join(10)


def left(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_file_comes_whole_and_tells_how_far_it_is(site, tmp_path):
    told = []
    got = fetch(site.url, tmp_path / "new" / "folder", tell=lambda done, total: told.append((done, total)))
    assert got.read_bytes() == BODY
    assert left(got.parent) == [got.name]
    assert told[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_cut_connection_goes_on_where_it_broke_off(site, tmp_path):
    site.cuts = [300_000, 500_000]
    assert fetch(site.url, tmp_path).read_bytes() == BODY
    assert [asked.get("Range") for asked in site.asked] == [None, "bytes=300000-", "bytes=800000-"]
    assert [asked.get("If-Range") for asked in site.asked] == [None, '"v1"', '"v1"']


def test_a_later_fetch_goes_on_where_an_earlier_one_ended(site, tmp_path):
    site.cuts = [300_000, 0]
    with pytest.raises(ModelError, match=r"breaks off, 0\.3 MB of 2\.1 MB have come; the same command goes on"):
        fetch(site.url, tmp_path)
    assert left(tmp_path) == [f"net-{SHA[:8]}.pth.part", f"net-{SHA[:8]}.pth.part.etag"]
    told = []
    assert fetch(site.url, tmp_path, tell=lambda done, total: told.append(done)).read_bytes() == BODY
    assert told[0] > 300_000
    assert len(left(tmp_path)) == 1


@pytest.mark.parametrize("etag", ['"v1"', None, 'W/"weak"'])
def test_a_server_without_range_sends_all_of_it_again(site, tmp_path, etag):
    site.knows_range, site.etag, site.cuts = False, etag, [300_000]
    assert fetch(site.url, tmp_path).read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_not_joined(site, tmp_path):
    site.body, site.cuts = b"old" * 400_000, [300_000, 0]
    with pytest.raises(ModelError):
        fetch(site.url, tmp_path)
    site.body, site.etag = BODY, '"v2"'
    assert fetch(site.url, tmp_path).read_bytes() == BODY


def test_without_a_version_or_a_checksum_nothing_is_joined(site, tmp_path):
    site.etag, site.cuts = None, [300_000]
    url = site.url.replace(f"-{SHA[:8]}", "")
    assert fetch(url, tmp_path).read_bytes() == BODY
    assert [asked.get("Range") for asked in site.asked] == [None, None]


def test_without_a_version_a_checksum_decides(site, tmp_path):
    site.etag, site.cuts = None, [300_000]
    assert fetch(site.url, tmp_path).read_bytes() == BODY
    assert site.asked[1]["Range"] == "bytes=300000-"


@pytest.mark.parametrize("kept", [BODY, BODY + b"more"])
def test_a_part_as_long_as_the_file_or_longer(site, tmp_path, kept):
    (tmp_path / f"net-{SHA[:8]}.pth.part").write_bytes(kept)
    assert fetch(site.url, tmp_path).read_bytes() == BODY


def test_a_length_that_is_too_long_ends_when_the_server_says_the_right_one(site, tmp_path):
    site.length = len(BODY) + 1000
    assert fetch(site.url, tmp_path).read_bytes() == BODY
    assert len(site.asked) == 2


def test_a_length_that_is_always_too_long_is_told(site, tmp_path):
    site.length, site.knows_range = len(BODY) + 1000, False
    with pytest.raises(ModelError, match="breaks off"):
        fetch(site.url, tmp_path)


def test_a_length_that_is_too_short_does_not_pass_the_checksum(site, tmp_path):
    site.body = BODY[:1000]
    with pytest.raises(ModelError, match=f"expected sha256 {SHA[:8]}, got .* thrown away"):
        fetch(site.url, tmp_path)
    assert left(tmp_path) == []


def test_another_checksum_is_refused_and_nothing_kept(site, tmp_path):
    with pytest.raises(ModelError, match="expected sha256 abcd, got"):
        fetch(site.url, tmp_path, "ABCD")
    assert left(tmp_path) == []
    assert fetch(site.url, tmp_path, SHA.upper()).name.endswith(".pth")
    with pytest.raises(ModelError, match="expected up to 64 digits"):
        fetch(site.url, tmp_path, "sha256:12")


def test_a_stalled_server_is_given_up_and_what_came_is_kept(site, tmp_path):
    site.stalls_after = 300_000
    with pytest.raises(ModelError, match=r"nothing came for 0\.5 s; the same command goes on"):
        fetch(site.url, tmp_path, timeout_s=0.5)
    site.stalls_after = None
    assert (tmp_path / f"net-{SHA[:8]}.pth.part").stat().st_size == 300_000
    assert fetch(site.url, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("status", "says"), [(404, "404: there is no such file"), (403, "does not give"), (503, "try later"), (429, "wait")]
)
def test_what_the_server_refuses_is_said(site, tmp_path, status, says):
    site.status = status
    with pytest.raises(ModelError, match=says):
        fetch(site.url, tmp_path)


def test_a_file_that_is_there_and_right_is_not_asked_for(site, tmp_path):
    fetch(site.url, tmp_path)
    fetch(site.url, tmp_path)
    assert len(site.asked) == 1
    (tmp_path / f"net-{SHA[:8]}.pth").write_bytes(b"another")
    with pytest.raises(ModelError, match="is another file: expected sha256"):
        fetch(site.url, tmp_path)
    assert (tmp_path / f"net-{SHA[:8]}.pth").read_bytes() == b"another"


def test_another_process_that_fetches_it_is_not_disturbed(site, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with open(tmp_path / f"net-{SHA[:8]}.pth.part", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another process"):
            fetch(site.url, tmp_path)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x.pth"])
def test_a_redirect_to_something_else_is_not_followed(site, tmp_path, target):
    site.leads_to = target
    with pytest.raises(ModelError, match=r"leads to|not allowed"):
        fetch(site.url, tmp_path)


def test_redirects_in_a_circle_end(site, tmp_path):
    site.leads_to = site.url
    with pytest.raises(ModelError, match="302"):
        fetch(site.url, tmp_path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x.pth", "expected an address"),
        ("file:///etc/passwd", "expected an address"),
        ("https:///x.pth", "expected an address"),
        ("https://host/", "plain file name"),
        ("https://host/..", "plain file name"),
        ("https://host/a/%2e%2e%2fpasswd", "plain file name"),
        ("https://host/..%5cx", "plain file name"),
        ("https://host/.bashrc", "plain file name"),
        ("https://host/a%00b", "plain file name"),
        ("https://host/C%3Ax", "plain file name"),
        ("https://host/" + "a" * 300, "plain file name"),
    ],
)
def test_no_name_leads_out_of_the_folder(url, says, tmp_path):
    with pytest.raises(ModelError, match=says):
        fetch(url, tmp_path)
    assert left(tmp_path) == []


def test_names_are_read():
    assert file_name("https://host/a/net%20one.pth?download=1#top") == "net one.pth"
    assert hash_in_name("ssd300_vgg16_coco-b556d3b4.pth") == "b556d3b4"
    assert hash_in_name("efficientnet_b0_rwightman-7f5810bc.pth") == "7f5810bc"
    assert hash_in_name("plain-file.pth") == ""


def test_no_host_no_port_and_no_certificate_are_told_apart(tmp_path, site):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelError, match="refuses the connection"):
        fetch(f"http://127.0.0.1:{port}/x.pth", tmp_path)
    with pytest.raises(ModelError, match="no such host"):
        fetch("http://nobody.invalid/x.pth", tmp_path)
    with pytest.raises(ModelError, match="no secure connection"):
        fetch(f"https://127.0.0.1:{site.port}/x.pth", tmp_path)


def test_a_full_disk_is_told_before_and_during(site, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(pull.shutil, "disk_usage", lambda folder: usage._replace(free=1_000_000))
    with pytest.raises(ModelError, match=r"2\.1 MB are needed, 1\.0 MB are free"):
        fetch(site.url, tmp_path)
    monkeypatch.undo()

    def fail(done, total):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ModelError, match="No space left on device; what has come is kept"):
        fetch(site.url, tmp_path, tell=fail)
    assert fetch(site.url, tmp_path).read_bytes() == BODY


def test_a_folder_that_cannot_be_made_is_told(site, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ModelError, match="taken"):
        fetch(site.url, tmp_path / "taken")


# ---- the command


def livelens(*arguments, timeout=60):
    command = [sys.executable, "-m", "stream", "models", "pull", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def test_the_command_prints_where_the_file_is(site, tmp_path):
    done = livelens(site.url, "--to", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(tmp_path / f"net-{SHA[:8]}.pth")


def test_the_command_says_a_failure_in_one_line(site, tmp_path):
    site.status = 404
    done = livelens(site.url, "--to", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.strip() == f"livelens: error: {site.url}: the server says 404: there is no such file"


def test_an_interrupted_command_keeps_what_has_come(site, tmp_path, monkeypatch, capsys):
    def stop(url, folder, sha256, tell, timeout_s):
        fetch(url, folder, sha256, lambda done, total: (_ for _ in ()).throw(KeyboardInterrupt), timeout_s)

    monkeypatch.setattr(pull, "fetch", stop)
    with pytest.raises(KeyboardInterrupt):
        pull_cli.pull(site.url, tmp_path)
    assert "the same command goes on from there" in capsys.readouterr().err
    assert (tmp_path / f"net-{SHA[:8]}.pth.part").stat().st_size > 0
    monkeypatch.undo()
    assert fetch(site.url, tmp_path).read_bytes() == BODY
    assert "Range" in site.asked[-1]


@pytest.mark.parametrize(("name", "says"), [("boxes/coco", "comes with livelens"), ("torchvision/nothing", "no model")])
def test_what_cannot_be_fetched_is_said(name, says):
    done = livelens(name)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
