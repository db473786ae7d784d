"""FFmpeg's errors in our words: a code, a sentence for a person, and whether trying again may help.

FFmpeg's own text is never passed on whole: it holds the address with its password.
"""

import errno
from dataclasses import dataclass

from av.error import FFmpegError, HTTPForbiddenError, HTTPNotFoundError, HTTPUnauthorizedError

from stream.address import SourceKind
from stream.errors import SourceCode, SourceError

_LOGIN = "put the right user and password in the address, as {scheme}://USER:PASSWORD@HOST/"
_UNREACHABLE = "cannot be reached; check host name, network and power"


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one kind of failure means. `errors` are exception types or numbers."""

    errors: tuple[type[FFmpegError] | int, ...]
    code: SourceCode
    advice: str
    is_retryable: bool = True


_RULES = (
    _Rule((HTTPUnauthorizedError,), SourceCode.AUTH_FAILED, f"login refused; {_LOGIN}", False),
    _Rule((HTTPForbiddenError,), SourceCode.AUTH_FAILED, "access forbidden for this user", False),
    _Rule((HTTPNotFoundError,), SourceCode.NOT_FOUND, "the host answers but does not know this path"),
    _Rule((errno.ENOENT, errno.ENXIO), SourceCode.NOT_FOUND, "not there; is it plugged in, or was it renamed?"),
    _Rule((errno.ECONNREFUSED,), SourceCode.REFUSED, "connection refused; is the server running, is the port right?"),
    _Rule((errno.EBUSY,), SourceCode.REFUSED, "in use by another program; close that program"),
    _Rule((errno.EACCES, errno.EPERM), SourceCode.REFUSED, "not allowed to open it; check its permissions"),
    _Rule((errno.ENODEV,), SourceCode.REMOVED, "the device is gone"),
    _Rule((errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED), SourceCode.REMOVED, "the connection was cut"),
    _Rule((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL), SourceCode.REFUSED, _UNREACHABLE),
    _Rule((errno.ETIMEDOUT,), SourceCode.TIMEOUT, "no answer in time; check address, network and power"),
)


def source_error(error: FFmpegError, display: str, kind: SourceKind, *, is_late: bool) -> SourceError:
    """Return what `error` means for the source called `display`. `is_late` when its time-out had passed."""
    if is_late:  # an interrupted call fails with whatever it was about: "invalid data", "immediate exit", ...
        return SourceError(f"{display}: no answer in time; check address, network and power", SourceCode.TIMEOUT)
    for rule in _RULES:
        if any(error.errno == known if isinstance(known, int) else isinstance(error, known) for known in rule.errors):
            advice = rule.advice.format(scheme=display.partition("://")[0])
            return SourceError(f"{display}: {advice}", rule.code, is_retryable=rule.is_retryable)
    return _by_kind(error, display, kind)


def _by_kind(error: FFmpegError, display: str, kind: SourceKind) -> SourceError:
    said = error.strerror or "no reason given"
    if kind in (SourceKind.RTSP, SourceKind.HTTP):
        if display.startswith(("https:", "rtsps:")) and error.errno == errno.EIO:
            return SourceError(f"{display}: no secure connection, or no such host ({said})", SourceCode.TLS)
        if error.errno == errno.EIO:
            return SourceError(f"{display}: {_UNREACHABLE} ({said})", SourceCode.NOT_FOUND)
        if "Server returned" in said:
            return SourceError(f"{display}: the server refuses ({said})", SourceCode.REFUSED)
    message = f"{display}: not a video this program can read ({said}); play it with ffplay to check it"
    return SourceError(message, SourceCode.INVALID_DATA, is_retryable=kind in (SourceKind.RTSP, SourceKind.HTTP))
