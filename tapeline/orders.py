"""`tapeline orders`: what works at the venue, and a person's wish to end or change one of them.

A wish is a message like any other: executor ends the order, risk judges a change. The command waits for what becomes of
it and says so. It decides nothing; what an event means for a wish is `Wish.take`.
"""

from __future__ import annotations

import asyncio
import getpass
import secrets
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.clock import wall_ns
from config.settings import Settings
from engine.errors import ConfigError, TapelineError
from engine.messages import (
    AnyBody,
    CancelOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    ReplaceOrder,
    RiskDenied,
)
from engine.values import plain
from tapeline.explain.find import quoted
from tapeline.talking import daemon_settings, operator

if TYPE_CHECKING:
    from streams.connection import Client

_ANSWER_S_MAX = 15.0
_SQL_S_MAX = 10.0
_ID_MIN = 8
_NUMBER_MAX = 10**15
_DECIMALS_MAX = 9
_OPEN = ("Initialized", "Submitted", "Accepted", "PartiallyFilled")
_LIST = f"""
SELECT client_order_id, bot, symbol, side, quantity, filled_qty, order_type, time_in_force, limit_px, stop_px,
       coalesce(trail_px, trail_percent) AS trail, order_class, purpose, status,
       coalesce(accepted_at, decided_at) AS since
FROM orders WHERE status IN {_OPEN} ORDER BY since, client_order_id
"""  # noqa: S608  (constants)


class Found(msgspec.Struct, frozen=True):
    """An order that an id means."""

    client_order_id: str
    symbol: str
    status: str


class Ended(msgspec.Struct, frozen=True):
    """What became of a wish."""

    is_done: bool
    text: str


class Wish:
    """A wish on its way: which events are about it, and what they mean.

    Args:
        body: The wish as stored.
    """

    def __init__(self, body: CancelOrder | ReplaceOrder) -> None:
        self.body = body
        self._new = ""

    def take(self, event: AnyBody) -> Ended | None:
        """Give the end of the wish, if this event is it."""
        if isinstance(self.body, ReplaceOrder):
            return self._take_replace(event)
        if getattr(event, "client_order_id", "") != self.body.client_order_id:
            return None
        match event:
            case OrderCanceled():
                return Ended(True, f"canceled; {plain(event.filled_qty)} of it had been filled")
            case _:
                return _other_end(event)

    def _take_replace(self, event: AnyBody) -> Ended | None:
        match event:
            case RiskDenied() if event.signal_id == self.body.id:
                return Ended(
                    False, f"denied by risk: {event.reason} ({event.rule}, {event.limit}, was {event.observed})"
                )
            case OrderIntent() if event.signal_id == self.body.id:
                self._new = event.id
            case OrderAccepted() if event.client_order_id == self._new:
                return Ended(True, f"replaced by {event.client_order_id}")
            case OrderRejected() if event.client_order_id == self._new:
                return Ended(False, f"the venue refuses: {event.reason} ({event.code or 'rejected'})")
            case OrderExpired() if event.client_order_id == self._new:
                return Ended(False, "the change was approved and not sent: trading is halted, or the order had ended")
            case OrderCanceled() if event.client_order_id == self.body.client_order_id:
                return Ended(False, "canceled before it could be changed")
            case OrderReplaced():
                return None
            case _ if getattr(event, "client_order_id", "") == self.body.client_order_id:
                return _other_end(event)
            case _:
                return None
        return None


def _other_end(event: AnyBody) -> Ended | None:
    match event:
        case OrderFilled():
            return Ended(False, f"filled before: {plain(event.filled_qty)} at {plain(event.avg_px)}")
        case OrderExpired() | OrderRejected():
            return Ended(False, f"ended before: {event.reason}")
        case OrderReplaced():
            return Ended(False, f"replaced before by {event.replaced_by}")
        case _:
            return None


def run_list(data_dir: Path | None, form: str) -> int:
    """Print the orders that have not ended, as recorded."""
    from tapeline.sql import run_sql

    return run_sql(_LIST, data_dir, form, None, 0)


def run_cancel(order: str, reason: str, data_dir: Path | None) -> int:
    """Wish an order's end; 0 when it was canceled."""

    def wish(found: Found) -> CancelOrder:
        return CancelOrder(secrets.token_hex(16), found.client_order_id, reason, getpass.getuser(), wall_ns())

    return asyncio.run(_wish(daemon_settings(data_dir), order, wish))


def run_replace(order: str, changes: dict[str, str | None], reason: str, data_dir: Path | None) -> int:
    """Wish an order's change; 0 when the venue has the changed one.

    Args:
        order: Its id.
        changes: Field of ReplaceOrder to the text of a number; None leaves it.
        reason: Stored with the wish.
        data_dir: As for every command.
    """
    numbers = {name: number(name, text) for name, text in changes.items() if text is not None}
    if not numbers:
        msg = "nothing to change: give --quantity, --limit, --stop, --trail or --trail-percent"
        raise ConfigError(msg)

    def wish(found: Found) -> ReplaceOrder:
        return ReplaceOrder(
            secrets.token_hex(16), found.client_order_id, reason, getpass.getuser(), wall_ns(), **numbers
        )

    return asyncio.run(_wish(daemon_settings(data_dir), order, wish))


def number(name: str, text: str) -> Decimal:
    """Read a number above 0 that every table can hold. Raises ConfigError naming the option."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 < value < _NUMBER_MAX or value != round(value, _DECIMALS_MAX):
        msg = f"{name} must be a number above 0 with at most {_DECIMALS_MAX} decimals, was {text!r}"
        raise ConfigError(msg)
    return value


async def _wish(settings: Settings, order: str, make: Callable[[Found], CancelOrder | ReplaceOrder]) -> int:
    """Find the order, store the wish, wait for its end, say it."""
    from streams.commanding import follow
    from streams.role import topology_of

    async with operator(settings, "orders") as nc:
        found = await _find(nc, settings, order)
        wish = Wish(make(found))
        ended = await follow(nc, topology_of(settings), wish.body, wish.take, wall_ns=wall_ns(), wait_s=_ANSWER_S_MAX)
        if ended is None:  # it may have ended before the wish, unknown to the recorder then
            await _find(nc, settings, found.client_order_id)
    if ended is None:
        msg = f"the wish is stored, but nothing came of it within {_ANSWER_S_MAX:g} s: see `tapeline status`"
        raise TapelineError(msg)
    text = f"order {found.client_order_id} ({found.symbol}): {ended.text}\n"
    (sys.stdout if ended.is_done else sys.stderr).write(text)
    return 0 if ended.is_done else 1


async def _find(nc: Client, settings: Settings, order: str) -> Found:
    """Find the one open order that an id means: ours or the venue's, or 8 or more characters that it begins with."""
    from streams.sql_ask import ask

    try:
        frame, _ = await ask(nc, settings.nats.prefix, find_sql(order), 10, _SQL_S_MAX)
    except TimeoutError:
        msg = f"no answer from the recorder within {_SQL_S_MAX:g} s: see `tapeline status`"
        raise TapelineError(msg) from None
    return choose(order, [Found(*row) for row in frame.rows()])


def find_sql(order: str) -> str:
    """Ask for the orders an id may mean, open ones first. Raises ConfigError for what is no id."""
    text = order.strip()
    if not text or len(text) > 128 or not text.isprintable():
        msg = f"ID must be 1 to 128 printable characters, was {order[:32]!r}: `tapeline orders` lists them"
        raise ConfigError(msg)
    exact = quoted(text)
    begins = f" OR starts_with(client_order_id, {exact}) OR starts_with(venue_order_id, {exact})"
    return (
        "SELECT client_order_id, symbol, status FROM orders "  # noqa: S608  (quoted)
        f"WHERE client_order_id = {exact} OR venue_order_id = {exact}{begins if len(text) >= _ID_MIN else ''} "
        f"ORDER BY status IN {_OPEN} DESC, client_order_id LIMIT 10"
    )


def choose(order: str, found: list[Found]) -> Found:
    """Give the one order that is meant, or say why there is none.

    Raises:
        ConfigError: None, several, or one that has ended.
    """
    still_open = [one for one in found if one.status in _OPEN]
    if len(still_open) == 1:
        return still_open[0]
    if still_open:
        shown = ", ".join(one.client_order_id for one in still_open)
        msg = f"{order!r} begins {len(still_open)} open orders: give more of it ({shown})"
    elif found:
        msg = f"order {found[0].client_order_id} is not open any more: {found[0].status}"
    else:
        msg = f"no order has the id {order!r}: `tapeline orders` lists the open ones"
    raise ConfigError(msg)
