"""A tap in the reading path: who records a source sees what it reads, before it is decoded."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from stream.frame import Picture


@dataclass(frozen=True, slots=True)
class Track:
    """What a container must know of a source's packets; a copy, so any thread may read it at any time.

    template   a stream that holds codec parameters and nothing else; for `add_stream_from_template(_, opaque=True)`
    codec      FFmpeg's name of the codec
    codec_tag  four characters; for raw video how its bytes are laid out
    size       (width, height) as coded
    extradata  the codec's header; b"" when it has none
    is_live    packets come when they come; False for a recording
    has_clock  False when the container makes its pts and dts up
    """

    template: VideoStream = field(repr=False, compare=False)
    codec: str
    codec_tag: str
    size: tuple[int, int]
    extradata: bytes
    is_live: bool
    has_clock: bool
    _holder: OutputContainer = field(repr=False, compare=False)  # the template lives as long as its container


class PacketTap(Protocol):
    """Takes what a source reads, on the thread that reads it. Must not block, must not raise."""

    def opened(self, track: Track | None) -> None:
        """Take what comes: packets as `track` says, or pictures when it is None. Again at each loop and reconnect."""
        ...

    def packet(self, packet: "Packet[Any]", arrived_ns: int) -> None:
        """Take a packet that arrived just now. It goes to the decoder next: copy what is to be kept."""
        ...

    def picture(self, picture: Picture, captured_ns: int) -> None:
        """Take a picture of a source without packets, [H,W,3] uint8 rgb at the source's size; read only."""
        ...

    def seam(self) -> None:
        """Know that the source's own time ends here: it loops, or was lost and is opened again. Any thread."""
        ...


def copy_track(stream: VideoStream, *, is_live: bool, has_clock: bool) -> Track:
    """Return the codec parameters of a stream as a copy. Call it before the stream is decoded, on the same thread."""
    holder = av.open("parameters", "w", format="null")  # opens no file: nothing is ever written to it
    template = holder.add_stream_from_template(stream, opaque=True)  # opaque: by decoder; there may be no encoder
    coder = template.codec_context
    return Track(
        template=template,
        codec=coder.name,
        codec_tag=stream.codec_context.codec_tag,
        size=(coder.width, coder.height),
        extradata=bytes(coder.extradata or b""),
        is_live=is_live,
        has_clock=has_clock,
        _holder=holder,
    )
