"""`livelens models` and what is under it: listing, checking, fetching and making models."""

from typing import Annotated

import typer

from stream import check_cli, learn_cli, pull_cli, tune_cli
from stream.errors import ConfigError

models = typer.Typer(help="List the models; check, fetch or make one.", invoke_without_command=True)


@models.callback()
def list_them(context: typer.Context) -> None:
    """List the models: what each does, its options and its licence. Below are the commands on single models."""
    if context.invoked_subcommand is None:
        _print_all()


@models.command("list", short_help="List the models there are.")
def list_all(
    which: Annotated[
        str,
        typer.Argument(metavar="[WHICH]", help="Only these: a name, or what names begin with, such as torchvision."),
    ] = "",
) -> None:
    """List the models: what each does, its options and its licence."""
    if which:
        _print_some(which)
    else:
        _print_all()


def _print_some(which: str) -> None:
    from models.registry import cards
    from stream.listing import print_collection

    found = [card for card in cards() if card.name == which or card.name.startswith(f"{which.rstrip('/')}/")]
    if not found:
        raise ConfigError(f"no model is called {which!r}, and no name begins with it; `livelens models` lists them")
    print_collection(found)


def _print_all() -> None:
    from models.findings import findings
    from models.registry import cards
    from stream.check_cli import print_findings
    from stream.listing import print_models

    print_models(cards())
    print_findings(findings())


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    check_cli.register(models)
    learn_cli.register(models)
    pull_cli.register(models)
    tune_cli.register(models)
    app.add_typer(models, name="models", short_help="List the models; check, fetch or make one.")
