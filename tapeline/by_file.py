"""The subcommands about strategies and bots: strategies, bots. Thin, as `__main__`, which registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

strategies = App(name="strategies", help="List the strategies there are, show one, begin one of your own, check it.")
bots = App(name="bots", help="See, add, change, start, stop and remove bots while the daemon runs; make bot files.")


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


@bots.command(name="list")
@bots.default
def list_bots(
    *,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    data_dir: Path | None = None,
) -> int:
    """List the bots of the running daemon: status, strategy, symbols, capital, revision.

    Parameters
    ----------
    everything
        Removed ones too.
    json
        Their definitions, as a JSON list.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_list

    return run_list(data_dir, as_json=json, everything=everything)


@bots.command(name="show")
def show_bot(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    data_dir: Path | None = None,
) -> int:
    """Print a bot as a file that add and update take: `tapeline bots show alpha > alpha.toml` exports it.

    Parameters
    ----------
    name
        The bot.
    json
        As a JSON object, with status and revision.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_show

    return run_show(name, data_dir, as_json=json)


@bots.command
def history(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    data_dir: Path | None = None,
) -> int:
    """Print every revision of a bot: who changed what, when, and from which bar on.

    Parameters
    ----------
    name
        The bot.
    json
        Whole revisions, as a JSON list.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_history

    return run_history(name, data_dir, as_json=json)


@bots.command
def add(
    files: Annotated[list[Path], Parameter(name="FILE")], /, *, reason: str = "", data_dir: Path | None = None
) -> int:
    """Add bots of files to the running daemon. They decide from the next bar on, warmed up with the bars there are.

    Parameters
    ----------
    files
        Bot files.
    reason
        Stored with the revision.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_add

    return run_add(files, reason, data_dir)


@bots.command
def update(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    file: Path | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    reason: str = "",
    data_dir: Path | None = None,
) -> int:
    """Change a bot from the next bar on: strategy, parameters, symbols, capital, stops, orders.

    With another strategy, parameters or timeframe it is warmed up anew beside the old one and takes over without
    missing a bar. Other stops hold for open positions at once. A symbol it holds cannot be taken away.

    Parameters
    ----------
    name
        The bot.
    file
        What it shall be.
    set_
        A single field as in a file: --set capital=5000 --set params.period=7 --set 'symbols=["AAPL"]' --set stops=none.
    reason
        Stored with the revision.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_update

    return run_update(name, file, set_ or [], reason, data_dir)


_Names = Annotated[list[str], Parameter(name="NAME")]
_Flatten = Annotated[bool, Parameter(negative="")]


@bots.command
def start(names: _Names, /, *, reason: str = "", data_dir: Path | None = None) -> int:
    """Let bots decide again, from the next bar on; what they wish then is said anew.

    Parameters
    ----------
    names
        The bots.
    reason
        Stored with the revision.
    data_dir
        Data directory; default as for halt.
    """
    from engine.bots import BotStatus
    from tapeline.bots_running import run_status

    return run_status(names, BotStatus.RUNNING, reason, data_dir, flatten=False)


@bots.command
def pause(names: _Names, /, *, flatten: _Flatten = False, reason: str = "", data_dir: Path | None = None) -> int:
    """Let bots say nothing; they go on looking, so that they know where they are when they start again.

    Orders that would open positions are canceled; positions and their stops stay.

    Parameters
    ----------
    names
        The bots.
    flatten
        Close their positions.
    reason
        Stored with the revision.
    data_dir
        Data directory; default as for halt.
    """
    from engine.bots import BotStatus
    from tapeline.bots_running import run_status

    return run_status(names, BotStatus.PAUSED, reason, data_dir, flatten=flatten)


@bots.command
def stop(names: _Names, /, *, flatten: _Flatten = False, reason: str = "", data_dir: Path | None = None) -> int:
    """Stop bots: they do not look at bars any more, and are warmed up when they start again.

    Orders that would open positions are canceled; positions and their stops stay.

    Parameters
    ----------
    names
        The bots.
    flatten
        Close their positions.
    reason
        Stored with the revision.
    data_dir
        Data directory; default as for halt.
    """
    from engine.bots import BotStatus
    from tapeline.bots_running import run_status

    return run_status(names, BotStatus.STOPPED, reason, data_dir, flatten=flatten)


@bots.command
def remove(names: _Names, /, *, reason: str = "", data_dir: Path | None = None) -> int:
    """Remove bots that hold nothing. Their names may be used again; what they did stays.

    Parameters
    ----------
    names
        The bots.
    reason
        Stored with the revision.
    data_dir
        Data directory; default as for halt.
    """
    from engine.bots import BotStatus
    from tapeline.bots_running import run_status

    return run_status(names, BotStatus.REMOVED, reason, data_dir, flatten=False)


@bots.command
def rollback(
    name: Annotated[str, Parameter(name="NAME")],
    revision: Annotated[int, Parameter(name="REVISION")],
    /,
    *,
    reason: str = "",
    data_dir: Path | None = None,
) -> int:
    """Make a bot what it was at a revision; its status stays.

    Parameters
    ----------
    name
        The bot.
    revision
        One of `tapeline bots history NAME`.
    reason
        Stored with the new revision.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_rollback

    return run_rollback(name, revision, reason, data_dir)
