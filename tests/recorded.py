"""Recordings for the tests of replay and simulate, made without waiting; and the command line, called as a person does.

from tests.recorded import cli, recording  # noqa: F401  (fixtures)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stream.cli import _run
from stream.recorder import side_path
from stream.run import Arrival, Cost, Outcome, Record, RungInfo, StageInfo, to_line
from tests.media import Media
from tests.record import INFO, feed, record, run_of

MS = 1_000_000  # ns
FRAMES = 30
MODELS = """
import time
def invert(image):
    return 255 - image
def slow(image):
    time.sleep(0.25)
    return image
def boom(image):
    raise ValueError("one frame too many")
class Broken:
    def __init__(self):
        raise OSError("no weights here")
    def __call__(self, image):
        return image
"""


def own_models(folder: Path) -> Path:
    """Return a file with cheap models."""
    path = folder / "own.py"
    path.write_text(MODELS)
    return path


def make_recording(source: Path, clip: Path, *, model: str = "", model_ms: int = 12, has_stage: bool = True) -> Path:
    """Record the first second of a video as if its packets had come unevenly, and a model had run on each frame."""
    recorder = record(clip)
    feed(recorder, source, last=FRAMES)
    recorder.close()
    packets = run_of(clip).packets
    ladder = (RungInfo("640", 1.0, model_ms * MS), RungInfo("480", 0.8, model_ms * MS // 2))
    stage = StageInfo("paint", "generate", "generate", 1, 0, (), ladder, model)
    info = replace(INFO, clip=clip.name, stages=(stage,) if has_stage else (), tail_ns=3 * MS)
    records: list[Record] = [info]
    for seq, packet in enumerate(packets):
        came_ns = packet.arrived_ns + seq % 5 * 4 * MS
        records += [replace(packet, arrived_ns=came_ns), *_frame(seq, came_ns, has_stage, model_ms)]
    side_path(clip).write_text("".join(to_line(one) + "\n" for one in records))
    return clip


def _frame(seq: int, came_ns: int, has_stage: bool, model_ms: int) -> list[Record]:
    """Return what became of one frame; each tenth one took the model long."""
    done_ns = came_ns + 2 * MS + (model_ms + (40 if seq % 10 == 9 else 0)) * MS
    stamps = {"captured": came_ns, "queued": came_ns + 2 * MS, "taken": done_ns, "composed": done_ns + MS}
    stamps |= {"encoded": done_ns + 3 * MS, "sent": done_ns + 3 * MS}
    cost = [Cost("paint", "640", (seq,), 1, "generate", came_ns + 2 * MS, done_ns)] if has_stage else []
    outcome = Outcome(seq, "", done_ns + 3 * MS, came_ns + 150 * MS, stamps)
    return [Arrival(seq, seq * 3000, came_ns, came_ns + 2 * MS, 180, 320), *cost, outcome]


@pytest.fixture
def recording(media: Media, tmp_path: Path) -> Path:
    """A recording of one second with a model called paint, which is not there any more."""
    return make_recording(media("gop10.mp4"), tmp_path / "out.mkv")


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a refusal: nothing else was said, and the code is 2."""
        assert (self.code, self.out) == (2, ""), self
        assert self.err.count("\n") == 1 and self.err.startswith("livelens: error: "), self.err
        return self.err.removeprefix("livelens: error: ").strip()


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs `livelens ...` in this process."""

    def run(*arguments: object) -> Said:
        code = _run([str(one) for one in arguments])
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run
