"""The subcommands by which a person steps in, and sees who did: halt, resume, orders, changes. Thin, as `__main__`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

orders = App(name="orders", help="List the open orders, cancel one, or change one.")


def halt(
    *,
    reason: str = "by hand",
    reduce_only: Annotated[bool, Parameter(negative="")] = False,
    flatten: Annotated[bool, Parameter(negative="")] = False,
    suspend: bool | None = None,
    data_dir: Path | None = None,
) -> int:
    """Let no order leave and cancel those that may open positions. Holds over restarts until `tapeline resume`.

    Positions stay, and with them the orders at the venue that protect or close them; stops that cannot act are named.

    With --flatten or --suspend this command itself deals with the account by REST: it needs the keys and the data
    directory, and neither NATS nor a daemon. Run it again if it was cut short: nothing is done twice.

    Parameters
    ----------
    reason
        Stored with the command, shown by status and in each denial.
    reduce_only
        Let orders pass that make a position smaller; cancel nothing.
    flatten
        Cancel every order of the account, then close every position at market, and verify. Exit code 0 only when the
        account is flat. Outside of the session closing orders of equities are queued for the opening.
    suspend
        Let the account refuse every new order, after flattening; --no-suspend lifts that first. Cancels what is open.
    data_dir
        Data directory; default: where a daemon runs, of the settings file's data_dir and the one used last here, else
        one of these. TAPELINE_NATS__URL commands over that NATS, without latch file
        unless --flatten or --suspend is given.
    """
    from tapeline.halt import HaltOptions, run_halt

    return run_halt(data_dir, reason, HaltOptions(reduce_only=reduce_only, flatten=flatten, suspend=suspend))


def resume(
    *,
    reason: str = "by hand",
    unsuspend: Annotated[bool, Parameter(negative="")] = False,
    data_dir: Path | None = None,
) -> int:
    """End a halt: orders may leave again. Says so if trading is still suspended on the account.

    Parameters
    ----------
    reason
        Stored with the command.
    unsuspend
        Let the account take new orders again, before all else; needs the keys.
    data_dir
        Data directory; default: the one used last here. TAPELINE_NATS__URL commands over that NATS.
    """
    from tapeline.halt import run_resume

    return run_resume(data_dir, reason, unsuspend=unsuspend)


@orders.command(name="list")
@orders.default
def list_(
    *,
    data_dir: Path | None = None,
    format: Literal["table", "json", "csv"] = "table",  # noqa: A002  (the option's name)
) -> int:
    """List the orders that have not ended: those of bots, what protects positions, and those that others placed.

    Parameters
    ----------
    data_dir
        Data directory; default: the one used last here.
    format
        How to print them.
    """
    from tapeline.orders import run_list

    return run_list(data_dir, format)


@orders.command
def cancel(
    id_: Annotated[str, Parameter(name="ID")],
    /,
    *,
    reason: str = "by hand",
    data_dir: Path | None = None,
) -> int:
    """Cancel an open order and wait for its end; also while trading is halted.

    Parameters
    ----------
    id_
        client_order_id or venue_order_id, or 8 or more characters that only one open order's begins with.
    reason
        Stored with the wish.
    data_dir
        Data directory; default: the one used last here. TAPELINE_NATS__URL commands over that NATS.
    """
    from tapeline.orders import run_cancel

    return run_cancel(id_, reason, data_dir)


@orders.command
def replace(
    id_: Annotated[str, Parameter(name="ID")],
    /,
    *,
    quantity: str | None = None,
    limit: str | None = None,
    stop: str | None = None,
    trail: str | None = None,
    trail_percent: str | None = None,
    reason: str = "by hand",
    data_dir: Path | None = None,
) -> int:
    """Change an open order, if risk lets it, and wait for what becomes of it.

    Parameters
    ----------
    id_
        client_order_id or venue_order_id, or 8 or more characters that only one open order's begins with.
    quantity
        New quantity of the whole order, what is filled of it included.
    limit
        New limit price.
    stop
        New stop price.
    trail
        New distance of a trailing stop, USD.
    trail_percent
        New distance of a trailing stop, percent.
    reason
        Stored with the wish.
    data_dir
        Data directory; default: the one used last here. TAPELINE_NATS__URL commands over that NATS.
    """
    from tapeline.orders import run_replace

    changes = {"quantity": quantity, "limit_px": limit, "stop_px": stop, "trail_px": trail}
    return run_replace(id_, changes | {"trail_percent": trail_percent}, reason, data_dir)


def changes(
    bot: Annotated[str | None, Parameter(name="BOT")] = None,
    /,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    data_dir: Path | None = None,
) -> int:
    """List what was changed while the daemon ran: each field of bots, and the trading mode; who, when, why.

    As far as it is recorded: some seconds behind.

    All fields of a bot may be changed with `tapeline bots update`, the mode with `tapeline halt` and `resume`;
    everything else is read when the daemon starts.

    Parameters
    ----------
    bot
        One bot only.
    json
        As a JSON list.
    data_dir
        Data directory; default is the one used last.
    """
    from tapeline.changes import run_changes

    return run_changes(bot, data_dir, as_json=json)
