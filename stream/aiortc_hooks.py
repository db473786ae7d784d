"""Every place where Livelens reaches into aiortc. Each is small, named, and guarded by a test.

aiortc is pinned to the releases these were checked with (pyproject.toml).
"""

from collections.abc import Callable

from aiortc import RTCRtpSender


def on_keyframe_request(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call `callback` when the viewer sends PLI or FIR (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1).

    aiortc only notes the request for its own encoder; packets encoded elsewhere never see it.
    """
    sender._send_keyframe = callback  # type: ignore[method-assign]
