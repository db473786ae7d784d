"""The options of `livelens record`, `replay` and `simulate`, as a person reads them in `--help`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_PASS, _OUT = "What must hold", "What is written"  # panels of the help


class PaceName(StrEnum):
    """As stream.replay.Pace, which must not be imported before it is used."""

    RECORDED = "recorded"
    REALTIME = "realtime"
    MAX = "max"
    VIRTUAL = "virtual"


RecordSource = Annotated[
    str, typer.Argument(metavar="SOURCE", help="As for [cyan]livelens serve[/].", show_default=False)
]
Out = Annotated[str, typer.Argument(metavar="OUT.mkv", help="A new file; a side file is put beside it.")]
Seconds = Annotated[
    float | None, typer.Option(metavar="S", help="End after so long. [dim]default: Ctrl-C, or the source's end[/]")
]
Clip = Annotated[str, typer.Argument(metavar="CLIP", help="A recording, or any video file.", show_default=False)]
Pace = Annotated[
    PaceName | None,
    typer.Option(
        metavar="PACE",
        help="recorded: as it came. realtime: by its timestamps. max: as fast as possible. virtual: recorded "
        "arrivals and costs on a virtual clock, the same everywhere. [dim]default: recorded, or realtime for a video "
        "that is no recording[/]",
        show_default=False,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        metavar="MS",
        help="Milliseconds from capture until the picture is sent. [dim]default: as it was recorded, else 150[/]",
    ),
]
Loop = Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Play it so many times.")]
MaxP99 = Annotated[
    float | None,
    typer.Option(
        "--max-p99",
        metavar="MS",
        rich_help_panel=_PASS,
        help="p99 from capture to send. [dim]default: the budget, when nothing else must hold (max: none)[/]",
    ),
]
MinOnTime = Annotated[
    float | None,
    typer.Option("--min-on-time", metavar="PCT", rich_help_panel=_PASS, help="Share of shown frames, in %."),
]
Baseline = Annotated[
    Path | None,
    typer.Option(metavar="F.json", rich_help_panel=_PASS, help="An earlier --json: fail when worse."),
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="F", rich_help_panel=_OUT, help="Every number, for programs.")
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="F", rich_help_panel=_OUT, help="One page to read and pass on.")
]
PerfettoTrace = Annotated[
    Path | None, typer.Option("--trace", metavar="F", rich_help_panel=_OUT, help="For ui.perfetto.dev.")
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A recording, or [cyan]synthetic:KIND,overload=2,ladder=4[/] (constant, bursty, lognormal, step).",
        show_default=False,
    ),
]
Policy = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="fifo, newest, edf or livelens; may be repeated. [dim]default: all four[/]"),
]
DeviceSpeed = Annotated[
    float, typer.Option("--device-speed", metavar="X", help="2 makes every model job take half as long.")
]
Streams = Annotated[int, typer.Option(metavar="N", help="So many copies of the stream on the one device.")]
Table = Annotated[Path | None, typer.Option("--json", metavar="F", help="The table, for programs.")]
