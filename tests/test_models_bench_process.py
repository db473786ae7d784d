"""A process that runs a variant: it must never hold up who started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from models.base import Kind, Target
from models.bench_process import Subject
from models.bench_worker import Job
from stream.errors import ModelError

OWN = """
import sys, time
class Slow:
    def __call__(self, image):
        time.sleep(600)
class Leaky:
    def __init__(self):
        from multiprocessing import get_context
        self.lock = get_context("spawn").Semaphore(1)
    def __call__(self, image):
        return image
class Loud:
    def __call__(self, image):
        print("LOUD", flush=True)
        print("LOUD", file=sys.stderr, flush=True)
        return image
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return str(path)


def job(name: str) -> Job:
    return Job(name, Target("cpu", 1), Kind.GENERATE)


def pid_of(subject: Subject) -> int:
    pid = subject._process.pid
    assert pid is not None
    return pid


def test_a_model_that_hangs_is_given_up_after_the_time_it_has(own: str) -> None:
    with Subject(job(f"{own}:Slow")) as subject:
        subject.ask("pictures", [np.zeros((4, 4, 3), np.uint8)])
        subject.ask("load")
        with pytest.raises(ModelError, match="answers did not end within 0 s"):
            subject.ask("answers", timeout_s=0.3)
        with pytest.raises(ModelError, match="ended by itself"):
            subject.ask("answers")


def test_ctrl_c_at_the_terminal_is_for_who_started_it(own: str) -> None:
    with Subject(job(f"{own}:Loud")) as subject:
        subject.ask("load")
        os.kill(pid_of(subject), signal.SIGINT)
        assert subject.ask("warm", 4, 4) >= 0


def test_what_a_library_prints_is_not_seen(own: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Subject(job(f"{own}:Loud")) as subject:
        subject.ask("load")
        subject.ask("warm", 4, 4)
    seen = capfd.readouterr()
    assert "LOUD" not in seen.out + seen.err


def test_nothing_is_left_behind(own: str) -> None:
    with Subject(job(f"{own}:Loud")) as subject:
        pid, words = pid_of(subject), subject._words
        subject.ask("load")
        assert words.exists()
    assert not words.exists() and subject._process.exitcode == 0 and not Path(f"/proc/{pid}").exists()


def test_an_end_by_an_exception_does_not_wait(own: str) -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Subject(job(f"{own}:Slow")) as subject:
        subject.ask("load")
        subject._pipe.send(("warm", (4, 4)))
        raise KeyboardInterrupt
    assert subject._process.exitcode == -signal.SIGKILL
    assert time.monotonic() - started < 60


def test_what_a_library_leaves_behind_is_not_told_to_a_person(own: str) -> None:
    code = f"""
from models.base import Kind, Target
from models.bench_process import Subject
from models.bench_worker import Job
if __name__ == "__main__":
    with Subject(Job({own!r} + ":Leaky", Target("cpu", 1), Kind.GENERATE)) as subject:
        subject.ask("load")
"""
    script = Path(own).with_name("script.py")
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
