"""The subcommands about strategies. Thin, as `__main__`, which registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

strategies = App(name="strategies", help="List the strategies there are, show one, begin one of your own, check it.")


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
        One of `tapeline strategies list`, or one of yours: path.py:Class.
    """
    from tapeline.strategies import run_show

    return run_show(name)


@strategies.command(name="new")
def new_strategy(name: Annotated[str, Parameter(name="NAME")], /, *, out: Path = Path()) -> int:
    """Write a strategy of your own to begin with, NAME.py, and a bot file for it, NAME.toml.

    Parameters
    ----------
    name
        1 to 32 of a-z 0-9 _.
    out
        The folder.
    """
    from tapeline.strategies import run_new

    return run_new(name, out)


@strategies.command
def check(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    param: Annotated[list[str] | None, Parameter(name="--param", negative="")] = None,
    bars: Path | None = None,
) -> int:
    """Check a strategy: no exceptions, no look-ahead, the same from the same bars, restarts, a state that stays small.

    Parameters
    ----------
    name
        One of `tapeline strategies list`, or one of yours: path.py:Class.
    param
        A parameter as name=value; again for more.
    bars
        Parquet or CSV of minute bars, of which the first symbol is taken; else a market is made.
    """
    from tapeline.strategy_check import run_check

    return run_check(name, param or [], bars)
