"""The supervisor: states, time-outs, reconnects and stops, with real servers and with readers that misbehave."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import stream.backoff
import stream.source
from stream.address import SourceKind, SourceSpec, parse_source, sample_clip
from stream.clock import MonotonicClock
from stream.errors import ConfigError, SourceCode, SourceError
from stream.frame import Frame
from stream.intake import Attempt, Intake, Media, Wish
from stream.source import Source, SourceState, SourceStatus, find_hang, open_source
from tests.media import Media as MakeMedia
from tests.media import media  # noqa: F401
from tests.play import Player, play, source_threads, stop_in_time
from tests.rtsp import silent_port  # noqa: F401

# ruff: noqa: F811  (pytest fixtures are imported and then named as arguments)

WHITE = np.full((32, 64, 3), 255, np.uint8)


# Readers that misbehave, under the real supervisor.


class Scripted:
    """A reader that does, attempt after attempt, what it is told."""

    def __init__(self, *acts: Callable[[Attempt], None]) -> None:
        self._acts = list(acts)

    def read(self, attempt: Attempt) -> None:
        (self._acts.pop(0) if len(self._acts) > 1 else self._acts[0])(attempt)


def scripted(*acts: Callable[[Attempt], None], kind: SourceKind = SourceKind.RTSP, **wish: object) -> Player:
    """Return a player, not started, whose source is read by `acts`."""
    player = Player("test:")
    intake = Intake("cam", MonotonicClock(), player.frames.append, Wish(None, False, None))
    spec = SourceSpec(kind, "rtsp://u:p@h/x", "rtsp://u:***@h/x", "rtsp://u:p@h/x")
    options = {"open_timeout_s": 0.3, "read_timeout_s": 0.4, "stall_after_s": 0.3, "loop": False} | wish
    player.source = Source(spec, Scripted(*acts), intake, on_state=player.statuses.append, **options)  # type: ignore[arg-type]
    return player


def show(attempt: Attempt, count: int = 3) -> None:
    attempt.opened(Media(64, 32, "fake", 30))
    for _ in range(count):
        attempt.packet()
        attempt.picture(None, attempt.now_ns(), (64, 32), lambda _: WHITE)


def hang(attempt: Attempt) -> None:
    release.wait(30)


def fail(code: SourceCode, is_retryable: bool = True) -> Callable[[Attempt], None]:
    def failing(attempt: Attempt) -> None:
        raise SourceError("rtsp://u:***@h/x: failed", code, is_retryable=is_retryable)

    return failing


release = threading.Event()  # lets the readers that hang go, at the end of a test


@pytest.fixture
def hanging() -> Iterator[None]:
    """For tests with readers that hang: lets them go at the end."""
    release.clear()
    yield
    release.set()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits than in the field, so that the suite stays quick."""
    monkeypatch.setattr(stream.source, "REAP_S", 0.2)
    monkeypatch.setattr(stream.source, "GRACE_S", 0.1)
    monkeypatch.setattr(stream.backoff, "FIRST_S", 0.05)


def test_a_reader_that_hangs_while_opening_is_given_up(hanging: None) -> None:
    with scripted(hang) as player:
        player.wait_state(SourceState.ERROR, timeout_s=3)
        assert player.source.status().code is SourceCode.TIMEOUT


def test_a_reader_that_hangs_in_mid_stream_is_stalled_then_replaced(hanging: None) -> None:
    with scripted(lambda attempt: (show(attempt), hang(attempt))[0], show) as player:
        player.wait_state(SourceState.STALLED)
        player.wait(lambda player: player.source.status().counters.reconnects == 1, timeout_s=8)
    assert player.source.status().counters.stalls == 1
    assert [status.state for status in player.statuses][:4] == ["running", "stalled", "retrying", "running"]
    assert [frame.seq for frame in player.frames] == list(range(6))


def test_what_an_abandoned_reader_does_later_reaches_nobody(hanging: None) -> None:
    ended = threading.Event()

    def late(attempt: Attempt) -> None:
        hang(attempt)
        show(attempt)
        ended.set()

    player = scripted(late)
    with player:
        player.wait_state(SourceState.ERROR, timeout_s=4)
    release.set()
    assert ended.wait(5)
    assert player.frames == []


def test_a_stop_does_not_wait_for_a_reader_that_hangs(hanging: None) -> None:
    with scripted(hang) as player:
        started_s = time.monotonic()
        player.source.stop()
        assert time.monotonic() - started_s < 2
        assert player.state is SourceState.FINISHED


def test_packets_without_pictures_are_not_running(hanging: None) -> None:
    def packets_only(attempt: Attempt) -> None:
        attempt.opened(Media())
        while not attempt.stop.wait(0.01):
            attempt.packet()

    with scripted(packets_only) as player:
        time.sleep(0.7)
        assert player.state is SourceState.CONNECTING


def test_a_recording_that_waits_for_its_time_is_not_stalled() -> None:
    def patient(attempt: Attempt) -> None:
        show(attempt)
        attempt.wait_until(attempt.now_ns() + 1_000_000_000)
        show(attempt)

    with scripted(patient, kind=SourceKind.FILE) as player:
        player.wait_state(SourceState.FINISHED)
    assert player.source.status().counters.stalls == 0


def test_a_receiver_that_takes_its_time_is_no_stall() -> None:
    """Offline, `emit` waits for room."""
    player = scripted(show, kind=SourceKind.FILE)
    player.source._intake._emit = lambda frame: time.sleep(0.4)
    with player:
        player.wait_state(SourceState.FINISHED)
    assert player.source.status().counters.stalls == 0


def test_an_unforeseen_failure_is_an_error_of_this_source_only(caplog: pytest.LogCaptureFixture) -> None:
    def surprise(attempt: Attempt) -> None:
        raise ZeroDivisionError("of all things")

    with scripted(surprise, kind=SourceKind.FILE) as player:
        player.wait_state(SourceState.ERROR)
    assert "ZeroDivisionError: of all things" in player.source.status().message
    assert "nobody foresaw" in caplog.text


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (SourceCode.REFUSED, SourceState.RETRYING),
        (SourceCode.REMOVED, SourceState.RETRYING),
        (SourceCode.TIMEOUT, SourceState.ERROR),
        (SourceCode.NO_VIDEO, SourceState.ERROR),
    ],
)
def test_a_live_source_is_tried_again_after_any_failure(code: SourceCode, state: SourceState) -> None:
    with scripted(fail(code), fail(code), show) as player:
        player.wait(lambda player: player.statuses)
        assert (player.statuses[0].state, player.statuses[0].code) == (state, code)
        player.wait_frames(3)
    assert len([status for status in player.statuses if status.state is state]) == 1  # one change, one line


def test_a_lost_source_that_worked_is_retrying_not_an_error() -> None:
    def lose(attempt: Attempt) -> None:
        show(attempt)
        fail(SourceCode.TIMEOUT)(attempt)

    with scripted(lose, hang) as player:
        player.wait_state(SourceState.RETRYING)
        release.set()


def test_a_file_is_not_tried_again() -> None:
    with scripted(fail(SourceCode.NOT_FOUND), kind=SourceKind.FILE) as player:
        player.wait_state(SourceState.ERROR)
        assert source_threads() == []


def test_one_line_is_logged_for_each_change_of_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stream.source")
    with scripted(fail(SourceCode.REFUSED), show, kind=SourceKind.RTSP) as player:
        player.wait_frames(3)
    lines = [record.getMessage() for record in caplog.records if record.name == "stream.source"]
    assert all(line.startswith("cam: source ") for line in lines)
    assert ["connecting" in lines[0], "retrying" in lines[1], "running" in lines[2]] == [True] * 3
    assert "u:p@" not in caplog.text


def test_hangs_are_judged_by_the_stamps() -> None:
    attempt = Attempt(
        Intake("cam", MonotonicClock(), lambda frame: None, Wish(None, False, None)), 5, 5, threading.Event()
    )
    attempt.started_s = 100.0

    def code(now_s: float) -> SourceCode | None:
        error = find_hang(attempt, now_s, "x")
        return None if error is None else error.code

    grace_s = stream.source.GRACE_S
    assert (code(104.9 + grace_s), code(105.1 + grace_s)) == (None, SourceCode.TIMEOUT)
    attempt.opened_s = 103.0
    assert (code(107.9 + grace_s), code(108.1 + grace_s)) == (None, SourceCode.TIMEOUT)
    attempt.packet_s = attempt.picture_s = 200.0
    assert (code(204.9 + grace_s), code(205.1 + grace_s)) == (None, SourceCode.TIMEOUT)
    attempt.packet_s = 220.0
    assert (code(214.0), code(216.0)) == (None, SourceCode.INVALID_DATA)
    attempt.is_idle = True
    assert code(1000.0) is None


# Stops in every state, and what must not happen after one.


def test_a_stop_while_connecting_is_quick(silent_port: int) -> None:
    """roboflow/inference#685: a source stuck in connecting could not be removed."""
    with Player(f"rtsp://127.0.0.1:{silent_port}/x") as player:
        time.sleep(0.3)
        assert player.state is SourceState.CONNECTING
        stop_in_time(player)


def test_a_stop_while_retrying_is_quick() -> None:
    with Player("rtsp://127.0.0.1:1/x") as player:
        player.wait_state(SourceState.RETRYING)
        stop_in_time(player)


def test_a_stop_while_running_is_quick_and_the_last(media: MakeMedia) -> None:
    with Player(str(media("base.mp4")), loop=True) as player:
        player.wait_frames(3)
        stop_in_time(player)
        count = len(player.frames)
        time.sleep(0.1)
        assert len(player.frames) == count


def test_a_stop_after_the_end_and_a_second_stop_do_nothing(media: MakeMedia) -> None:
    played = play(media("short.mp4"))
    stop_in_time(played)
    stop_in_time(played)


def test_a_stop_before_the_start_is_possible() -> None:
    player = Player("test:")
    player.source.stop()
    assert player.state is SourceState.FINISHED
    with pytest.raises(ConfigError, match="starts only once"):
        player.source.start()


def test_a_stop_from_the_sources_own_threads_does_not_deadlock() -> None:
    sources: list[Source] = []

    def on_state(status: SourceStatus) -> None:
        if status.state is SourceState.RUNNING:
            sources[0].stop()

    sources.append(
        open_source(parse_source("test:"), stream="cam", clock=MonotonicClock(), emit=print, on_state=on_state)
    )
    sources[0].start()
    sources[0]._thread.join(3)  # type: ignore[union-attr]
    assert sources[0].status().state is SourceState.FINISHED


def test_a_running_source_does_not_keep_the_process_alive() -> None:
    code = (
        "from stream.source import *; from stream.clock import MonotonicClock; import time; "
        "s = open_source(parse_source('test:'), stream='c', clock=MonotonicClock(), emit=lambda f: None); "
        "s.start(); time.sleep(0.3)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=20, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_browser_waits_for_a_publisher_and_says_what_to_do() -> None:
    with Player("browser") as player:
        player.wait(lambda player: "share a camera" in player.source.status().message)
        assert player.source.status().state is SourceState.WAITING


def test_a_status_is_plain_values_for_the_api() -> None:
    import json

    with Player("test:320x180@30") as player:
        player.wait_frames(3)
        told = json.loads(json.dumps(player.source.status().to_json()))
    assert told["counters"]["frames"] >= 3


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"max_size": (641, 360), "exact": True}, "divisible by 4, for example 640x360"),
        ({"max_size": (8, 8)}, "at least 16"),
        ({"fps": 0}, "above 0"),
        ({"fps": -1}, "above 0"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wish: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Player("test:", **wish)


def test_the_sample_clip_is_there() -> None:
    frames = play(sample_clip()).frames
    assert frames[0].image.shape == (360, 640, 3)
    assert 9 * 30 <= len(frames) <= 15 * 30


def test_frames_go_to_emit_on_the_reader_thread() -> None:
    names: list[str] = []

    def emit(frame: Frame) -> None:
        names.append(threading.current_thread().name)

    source = open_source(parse_source("test:"), stream="cam", clock=MonotonicClock(), emit=emit)
    source.start()
    while not names:
        time.sleep(0.01)
    source.stop()
    assert set(names) == {"read-cam"}
