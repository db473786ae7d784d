"""The one reach into PyAV: a stopped source's blocking call returns."""

import socket
import threading
import time

import av
import pytest

from stream.interrupt import interrupted_by


def open_silent(stop: threading.Event, ended_s: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/x"
        with interrupted_by(stop), pytest.raises(av.FFmpegError):
            av.open(url, options={"rtsp_transport": "tcp"}, timeout=20)
    ended_s.append(time.monotonic())


def test_a_hanging_open_ends_when_its_source_is_stopped() -> None:
    """Fails when PyAV no longer asks `time` in av.container.core; stopping is then only as quick as its time-out."""
    stop, ended_s = threading.Event(), list[float]()
    thread = threading.Thread(target=open_silent, args=(stop, ended_s), daemon=True)
    thread.start()
    time.sleep(0.3)  # the call must be under way
    assert not ended_s
    stop.set()
    stopped_s = time.monotonic()
    thread.join(10)
    assert ended_s
    assert ended_s[0] - stopped_s < 2


def test_an_open_that_begins_after_the_stop_ends_too() -> None:
    stop, ended_s = threading.Event(), list[float]()
    stop.set()
    started_s = time.monotonic()
    open_silent(stop, ended_s)
    assert ended_s[0] - started_s < 2


def test_other_threads_keep_the_true_time() -> None:
    import av.container.core as core

    stop = threading.Event()
    stop.set()
    with interrupted_by(stop):
        seen: list[float] = []
        other = threading.Thread(target=lambda: seen.append(core.time.monotonic()))  # type: ignore[attr-defined]
        other.start()
        other.join()
        assert core.time.monotonic() > 1e9  # type: ignore[attr-defined]
    assert abs(seen[0] - time.monotonic()) < 5
    assert abs(core.time.monotonic() - time.monotonic()) < 5  # type: ignore[attr-defined]
