"""Run `livelens serve` in its own process, as a person does, and talk to it."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 60.0  # the first start on a machine compiles the networks; loaded machines are slow


class Served:
    """A running server: its address, its log, and its process."""

    def __init__(self, command: list[str], log_path: Path, env: dict[str, str]) -> None:
        self.log_path = log_path
        self.process = subprocess.Popen(
            [sys.executable, "-u", *command, "--port", "0"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
            stdout=subprocess.PIPE,
            stderr=log_path.open("wb"),
            text=True,
        )
        self.headers: dict[str, str] = {}  # sent with every request
        self.address = self._read_address()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a GET."""
        try:
            request = urllib.request.Request(self.address + path.lstrip("/"), headers=self.headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stream(self, name: str = "live") -> dict[str, Any]:
        """Return what the API says of one stream."""
        found = json.loads(self.get("/api/streams")[1])["streams"]
        return next(stream for stream in found if stream["name"] == name)

    def wait_until(self, is_true: Callable[[], bool], timeout_s: float = START_TIMEOUT_S, what: str = "") -> None:
        """Ask again and again; fail with the server's log when it does not come true."""
        until = time.monotonic() + timeout_s
        while not is_true():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{what or is_true} did not come true\n{self.get('/api/streams')}\n{self.log()}")
            time.sleep(0.1)

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.get("/readyz")[0] == 200, what="/readyz")

    def log(self) -> str:
        return self.log_path.read_text()

    def interrupt(self, number: int = signal.SIGINT) -> float:
        """Send a signal and return how long the process took to end, in seconds."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(30)
        return time.monotonic() - started

    def _read_address(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_TIMEOUT_S)
        line = self.process.stdout.readline() if ready else ""
        found = re.search(r"http://\S+", line)
        assert found, f"no address in {line!r}\n{self.log()}"
        return found[0]


@contextmanager
def serve(*arguments: str, log_path: Path, env: dict[str, str] | None = None, script: str = "") -> Iterator[Served]:
    """Serve on any free port until the block ends; `script` is a program that serves, in place of the command."""
    command = [script] if script else ["-m", "stream", "serve"]
    served = Served([*command, *arguments], log_path, env or {})
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.wait()
        assert served.process.stdout is not None
        served.process.stdout.close()
