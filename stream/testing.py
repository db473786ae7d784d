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
_ARGUMENTS = {  # options of the command line that messages name
    **{f"--{name}": name for name in ("recognize", "generate", "loop", "size", "fps", "device")},
    **{"--budget": "budget_ms", "--min-quality": "min_quality", "--no-models": "no_models"},
}
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

        Without limits and baseline p99 must be within the budget, save at pace "max"; a clip must be played to its end.
        `min_on_time` is in percent of the shown frames.
        Relative paths, of models too, start at the test's own folder. Raises StreamError for what cannot be played.
        """
        __tracebackhide__ = True  # the test's own line is what a person wants to see
        from stream.trial import wish_for
        from stream.verdict import Limits, failures

        wanted = [recognize] if isinstance(recognize, str) or callable(recognize) else recognize
        said: dict[str, Any] = {"budget_ms": budget_ms, "size": size, "fps": fps, "min_quality": min_quality}
        said["models"] = False if no_models else None
        try:
            if min_on_time is not None and not (min_on_time == 0 or 1 < min_on_time <= 100):
                raise ConfigError(f"min_on_time={min_on_time:g}: is in percent, such as 99")
            said["recognize"] = [self._name(one) for one in wanted] or None
            said["generate"] = generate and self._name(generate)
            wish = wish_for(self._here(clip), said, pace, loop, None if device == "auto" else device)
            found = self._replay(wish, None if baseline is None else self._here(baseline))
            failed = failures(found.summary, Limits(max_p99_ms, min_on_time), found.comparisons)
            self.request.node.user_properties.append((_PROPERTY, "\n".join(_lines(found))))
            where = self._write_report(found) if failed or self.request.config.getoption(_REPORTS) else ""
        except StreamError as error:
            error.args = (_in_python(str(error)), *error.args[1:])
            raise error.with_traceback(None) from None
        if failed:
            pytest.fail("\n".join([*(f"{found.summary['clip']}: {line}" for line in failed), where]), pytrace=False)
        return found

    def _replay(self, wish: "Wish", baseline: Path | None) -> Replayed:
        from stream.baseline import compare, load_baseline
        from stream.outputs import write
        from stream.trial import check_alike, run_trial

        is_update = baseline is not None and self.request.config.getoption(_UPDATE)
        if baseline and not is_update and not baseline.exists():
            raise ConfigError(f"there is no baseline {baseline} yet; make it with `pytest {_UPDATE}`, and commit it")
        before = load_baseline(baseline) if baseline and not is_update else None
        if before is not None:
            check_alike(before, wish, str(baseline))
        run, summary = run_trial(wish, lambda done, total: None, has_own_process=False)  # other tests were before it
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


def _in_python(message: str) -> str:
    """Return a message of the command line with the names that a test calls things by."""
    message = re.sub(r"(?<!\S)--pace (\w+)", r"pace='\1'", message)
    return re.sub(r"(?<!\S)--[a-z-]+", lambda found: _ARGUMENTS.get(found[0], found[0]), message)


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
