"""RTSP cameras, against a real server that dies, falls silent, and asks for a login."""

import logging
import time
from collections.abc import Callable

import pytest

from stream.errors import SourceCode
from stream.source import SourceState
from tests.play import Player, steps, stop_in_time
from tests.rtsp import Camera, free_port, rtsp, silent_port  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)

StartCamera = Callable[..., Camera]


def test_a_server_that_never_answers_times_out(silent_port: int) -> None:
    """PyAV#584: open blocks for ever."""
    started_s = time.monotonic()
    with Player(f"rtsp://127.0.0.1:{silent_port}/x", open_timeout_s=1) as player:
        player.wait_state(SourceState.ERROR)
        assert time.monotonic() - started_s <= 2
        assert player.source.status().code is SourceCode.TIMEOUT
        stop_in_time(player)


def test_a_refused_connection_is_tried_again() -> None:
    with Player(f"rtsp://127.0.0.1:{free_port()}/x") as player:
        player.wait_state(SourceState.RETRYING)
        assert player.source.status().code is SourceCode.REFUSED


def test_an_unknown_host_and_an_unknown_path_are_not_found(rtsp: StartCamera) -> None:
    for url in ("rtsp://camera.invalid/x", rtsp().url + "typo"):
        with Player(url) as player:
            player.wait(lambda player: player.source.status().code)
            assert player.source.status().code is SourceCode.NOT_FOUND


def test_a_camera_plays_and_is_told_goodbye(rtsp: StartCamera) -> None:
    """PyAV#370: the camera kept the session, and with room for one only nobody could come back."""
    camera = rtsp("--one-client")
    for _ in range(2):
        with Player(camera.url) as player:
            player.wait_frames(20)
            assert player.source.status().fps_measured == pytest.approx(15, rel=0.1)
            stop_in_time(player)
        camera.wait_event("teardown", 2)
        assert min(steps(player.frames)) > 0
        assert steps(player.frames)[5:] == [6000] * len(steps(player.frames)[5:])


def test_a_camera_that_dies_and_returns_plays_on(rtsp: StartCamera) -> None:
    camera = rtsp()
    with Player(camera.url) as player:
        player.wait_frames(10)
        camera.kill()
        player.wait_state(SourceState.RETRYING)
        before = len(player.frames)
        camera.start()
        player.wait_frames(10, timeout_s=15)
        status = player.source.status()
    assert (status.state, status.counters.reconnects) == (SourceState.RUNNING, 1)
    assert [frame.seq for frame in player.frames] == list(range(len(player.frames)))
    assert min(steps(player.frames)) > 0
    last, first = player.frames[before - 1], player.frames[before]
    away_s = (first.captured_ns - last.captured_ns) / 1e9
    assert (first.pts - last.pts) / 90_000 == pytest.approx(away_s, abs=0.01)


def test_a_camera_that_falls_silent_is_stalled_and_stops_at_once(rtsp: StartCamera) -> None:
    camera = rtsp()
    with Player(camera.url, stall_after_s=0.6) as player:
        player.wait_frames(10)
        camera.freeze()
        started_s = time.monotonic()
        player.wait_state(SourceState.STALLED)
        assert time.monotonic() - started_s < 1.5
        camera.thaw()
        player.wait_state(SourceState.RUNNING)
        player.wait_frames(5)
        camera.freeze()
        player.wait_state(SourceState.STALLED)
        assert player.source.status().counters.stalls == 2
        stop_in_time(player)


def test_a_camera_that_stays_silent_is_connected_anew(rtsp: StartCamera) -> None:
    camera = rtsp()
    with Player(camera.url, stall_after_s=0.4, read_timeout_s=1) as player:
        player.wait_frames(5)
        camera.freeze()
        player.wait_state(SourceState.RETRYING)
        assert player.source.status().code is SourceCode.TIMEOUT
        camera.kill()
        camera.start()
        player.wait_state(SourceState.RUNNING, timeout_s=15)


def test_special_characters_in_a_password_work_when_encoded(rtsp: StartCamera) -> None:
    """mediamtx#2069."""
    camera = rtsp("--user", "admin:p@ss#1%")
    with Player(camera.url.replace("//", "//admin:p%40ss%231%25@")) as player:
        player.wait_frames(3)


def test_a_wrong_password_says_so_and_is_not_hammered(rtsp: StartCamera, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    camera = rtsp("--user", "admin:right")
    with Player(camera.url.replace("//", "//admin:hunter2@")) as player:
        player.wait_state(SourceState.ERROR)
        camera.wait_event("connected", 5)
        with pytest.raises(AssertionError, match="did not report 'connected'"):  # no second try soon
            camera.wait_event("connected", 1.5)
        status = player.source.status()
    assert status.code is SourceCode.AUTH_FAILED
    assert "password" in status.message
    assert "hunter2" not in caplog.text + repr(player.statuses) + repr(status)


def test_a_camera_that_sends_only_sound_is_an_error(rtsp: StartCamera) -> None:
    """go2rtc#1847: it counted as connected."""
    camera = rtsp("--launch", "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )")
    started_s = time.monotonic()
    with Player(camera.url) as player:
        player.wait_state(SourceState.ERROR, timeout_s=5)
        assert player.source.status().code is SourceCode.NO_VIDEO
        assert time.monotonic() - started_s < 5


def test_a_camera_joined_between_keyframes_far_apart_plays(rtsp: StartCamera) -> None:
    """fflags=nobuffer, which is often advised, throws the first keyframe away: no picture for a whole GOP."""
    camera = rtsp(
        "--launch",
        "( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=15/1 ! x264enc tune=zerolatency "
        "speed-preset=ultrafast key-int-max=900 ! rtph264pay name=pay0 pt=96 config-interval=1 )",
    )
    with Player(camera.url) as player:
        player.wait_frames(5)


def test_b_frames_from_a_camera_come_in_order(rtsp: StartCamera) -> None:
    """mediamtx#1491."""
    camera = rtsp(
        "--launch",
        "( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 ! x264enc bframes=3 "
        "b-adapt=false speed-preset=ultrafast rc-lookahead=5 key-int-max=30 ! video/x-h264,profile=main "
        "! rtph264pay name=pay0 pt=96 )",
    )
    with Player(camera.url) as player:
        player.wait_frames(45)
        status = player.source.status()
    assert min(steps(player.frames)) > 0
    assert steps(player.frames)[15:] == [3000] * len(steps(player.frames)[15:])
    assert status.counters.frames >= 0.9 * status.counters.packets


@pytest.mark.slow
def test_one_dead_camera_slows_no_other(rtsp: StartCamera) -> None:
    """frigate#1729."""
    with Player(rtsp().url, stream="good") as good, Player("rtsp://127.0.0.1:1/x") as dead:
        good.wait_frames(5)
        before, started_s = len(good.frames), time.monotonic()
        time.sleep(6)
        rate = (len(good.frames) - before) / (time.monotonic() - started_s)
        assert rate >= 14.5
        assert dead.state is SourceState.RETRYING
