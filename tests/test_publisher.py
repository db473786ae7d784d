"""Frames that others send, as a source: real encoders, real decoders, no network."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from stream.clock import NS_PER_MS
from stream.encoder import EncoderSettings, VideoEncoder
from stream.jitter_buffer import EncodedFrame
from stream.mailbox import Closed
from stream.pattern import Pattern, read_bars
from stream.publisher import FRAMES_BOUND, Publication
from stream.source import SourceState
from tests.play import Player


def encoded(codec: str, count: int, size: tuple[int, int] = (320, 180), start: int = 0) -> list[EncodedFrame]:
    """Return test pictures `start`, `start`+1 ... encoded; the first is a keyframe, and they arrive 33 ms apart."""
    width, height = size
    encoder, pattern = VideoEncoder(EncoderSettings(codec, width, height, 30, 800_000)), Pattern(width, height)
    frames = []
    for index in range(count):
        packets = encoder.encode(pattern.draw(start + index, index / 30), index * 3000, is_keyframe=index == 0)
        data = b"".join(bytes(packet) for packet in packets)
        frames.append(EncodedFrame(data, index * 3000, 1 + index * 33 * NS_PER_MS, packets[0].is_keyframe))
    return frames


@pytest.fixture
def player() -> Iterator[Player]:
    with Player("browser") as one:
        yield one


def publish(player: Player, codec: str = "H264") -> tuple[Publication, list[int]]:
    asked: list[int] = []
    publication = Publication(codec, lambda: asked.append(1))
    assert player.source.publisher is not None
    player.source.publisher.publish(publication)
    return publication, asked


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_every_frame_sent_becomes_a_frame_of_the_source_at_once(player: Player, codec: str) -> None:
    publication, _ = publish(player, codec)
    for sent, frame in enumerate(encoded(codec, 12), 1):
        publication.offer(frame)
        player.wait(lambda player, wanted=sent: len(player.frames) >= wanted)  # type: ignore[misc]  # none is held back
    assert [read_bars(frame.image) for frame in player.frames] == list(range(12))
    assert [frame.captured_ns for frame in player.frames] == [1 + index * 33 * NS_PER_MS for index in range(12)]
    assert {b.pts - a.pts for a, b in zip(player.frames, player.frames[1:], strict=False)} == {3000}
    assert player.state is SourceState.RUNNING


def test_when_the_publisher_leaves_the_source_waits_again(player: Player) -> None:
    publication, _ = publish(player)
    for frame in encoded("H264", 3):
        publication.offer(frame)
    player.wait_frames(3)
    publication.close()
    player.wait_state(SourceState.WAITING)
    assert "share a camera" in player.source.status().message


def test_a_new_publisher_takes_over_and_time_goes_on(player: Player) -> None:
    first, _ = publish(player)
    for frame in encoded("H264", 3):
        first.offer(frame)
    player.wait_frames(3)
    second, _ = publish(player, "VP8")
    for frame in encoded("VP8", 3, (160, 240), start=100):
        second.offer(frame)
    player.wait(lambda player: len(player.frames) == 6)
    first.offer(encoded("H264", 1)[0])  # too late: nobody minds
    assert [read_bars(frame.image) for frame in player.frames[3:]] == [100, 101, 102]
    assert player.frames[3].image.shape == (240, 160, 3)
    pts = [frame.pts for frame in player.frames]
    assert pts == sorted(set(pts))


def test_a_damaged_frame_asks_for_a_keyframe_and_the_stream_goes_on(player: Player) -> None:
    publication, asked = publish(player, "VP8")
    frames = encoded("VP8", 4)
    publication.offer(frames[0])
    publication.offer(EncodedFrame(b"\x9d" * 40, 3000, 2, is_keyframe=False))
    for frame in frames[2:]:
        publication.offer(frame)
    player.wait(lambda player: player.source.status().counters.decode_errors or len(player.frames) >= 3)
    player.wait(lambda player: len(player.frames) >= 2)
    assert asked or player.source.status().counters.decode_errors == 0


def test_a_decoder_that_is_a_whole_box_behind_begins_again_at_a_keyframe() -> None:
    asked: list[int] = []
    publication = Publication("H264", lambda: asked.append(1))
    delta, key = EncodedFrame(b"d", 0, 0, is_keyframe=False), EncodedFrame(b"k", 0, 0, is_keyframe=True)
    for _ in range(FRAMES_BOUND + 3):
        publication.offer(delta)
    assert asked == [1]
    assert publication.lost == FRAMES_BOUND + 3
    publication.offer(key)
    assert publication.frames.get(0) is key
    publication.close()
    with pytest.raises(Closed):
        publication.frames.get(0)


def test_a_publisher_that_pauses_is_not_given_up(player: Player) -> None:
    publication, _ = publish(player)
    frames = encoded("H264", 4)
    publication.offer(frames[0])
    player.wait_frames(1)
    player.wait_state(SourceState.STALLED)
    publication.offer(frames[1])
    player.wait_state(SourceState.RUNNING)
    assert player.source.status().counters.reconnects == 0


def test_stopping_does_not_wait_for_a_publisher() -> None:
    with Player("browser") as player:
        publish(player)
        time.sleep(0.05)
        before_s = time.monotonic()
        player.source.stop()
    assert time.monotonic() - before_s < 2
    assert np.all([frame.image.size for frame in player.frames])
