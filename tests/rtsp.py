"""A real RTSP camera as a fixture: it can die, come back, fall silent, and tell what clients did.

from tests.rtsp import rtsp  # noqa: F401

def test_...(rtsp): camera = rtsp(); camera.url; camera.kill(); camera.start(); camera.freeze()
"""

import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

SERVER = Path(__file__).with_name("rtsp_server.py")
NEEDS = (
    "the RTSP tests need GStreamer's server (Debian: apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly)"
)


def free_port() -> int:
    """Return a TCP port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Camera:
    """The server process. Options are those of tests/rtsp_server.py."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start(self) -> "Camera":
        """Start, or start again on the same port, and return once it listens."""
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else shutil.which("python3") or "python3"
        command = [python, str(SERVER), str(self.port), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        try:
            self.wait_event("ready", 10.0)
        except AssertionError:
            self._process.kill()
            pytest.fail(f"{NEEDS}\n{self._process.communicate()[1][-2000:]}")
        return self

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with suppress(ValueError):  # `kill` closes the pipe while this thread reads it
            for line in process.stdout:
                self._events.put(line.strip())

    def wait_event(self, event: str, timeout_s: float) -> None:
        """Wait until the server reports `event`: ready, connected, teardown or closed."""
        ends_s = time.monotonic() + timeout_s
        seen = []
        while (left_s := ends_s - time.monotonic()) > 0:
            try:
                seen.append(self._events.get(timeout=left_s))
            except queue.Empty:
                break
            if seen[-1] == event:
                return
        raise AssertionError(f"the server did not report {event!r} within {timeout_s} s, only {seen}")

    def kill(self) -> None:
        """Die without a word, as with the power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Fall silent with the connection open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


@pytest.fixture
def rtsp() -> Iterator[Callable[..., Camera]]:
    """Return a function that starts a camera; all are killed afterwards."""
    cameras: list[Camera] = []

    def start(*options: str) -> Camera:
        cameras.append(Camera(*options))
        return cameras[-1].start()

    yield start
    for camera in cameras:
        camera.kill()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
