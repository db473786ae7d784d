"""What a command says on stderr while it runs: progress where that is a terminal, and warnings once each."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Column

MAX_TOLD = 20  # different warnings shown; a replay in trouble has thousands of the same kind


def say(text: str) -> None:
    """Tell a person something; `text` has rich's markup."""
    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(text)


def note(text: str) -> None:
    """Tell a person what to know before believing a result."""
    say(f"[yellow]Note:[/] {escape(text)}")


@contextmanager
def frames_done(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function to tell (frames done, in all), shown with their rate and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None, rate="")

        def tell(done: int, total: int) -> None:
            elapsed_s = progress.tasks[0].elapsed or 0.0
            rate = f"{done / elapsed_s:.0f} frames/s" if elapsed_s > 0 else ""
            progress.update(task, completed=done, total=total, rate=rate)

        yield tell


class Line:
    """One line that is written over and over, where stderr is a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def __call__(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.file.write(f"\r{text[: self._console.width - 1]}\x1b[K")
            self._console.file.flush()

    def clear(self) -> None:
        """Leave an empty line to go on with."""
        self("")


class HeldWarnings(logging.Handler):
    """Keeps the log's warnings back until a command knows that it goes on, and tells each once.

    A command that cannot go on says why in one line of its own, and the log's would only say it again.
    """

    def __init__(self, line: Line | None = None) -> None:
        super().__init__(logging.WARNING)
        self._line = line
        self._held: list[str] = []
        self._told: set[str] = set()
        self._is_open = False  # whether they are told as they come

    def emit(self, record: logging.LogRecord) -> None:
        """Take a warning. Any thread; the handler's lock is held."""
        text = " ".join(record.getMessage().split())
        if text in self._told or len(self._told) >= MAX_TOLD:
            return
        self._told.add(text)
        if self._is_open:
            self._tell(text)
        else:
            self._held.append(text)

    def let_out(self) -> None:
        """Tell what was kept back, and from now on each at once. Safe to repeat."""
        self.acquire()
        try:
            held, self._held, self._is_open = self._held, [], True
            for text in held:
                self._tell(text)
        finally:
            self.release()

    def _tell(self, text: str) -> None:
        if self._line is not None:
            self._line.clear()
        note(text)


@contextmanager
def warnings_held(line: Line | None = None) -> Iterator[HeldWarnings]:
    """Hold the log's warnings within it; what was not let out is not told."""
    handler, root = HeldWarnings(line), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)


@contextmanager
def work_done() -> Iterator[Callable[[float, float, str], None]]:
    """Give a function to tell (seconds of work done, in all, what is done now), shown with the time left."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    what = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    columns = (BarColumn(20), TaskProgressColumn(), TimeRemainingColumn(), what)
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, now: progress.update(task, completed=done, total=total, description=escape(now))
