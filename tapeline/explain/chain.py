"""Puts the rows of one chain together: bar, signal, verdicts, orders with events and fills, positions, and the steps.

Pure: rows in, one plain object out, which is what `--json` prints. Its shape is stable; keys may be added:

    id        the id as asked for
    kind      what it is: fill, order, intent, signal, denial, no_trade
    target    that thing's whole id; of a fill venue_order_id|cumulative quantity
    bar       row of bars, or null
    mark      row of all_marks, or null: what a guard's signal rests on instead of a bar
    protection  row of protections, or null: who held the stop then and where it was
    signal    row of signals, or null; indicators is an object
    verdicts  rows of intents, denials, no_trades, each with verdict (intent, denial, no_trade) and asked (true, false)
    orders    client_order_id, venue_order_id, bot, symbol, side, status, asked, quantity, filled_qty, avg_px, ref_px,
              slippage_bps, commission, with
              adopted   row of adopted_orders, or null: an order that was not decided here (leg, halt, by hand)
              requests  rows of cancel_requests and replace_requests, each with request (cancel, replace)
              events  rows of order_events
              fills   rows of fills, each with asked, slippage_bps, position (row of positions or null), account (row
                      of account or null)
              fees    rows of fees of this bot and symbol from the first fill to the next order's (a fee names no order)
    steps     what, id, ts (wall clock), ts_event (at the venue), ms_since_previous, ms_since_start; by wall clock
    missing   sentences: what the chain names and the tables do not hold

A row has the columns of its table: exact numbers are text, times are ISO 8601 UTC text, exact to the nanosecond where
the table is (the column ..._ns is folded in). slippage_bps is signed for the order: above 0 is worse for us.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from engine.ids import fill_key
from engine.values import NS_PER_S, plain
from storage.tables import TABLES, Kind
from tapeline.explain.find import Row, Target
from tapeline.explain.rows import Facts

type Plain = dict[str, Any]

_BPS = Decimal(10_000)
_EARLY = {"OrderSubmitted": "Submitted", "OrderAccepted": "Accepted"}
_JSON = frozenset(column.name for table in TABLES for column in table.columns if column.kind is Kind.JSON)
_VERDICTS = (("intent", "intents"), ("denial", "denials"), ("no_trade", "no_trades"))


def build(asked: str, target: Target, facts: Facts) -> Plain:
    """Put a chain together.

    Args:
        asked: The id as the user gave it.
        target: What it means.
        facts: The rows, as the tables hold them.
    """
    verdicts = [
        {"verdict": kind, "asked": _is_asked(target, kind, row["id"])} | plain_row(row)
        for kind, table in _VERDICTS
        for row in getattr(facts, table)
    ]
    orders = [_order(client_id, target, facts) for client_id in _order_ids(target, facts)]
    for verdict in verdicts:
        if verdict["verdict"] == "intent":
            verdict["asked"] = any(o["asked"] for o in orders if o["client_order_id"] == verdict["id"])
    return {
        "id": asked,
        "kind": target.kind,
        "target": target.id,
        "bar": plain_row(facts.bars[0]) if facts.bars else None,
        "mark": plain_row(facts.marks[0]) if facts.marks else None,
        "protection": plain_row(facts.protections[0]) if facts.protections else None,
        "signal": plain_row(facts.signals[0]) if facts.signals else None,
        "verdicts": verdicts,
        "orders": orders,
        "steps": steps(facts),
        "missing": _missing(target, facts, orders),
    }


def _is_asked(target: Target, kind: str, row_id: str) -> bool:
    return target.kind == "signal" or (target.kind == kind and target.id == row_id)


def _order_ids(target: Target, facts: Facts) -> list[str]:
    """Give the orders in the order of their intents, an order without an intent last."""
    found = [row["id"] for row in facts.intents]
    found += [row["id"] for row in facts.adopted]
    found += [row["client_order_id"] for row in (*facts.order_events, *facts.fills)]
    if target.kind == "order":
        found.append(target.id)
    return list(dict.fromkeys(found))


def _order(client_id: str, target: Target, facts: Facts) -> Plain:
    adopted = next((row for row in facts.adopted if row["id"] == client_id), None)
    intent = next((row for row in facts.intents if row["id"] == client_id), None)
    known: Sequence[Row] = [row for row in (intent, adopted) if row is not None]
    events = [row for row in facts.order_events if row["client_order_id"] == client_id]
    fills = [row for row in facts.fills if row["client_order_id"] == client_id]
    any_row: Row = next(iter((*known, *events, *fills)), {})
    ref = intent["ref_px"] if intent else None
    side = next((row["side"] for row in (*known, *fills)), None)
    quantity = sum((row["last_qty"] for row in fills), Decimal(0))
    average = sum((row["last_qty"] * row["last_px"] for row in fills), Decimal(0)) / quantity if quantity else None
    keys = {_key(row) for row in fills}
    named = (*([adopted] if adopted else []), *events, *fills)
    venue_ids = [row["venue_order_id"] for row in named if row["venue_order_id"]]
    return {
        "client_order_id": client_id,
        "venue_order_id": venue_ids[0] if venue_ids else None,
        "bot": any_row.get("bot"),
        "symbol": any_row.get("symbol"),
        "side": side,
        "status": status_of(events, fills, is_adopted=adopted is not None),
        "asked": target.kind == "signal" or client_id == target.id or (target.kind == "fill" and target.id in keys),
        "quantity": value(known[0]["quantity"]) if known else None,
        "filled_qty": plain(quantity),
        "avg_px": None if average is None else plain(round(average, 9)),
        "ref_px": value(ref),
        "slippage_bps": slippage_bps(side, ref, average),
        "commission": plain(sum((row["commission"] for row in fills), Decimal(0))),
        "adopted": None if adopted is None else plain_row(adopted),
        "requests": [plain_row(row) for row in facts.requests if row["client_order_id"] == client_id],
        "events": [plain_row(row) for row in events],
        "fills": [_fill(row, ref, target, facts) for row in fills],
        "fees": [plain_row(row) for row in fees_of(fills, facts)],
    }


def _fill(row: Row, ref: Decimal | None, target: Target, facts: Facts) -> Plain:
    key = _key(row)

    def caused(rows: Sequence[Row]) -> Plain | None:
        return next((plain_row(found) for found in rows if found["cause"] == key), None)

    return plain_row(row) | {
        "asked": target == Target("fill", key),
        "slippage_bps": slippage_bps(row["side"], ref, row["last_px"]),
        "position": caused(facts.positions),
        "account": caused(facts.account),
    }


def _key(fill: Row) -> str:
    return fill_key(fill["venue_order_id"], plain(fill["cum_qty"]))


def status_of(events: Sequence[Row], fills: Sequence[Row], *, is_adopted: bool = False) -> str:
    """Say how an order stands, from its events in the order of recording (as the view `orders` does)."""
    names = [row["event"] for row in events]
    late = [name for name in names if name not in _EARLY]
    if late:
        return late[-1].removeprefix("Order")
    if fills:
        return "PartiallyFilled"
    early = next((_EARLY[name] for name in ("OrderAccepted", "OrderSubmitted") if name in names), "Initialized")
    return "Accepted" if is_adopted else early


def slippage_bps(side: str | None, reference: Decimal | None, price: Decimal | None) -> float | None:
    """Compare a price with the reference price, in basis points of it: above 0 is worse for us, None is not known."""
    if side not in {"buy", "sell"} or not reference or price is None:
        return None
    worse = price - reference if side == "buy" else reference - price
    return round(float(worse / reference * _BPS), 2) + 0.0


def fees_of(fills: Sequence[Row], facts: Facts) -> list[Row]:
    """Give the fees that follow an order's fills: the venue names bot and symbol only, so time decides.

    Those from the first fill on, until another order of the same bot and symbol is filled after the last one.
    """
    if not fills:
        return []
    first, last = min(row["ts_event_ns"] for row in fills), max(row["ts_event_ns"] for row in fills)
    ours = fills[0]["client_order_id"]
    others = [row["ts_event_ns"] for row in facts.others]
    others += [row["ts_event_ns"] for row in facts.fills if row["client_order_id"] != ours]
    until = min((ts for ts in others if ts > last), default=None)
    return [row for row in facts.fees if first <= row["ts_event_ns"] and (until is None or row["ts_event_ns"] < until)]


def steps(facts: Facts) -> list[Plain]:
    """Give what happened by the wall clock, from the bar's reception to the last position, with the times between."""
    found: list[tuple[datetime, str, str, Row]] = []
    received = next((row for row in (*facts.bars, *facts.marks, *facts.signals) if row["ts_recv"]), None)
    if received is not None and facts.signals:
        what = "mark received" if str(facts.signals[0]["bar"]).startswith("mark|") else "bar received"
        found.append((received["ts_recv"], what, str(facts.signals[0]["bar"]), received))
    found += [(row["ts_init"], "signal", row["id"], row) for row in facts.signals]
    found += [(row["ts_init"], kind, row["id"], row) for kind, table in _VERDICTS for row in getattr(facts, table)]
    found += [(row["ts_init"], f"{row['request']} wished", row["client_order_id"], row) for row in facts.requests]
    found += [(row["ts_init"], "adopted", row["id"], row) for row in facts.adopted]
    found += [(row["ts_init"], row["event"], row["client_order_id"], row) for row in facts.order_events]
    found += [(row["ts_init"], "fill", _key(row), row) for row in facts.fills]
    found += [(row["ts_init"], "position", row["cause"], row) for row in facts.positions]
    found.sort(key=lambda step: step[0])
    made: list[Plain] = []
    for number, (moment, what, row_id, row) in enumerate(found):
        at_venue = "ts_event" if "ts_event" in row else "decided"
        made.append(
            {
                "what": what,
                "id": row_id,
                "ts": value(moment),
                "ts_event": exact_moment(row, at_venue),
                "ms_since_previous": _ms(moment, found[max(number - 1, 0)][0]),
                "ms_since_start": _ms(moment, found[0][0]),
            }
        )
    return made


def _ms(moment: datetime, since: datetime) -> float:
    return round((moment - since).total_seconds() * 1000, 3)


def _missing(target: Target, facts: Facts, orders: Sequence[Plain]) -> list[str]:
    found: list[str] = []
    if not facts.signals:
        named = next((row["signal_id"] for row in (*facts.intents, *facts.denials, *facts.no_trades)), None)
        if named and not facts.adopted:
            found.append(f"signal {named} is not in the table signals")
        elif not facts.adopted:
            found.append(f"no intent is stored for {target.id}: the order was not decided here")
    elif not (facts.bars or facts.marks):
        key = str(facts.signals[0]["bar"])
        found.append(
            f"{key} is not in the view all_marks" if key.startswith("mark|") else f"bar {key} is not in the table bars"
        )
    if facts.signals and not (facts.intents or facts.denials or facts.no_trades):
        found.append(
            "no verdict of risk is stored yet: it waits, the recorder is behind, or the bot is a shadow, whose "
            "verdicts are in the views shadow_intents and shadow_denials"
        )
    for order in orders:
        is_silent = not order["events"] and order["adopted"] is None
        found += [f"no event is stored for order {order['client_order_id']} yet"] if is_silent else []
        found += [
            f"no position is stored after fill {fill['venue_order_id']}|{fill['cum_qty']}"
            for fill in order["fills"]
            if fill["position"] is None
        ]
    return found


# --- rows as plain values ------------------------------------------------------------------------------------------


def plain_row(row: Row) -> Plain:
    """Give a row as plain values, each moment once and exact."""
    found: Plain = {}
    for name, stored in row.items():
        if name.endswith("_ns"):
            continue
        stem = name.removesuffix("_at")
        if f"{stem}_ns" in row:
            found[name] = exact_moment(row, stem)
        elif name in _JSON and isinstance(stored, str):
            found[name] = msgspec.json.decode(stored)
        else:
            found[name] = value(stored)
    return found


def exact_moment(row: Row, stem: str) -> str | None:
    """Give a moment as ISO 8601 UTC text, from its column in nanoseconds where there is one."""
    ns = row.get(f"{stem}_ns")
    if ns is None:
        return value(row.get(stem))
    seconds, rest = divmod(int(ns), NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def value(stored: Any) -> Any:
    """Give one stored value as a plain one: exact numbers and times as text."""
    match stored:
        case Decimal():
            return plain(stored)
        case datetime():
            return f"{stored.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        case _:
            return stored
