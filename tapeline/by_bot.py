"""The subcommands about bots. Thin, as `__main__`, which registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

bots = App(name="bots", help="See, add, change, start, stop and remove bots while the daemon runs; make bot files.")


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
    """List the bots: status, strategy, symbols, capital, revision; where no daemon runs, as recorded.

    Parameters
    ----------
    everything
        Removed ones too.
    json
        Their definitions, as a JSON list.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_seen import run_list

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
    from tapeline.bots_seen import run_show

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
    from tapeline.bots_seen import run_history

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


@bots.command
def shadow(
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    as_: Annotated[str, Parameter(name="--as")],
    file: Path | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    reason: str = "",
    data_dir: Path | None = None,
) -> int:
    """Try a changed version of a bot beside it: on the same bars, its orders recorded and virtually filled, none sent.

    Without --set and --file it is tried as it is. It has an account of its own, with the same limits, that begins with
    what the account is worth. See how it does with
    `tapeline bots compare NAME SHADOW`, and let it take the bot's place with `tapeline bots promote SHADOW`.

    Parameters
    ----------
    name
        The bot.
    as_
        The shadow's name.
    file
        What the shadow shall be; its name does not count.
    set_
        In what it differs, as for update: --set params.period=7; again for more.
    reason
        Stored with the revision.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_shadow

    return run_shadow(name, as_, file, set_ or [], reason=reason, data_dir=data_dir)


@bots.command
def promote(
    name: Annotated[str, Parameter(name="SHADOW")], /, *, reason: str = "", data_dir: Path | None = None
) -> int:
    """Let the bot that a shadow stands beside be what the shadow is, from the next bar on; the shadow is removed.

    What the bot holds stays, and what was changed of it since the shadow began; refused, where both were changed in
    the same field, or the bot may not be like that.

    Parameters
    ----------
    name
        The shadow.
    reason
        Stored with the revisions.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.bots_running import run_promote

    return run_promote(name, reason, data_dir)


@bots.command
def compare(
    one: Annotated[str, Parameter(name="A")],
    other: Annotated[str, Parameter(name="B")],
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    data_dir: Path | None = None,
) -> int:
    """Set two bots side by side, over the time in which both decided: P&L, drawdown, trades, signals, denials.

    Parameters
    ----------
    one
        A bot, or a shadow of one.
    other
        Another one.
    json
        As a JSON object.
    data_dir
        Data directory; default as for halt.
    """
    from tapeline.compare import run_compare

    return run_compare(one, other, data_dir, as_json=json)
