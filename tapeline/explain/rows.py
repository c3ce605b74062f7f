"""The rows of one chain: as SQL, and gathered by whoever answers SQL. It decides nothing about their meaning.

Called by explain.command. `ask` runs one SELECT and gives its rows; columns are as the tables have them, so that what a
later schema stores with a verdict is found too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from engine.errors import ConfigError
from engine.values import MINUTE_BAR
from tapeline.explain.find import (
    COLUMNS_SQL,
    FILL_KEY,
    Columns,
    Row,
    Target,
    choose,
    columns_of,
    find_sql,
    is_number,
    quoted,
)

type Ask = Callable[[str], Awaitable[Sequence[Row]]]

type Rows = Callable[..., Awaitable[Sequence[Row]]]

_VERDICTS = ("intents", "denials", "no_trades")
_HOPS_MAX = 64
"""From a leg to its parent, from a replacement to what it replaced, from a protecting order to what it protects."""


class Facts(msgspec.Struct, kw_only=True):
    """Every stored row that belongs to a chain, in the order of recording.

    Attributes:
        marks: The prices that a guard's signal rests on, instead of a bar.
        protections: Who held the stop of that position then, and where it was.
        adopted: Orders that were not decided here: legs, closing orders of a halt, foreign ones.
        requests: Wishes of people and of risk to cancel or replace one of the orders, with `request`.
        fees: Of the same bot and symbol, from the first fill of an order on; `chain` says which belong.
        others: Fills of other orders of the same bot and symbol from then on, bot, symbol and time only.
    """

    bars: Sequence[Row] = ()
    marks: Sequence[Row] = ()
    protections: Sequence[Row] = ()
    signals: Sequence[Row] = ()
    intents: Sequence[Row] = ()
    denials: Sequence[Row] = ()
    no_trades: Sequence[Row] = ()
    adopted: Sequence[Row] = ()
    requests: Sequence[Row] = ()
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
        order = "seq" if table == "all_marks" else "rowid"  # a view has no rowid
        return await ask(f"SELECT {select} FROM {table} WHERE {where} ORDER BY {order}")  # noqa: S608  (ids are quoted)

    facts = Facts()
    asked = await _order_of(target, rows)
    signal, orders = await _origin(asked, rows) if asked else (await _signal_of(target, rows), [])
    wishes = await rows("replace_requests", f"id = {quoted(signal)}" if signal else "")
    if wishes:  # the denial of a wish to replace: what it was about is what must be explained
        signal, orders = await _origin(str(wishes[0]["client_order_id"]), rows)
    listed = f" OR id IN ({', '.join(map(quoted, orders))})" if orders else ""
    if signal or orders:
        verdicts = f"signal_id = {quoted(wishes[0]['id'] if wishes else signal)}{listed}"
        facts.signals, facts.intents, facts.denials, facts.no_trades = await asyncio.gather(
            rows("signals", f"id = {quoted(signal)}"),
            rows("intents", f"signal_id = {quoted(signal)}{listed}" if signal else _among(orders, "id")),
            *(rows(table, verdicts) for table in _VERDICTS[1:]),
        )
    bar = str(facts.signals[0]["bar"]) if facts.signals else ""
    known = list(dict.fromkeys([*(str(row["id"]) for row in facts.intents), *reversed(orders)]))
    facts.bars, _, _ = await asyncio.gather(
        rows("bars" if f"|{MINUTE_BAR}|" in bar else "derived_bars", _bar_where(bar)),
        _add_marks(facts, bar, rows),
        _add_orders(facts, known, rows),
    )
    return facts


async def _order_of(target: Target, rows: Rows) -> str:
    if target.kind in {"order", "intent"}:
        return target.id
    if target.kind != "fill":
        return ""
    venue, _, quantity = target.id.rpartition("|")
    return await _owner_of(venue, quantity, rows)


async def _signal_of(target: Target, rows: Rows) -> str:
    if target.kind == "signal":
        return target.id
    table = {"denial": "denials", "no_trade": "no_trades"}.get(target.kind, "")
    found = await rows(table, f"id = {quoted(target.id)}", "signal_id")
    return str(found[0]["signal_id"]) if found else ""


async def _origin(order: str, rows: Rows) -> tuple[str, list[str]]:
    """Follow an order to the signal it comes from.

    Returns:
        The signal's id, empty without one; the orders on the way, the first is the one asked for.
    """
    way: list[str] = []
    while order and order not in way and len(way) < _HOPS_MAX:
        way.append(order)
        intents, adopted = await asyncio.gather(
            rows("intents", f"id = {quoted(order)}"), rows("adopted_orders", f"id = {quoted(order)}", "parent")
        )
        if not intents:
            order = str(adopted[0]["parent"] or "") if adopted else ""
            continue
        intent = intents[0]
        venue, is_fill_key, quantity = str(intent["signal_id"]).rpartition("|")
        if intent.get("replaces"):
            order = str(intent["replaces"])
        elif intent.get("purpose") == "protect":  # named by what changed the position: a fill, or a fee, a correction
            order = await _owner_of(venue, quantity, rows) if is_fill_key else ""
        else:
            return str(intent["signal_id"]), way
    return "", way


async def _owner_of(venue_order_id: str, cum_qty: str, rows: Rows) -> str:
    where = f"venue_order_id = {quoted(venue_order_id)} AND cum_qty = {cum_qty}" if is_number(cum_qty) else ""
    found = await rows("fills", where, "client_order_id")
    return str(found[0]["client_order_id"]) if found else ""


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


async def _add_marks(facts: Facts, key: str, rows: Rows) -> None:
    """Add the mark that a guard's signal rests on, and what was said last of the position's protection."""
    parts = key.split("|")
    if len(parts) != 4 or parts[0] != "mark" or not (parts[2].isdecimal() and parts[3].isdecimal()):
        return
    of, signal = f"symbol = {quoted(parts[1])}", facts.signals[0]
    then = f"{of} AND bot = {quoted(signal['bot'])} AND ts_event_ns <= {parts[3]}"
    facts.marks, said = await asyncio.gather(
        rows("all_marks", f"{of} AND ts_from_ns = {parts[2]} AND ts_event_ns = {parts[3]}"), rows("protections", then)
    )
    facts.protections = said[-1:]


def _among(ids: Sequence[str], column: str) -> str:
    return f"{column} IN ({', '.join(map(quoted, ids))})" if ids else ""


async def _add_orders(facts: Facts, orders: Sequence[str], rows: Rows) -> None:
    if not orders:
        return
    ids = ", ".join(map(quoted, orders))
    facts.adopted, canceled, replaced = await asyncio.gather(
        rows("adopted_orders", _among(orders, "id")),
        rows("cancel_requests", _among(orders, "client_order_id"), "'cancel' AS request, *"),
        rows("replace_requests", _among(orders, "client_order_id"), "'replace' AS request, *"),
    )
    facts.requests = sorted((*canceled, *replaced), key=lambda row: row["ts_event_ns"])
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
