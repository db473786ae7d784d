"""The options of `livelens serve`, as a person reads them in `livelens serve --help`.

None means "not given": config.py has the defaults, and a test checks that the ones named here agree.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogLevel(StrEnum):
    """How much is written to stderr while serving."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_WHAT, _WHERE, _HOW = "What to show", "Where to show it", "Other"  # panels of the help

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        help="Where pictures come from: [cyan]camera:0[/], [cyan]rtsp://[/], [cyan]http://[/], a file, a folder of "
        "pictures, [cyan]test:[/] or [cyan]browser[/]. Without it: the first camera, else the sample clip.",
        show_default=False,
    ),
]
Recognize = Annotated[
    list[str] | None,
    typer.Option(
        "--recognize", "-r", metavar="NAME", rich_help_panel=_WHAT, help="Find something. May be given several times."
    ),
]
Generate = Annotated[
    str | None,
    typer.Option(
        "--generate",
        "-g",
        metavar="NAME",
        rich_help_panel=_WHAT,
        help="Make a new picture. NAME may carry options, as in [cyan]style:where=all[/]. Without -r and -g: "
        "mask/person, boxes/coco and style:where=background.",
    ),
]
NoModels = Annotated[
    bool, typer.Option("--no-models", metavar="", rich_help_panel=_WHAT, help="Plain video, no model.")
]
Budget = Annotated[
    float | None,
    typer.Option(
        metavar="MS",
        rich_help_panel=_WHAT,
        help="Milliseconds from capture until the picture is sent. [dim]default 150[/]",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        rich_help_panel=_WHAT,
        help="Working size, such as 640x360. [dim]default: fits 640x360 on a processor, 1280x720 on a GPU[/]",
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(
        metavar="N", rich_help_panel=_WHAT, help="At most this many pictures a second. [dim]default: all of them[/]"
    ),
]
MinQuality = Annotated[
    float | None,
    typer.Option(
        "--min-quality",
        metavar="Q",
        rich_help_panel=_WHAT,
        help="0 to 1: under load no variant of a model poorer than this; frames are skipped instead. [dim]default 0[/]",
    ),
]
AllowLate = Annotated[
    bool,
    typer.Option(
        "--allow-late",
        metavar="",
        rich_help_panel=_WHAT,
        help="Show late pictures where the models can never make the budget. [dim]default: say so and refuse[/]",
    ),
]
Shadow = Annotated[
    float | None,
    typer.Option(
        "--shadow",
        metavar="S",
        rich_help_panel=_HOW,
        help="Every S seconds, in spare time only, compare a frame's results with torch in float32; the page and "
        "/metrics show the drift. [dim]default: never[/]",
    ),
]
Record = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.mkv",
        rich_help_panel=_HOW,
        help="Record the source as it comes, with a side file of arrivals, costs and decisions: see livelens replay.",
    ),
]
Publish = Annotated[
    str | None,
    typer.Option(
        metavar="WHIP_URL",
        rich_help_panel=_HOW,
        help="Send the stream to a WHIP endpoint too, such as whip://host/path.",
    ),
]
PublishToken = Annotated[
    str | None,
    typer.Option(
        "--publish-token",
        metavar="SECRET",
        envvar="LIVELENS_PUBLISH_TOKEN",
        show_envvar=False,
        rich_help_panel=_HOW,
        help="The bearer token that endpoint asks for. Better as LIVELENS_PUBLISH_TOKEN.",
    ),
]
NoLoop = Annotated[
    bool,
    typer.Option(
        "--no-loop", metavar="", rich_help_panel=_WHAT, help="End where a file ends. [dim]default: start again[/]"
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        metavar="ADDR",
        rich_help_panel=_WHERE,
        help="Address to listen on; 0.0.0.0 lets other machines in. [dim]default 127.0.0.1[/]",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        envvar="LIVELENS_TOKEN",
        show_envvar=False,
        rich_help_panel=_WHERE,
        help="What every request must carry; the page asks for it. Better as LIVELENS_TOKEN: others can list options.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure", metavar="", rich_help_panel=_WHERE, help="Let other machines in (--host) without a token."
    ),
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL", rich_help_panel=_WHERE, help="A site whose pages may use this server, such as https://a.org."
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        metavar="N", rich_help_panel=_WHERE, help="Port to listen on; 0 is any free one. [dim]default 8080[/]"
    ),
]
Name = Annotated[
    str | None,
    typer.Option(metavar="STREAM", rich_help_panel=_WHERE, help="The stream's name on the page. [dim]default live[/]"),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=_HOW,
        help="Where models run: auto, cpu, cuda:N, cuda for all, xpu:N or mps. [dim]default auto[/]",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", rich_help_panel=_HOW, help="Several streams from a TOML file, a \\[\\[stream]] table each."
    ),
]
Log = Annotated[
    LogLevel,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        rich_help_panel=_HOW,
        show_default=False,
        help="debug, info, warning or error. [dim]default info[/]",
    ),
]
