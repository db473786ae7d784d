"""`livelens models pull`: fetch the weights of a network, or any file, and go on where an earlier try broke off.

Importing this file stays quick; what it needs is imported when it runs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stream.progress import say


def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME|URL", help="torchvision/NAME, or an address of http:// or https://.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FOLDER", help="Where to put it (default: where the network looks; an address: here)."
        ),
    ] = None,
    sha256: Annotated[
        str, typer.Option("--sha256", metavar="DIGEST", help="What the file must have, or the start of it.")
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=1, max=600, help="Give up when nothing comes for so long.")
    ] = 30.0,
) -> None:
    """Fetch a network's weights, or any file; what broke off earlier goes on from there.

    A file that is there already and right is left as it is. Ctrl-C keeps what has come.
    """
    from models.pull import fetch, resolve

    url, folder = resolve(name, to)
    try:
        with bytes_done(url.rpartition("/")[2]) as tell:
            print(fetch(url, folder, sha256, tell, timeout))
    except KeyboardInterrupt:
        say("[yellow]Stopped.[/] What has come is kept; the same command goes on from there.")
        raise


@contextmanager
def bytes_done(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function to tell (bytes there, in all), shown on a terminal with their rate and the time left."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    shown = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with shown as progress:
        task = progress.add_task(what, total=None)
        is_first = True

        def tell(done: int, total: int | None) -> None:
            nonlocal is_first
            if is_first:  # what was there before says nothing of the rate
                progress.reset(task, completed=done, total=total)
            is_first = False
            progress.update(task, completed=done, total=total)

        yield tell


def register(app: typer.Typer) -> None:
    """Add the command to `livelens models`."""
    app.command("pull", short_help="Fetch a network's weights, or any file.")(pull)
