"""Real files, from ffmpeg, through the demuxer to frames; as fast as they decode, in virtual time."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from stream.clock import NS_PER_MS, MonotonicClock, VirtualClock
from stream.errors import SourceCode
from stream.source import SourceState
from stream.timeline import TIME_BASE
from tests.media import Media, media  # noqa: F401
from tests.play import Player, play, steps

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


def test_a_file_plays_to_its_end(media: Media) -> None:
    played = play(media("base.mp4"))
    status = played.source.status()
    assert (status.state, status.code) == (SourceState.FINISHED, None)
    assert (status.width, status.height, status.codec) == (640, 360, "h264")
    assert [frame.seq for frame in played.frames] == list(range(60))
    assert [frame.pts for frame in played.frames] == [index * 3000 for index in range(60)]
    assert {frame.time_base for frame in played.frames} == {TIME_BASE}
    assert played.frames[0].image.shape == (360, 640, 3)


def test_a_recordings_frames_are_captured_when_their_time_comes(media: Media) -> None:
    played = play(media("slow.mp4"))
    captured = [frame.captured_ns for frame in played.frames]
    assert [after - before for before, after in itertools.pairwise(captured)] == [200 * NS_PER_MS] * 9
    assert played.source.status().fps_measured == pytest.approx(5)


def test_a_recording_plays_in_real_time_on_the_real_clock(media: Media) -> None:
    clock = MonotonicClock()
    started_ns = clock.now_ns()
    with Player(str(media("short.mp4")), clock) as player:
        player.wait_state(SourceState.FINISHED)
    assert clock.now_ns() - started_ns >= 450 * NS_PER_MS
    assert all(frame.trace.step_ms()["decode"] >= 0 for frame in player.frames)


def test_one_bad_packet_is_counted_and_survived(media: Media) -> None:
    """PyAV#812: the generator gives up after 38 frames."""
    played = play(media("noise.mp4"))
    status = played.source.status()
    assert status.state is SourceState.FINISHED
    assert len(played.frames) >= 55
    assert played.frames[-1].pts == 59 * 3000  # 1.967 s
    assert status.counters.decode_errors >= 1


def test_heavy_damage_ends_as_finished(media: Media) -> None:
    played = play(media("noise.ts"))
    assert played.source.status().state is SourceState.FINISHED
    assert played.frames


def test_a_smaller_picture_in_mid_stream_goes_on(media: Media) -> None:
    """comfystream#99."""
    played = play(media("reschange.ts"))
    assert [frame.image.shape[:2] for frame in played.frames] == [(360, 640)] * 30 + [(240, 320)] * 30
    assert [frame.source_size for frame in played.frames] == [(360, 640)] * 30 + [(240, 320)] * 30
    assert played.source.status().counters.size_changes == 1


@pytest.mark.parametrize("name", ["odd.mp4", "odd.webm", "not16.mp4"])
def test_odd_sizes_are_fitted(media: Media, name: str) -> None:
    """PyAV#423: noise columns, or an encoder that refuses."""
    frame = play(media(name)).frames[0]
    height, width = frame.image.shape[:2]
    assert height % 4 == width % 4 == 0
    source_height, source_width = frame.source_size
    assert abs(width / height * source_height / source_width - 1) < 0.01


def test_a_turned_picture_is_upright_and_so_is_its_size(media: Media) -> None:
    played = play(media("turned90.mp4"))
    assert played.frames[0].image.shape == (320, 180, 3)
    assert played.frames[0].source_size == (320, 180)
    assert (played.source.status().width, played.source.status().height) == (180, 320)


def test_wide_pixels_are_made_square(media: Media) -> None:
    assert play(media("anamorphic.mp4")).frames[0].image.shape == (288, 720, 3)


@pytest.mark.parametrize("name", ["color_full.mp4", "color_tv.mp4", "color_tv601.mp4"])
def test_colours_reach_the_model_right(media: Media, name: str) -> None:
    image = play(media(name), max_size=(320, 180)).frames[-1].image
    assert np.abs(image.astype(int) - (32, 160, 96)).max() <= 6


def test_a_stream_without_pts_gets_them_from_its_declared_rate(media: Media) -> None:
    """roboflow/inference#743: the container says 25 fps, the codec's header 30."""
    played = play(media("raw.h264"))
    assert steps(played.frames) == [3000] * 59
    assert played.source.status().fps_measured == pytest.approx(30, rel=0.1)


def test_a_wrap_of_the_pts_is_not_seen(media: Media) -> None:
    played = play(media("wrap.ts"))
    assert steps(played.frames) == [3000] * 89
    assert played.source.status().counters.discontinuities == 0


def test_a_jump_of_the_pts_is_closed_and_counted_once(media: Media) -> None:
    """home-assistant#165361: the worker restarted over and over."""
    played = play(media("jump.ts"))
    assert len(played.frames) == 60
    assert max(steps(played.frames)) <= 9000  # 100 ms
    assert played.source.status().counters.discontinuities == 1
    assert played.source.status().state is SourceState.FINISHED
    captured = [frame.captured_ns for frame in played.frames]
    assert captured[-1] - captured[0] < 2500 * NS_PER_MS  # nobody waits 5000 s


def test_b_frames_come_in_order_at_an_even_pace_to_the_last(media: Media) -> None:
    played = play(media("bframes.mp4"))
    assert steps(played.frames) == [3000] * 29
    captured = [frame.captured_ns for frame in played.frames]
    gaps = {round((after - before) / NS_PER_MS) for before, after in itertools.pairwise(captured)}
    assert gaps == {33}


@pytest.mark.parametrize("name", ["base.mp4", "bframes.mp4", "raw.h264", "mjpeg.avi", "wrap.ts"])
def test_the_loop_has_no_seam(media: Media, name: str) -> None:
    """aiortc#869: pts restarted at 0, and 10,095 frames came in 5 s."""
    one_pass = len(play(media(name)).frames)
    with Player(str(media(name)), VirtualClock(), loop=True) as player:
        player.wait_frames(2 * one_pass + 10)
    frames = player.frames[: 2 * one_pass + 10]
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert min(steps(frames)) > 0
    assert max(steps(frames)) <= 2 * 3000
    span_ns = frames[-1].captured_ns - frames[0].captured_ns
    assert (len(frames) - 1) * 1e9 / span_ns == pytest.approx(30, rel=0.02)
    assert player.source.status().counters.loops >= 2


def test_a_frame_rate_limit_skips_and_counts(media: Media) -> None:
    played = play(media("base.mp4"), fps=10)
    assert steps(played.frames) == [9000] * 19
    assert played.source.status().counters.skipped_fps == 40
    assert [frame.seq for frame in played.frames] == list(range(20))


def test_a_file_without_video_says_so(media: Media) -> None:
    """go2rtc#1847: it counted as connected."""
    for name in ("audioonly.mp4", "cover.mp3"):  # a cover picture is no video
        status = play(media(name)).source.status()
        assert (status.state, status.code) == (SourceState.ERROR, SourceCode.NO_VIDEO)
        assert "no video" in status.message


def test_a_file_that_is_no_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("hello\n" * 1000)
    status = play(tmp_path / "notes.mp4", loop=True).source.status()
    assert (status.state, status.code) == (SourceState.ERROR, SourceCode.INVALID_DATA)


def test_a_file_of_which_nothing_decodes_is_not_looped_for_ever(media: Media, tmp_path: Path) -> None:
    whole = bytearray(media("mjpeg.avi").read_bytes())
    at = whole.index(b"movi") + 8
    whole[at:-4000] = bytes(byte ^ 0x5A for byte in whole[at:-4000])
    (tmp_path / "ruin.avi").write_bytes(whole)
    status = play(tmp_path / "ruin.avi", loop=True).source.status()
    assert (status.state, status.code) == (SourceState.ERROR, SourceCode.INVALID_DATA)


def test_a_file_deleted_between_loops_ends_with_an_error(media: Media, tmp_path: Path) -> None:
    path = tmp_path / "gone.mp4"
    shutil.copy(media("short.mp4"), path)
    with Player(str(path), VirtualClock(), loop=True) as player:
        player.wait_frames(20)
        path.unlink()
        player.wait_state(SourceState.ERROR)
    assert player.source.status().code is SourceCode.NOT_FOUND


def test_a_colon_in_a_file_name_is_no_protocol(media: Media, tmp_path: Path) -> None:
    shutil.copy(media("short.mp4"), tmp_path / "tcp:12:30.mp4")
    assert len(play(tmp_path / "tcp:12:30.mp4").frames) == 15


def test_a_file_cannot_make_us_fetch_from_the_network(tmp_path: Path) -> None:
    """A playlist is a file that names addresses."""
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/secret.ts\n")
    assert play(tmp_path / "list.m3u8").source.status().state is SourceState.ERROR


def test_a_picture_over_the_pixel_limit_is_refused(media: Media) -> None:
    status = play(media("huge.mp4"), loop=True).source.status()
    assert (status.state, status.code) == (SourceState.ERROR, SourceCode.TOO_LARGE)
    assert "8000x5000" in status.message


def test_a_picture_over_the_pixel_limit_is_never_decoded_where_only_the_decoder_knows(media: Media) -> None:
    """An AVI's header may lie; the decoder refuses the real size before it takes memory."""
    status = play(media("huge.avi"), loop=True).source.status()
    assert (status.state, status.code, status.counters.frames) == (SourceState.ERROR, SourceCode.INVALID_DATA, 0)
    assert status.counters.decode_errors == 1
