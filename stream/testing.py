"""A pytest plugin: the fixture `latency_replay` plays a recording and fails the test when its frames are not on time.

    def test_latency(latency_replay):
        latency_replay("clips/gate.mkv", recognize=["boxes/coco"], budget_ms=120, max_p99_ms=120, min_on_time=99)

pytest loads this file wherever Livelens is installed: nothing heavy is imported before a test uses the fixture.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stream.errors import ConfigError, StreamError

if TYPE_CHECKING:
    from stream.baseline import Comparison
    from stream.replay import Wish
    from stream.run import Run

ModelName = str | Callable[..., object]  # "boxes/coco", "path/file.py:Class", or an importable class or function
_PROPERTY = "livelens"  # of a test's report: what a replay found; pytest-xdist and JUnit files pass it on
_UPDATE, _REPORTS = "--livelens-update-baselines", "--livelens-reports"


@dataclass(frozen=True, slots=True, repr=False)  # an assertion that fails would print every frame
class Replayed:
    """A replay. `summary` is what docs/replay-json.md describes; `comparisons` is None without a baseline."""

    run: "Run"
    summary: dict[str, Any]
    comparisons: "list[Comparison] | None"

    @property
    def p99_ms(self) -> float:
        """99 % of the shown frames were sent within this, from capture."""
        return float(self.summary["latency_ms"]["capture_to_send"]["p99"])

    @property
    def on_time_percent(self) -> float:
        """Share of the shown frames that made the budget, 0..100."""
        return float(100 * self.summary["frames"]["on_time"] / self.summary["frames"]["shown"])

    @property
    def fps(self) -> float:
        """Frames shown a second."""
        return float(self.summary["fps"]["shown"])


@dataclass(frozen=True, slots=True, repr=False)
class LatencyReplay:
    """What the fixture gives: call it with a recording, or any video file."""

    request: pytest.FixtureRequest
    tmp_path: Path

    def __call__(
        self,
        clip: str | Path,
        *,
        recognize: ModelName | Sequence[ModelName] = (),
        generate: ModelName | None = None,
        no_models: bool = False,
        budget_ms: float | None = None,
        pace: str | None = None,
        loop: int = 1,
        size: str | None = None,
        fps: float | None = None,
        min_quality: float | None = None,
        device: str = "auto",
        max_p99_ms: float | None = None,
        min_on_time: float | None = None,
        baseline: str | Path | None = None,
    ) -> Replayed:
        """Replay as `livelens replay` with these options, and fail the test when something does not hold. Blocks.

        Without limits and baseline, p99 must be within the budget. `min_on_time` is in percent of the shown frames.
        Relative paths, of models too, start at the test's own folder. Raises StreamError for what cannot be played.
        """
        __tracebackhide__ = True  # the test's own line is what a person wants to see
        from stream.verdict import Limits, failures

        wanted = [recognize] if isinstance(recognize, str) or callable(recognize) else recognize
        given: dict[str, Any] = {"budget_ms": budget_ms, "size": size, "fps": fps, "min_quality": min_quality}
        given["models"] = False if no_models else None
        try:
            if min_on_time is not None and not (min_on_time == 0 or 1 < min_on_time <= 100):
                raise ConfigError(f"min_on_time={min_on_time:g}: is in percent, such as 99")
            given["recognize"] = [self._name(one) for one in wanted] or None
            given["generate"] = generate and self._name(generate)
            wish = _wish(self._here(clip), pace, given, loop, device)
            found = self._replay(wish, None if baseline is None else self._here(baseline))
            failed = failures(found.summary, Limits(max_p99_ms, min_on_time), found.comparisons)
            self.request.node.user_properties.append((_PROPERTY, "\n".join(_lines(found))))
            where = self._write_report(found) if failed or self.request.config.getoption(_REPORTS) else ""
        except StreamError as error:
            raise error.with_traceback(None) from None
        if failed:
            pytest.fail("\n".join([*(f"{found.summary['clip']}: {line}" for line in failed), where]), pytrace=False)
        return found

    def _replay(self, wish: "Wish", baseline: Path | None) -> Replayed:
        from stream.baseline import compare, load_baseline
        from stream.machine import speed_probe
        from stream.outputs import write
        from stream.replay import replay
        from stream.summary import summarize

        is_update = baseline is not None and self.request.config.getoption(_UPDATE)
        if baseline and not is_update and not baseline.exists():
            raise ConfigError(f"there is no baseline {baseline} yet; make it with `pytest {_UPDATE}`, and commit it")
        before = load_baseline(baseline) if baseline and not is_update else None
        probe_ms = None if wish.pace == "virtual" else speed_probe()
        run = replay(wish, lambda done, total: None)
        # The process's highest memory is that of the tests before this one as well: it stays unmeasured.
        summary = summarize(run, None, probe_ms and min(probe_ms, speed_probe()))
        if baseline and is_update:
            baseline.parent.mkdir(parents=True, exist_ok=True)
            write(baseline, json.dumps(summary, indent=1) + "\n")
        return Replayed(run, summary, compare(before, summary) if before else [] if baseline else None)

    def _write_report(self, found: Replayed) -> str:
        """Write report and numbers of the n-th replay of this test, and return where they are, a line each."""
        from stream.outputs import write
        from stream.report import html_report

        folder = self.request.config.getoption(_REPORTS) or self.tmp_path
        nth = sum(key == _PROPERTY for key, _ in self.request.node.user_properties)
        name = re.sub(r"[^\w-]+", "_", f"{self.request.node.nodeid}-{nth}")[-200:]  # file systems take 255 bytes
        html = self.request.config.invocation_params.dir / folder / f"{name}.html"
        html.parent.mkdir(parents=True, exist_ok=True)
        write(html, html_report(found.run, found.summary, found.comparisons or None))
        write(html.with_suffix(".json"), json.dumps(found.summary, indent=1) + "\n")
        return f"report: {html}\nnumbers: {html.with_suffix('.json')}"

    def _here(self, path: str | Path) -> Path:
        return self.request.path.parent / path

    def _name(self, model: ModelName) -> str:
        """Return the name that a model is loaded by."""
        if isinstance(model, str):
            file = model.partition(":")[0]
            return str(self._here(model)) if file.endswith(".py") and self._here(file).is_file() else model
        name = getattr(model, "__qualname__", "<object>")
        if "<" in name:
            raise ConfigError(f"{model!r}: a model is loaded by its name; give a class or function of a module")
        return f"{model.__module__}:{name}"


def _wish(clip: Path, pace: str | None, given: dict[str, Any], loop: int, device: str) -> "Wish":
    """Return what to replay, with what was said, else what it was recorded with, else the defaults."""
    from stream.clock import ns_to_ms
    from stream.config import from_options
    from stream.preflight import check
    from stream.recording import open_recording
    from stream.replay import Pace, Wish, check_wish, recorded_models, recorded_size

    if (pace is not None and pace not in list(Pace)) or loop < 1:
        raise ConfigError(f"pace={pace!r}, loop={loop}: expected a pace of {', '.join(Pace)}, and a loop of 1 or more")
    said = {key: value for key, value in given.items() if value is not None}
    recording = open_recording(clip, require_side=pace in (Pace.RECORDED, Pace.VIRTUAL))
    run = recording.run
    recorded: dict[str, Any] = {"budget_ms": ns_to_ms(run.info.budget_ns), "size": recorded_size(run)} if run else {}
    if pace == Pace.VIRTUAL:
        if clash := said.keys() - {"budget_ms", "min_quality"}:
            raise ConfigError(f"pace='virtual' replays what was recorded, so {min(clash)} cannot change")
        recorded["models"] = False  # nothing is loaded
    elif run and run.arrivals and not said.keys() & {"recognize", "generate", "models"}:
        recognize, generate = recorded_models(run)
        recorded |= {"recognize": recognize, "generate": generate, "models": bool(recognize or generate)}
    stream = {"source": str(recording.clip), "allow_late": True, "loop": False, **recorded, **said}
    config = from_options({"port": 0, "device": device}, stream)
    check(config)
    chosen = Pace(pace or ("recorded" if run and run.packets else "realtime"))
    check_wish(wish := Wish(recording, chosen, config.streams[0], loop, device))
    return wish


def _lines(found: Replayed) -> Iterator[str]:
    """Yield what the end of the test run says of a replay."""
    summary = found.summary
    if summary["frames"]["shown"]:
        numbers = f"p99 {found.p99_ms:.1f} of {summary['budget_ms']:g} ms, {found.on_time_percent:.1f} % on time"
        yield f"{summary['clip']}, {summary['pace']}: {numbers}, {found.fps:.1f} fps"
    if found.comparisons is not None:
        verdicts = [f"{one.name} {one.verdict}" for one in found.comparisons]
        yield f"  baseline: {', '.join(verdicts) or 'written'}"
        notes = dict.fromkeys(note for one in found.comparisons for note in one.note.split("; ") if note)
        yield from (f"  note: {note}" for note in notes)


@pytest.fixture
def latency_replay(request: pytest.FixtureRequest, tmp_path: Path) -> LatencyReplay:
    """Play a recording through the pipeline, encoder included, and fail the test when it is not on time."""
    return LatencyReplay(request, tmp_path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("livelens", "latency of recordings (Livelens)")
    group.addoption(_UPDATE, action="store_true", help="write the baselines of latency_replay instead of comparing")
    group.addoption(_REPORTS, metavar="DIR", help="write a report of every latency_replay there, passed or failed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the numbers of each replay, of those that passed too."""
    done = [one for some in terminalreporter.stats.values() for one in some if getattr(one, "when", "") == "call"]
    if lines := [value for one in done for key, value in one.user_properties if key == _PROPERTY]:
        terminalreporter.section("latency")
        terminalreporter.write_line("\n".join(map(str, lines)))
