"""The subcommands about strategies and bot files: strategies, bots. Thin, as `__main__`, which registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

strategies = App(name="strategies", help="List the strategies there are, or show what one does and takes.")
bots = App(name="bots", help="Make a bot file from a template, or validate bot files.")


@strategies.command(name="list")
@strategies.default
def list_() -> int:
    """List the strategies, a line each."""
    from tapeline.strategies import run_list

    return run_list()


@strategies.command
def show(name: Annotated[str, Parameter(name="NAME")], /) -> int:
    """Show a strategy's rule, warm-up, source and parameters.

    Parameters
    ----------
    name
        One of `tapeline strategies list`.
    """
    from tapeline.strategies import run_show

    return run_show(name)


@bots.command
def templates() -> int:
    """List the bot files that come with Tapeline, one per strategy."""
    from tapeline.bots import run_templates

    return run_templates()


@bots.command
def new(name: Annotated[str, Parameter(name="NAME")], /, *, template: str, out: Path | None = None) -> int:
    """Write a bot file from a template; a file that is there stays.

    Parameters
    ----------
    name
        The bot's name: 1 to 32 of a-z 0-9 _ -.
    template
        One of `tapeline bots templates`.
    out
        The file; default NAME.toml.
    """
    from tapeline.bots import run_new

    return run_new(name, template, out)


@bots.command
def validate(files: Annotated[list[Path], Parameter(name="FILE")], /) -> int:
    """Say what is wrong with bot files: field, value and mend. Exit code 0 when nothing is.

    Parameters
    ----------
    files
        Bot files; names must differ.
    """
    from tapeline.bots import run_validate

    return run_validate(files)
