"""A stream's output: one thread draws and encodes each frame once; every viewer gets the same packets."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stream.clock import NS_PER_S, Clock
from stream.compose import Composer
from stream.encoder import EncoderSettings, KeyframeGate, VideoEncoder, VideoPacket, default_bitrate_bps
from stream.errors import SinkError
from stream.feed import Delivery, Feed
from stream.frame import Frame, Picture
from stream.mailbox import Closed, Mailbox
from stream.news import Listener, frame_message
from stream.pool import BufferPool
from stream.stats import Rate
from stream.trace import Step
from stream.view import DropReason

log = logging.getLogger(__name__)

LOG_EVERY_NS = NS_PER_S


@dataclass(slots=True)
class _Rendition:
    """One codec of the stream while somebody watches it. Encoder thread, but for the gate."""

    gate: KeyframeGate = field(default_factory=KeyframeGate)
    encoder: VideoEncoder | None = None  # None until the first frame, and after a change of size


class Broadcast:
    """Draws, encodes once per codec, and hands the packets to every viewer.

    `bound` is how many frames may wait for the encoder. `on_sent(frame)` is called on the loop once a frame has left
    for all viewers; `on_dropped(frame, reason)` when one never will.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        composer: Composer,
        on_sent: Callable[[Frame], None],
        on_dropped: Callable[[Frame, DropReason], None],
        fps: float = 30.0,
        bound: int = 1,
        pool: BufferPool | None = None,
    ) -> None:
        self.name = name
        self.codecs: frozenset[str] = frozenset()  # watched now; read by the encoder thread
        self.last_error: str | None = None  # None while encoding works
        self.fps = fps  # of the source, for the encoder's rate control
        self.h264 = ""  # which encoder makes H.264, as in EncoderSettings; counts when the next one is opened
        self._clock = clock
        self._composer = composer
        self._on_sent = on_sent
        self._on_dropped = on_dropped
        self._pool = pool or BufferPool()
        self._inbox: Mailbox[Frame] = Mailbox(bound)
        self._feeds: set[Feed] = set()
        self._listeners: set[Listener] = set()  # told of each frame
        self._renditions: dict[str, _Rendition] = {"H264": _Rendition(), "VP8": _Rendition()}
        self._epoch_ns: int | None = None  # capture time of the first frame: zero of the RTP timestamps
        self._last_rtp_ts = -1
        self._encoded_rate = Rate()  # encoder thread only
        self._recent_bits: deque[tuple[int, int]] = deque(maxlen=120)  # (encoded at, bits) of the last frames
        self._last_log_ns = -LOG_EVERY_NS
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name=f"encoder {name}", daemon=True)
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Hand over a finished frame; never blocks. Loop only."""
        if (replaced := self._inbox.put(frame)) is not None:
            self._on_dropped(replaced, DropReason.ENCODER_BUSY)

    def make_feed(self, codec: str) -> Feed:
        """Return a feed for a viewer that is still connecting; it gets nothing until `add_viewer`."""
        return Feed(codec, self._renditions[codec].gate.request)

    def add_viewer(self, feed: Feed) -> None:
        """Begin to fill a feed, with a keyframe made for it. A broadcast that is closed ends it at once."""
        if self._is_closed:
            feed.close()
            return
        self._feeds.add(feed)
        self._update_codecs()
        self._renditions[feed.codec].gate.request()

    def remove_viewer(self, feed: Feed) -> None:
        """End a feed. Idempotent."""
        feed.close()
        self._feeds.discard(feed)
        self._update_codecs()

    def add_listener(self, listener: Listener) -> None:
        """Tell somebody of each frame from now on; a viewer's channel, or a program's events."""
        if self._is_closed:
            listener.end()
        else:
            self._listeners.add(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Tell them no more. Idempotent."""
        self._listeners.discard(listener)

    def viewer_count(self) -> int:
        return len(self._feeds)

    def request_keyframe(self, codec: str) -> None:
        """Ask for a keyframe: shared, and throttled."""
        self._renditions[codec].gate.request()

    def bitrate_bps(self) -> int:
        """Return the rate of the last two seconds."""
        now_ns = self._clock.now_ns()
        recent = [bits for at_ns, bits in self._recent_bits if now_ns - at_ns < 2 * NS_PER_S]
        return sum(recent) // 2

    def status(self) -> dict[str, object]:
        """Return codec and rates for the API; nulls while nobody watches."""
        open_encoders = [r.encoder for r in self._renditions.values() if r.encoder is not None]
        return {
            "codec": "+".join(sorted(self.codecs)) or None,
            "bitrate_bps": self.bitrate_bps(),
            "target_bps": open_encoders[0].settings.bitrate_bps if open_encoders else None,
            "keyframes": sum(e.keyframes for e in open_encoders),
            "packets_lost": sum(feed.lost for feed in self._feeds),
            "error": self.last_error,
        }

    def close(self) -> None:
        """End every feed and let the encoder thread finish its frame. Loop only; see `join`."""
        self._is_closed = True
        for feed in list(self._feeds):
            self.remove_viewer(feed)
        for listener in list(self._listeners):
            listener.end()
        self._listeners.clear()
        self._inbox.close()

    def join(self, timeout_s: float = 1.0) -> None:
        """Wait for the encoder thread to end. Blocks."""
        self._thread.join(timeout_s)

    def _update_codecs(self) -> None:
        self.codecs = frozenset(feed.codec for feed in self._feeds)

    # The encoder thread

    def _work(self) -> None:
        while True:
            try:
                frame = self._inbox.get()
            except Closed:
                return
            self._handle(frame)
            del frame  # an idle encoder must not keep the last picture alive

    def _handle(self, frame: Frame) -> None:
        """Draw and encode; what cannot be drawn is shown undrawn, and what cannot be encoded is counted."""
        frame.trace.stamp(Step.TAKEN, self._clock.now_ns())
        for is_drawn in (True, False):
            try:
                packets = self._encode(frame, is_drawn=is_drawn)
            except Exception as error:  # the thread's boundary: results come from models, and those may be anything
                self._log_error(error)
                message = f"{type(error).__name__}: {error}"
            else:
                self._post(self._deliver, frame, packets)
                return
        self._post(self._failed, frame, message)

    def _encode(self, frame: Frame, *, is_drawn: bool) -> dict[str, list[VideoPacket]]:
        """Draw and encode for the codecs being watched; nothing of it when nobody watches.

        Raises SinkError when not one codec could be encoded.
        """
        watched = self.codecs
        for codec, rendition in self._renditions.items():
            if codec not in watched:
                rendition.encoder = None
        if not watched:
            return {}
        plain = frame.image if frame.generated is None else frame.generated
        picture = self._composer.compose(frame) if is_drawn else plain
        frame.trace.stamp(Step.COMPOSED, self._clock.now_ns())
        packets = self._encode_all(watched, picture, self._rtp_ts(frame.captured_ns))
        encoded_ns = self._clock.now_ns()
        frame.trace.stamp(Step.ENCODED, encoded_ns)
        self._encoded_rate.add(encoded_ns)
        return packets

    def _encode_all(self, codecs: frozenset[str], picture: Picture, rtp_ts: int) -> dict[str, list[VideoPacket]]:
        """Encode once per codec; one that fails does not take the others with it."""
        packets: dict[str, list[VideoPacket]] = {}
        for codec in sorted(codecs):
            try:
                packets[codec] = self._encode_one(codec, picture, rtp_ts)
            except SinkError as error:
                self._renditions[codec].gate.request()  # a keyframe that was promised is still owed
                if len(codecs) == 1:
                    raise
                self._log_error(error)
        if not packets:
            raise SinkError(f"no codec could be encoded, of {', '.join(sorted(codecs))}; run `livelens doctor`")
        return packets

    def _encode_one(self, codec: str, picture: Picture, rtp_ts: int) -> list[VideoPacket]:
        rendition, now_ns = self._renditions[codec], self._clock.now_ns()
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2  # 4:2:0 has no odd sizes
        encoder = rendition.encoder
        if encoder is None or (encoder.settings.height, encoder.settings.width) != (height, width):
            bitrate_bps = default_bitrate_bps(width, height, self.fps)
            encoder = rendition.encoder = VideoEncoder(
                EncoderSettings(codec, width, height, self.fps, bitrate_bps, self.h264 if codec == "H264" else ""),
                self._pool,
            )
            rendition.gate.made(now_ns)
        encoder.follow_rate(self._encoded_rate.per_second(now_ns))
        return encoder.encode(picture[:height, :width], rtp_ts, is_keyframe=rendition.gate.take(now_ns))

    def _rtp_ts(self, captured_ns: int) -> int:
        """Return the frame's RTP timestamp: capture time on the 90 kHz clock, always increasing."""
        if self._epoch_ns is None:
            self._epoch_ns = captured_ns
        ticks = (captured_ns - self._epoch_ns) * 9 // 100_000
        self._last_rtp_ts = max(ticks, self._last_rtp_ts + 1)
        return self._last_rtp_ts

    def _log_error(self, error: Exception) -> None:
        now_ns = self._clock.now_ns()
        if now_ns - self._last_log_ns >= LOG_EVERY_NS:
            self._last_log_ns = now_ns
            log.warning("%s: %s", self.name, error)

    def _post(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop has closed: nobody waits for this any more
            log.debug("%s: a frame was encoded after the loop had closed", self.name)

    # Back on the loop

    def _failed(self, frame: Frame, message: str) -> None:
        self.last_error = message
        self._on_dropped(frame, DropReason.ENCODER_ERROR)

    def _deliver(self, frame: Frame, packets: Mapping[str, list[VideoPacket]]) -> None:
        self.last_error = None
        offers = [(feed, packet) for feed in self._feeds for packet in packets.get(feed.codec, ())]
        bits = 8 * sum(packet.size for some in packets.values() for packet in some)
        self._recent_bits.append((self._clock.now_ns(), bits))
        self._tell(frame, packets)
        delivery = Delivery(frame, len(offers) + 1, self._sent)
        for feed, packet in offers:
            feed.offer(packet, delivery)
        delivery.settle()  # the loop's own share: with no viewer the frame settles here

    def _tell(self, frame: Frame, packets: Mapping[str, list[VideoPacket]]) -> None:
        """Tell the listeners of a frame, before its packets: a viewer should know what it shows when it shows it."""
        if self._listeners:
            rtp_ts = next((packet.pts for some in packets.values() for packet in some), None)
            text = frame_message(frame, rtp_ts)
            for listener in tuple(self._listeners):  # one may leave while it is told
                listener.offer(text)

    def _sent(self, frame: Frame) -> None:
        frame.trace.stamp(Step.SENT, self._clock.now_ns())
        self._on_sent(frame)
