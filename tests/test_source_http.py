"""HTTP sources, against a small server: MP4, HLS, MJPEG, and refusals."""

from pathlib import Path

import pytest

from stream.errors import SourceCode
from stream.source import SourceState
from tests.media import Media, media  # noqa: F401
from tests.play import Player, steps, stop_in_time
from tests.web import Web, web  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)


def test_an_mp4_over_http_plays_at_its_own_pace_and_ends(web: Web, media: Media) -> None:
    with Player(web(media("short.mp4").parent) + "/short.mp4") as player:
        player.wait_state(SourceState.FINISHED)
    assert len(player.frames) == 15
    captured = [frame.captured_ns for frame in player.frames]
    assert captured[-1] - captured[0] >= 0.4e9


def test_a_playlist_over_http_plays_at_its_own_pace(web: Web, media: Media) -> None:
    with Player(web(media("live.m3u8").parent) + "/live.m3u8") as player:
        player.wait_frames(40)
        assert player.source.status().fps_measured == pytest.approx(30, rel=0.1)
    assert steps(player.frames) == [3000] * len(steps(player.frames))


def test_an_mjpeg_camera_over_http_plays_at_the_rate_it_sends(web: Web, tmp_path: Path) -> None:
    """Its container has no clock: FFmpeg counts 25 pictures a second, whatever comes."""
    with Player(web(tmp_path) + "/mjpeg") as player:
        player.wait_frames(40)
        frames = player.frames[20:40]
        status = player.source.status()
        stop_in_time(player)
    assert status.codec == "mjpeg"
    media_s, real_s = (frames[-1].pts - frames[0].pts) / 90_000, (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    assert media_s == pytest.approx(real_s, abs=0.001)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nothing.mp4", SourceCode.NOT_FOUND),
        ("/locked", SourceCode.AUTH_FAILED),
        ("/broken", SourceCode.REFUSED),
        ("/audioonly.mp4", SourceCode.NO_VIDEO),
    ],
)
def test_what_a_web_server_answers_has_its_code(web: Web, media: Media, path: str, code: SourceCode) -> None:
    with Player(web(media("audioonly.mp4").parent) + path) as player:
        player.wait(lambda player: player.source.status().code)
        assert player.source.status().code is code


def test_a_server_without_tls_is_no_secure_source(web: Web, tmp_path: Path) -> None:
    with Player(web(tmp_path).replace("http:", "https:") + "/x.mp4") as player:
        player.wait(lambda player: player.source.status().code)
        assert player.source.status().code is SourceCode.TLS
