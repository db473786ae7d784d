"""Pictures that somebody sends us over WebRTC, as a source: encoded frames in from the loop, decoded on a thread.

There is one publisher at a time; a new one takes the place of the last. Between publishers the source waits.
"""

import logging
import threading
from collections.abc import Callable

import av
from av.codec.context import Flags
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from stream.convert import Converter, upright_size
from stream.encoder import RTP_CLOCK
from stream.intake import Attempt, Media
from stream.jitter_buffer import EncodedFrame
from stream.mailbox import Closed, Mailbox
from stream.timeline import to_ticks

log = logging.getLogger(__name__)

FRAMES_BOUND = 30  # encoded frames between the loop and the decoder, a second; beyond it decoding is too slow here
MAX_PIXELS = 7680 * 4320  # 8K, as for other sources
LOOK_S = 0.2  # how often a reader with nothing to do looks whether it is to stop
DECODERS = {"H264": "h264", "VP8": "vp8"}
WAITING = "waiting for somebody to send video: open the page and share a camera, or publish over WHIP"


class Publication:
    """One publisher's encoded frames. `offer` and `close` on the loop, the rest on the reader thread."""

    def __init__(self, codec: str, ask_keyframe: Callable[[], None]) -> None:
        self.codec = codec  # "H264" or "VP8"
        self.ask_keyframe = ask_keyframe  # any thread
        self.lost = 0  # frames given up because decoding was too slow
        self.frames: Mailbox[EncodedFrame] = Mailbox(FRAMES_BOUND)
        self._needs_keyframe = False

    def offer(self, frame: EncodedFrame) -> None:
        """Hand a frame over; when the decoder is a whole box behind, all of it is given up until a keyframe."""
        if self._needs_keyframe and not frame.is_keyframe:
            self.lost += 1
            return
        self._needs_keyframe = False
        try:
            replaced = self.frames.put(frame)
        except Closed:
            return
        if replaced is not None:
            self.lost += 1 + len(self.frames.drain())
            self._needs_keyframe = True
            self.ask_keyframe()

    def close(self) -> None:
        """End it; what is inside is still shown."""
        self.frames.close()


class PublisherReader:
    """The reader of a source that others send to."""

    def __init__(self) -> None:
        self._current: Publication | None = None  # None while nobody publishes
        self._changed = threading.Condition()

    def publish(self, publication: Publication) -> None:
        """Take the frames of a new publisher from now on; the last one's end. Any thread."""
        with self._changed:
            last, self._current = self._current, publication
            self._changed.notify_all()
        if last is not None:
            last.close()

    def read(self, attempt: Attempt) -> None:
        """Show one publisher after the other until told to stop. Reader thread."""
        shown: Publication | None = None
        while not attempt.stop.is_set():
            if (publication := self._next(shown)) is None:
                attempt.wait_for_sender(WAITING)
                continue
            if shown is not None:
                attempt.seam()
            self._show(attempt, publication)
            shown = publication

    def _next(self, shown: Publication | None) -> Publication | None:
        """Return the publication to show; None when there is none within a moment."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._current is not shown, LOOK_S):
                return None
            return self._current

    def _show(self, attempt: Attempt, publication: Publication) -> None:
        decoding = _Decoding(attempt, publication)
        while not attempt.stop.is_set():
            try:
                frame = publication.frames.get(LOOK_S)
            except TimeoutError:
                continue
            except Closed:
                return
            decoding.take(frame)


class _Decoding:
    """Decodes one publisher's frames and hands the pictures over."""

    def __init__(self, attempt: Attempt, publication: Publication) -> None:
        self._attempt = attempt
        self._publication = publication
        self._decoder = _open(publication.codec)
        self._converter = Converter(attempt.pool)
        self._arrived_ns: dict[int, int] = {}  # by timestamp, of the frames that are in the decoder
        self._has_begun = False

    def take(self, frame: EncodedFrame) -> None:
        """Decode one frame; one that cannot be decoded is counted, and a keyframe asked for."""
        if not self._has_begun:
            self._has_begun = True
            self._attempt.opened(Media(codec=DECODERS[self._publication.codec]))
        self._attempt.packet()
        packet = av.Packet(frame.data)
        packet.pts = packet.dts = frame.timestamp
        packet.time_base = RTP_CLOCK
        self._arrived_ns[frame.timestamp] = frame.arrived_ns
        while len(self._arrived_ns) > FRAMES_BOUND:  # of frames that never gave a picture
            del self._arrived_ns[next(iter(self._arrived_ns))]
        try:
            pictures = self._decoder.decode(packet)
        except (FFmpegError, ValueError, MemoryError) as error:
            self._attempt.decode_failed(getattr(error, "strerror", None) or str(error) or "no reason given")
            self._publication.ask_keyframe()
            return
        for picture in pictures:
            self._hand_over(picture)

    def _hand_over(self, picture: av.VideoFrame) -> None:
        pts = picture.pts if picture.pts is not None else max(self._arrived_ns)
        captured_ns = self._arrived_ns.get(pts, self._attempt.now_ns())
        self._arrived_ns = {ticks: at_ns for ticks, at_ns in self._arrived_ns.items() if ticks > pts}
        self._attempt.picture(
            to_ticks(pts, RTP_CLOCK),
            captured_ns,
            upright_size(picture),
            lambda size: self._converter.picture(picture, size),
        )


def _open(codec: str) -> VideoCodecContext:
    """Return a decoder that gives each picture at once: in WebRTC no picture refers to a later one."""
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    assert isinstance(decoder, VideoCodecContext), "both are video"
    decoder.thread_count = 1  # frame threads hold a picture back each
    decoder.flags |= Flags.low_delay
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    return decoder
