"""Fetch a file over HTTP so that nothing is lost when it breaks off: resumed, checked, then renamed into place.

`name.part` beside the target holds what has come, `name.part.etag` what the server calls that version. A broken fetch
leaves both, and the next goes on from there with Range and If-Range (RFC 9110, 13.1.5 and 14.2); a server that does not
know Range, or has another version by now, sends all of it again.
Blocks; every wait on the network is bounded. The standard library is enough: one file, one connection.
"""

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from stream.errors import ModelError

TIMEOUT_S = 30.0  # for the connection, and for each piece after it
PIECE_BYTES = 1 << 18
RESUMES_AT_MOST = 50  # in one fetch; each must have brought something
AGENT = {"User-Agent": "livelens", "Accept-Encoding": "identity"}  # a compressed answer could not be resumed
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.")  # torch hub's rule: the start of the sha256 in the file's name

Tell = Callable[[int, int | None], None]  # (bytes there, bytes in all or None)


@dataclass(frozen=True, slots=True)
class Part:
    """A file on its way: where it comes from, its two files on the disk, and what its digest must start with."""

    url: str
    target: Path
    sha256: str  # all or the start of it; "" when unknown

    @property
    def file(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def etag_file(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.etag")


def fetch(
    url: str, folder: Path, sha256: str = "", tell: Tell = lambda done, total: None, timeout_s: float = TIMEOUT_S
) -> Path:
    """Fetch `url` into `folder` and return the file; at once when it is there and right.

    sha256  its digest or the start of it; "" takes the start that torch hub puts into the name, if any
    tell    called after each piece
    Raises ModelError, in one line, for everything that can go wrong. What has come stays beside for the next time.
    """
    name = file_name(url)
    expected = sha256.lower() or hash_in_name(name)
    if not re.fullmatch("[0-9a-f]{0,64}", expected):
        raise ModelError(f"sha256 {sha256!r}: expected up to 64 digits of 0-9 a-f")
    part = Part(url, folder / name, expected)
    if part.target.exists():
        _check_there(part)
        return part.target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.file.touch()
        with open(part.file, "r+b") as file, _alone(file, part):
            _fetch_all(part, file, tell, timeout_s)
        _check(part, part.file)
        os.replace(part.file, part.target)
        part.etag_file.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{part.target}: {error.strerror or error}; what has come is kept") from error
    return part.target


def resolve(name: str, folder: Path | None) -> tuple[str, Path]:
    """Return the address and the folder of what a person asks for: an address, or a network with weights elsewhere.

    Raises ModelError for a name that is not known, or whose weights come with the program.
    """
    if "://" in name:
        return name, folder or Path.cwd()
    from models.registry import parse  # late: it knows every network
    from models.torchvision_weights import FAMILY, weights_of

    parsed = parse(name)
    if not parsed.where.startswith(FAMILY):
        raise ModelError(f"{name} comes with livelens or is your own; to fetch there are {FAMILY}NAME and addresses")
    found = weights_of(parsed.where.removeprefix(FAMILY), dict(parsed.options).get("weights", "DEFAULT"))
    return found.url, folder or found.folder


def file_name(url: str) -> str:
    """Return the file name at the end of an address. Raises ModelError when it has none that is safe to write."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError(f"{url}: expected an address that starts with http:// or https://")
    name = unquote(parts.path.rpartition("/")[2])
    if not name or name.startswith(".") or re.search(r'[/\\:*?"<>|\x00-\x1f]', name) or len(name) > 200:
        raise ModelError(f"{url}: expected a plain file name at its end, got {name!r}")
    return name


def hash_in_name(name: str) -> str:
    """Return the start of the sha256 that torch hub puts into a file's name: 907ea3f9 of x-907ea3f9.pth; else ""."""
    found = _HASH_IN_NAME.search(name)
    return found[1] if found else ""


def _check_there(part: Part) -> None:
    if not part.target.is_file():
        raise ModelError(f"{part.target} is there and is no file; choose another folder")
    got = digest(part.target)
    if not got.startswith(part.sha256):
        raise ModelError(
            f"{part.target} is there and is another file: expected sha256 {part.sha256}, got {got}; move it away"
        )


def _check(part: Part, file: Path) -> None:
    """Raise ModelError when what came is not what was expected; then nothing of it is kept."""
    got = digest(file)
    if not got.startswith(part.sha256):
        file.unlink()
        part.etag_file.unlink(missing_ok=True)
        raise ModelError(f"{part.url}: expected sha256 {part.sha256}, got {got}; it was thrown away, fetch it again")


def digest(file: Path) -> str:
    """Return the sha256 of a file."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextlib.contextmanager
def _alone(file: IO[bytes], part: Part) -> Any:
    """Hold the part for this process, where the system can; two that write it would mix it up."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ModelError(f"{part.file} is being fetched by another process; wait for it") from error
    yield


def _fetch_all(part: Part, file: IO[bytes], tell: Tell, timeout_s: float) -> None:
    total = None
    for _ in range(RESUMES_AT_MOST):
        before = file.seek(0, os.SEEK_END)
        total = _fetch_some(part, file, tell, timeout_s)
        there = file.tell()
        if total is None or there == total:
            return
        if there > total:  # longer than the server's file: these are not the same
            _empty(file)
        elif there == before:
            break
    raise ModelError(
        f"{part.url}: the connection breaks off, {_megabytes(file.tell())} of {_megabytes(total)} have come; "
        "the same command goes on from there"
    )


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _fetch_some(part: Part, file: IO[bytes], tell: Tell, timeout_s: float) -> int | None:
    """Go on from the end of `file`; return how long it must become, None when it is whole."""
    start = file.tell()
    headers = dict(AGENT)
    if start:
        validator = _kept_etag(part)
        if validator or part.sha256:  # with neither, nobody could tell that two versions were joined
            headers["Range"] = f"bytes={start}-"
            headers.update({"If-Range": validator} if validator else {})
    try:
        with _opener().open(urllib.request.Request(part.url, headers=headers), timeout=timeout_s) as answer:
            return _take(answer, part, file, tell)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return _end_of_range(error, part, file, start)
        raise ModelError(f"{part.url}: {_said(error)}") from error
    except (urllib.error.URLError, http.client.HTTPException, ValueError, TimeoutError, ConnectionError) as error:
        raise ModelError(f"{part.url}: {_reason(error, timeout_s)}") from error


def _take(answer: Any, part: Part, file: IO[bytes], tell: Tell) -> int | None:
    """Write an answer to the file; return its length, None when it did not say and has ended."""
    start, total = _position(answer)
    if start not in (0, file.tell()):
        raise ValueError(f"it sent the file from byte {start} on, not from {file.tell()}")
    if start != file.tell():
        _empty(file)  # all of it comes again
    _keep_etag(part, answer.headers.get("ETag"))
    _check_room(part, total, file.tell())
    try:
        while piece := answer.read1(PIECE_BYTES):  # read() would lose what came before a timeout
            file.write(piece)
            tell(file.tell(), total)
    except (http.client.IncompleteRead, ConnectionError, TimeoutError, ssl.SSLError) as error:
        if isinstance(error, http.client.IncompleteRead):
            file.write(error.partial)
        file.flush()
        if isinstance(error, TimeoutError) or total is None:
            raise
    file.flush()
    return total


def _position(answer: Any) -> tuple[int, int | None]:
    """Return where an answer starts in the file, and how long the file is (None when it does not say)."""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if found is None:
            raise ValueError(f"it sent Content-Range {answer.headers.get('Content-Range')!r}, not bytes A-B/N")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _end_of_range(error: urllib.error.HTTPError, part: Part, file: IO[bytes], start: int) -> int | None:
    """Return None when the part was whole already; else start over."""
    found = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    if found is not None and int(found[1]) == start:
        return None
    _empty(file)
    part.etag_file.unlink(missing_ok=True)
    return start  # the file is empty now: tried again


def _check_room(part: Part, total: int | None, there: int) -> None:
    free = shutil.disk_usage(part.target.parent).free
    if total is not None and total - there > free:
        raise ModelError(
            f"{part.target.parent}: {_megabytes(total - there)} are needed, {_megabytes(free)} are free; "
            "make room, or choose another folder with --to"
        )


def _kept_etag(part: Part) -> str:
    """Return what the server called the version of the part; "" when it did not say, or it was another address."""
    try:
        url, _, etag = part.etag_file.read_text("utf-8").partition("\n")
    except (OSError, ValueError):
        return ""
    return etag if url == part.url else ""


def _keep_etag(part: Part, etag: str | None) -> None:
    """Keep a strong validator; a weak one promises too little for joining pieces (RFC 9110, 8.8.1)."""
    if etag and etag.startswith('"'):
        part.etag_file.write_text(f"{part.url}\n{etag}", "utf-8")
    else:
        part.etag_file.unlink(missing_ok=True)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow to http and https only, and from https never to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise urllib.error.URLError(f"it leads to {newurl:.200}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SafeRedirects)


def _said(error: urllib.error.HTTPError) -> str:
    advice = {
        401: "it asks for a login",
        403: "it does not give this file to us",
        404: "there is no such file",
        429: "it has had too many requests; wait a while",
    }
    text = advice.get(error.code, "the server has a fault; try later" if error.code >= 500 else error.reason)
    return f"the server says {error.code}: {text}"


def _reason(error: Exception, timeout_s: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        return "no such host is known here; is the name right, is there a network?"
    if isinstance(reason, ssl.SSLError):
        return f"no secure connection: {getattr(reason, 'verify_message', '') or reason.reason or reason}"
    if isinstance(reason, TimeoutError):
        return f"nothing came for {timeout_s:g} s; the same command goes on from there"
    if isinstance(reason, ConnectionRefusedError):
        return "the host refuses the connection"
    if isinstance(reason, ConnectionError | http.client.HTTPException):
        return f"the connection broke ({type(reason).__name__}); the same command goes on from there"
    return str(reason)


def _megabytes(count: int | None) -> str:
    return "an unknown number of bytes" if count is None else f"{count / 1e6:.1f} MB"
