"""What can go wrong, as types. A message shows the value, the limit, and what to do.

    StreamError
      ConfigError      a setting or argument is wrong; nothing was started
      SourceError      a picture source failed; says whether a retry helps, with a code
      ModelError       a model could not be loaded, or broke its contract
      StillError       a picture file cannot be read, or is too large
      SinkError        the result could not be encoded or written
      ProtocolError    a peer's request is wrong; carries the HTTP status

The end of a stream is not an error, and neither is a dropped frame: see `DropReason` in scheduler.py.
"""

from enum import StrEnum


class StreamError(Exception):
    """Any failure this project raises on purpose."""


class ConfigError(StreamError):
    """A setting is wrong; the message names the key, the value and what is allowed."""


class SourceCode(StrEnum):
    """Why a source is not running (RELIABILITY words, shown in status and metrics)."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    NOT_FOUND = "not_found"
    AUTH_FAILED = "auth_failed"
    TLS = "tls"
    NO_VIDEO = "no_video"
    CODEC_UNSUPPORTED = "codec_unsupported"
    INVALID_DATA = "invalid_data"
    TOO_LARGE = "too_large"
    REMOVED = "removed"


class SourceError(StreamError):
    """A picture source failed.

    `code` is one of `SourceCode`; `is_retryable` says whether trying again may help without a person.
    """

    def __init__(self, message: str, code: SourceCode, *, is_retryable: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.is_retryable = is_retryable


class ModelError(StreamError):
    """A model is unknown, cannot be loaded, failed, or returned something outside its contract."""


class StillError(StreamError):
    """A picture file is missing, damaged, or has more pixels than may be decoded."""


class SinkError(StreamError):
    """A picture could not be encoded or written."""


class ProtocolError(StreamError):
    """A peer asked for something wrong; `status` is the HTTP status to answer with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
