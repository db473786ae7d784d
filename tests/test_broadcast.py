import asyncio
from typing import Any

import av
import numpy as np
import pytest

from stream.broadcast import Broadcast, Feed
from stream.clock import MonotonicClock
from stream.compose import Composer
from stream.encoder import EncoderSettings, VideoEncoder
from stream.errors import SinkError
from stream.frame import Frame
from stream.mailbox import Closed
from stream.pool import BufferPool
from stream.results import Results
from tests.fakes import make_frame


class Output:
    """A broadcast with what it reported."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.dropped: list[str] = []
        self.clock = MonotonicClock()
        self.broadcast = Broadcast(
            "s", self.clock, Composer(), self.sent.append, lambda _, r: self.dropped.append(r.value)
        )

    def watch(self, codec: str) -> Feed:
        """Add a viewer."""
        feed = self.broadcast.make_feed(codec)
        self.broadcast.add_viewer(feed)
        return feed

    async def show(self, seq: int, size: tuple[int, int] = (64, 64)) -> None:
        """Put a frame and wait until it is accounted for."""
        known = len(self.sent) + len(self.dropped)
        self.broadcast.put(make_frame(seq, self.clock.now_ns(), size=size))
        async with asyncio.timeout(10):
            while len(self.sent) + len(self.dropped) == known:
                await asyncio.sleep(0.002)


async def drain(feed: Feed, into: list[av.Packet]) -> None:
    try:
        while True:
            into.append(await feed.next())
    except Closed:
        return


async def test_every_viewer_gets_the_same_packets_of_one_encoder() -> None:
    output = Output()
    received: list[list[av.Packet]] = [[], [], []]
    feeds = [output.watch("H264") for _ in received]
    readers = [asyncio.create_task(drain(f, into)) for f, into in zip(feeds, received, strict=True)]
    for seq in range(5):
        await output.show(seq)
    assert [len(packets) for packets in received] == [5, 5, 5]
    assert all(a is b for a, b in zip(received[0], received[2], strict=True))
    pts = [p.pts for p in received[0]]
    assert pts == sorted(set(pts))
    output.broadcast.close()
    await asyncio.gather(*readers)


async def test_with_nobody_watching_nothing_is_encoded_and_frames_are_accounted_for() -> None:
    output = Output()
    await output.show(0)
    assert len(output.sent) == 1
    assert output.broadcast.status()["codec"] is None
    output.broadcast.close()


async def test_a_change_of_size_reopens_the_encoder_with_a_keyframe() -> None:
    output = Output()
    received: list[av.Packet] = []
    reader = asyncio.create_task(drain(output.watch("VP8"), received))
    for seq, size in enumerate([(64, 64)] * 20 + [(96, 128)] * 20):
        await output.show(seq, size)
        await asyncio.sleep(0.02)  # 40 frames over more than twice the gate's distance
    assert [index for index, p in enumerate(received) if p.is_keyframe] == [0, 20]
    output.broadcast.close()
    await reader


async def test_an_odd_size_is_cut_to_even() -> None:
    output = Output()
    received: list[av.Packet] = []
    reader = asyncio.create_task(drain(output.watch("H264"), received))
    await output.show(0, (65, 67))
    assert len(received) == 1 and output.dropped == []
    output.broadcast.close()
    await reader


async def test_frames_faster_than_the_encoder_are_replaced_and_counted() -> None:
    output = Output()
    for seq in range(50):
        output.broadcast.put(make_frame(seq, output.clock.now_ns()))
    async with asyncio.timeout(10):
        while len(output.sent) + len(output.dropped) < 50:
            await asyncio.sleep(0.005)
    assert set(output.dropped) == {"encoder_busy"}
    assert [f.seq for f in output.sent] == sorted(f.seq for f in output.sent)
    output.broadcast.close()


async def test_a_frame_that_cannot_be_drawn_is_shown_undrawn_and_the_next_ones_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = Output()
    received: list[av.Packet] = []
    reader = asyncio.create_task(drain(output.watch("H264"), received))
    bad = make_frame(0, output.clock.now_ns(), size=(64, 64))
    bad.generated = np.full_like(bad.image, 250)
    bad.results["mask"] = Results(mask=np.zeros((3, 5), np.uint8))  # of another size: OpenCV raises
    shown: list[np.ndarray] = []
    encode = VideoEncoder.encode

    def look(self: VideoEncoder, picture: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        shown.append(picture)
        return encode(self, picture, *args, **kwargs)

    monkeypatch.setattr(VideoEncoder, "encode", look)
    output.broadcast.put(bad)
    async with asyncio.timeout(10):
        while not output.sent:
            await asyncio.sleep(0.002)
    await output.show(1)
    assert (shown[0] == 250).all()  # the generated picture: the raw one may be what nobody should see
    assert len(received) == 2 and output.dropped == []
    output.broadcast.close()
    await reader


async def test_one_codec_that_fails_does_not_take_the_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_only_h264(settings: EncoderSettings, pool: BufferPool) -> VideoEncoder:
        if settings.codec == "VP8":
            raise SinkError("no VP8 here")
        return VideoEncoder(settings, pool)

    monkeypatch.setattr("stream.broadcast.VideoEncoder", open_only_h264)
    output = Output()
    received: list[av.Packet] = []
    reader = asyncio.create_task(drain(output.watch("H264"), received))
    output.watch("VP8")
    for seq in range(3):
        await output.show(seq)
    assert len(received) == 3 and output.dropped == []
    output.broadcast.close()
    await reader


async def test_a_keyframe_lost_to_a_failure_is_still_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output()
    received: list[av.Packet] = []
    reader = asyncio.create_task(drain(output.watch("H264"), received))
    await output.show(0)
    encode, failures = VideoEncoder.encode, [SinkError("once"), SinkError("and undrawn")]

    def fail_twice(self: VideoEncoder, *args: Any, **kwargs: Any) -> Any:
        if kwargs["is_keyframe"] and failures:
            raise failures.pop()
        return encode(self, *args, **kwargs)

    monkeypatch.setattr(VideoEncoder, "encode", fail_twice)
    joiner: list[av.Packet] = []
    readers = [reader]
    for seq in range(1, 60):
        if seq == 20:  # past the gate's distance
            readers.append(asyncio.create_task(drain(output.watch("H264"), joiner)))
        await output.show(seq)
        await asyncio.sleep(0.02)
    assert failures == [] and joiner and joiner[0].is_keyframe
    output.broadcast.close()
    await asyncio.gather(*readers)


async def test_a_viewer_of_a_closed_broadcast_ends_at_once() -> None:
    output = Output()
    output.broadcast.close()
    with pytest.raises(Closed):
        await asyncio.wait_for(output.watch("H264").next(), 5)


async def test_an_encoder_that_fails_counts_the_frame_and_says_why() -> None:
    output = Output()
    output.watch("H264")
    await output.show(0, (2, 16384 * 2))  # wider than libx264 takes
    assert output.dropped == ["encoder_error"]
    assert "no H264 encoder" in str(output.broadcast.last_error)
    output.broadcast.close()
