"""`livelens models` and what is under it: listing, checking, fetching and making models."""

import typer

from stream import check_cli, learn_cli

models = typer.Typer(help="List the models; check, fetch or make one.", invoke_without_command=True)


@models.callback()
def list_them(context: typer.Context) -> None:
    """List the models: what each does, its options and its licence. Below are the commands on single models."""
    if context.invoked_subcommand is None:
        _print_all()


@models.command("list", short_help="List the models there are.")
def list_all() -> None:
    """List the models: what each does, its options and its licence."""
    _print_all()


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
    app.add_typer(models, name="models", short_help="List the models; check, fetch or make one.")
