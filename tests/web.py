"""A small web server for sources: files, an endless MJPEG, and faults."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; /mjpeg is a camera, /locked wants a login, /broken fails."""

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path.startswith("/mjpeg"):
            self._send_mjpeg()
        elif self.path == "/locked":
            self.send_error(401)
        elif self.path == "/broken":
            self.send_error(503)
        else:
            super().do_GET()

    def _send_mjpeg(self) -> None:
        """Send a picture 20 times a second until the client goes."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        _, jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), 90, np.uint8))
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg.tobytes())
        try:
            while True:
                self.wfile.write(part + jpeg.tobytes() + b"\r\n")
                time.sleep(0.05)
        except OSError:
            return

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file; a client that has seen enough is no fault."""
        try:
            super().copyfile(source, outputfile)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing: the tests' output is for the tests."""


Web = Callable[[Path], str]


@pytest.fixture
def web() -> Iterator[Web]:
    """Return a function that serves a folder and gives its address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
