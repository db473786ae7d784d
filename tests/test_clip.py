"""Times on a clip, whatever comes in; and what a Matroska file can hold."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.clip import Clip, ClipTime, PictureEncoder, copied
from stream.clock import NS_PER_MS, NS_PER_S
from stream.errors import SinkError
from stream.tap import copy_track
from tests.media import Media, media  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)

stamps = st.one_of(st.none(), st.integers(-(2**40), 2**40), st.integers(-2000, 2000))
steps_ns = st.one_of(st.integers(0, 100 * NS_PER_MS), st.integers(0, 10**13))


@given(st.lists(st.tuples(stamps, stamps, steps_ns, st.booleans())), st.booleans())
def test_whatever_comes_dts_strictly_increase_and_pts_are_not_before_them(
    packets: list[tuple[int | None, int | None, int, bool]], is_live: bool
) -> None:
    time, now_ns, last = ClipTime(is_live=is_live), 10**15, -1
    for pts, dts, step_ns, has_seam in packets:
        now_ns += step_ns
        if has_seam:
            time.seam()
        placed_pts, placed_dts = time.place(pts, dts, now_ns)
        assert placed_dts > last
        assert placed_pts >= placed_dts
        last = placed_dts


@given(st.integers(-(2**40), 2**40), st.lists(st.tuples(st.integers(1, 900), st.integers(0, 300)), min_size=1))
def test_times_in_order_are_kept_as_they_are(start: int, packets: list[tuple[int, int]]) -> None:
    time, dts, placed, sent = ClipTime(is_live=True), start, list[tuple[int, int]](), list[tuple[int, int]]()
    for step, delay in packets:
        dts += step
        sent.append((dts + delay, dts))
        placed.append(time.place(dts + delay, dts, dts * NS_PER_MS))
    first = sent[0][1]
    assert placed == [(pts - first, dts - first) for pts, dts in sent]


def test_a_packet_without_times_goes_where_it_arrived() -> None:
    time = ClipTime(is_live=True)
    arrivals_ns = [round(index * NS_PER_S / 30) for index in range(301)]
    placed = [time.place(None, None, arrived_ns)[1] for arrived_ns in arrivals_ns]
    assert placed == [round(arrived_ns / NS_PER_MS) for arrived_ns in arrivals_ns]  # the rounding does not add up


@pytest.mark.parametrize("jump_ms", [-5_000, -(2**33) // 90, 3_600_000])
def test_a_jump_goes_on_as_it_arrived(jump_ms: int) -> None:
    time = ClipTime(is_live=True)
    times = [0, 33, 67, 100 + jump_ms, 133 + jump_ms]
    placed = [time.place(at, at, index * 40 * NS_PER_MS)[1] for index, at in enumerate(times)]
    assert placed == [0, 33, 67, 107, 140]


def test_a_pause_of_a_live_source_is_kept() -> None:
    time = ClipTime(is_live=True)
    assert [time.place(at, at, at * NS_PER_MS)[1] for at in (0, 33, 60_033)] == [0, 33, 60_033]


def test_after_a_seam_time_goes_on_by_arrival() -> None:
    time = ClipTime(is_live=True)
    time.place(500, 500, 0)
    time.seam()
    assert time.place(7, 7, 2 * NS_PER_S) == (2000, 2000)
    assert time.place(40, 40, 2 * NS_PER_S) == (2033, 2033)


def test_reordered_packets_before_dts_are_known_heal_within_a_few_packets() -> None:
    """What FFmpeg gives of an RTSP camera with B-frames: no time, then pts only, then both."""
    time = ClipTime(is_live=True)
    begin = [(None, None), (133, None), (67, None), (33, 33), (100, 67), (267, 100), (200, 133), (167, 167)]
    later = [(233, 200), (400, 233), (333, 267), (300, 300), (367, 333)]
    placed = [time.place(pts, dts, index * 33 * NS_PER_MS) for index, (pts, dts) in enumerate(begin + later)]
    tail = placed[len(begin) :]
    assert [pts - tail[0][0] for pts, _ in tail] == [0, 167, 100, 67, 134]


# Files


@pytest.mark.parametrize(
    "name", ["base.mp4", "bframes.mp4", "a.ts", "raw.h264", "odd.webm", "mjpeg.avi", "yuyv.avi", "nv12.nut"]
)
def test_video_of_any_kind_is_copied_and_plays(media: Media, tmp_path: Path, name: str) -> None:
    path = tmp_path / "out.mkv"
    source = av.open(str(media(name)))
    stream = source.streams.video[0]
    clip = Clip(path, copied(copy_track(stream, is_live=False, has_clock=True)), "x")
    payloads = []
    for index, packet in enumerate(source.demux(stream)):
        if packet.size:
            payloads.append(bytes(packet))
            copy: av.Packet = av.Packet(payloads[-1])
            copy.is_keyframe = packet.is_keyframe
            clip.write(copy, index * 33, index * 33)
    clip.close()
    with av.open(str(path)) as written:
        video = written.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == (
            stream.codec_context.name,
            stream.codec_context.pix_fmt,
        )
        found = [bytes(packet) for packet in written.demux(video) if packet.size]
    if stream.codec_context.extradata is None or stream.codec_context.extradata[:1] != b"\0":
        assert found == payloads  # all but Annex B, which Matroska writes with lengths
    with av.open(str(path)) as written:
        assert len(list(written.decode(video=0))) == len(payloads) == clip.packets


def test_a_turned_picture_stays_turned(media: Media, tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    source = av.open(str(media("turned90.mp4")))
    stream = source.streams.video[0]
    clip = Clip(path, copied(copy_track(stream, is_live=False, has_clock=True)), "h264")
    packet = next(packet for packet in source.demux(stream))
    clip.write(packet, 0, 0)
    clip.close()
    with av.open(str(media("turned90.mp4"))) as original, av.open(str(path)) as written:
        turned = next(original.decode(video=0)).rotation
        assert next(written.decode(video=0)).rotation == turned != 0


def test_what_matroska_cannot_hold_is_said_in_one_line(media: Media, tmp_path: Path) -> None:
    source = av.open(str(media("rgb.nut")))
    track = copy_track(source.streams.video[0], is_live=False, has_clock=True)
    with pytest.raises(SinkError, match="cannot hold video of this kind"):
        Clip(tmp_path / "out.mkv", copied(track), track.codec)


def test_pictures_are_encoded_each_at_once_with_a_keyframe_a_second(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    encoder = PictureEncoder(65, 33)
    clip = Clip(path, encoder.add_stream, "H.264")
    picture = np.full((33, 65, 3), (32, 160, 96), np.uint8)
    for index in range(61):
        (packet,) = encoder.encode(picture, index * NS_PER_S // 30, index * 33)
        clip.write(packet, index * 33, index * 33)
    clip.close()
    with av.open(str(path)) as written:
        packets = [packet for packet in written.demux(video=0) if packet.size]
        assert [index for index, packet in enumerate(packets) if packet.is_keyframe] == [0, 30, 60]
        assert {packet.time_base for packet in packets} == {Fraction(1, 1000)}
    with av.open(str(path)) as written:
        frame = next(written.decode(video=0))
        assert (frame.width, frame.height, frame.colorspace) == (64, 32, 6)
        image = frame.to_ndarray(format="rgb24")
    assert np.abs(image.astype(int) - (32, 160, 96)).max() <= 6
