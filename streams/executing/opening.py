"""executor's first step: whose account it is, the ledger's first message, and the venue's calendar."""

from __future__ import annotations

from nats.js.errors import NotFoundError

from engine.errors import ConfigError
from engine.execution.funds import funds_of
from engine.ids import make_id
from engine.messages import AccountOpened, Sessions
from engine.ports import Venue
from engine.values import NS_PER_DAY, AssetClass
from streams.publisher import Publisher
from streams.rest import RestLane
from streams.role import Context

_BACK_DAYS = 1_470
"""Four years: as many sessions as a bot may be warmed up with bars of a day (PAST_BARS_MAX)."""


async def open_ledger(context: Context, venue: Venue, lane: RestLane, publisher: Publisher) -> None:
    """Store the first messages of the ledger, if they are not there, and make sure that it is this account's.

    Raises:
        ConfigError: The keys are of another account than the settings or this data directory say.
    """
    account = await lane.call("account", venue.account)
    wanted = context.settings.alpaca.account_number
    if wanted and wanted != account.account_number:
        msg = (
            f"alpaca.account_number is {wanted}, but the keys are of account {account.account_number}: "
            "set the one or use the keys of the other"
        )
        raise ConfigError(msg)
    try:
        await context.js.get_last_msg(context.topology.trading, f"{context.topology.prefix}.opened")
    except NotFoundError:
        now = await context.clock.now_ns()
        run = context.settings.run_id
        opened = AccountOpened(
            "ALPACA", account.account_number, run, account.cash, now, account.positions, account.prices
        )
        await publisher.one(context.outgoing(opened, make_id(account.account_number, run, "opened")))
    known = await context.identify()
    if known.account_number != account.account_number:
        msg = (
            f"this data directory belongs to account {known.account_number}, the keys are of "
            f"{account.account_number}: use that account's keys, or another --data-dir"
        )
        raise ConfigError(msg)
    try:
        await context.js.get_last_msg(context.topology.trading, f"{context.topology.prefix}.funds")
    except NotFoundError:
        funds = funds_of(account, await context.clock.now_ns())
        msg_id = make_id(account.account_number, known.run, "funds", funds.ts_event)
        await publisher.one(context.outgoing(funds, msg_id))


async def coming_sessions(context: Context, venue: Venue, lane: RestLane, known_until: int) -> Sessions | None:
    """Give the venue's calendar for the next weeks; None while what is stored reaches far enough.

    At first it is of the years before, too: longer bars of the past are made by it.

    Args:
        context: The role's.
        venue: Who is asked.
        lane: Its REST.
        known_until: Close of the last session that is stored, ns UTC.
    """
    now = await context.clock.now_ns()
    if known_until > now + 7 * NS_PER_DAY:
        return None
    first, last = now - (7 if known_until else _BACK_DAYS) * NS_PER_DAY, now + 45 * NS_PER_DAY
    spans = await lane.call("calendar", lambda: venue.sessions(first, last))
    return Sessions(AssetClass.US_EQUITY, tuple(spans), now)
