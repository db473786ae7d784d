"""Where a picture comes from, as people type it: one address, checked before anything starts.

Imports no decoder, so that the command line answers at once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from stream.errors import ConfigError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAX_TEST_SIDE_PX = 7680
MAX_TEST_FPS = 240.0

FORMS = (
    "camera:0, /dev/video0, rtsp://HOST/PATH, http://HOST/PATH, a video file, a folder of pictures, "
    "test:640x360@30, sample: or browser"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)  # two letters at least: C:\ is no scheme
_TEST = re.compile(r"(?:(\d{1,5})x(\d{1,5}))?(?:@(\d{1,4}(?:\.\d{1,3})?))?")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECRET_KEYS = ("pass", "pwd", "token", "key", "secret", "auth", "sig")


class SourceKind(StrEnum):
    """How the pictures of a source are fetched."""

    CAMERA = "camera"
    RTSP = "rtsp"
    HTTP = "http"
    FILE = "file"
    FOLDER = "folder"
    TEST = "test"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A checked address.

    address  as given; may hold a password, so it is never shown
    display  the address with every secret masked: for logs, status and errors
    target   what the reader opens: a resolved path, a device, a URL (may hold a password)
    size     (width, height) of the test pattern; other kinds do not use it
    fps      rate of the test pattern; other kinds do not use it
    """

    kind: SourceKind
    address: str = field(repr=False)
    display: str
    target: str = field(repr=False)
    size: tuple[int, int] = (640, 360)
    fps: float = 30.0

    def __str__(self) -> str:
        return self.display

    @property
    def is_live(self) -> bool:
        """Whether the pictures come from outside at their own time, so that a lost source is tried again."""
        return self.kind in (SourceKind.CAMERA, SourceKind.RTSP, SourceKind.HTTP, SourceKind.BROWSER)


def parse_source(text: str) -> SourceSpec:
    """Return the source that `text` names. Raises ConfigError with what to do."""
    text = text.strip()
    if not text:
        raise ConfigError(f"no source given: use {FORMS}")
    if "\0" in text:
        raise ConfigError("a source address holds a NUL character")
    if match := _SCHEME.fullmatch(text):
        return _parse_url(text, match[1].lower(), match[2])
    prefix, colon, rest = text.partition(":")
    if colon and prefix.lower() in _WORDS:
        return _WORDS[prefix.lower()](text, rest)
    if text.lower() in ("sample", "sample:"):
        return sample_clip()
    if text.lower() == "browser":
        return SourceSpec(SourceKind.BROWSER, text, "browser", "")
    if re.fullmatch(r"/dev/video\d+", text):
        return SourceSpec(SourceKind.CAMERA, text, text, text)
    return _parse_path(text, text)


def _parse_url(text: str, scheme: str, rest: str) -> SourceSpec:
    if scheme in ("rtsp", "rtsps"):
        _check_url(text, scheme, rest)
        return SourceSpec(SourceKind.RTSP, text, mask(text), text)
    if scheme in ("http", "https"):
        _check_url(text, scheme, rest)
        return SourceSpec(SourceKind.HTTP, text, mask(text), text)
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost"):
            raise ConfigError(f"{text}: a file address names no host; write file:///path or just the path")
        return _parse_path(text, unquote(slash + path))
    raise ConfigError(f"{scheme}:// is not a kind of source this program knows: use {FORMS}")


def _check_url(text: str, scheme: str, rest: str) -> None:
    """Refuse what would be sent to the wrong host: a password whose characters were not percent-encoded."""
    before_path = rest.split("/", 1)[0]
    user, at, host = before_path.rpartition("@")
    if at and (set(user) & set("@#?[]") or _BAD_PERCENT.search(user)):
        raise ConfigError(_ENCODE.format(mask(text)))
    try:
        url = urlsplit(f"{scheme}://{host}")
        has_host, has_port = bool(url.hostname), url.port is None or url.port > 0
    except ValueError:
        has_host, has_port = bool(host), False
    if not has_port and "@" in rest.split("/", 1)[-1]:
        raise ConfigError(_ENCODE.format(mask(text)))
    if not has_host:
        raise ConfigError(f"{mask(text)}: the host is missing; write {scheme}://HOST/PATH")
    if not has_port or not re.fullmatch(r"[^\s#?]+", host.split("?")[0].split("#")[0]):
        raise ConfigError(f"{mask(text)}: host or port is wrong; a port is a number from 1 to 65535")


_ENCODE = (
    "{}: percent-encode special characters in the user name and password "
    "(@ is %40, # is %23, % is %25, / is %2F, : is %3A, ? is %3F)"
)


WHIP_SCHEMES = {"whip": "http", "whips": "https", "http": "http", "https": "https"}


def publish_address(text: str) -> str:
    """Return the http(s) address of a WHIP endpoint. Raises ConfigError with what to write."""
    parts = urlsplit(text)
    if parts.scheme.lower() not in WHIP_SCHEMES or not parts.hostname:
        raise ConfigError(
            f"--publish {text!r} is not allowed; it must be an address such as whip://host:8080/whip/name, "
            "or https://host/path"
        )
    if "@" in parts.netloc:
        raise ConfigError("--publish takes no login in its address; give --publish-token")
    return parts._replace(scheme=WHIP_SCHEMES[parts.scheme.lower()]).geturl()


def mask(address: str) -> str:
    """Return the address with passwords and tokens replaced by ***; also of addresses that are malformed."""
    match = _SCHEME.fullmatch(address)
    if match is None:
        return address
    scheme, rest = match.groups()
    user, at, rest = _split_login(rest)
    head, question, query = rest.partition("?")
    if question:
        query, hash_, tail = query.partition("#")
        query = _mask_query(query) + hash_ + tail
    name = user.partition(":")[0] + ":" if ":" in user else ""
    return f"{scheme}://{name}***@{head}{question}{query}" if at else f"{scheme}://{head}{question}{query}"


def _split_login(rest: str) -> tuple[str, str, str]:
    """Return what comes before the host, "@" or "", and the rest.

    An "@" after the first slash belongs to the path, unless what stands before that slash cannot be
    a host and its port: then it is a password with a slash in it, and it must not be shown.
    """
    before_path, slash, path = rest.partition("/")
    if "@" not in before_path and re.fullmatch(r"[^:]*(:\d*)?|\[[^]]*\](:\d*)?", before_path.split("?")[0]):
        return "", "", rest
    if "@" in before_path:
        user, at, host = before_path.rpartition("@")
        return user, at, host + slash + path
    return rest.rpartition("@")


def _mask_query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(_is_secret(key) for key, _ in pairs):
        return query
    return urlencode([(key, "***" if _is_secret(key) else value) for key, value in pairs], safe="*")


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_KEYS)


def _parse_camera(text: str, rest: str) -> SourceSpec:
    if re.fullmatch(r"/dev/video\d+", rest):
        return SourceSpec(SourceKind.CAMERA, text, text, rest)
    if not re.fullmatch(r"\d{1,2}", rest):
        raise ConfigError(f"{text}: a camera is a number, as in camera:0; list them with: livelens sources")
    return SourceSpec(SourceKind.CAMERA, text, text, str(int(rest)))


def _parse_test(text: str, rest: str) -> SourceSpec:
    match = _TEST.fullmatch(rest)
    if match is None:
        raise ConfigError(f"{text}: write test: or test:WIDTHxHEIGHT@FPS, for example test:640x360@30")
    width, height = int(match[1] or 640), int(match[2] or 360)
    fps = float(match[3] or 30)
    for side in (width, height):
        if not 64 <= side <= MAX_TEST_SIDE_PX or side % 4:
            raise ConfigError(f"{text}: each side is 64 to {MAX_TEST_SIDE_PX} pixels and divisible by 4, not {side}")
    if not 0 < fps <= MAX_TEST_FPS:
        raise ConfigError(f"{text}: the rate is above 0 and at most {MAX_TEST_FPS:g} fps, not {fps:g}")
    return SourceSpec(SourceKind.TEST, text, text, "", (width, height), fps)


def _parse_path(text: str, path_text: str) -> SourceSpec:
    path = Path(path_text).expanduser()
    try:
        is_dir, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{text}: cannot look there: {error}") from error
    if is_dir:
        if not any(child.suffix.lower() in PICTURE_SUFFIXES for child in path.iterdir()):
            raise ConfigError(f"{text}: no picture in this folder (looked for {', '.join(sorted(PICTURE_SUFFIXES))})")
        return SourceSpec(SourceKind.FOLDER, text, text, str(path.resolve()))
    if not is_file:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ConfigError(f"{text}: there is no such file or folder{where}; a source is {FORMS}")
    kind = SourceKind.FOLDER if path.suffix.lower() in PICTURE_SUFFIXES else SourceKind.FILE
    return SourceSpec(kind, text, text, str(path.resolve()))


def sample_clip() -> SourceSpec:
    """Return the clip that comes with the program: for a first look without a camera."""
    clip = str(files("stream") / "sample" / "sample.mp4")
    return SourceSpec(SourceKind.FILE, clip, clip, clip)


_WORDS: dict[str, Callable[[str, str], SourceSpec]] = {"camera": _parse_camera, "test": _parse_test}
