"""A process that runs one variant, from outside: started, asked, and ended by force where need be."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any

from models.bench_worker import Job, serve
from stream.errors import ModelError

READY_S = 900.0  # a load or a warm-up that takes longer hangs: int8 takes a minute, TensorRT several
STOP_S = 5.0


class Subject:
    """A variant in its own process, from outside. Used as a context manager; every wait has an end."""

    def __init__(self, job: Job) -> None:
        descriptor, words = tempfile.mkstemp(prefix="livelens-bench-", suffix=".log")
        os.close(descriptor)
        self._words = Path(words)  # what its libraries print
        ours, theirs = get_context("spawn").Pipe()
        self._pipe = ours
        self._process = get_context("spawn").Process(target=serve, args=(theirs, job, words))
        with _ctrl_c_held():
            self._process.start()
        theirs.close()

    def __enter__(self) -> "Subject":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(is_calm=kind is None)

    def close(self, *, is_calm: bool = True) -> None:
        """Let the process end by itself, by force after a while or when this is no calm end. Idempotent."""
        if is_calm:
            with suppress(OSError):
                self._pipe.send(("end", ()))
        self._pipe.close()
        if is_calm:
            self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(STOP_S)
        self._words.unlink(missing_ok=True)

    def ask(self, what: str, *arguments: object, timeout_s: float = READY_S) -> Any:
        """Return what the worker answers. Raises ModelError when it fails, ends or does not answer in time."""
        try:
            self._pipe.send((what, arguments))
            if not self._pipe.poll(timeout_s):
                self._process.kill()
                raise ModelError(f"{what} did not end within {timeout_s:.0f} s")
            state, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(STOP_S)
            raise ModelError(f"{what}: its process ended by itself ({self._how()})") from error
        if state == "error":
            raise ModelError(str(value))
        return value

    def _how(self) -> str:
        code = self._process.exitcode
        text = self._words.read_text("utf-8", "replace").strip().splitlines()
        said = f": {' '.join(text[-1].split())[:160]}" if text else ""
        return (f"signal {-code}" if code is not None and code < 0 else f"code {code}") + said


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Start a process within it, and Ctrl-C never reaches that process: a blocked signal is handed down."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
