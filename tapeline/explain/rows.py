"""The rows of one chain: as SQL, and gathered by whoever answers SQL. It decides nothing about their meaning.

Called by explain.command. `ask` runs one SELECT and gives its rows; columns are as the tables have them, so that what a
later schema stores with a verdict is found too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from engine.errors import ConfigError
from tapeline.explain.find import COLUMNS_SQL, FILL_KEY, Columns, Row, Target, choose, columns_of, find_sql, quoted

type Ask = Callable[[str], Awaitable[Sequence[Row]]]

_VERDICTS = ("intents", "denials", "no_trades")


class Facts(msgspec.Struct, kw_only=True):
    """Every stored row that belongs to a chain, in the order of recording.

    Attributes:
        fees: Of the same bot and symbol, from the first fill of an order on; `chain` says which belong.
        others: Fills of other orders of the same bot and symbol from then on, bot, symbol and time only.
    """

    bars: Sequence[Row] = ()
    signals: Sequence[Row] = ()
    intents: Sequence[Row] = ()
    denials: Sequence[Row] = ()
    no_trades: Sequence[Row] = ()
    order_events: Sequence[Row] = ()
    fills: Sequence[Row] = ()
    fees: Sequence[Row] = ()
    others: Sequence[Row] = ()
    positions: Sequence[Row] = ()
    account: Sequence[Row] = ()


async def find(text: str, ask: Ask) -> tuple[Target, Columns]:
    """Find what an id means. Raises as `choose`; ConfigError where the database has none of our tables."""
    columns = columns_of(await ask(COLUMNS_SQL))
    if "signals" not in columns:
        msg = (
            "the database holds no tables of tapeline: name a data directory that `tapeline run` or `demo` has written"
        )
        raise ConfigError(msg)
    query = find_sql(text, columns)
    return choose(text, await ask(query) if query else []), columns


async def gather(target: Target, columns: Columns, ask: Ask) -> Facts:
    """Fetch the chain a target stands in: its signal with all verdicts, their orders, fills, and what followed."""

    async def rows(table: str, where: str, select: str = "*") -> Sequence[Row]:
        if table not in columns or not where:
            return ()
        return await ask(f"SELECT {select} FROM {table} WHERE {where} ORDER BY rowid")  # noqa: S608  (ids are quoted)

    facts = Facts()
    order = await _order_of(target, rows)
    signal = await _signal_of(target, order, rows)
    if signal:
        signals, *verdicts = await asyncio.gather(
            rows("signals", f"id = {quoted(signal)}"),
            *(rows(table, f"signal_id = {quoted(signal)}") for table in _VERDICTS),
        )
        facts.signals, (facts.intents, facts.denials, facts.no_trades) = signals, verdicts
    elif order:
        facts.intents = await rows("intents", f"id = {quoted(order)}")
    bar = _bar_where(str(facts.signals[0]["bar"])) if facts.signals else ""
    orders = sorted({str(row["id"]) for row in facts.intents} | ({order} if order else set()))
    facts.bars, _ = await asyncio.gather(rows("bars", bar), _add_orders(facts, orders, rows))
    return facts


async def _order_of(target: Target, rows: Callable[..., Awaitable[Sequence[Row]]]) -> str:
    if target.kind in {"order", "intent"}:
        return target.id
    if target.kind != "fill":
        return ""
    venue, _, quantity = target.id.rpartition("|")
    found = await rows("fills", f"venue_order_id = {quoted(venue)} AND cum_qty = {quantity}", "client_order_id")
    return str(found[0]["client_order_id"]) if found else ""


async def _signal_of(target: Target, order: str, rows: Callable[..., Awaitable[Sequence[Row]]]) -> str:
    if target.kind == "signal":
        return target.id
    table = {"denial": "denials", "no_trade": "no_trades"}.get(target.kind, "intents")
    found = await rows(table, f"id = {quoted(order or target.id)}", "signal_id")
    return str(found[0]["signal_id"]) if found else ""


def _bar_where(key: str) -> str:
    """Take a bar key apart (engine.ids.bar_key); empty where it is none."""
    parts = key.rsplit("|", 3)
    if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):
        return ""
    symbol, timeframe, ts_event, revision = parts
    return (
        f"symbol = {quoted(symbol)} AND timeframe = {quoted(timeframe)} AND ts_event_ns = {ts_event} "
        f"AND revision = {revision}"
    )


async def _add_orders(facts: Facts, orders: Sequence[str], rows: Callable[..., Awaitable[Sequence[Row]]]) -> None:
    if not orders:
        return
    ids = ", ".join(map(quoted, orders))
    causes = f"cause IN (SELECT {FILL_KEY} FROM fills WHERE client_order_id IN ({ids}))"  # noqa: S608
    facts.order_events, facts.fills, facts.positions, facts.account = await asyncio.gather(
        rows("order_events", f"client_order_id IN ({ids})"),
        rows("fills", f"client_order_id IN ({ids})"),
        rows("positions", causes),
        rows("account", causes),
    )
    if not facts.fills:
        return
    first = facts.fills[0]
    since = min(row["ts_event_ns"] for row in facts.fills)
    same = f"bot = {quoted(first['bot'])} AND symbol = {quoted(first['symbol'])} AND ts_event_ns >= {since}"
    facts.others, facts.fees = await asyncio.gather(
        rows("fills", f"{same} AND client_order_id NOT IN ({ids})", "ts_event_ns"), rows("fees", same)
    )
