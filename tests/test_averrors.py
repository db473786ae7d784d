"""FFmpeg's errors in our words. The real ones are made in test_demux.py and test_source.py."""

import errno

import av
import pytest
from av.error import FFmpegError

from stream.address import SourceKind
from stream.averrors import source_error
from stream.errors import SourceCode

INVALID = 1094995529  # AVERROR_INVALIDDATA, as PyAV gives it
SHOWN = "rtsp://admin:***@host/x"


@pytest.mark.parametrize(
    ("error", "code", "is_retryable"),
    [
        (av.error.HTTPUnauthorizedError(0, "401"), SourceCode.AUTH_FAILED, False),
        (av.error.HTTPForbiddenError(0, "403"), SourceCode.AUTH_FAILED, False),
        (av.error.HTTPNotFoundError(0, "404"), SourceCode.NOT_FOUND, True),
        (av.error.HTTPServerError(1, "Server returned 5XX Server Error reply"), SourceCode.REFUSED, True),
        (FFmpegError(errno.ECONNREFUSED, "refused"), SourceCode.REFUSED, True),
        (FFmpegError(errno.ECONNRESET, "reset"), SourceCode.REMOVED, True),
        (FFmpegError(errno.ENODEV, "gone"), SourceCode.REMOVED, True),
        (FFmpegError(errno.EBUSY, "busy"), SourceCode.REFUSED, True),
        (FFmpegError(errno.ETIMEDOUT, "late"), SourceCode.TIMEOUT, True),
        (FFmpegError(errno.EIO, "Input/output error"), SourceCode.NOT_FOUND, True),
        (av.error.InvalidDataError(INVALID, "Invalid data"), SourceCode.INVALID_DATA, True),
    ],
)
def test_each_failure_has_its_code(error: FFmpegError, code: SourceCode, is_retryable: bool) -> None:
    meant = source_error(error, SHOWN, SourceKind.RTSP, is_late=False)
    assert (meant.code, meant.is_retryable) == (code, is_retryable)
    assert str(meant).startswith(SHOWN)
    assert "\n" not in str(meant)


def test_whatever_fails_after_its_timeout_timed_out() -> None:
    error = av.error.InvalidDataError(INVALID, "Invalid data")
    assert source_error(error, SHOWN, SourceKind.RTSP, is_late=True).code is SourceCode.TIMEOUT


def test_a_broken_file_is_not_tried_again() -> None:
    error = av.error.InvalidDataError(INVALID, "Invalid data")
    assert not source_error(error, "a.mp4", SourceKind.FILE, is_late=False).is_retryable


def test_the_address_of_ffmpegs_error_is_not_passed_on() -> None:
    error = FFmpegError(5, "Input/output error", "rtsp://admin:hunter2@host/x", ("error", "tcp", "hunter2"))
    assert "hunter2" not in str(source_error(error, SHOWN, SourceKind.RTSP, is_late=False))


def test_a_broken_secure_connection_has_its_own_code() -> None:
    error = FFmpegError(errno.EIO, "Input/output error")
    assert source_error(error, "rtsps://host/x", SourceKind.RTSP, is_late=False).code is SourceCode.TLS
