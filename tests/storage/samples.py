"""Bodies and messages for the storage tests, by hand."""

from __future__ import annotations

from decimal import Decimal

from engine.messages import (
    Bar,
    Fill,
    Head,
    Message,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderFilled,
    OrderIntent,
    OrderSubmitted,
    Position,
    Signal,
)
from engine.values import NS_PER_MINUTE, Direction, OrderType, Purpose, Side, TimeInForce

T0 = 1_700_000_000_000_000_000
HEAD = Head(ts_init=T0 + 7, ts_recv=T0 + 3, trace="AAPL|1m|0|0")


def messages(*bodies, head=HEAD):
    return [Message(head, body) for body in bodies]


def bar(symbol="AAPL", minute=0, revision=0, close=100.5, timeframe="1m"):
    return Bar(symbol, timeframe, T0 + minute * NS_PER_MINUTE, 100.0, 101.0, 99.0, close, 1000.0, 12, 100.25, revision)


def bars(start, count, symbols=50):
    """Bars number `start`.. of an endless sequence: minute by minute, symbol by symbol."""
    return [bar(f"S{n % symbols:03d}", n // symbols, close=100 + n % 7) for n in range(start, start + count)]


def fill(venue_order_id="v1", cum_qty="10", last_qty="10", last_px="100.25", **kw):
    return Fill(
        venue_order_id=venue_order_id,
        cum_qty=Decimal(cum_qty),
        client_order_id=kw.get("client_order_id", "c1"),
        bot=kw.get("bot", "alpha"),
        symbol=kw.get("symbol", "AAPL"),
        side=kw.get("side", Side.BUY),
        last_qty=Decimal(last_qty),
        last_px=Decimal(last_px),
        ts_event=kw.get("ts_event", T0),
        commission=Decimal(kw.get("commission", "0")),
    )


def signal(ident="s1", **kw):
    values = {
        "id": ident,
        "bot": "alpha",
        "symbol": "AAPL",
        "strategy": "sma_crossover",
        "direction": Direction.LONG,
        "strength": 1.0,
        "price": 100.5,
        "reason": "fast above slow",
        "bar": f"AAPL|1m|{T0}|0",
        "ts_event": T0,
        "indicators": {"sma_5": 100.0, "sma_3": 100.125},
    }
    return Signal(**(values | kw))


def adopted(ident="leg", venue_order_id="v1", **kw):
    values = {
        "id": ident,
        "bot": "alpha",
        "symbol": "AAPL",
        "side": Side.SELL,
        "quantity": Decimal(30),
        "order_type": OrderType.STOP,
        "time_in_force": TimeInForce.DAY,
        "venue_order_id": venue_order_id,
        "purpose": Purpose.FOREIGN,
        "ts_event": T0,
    }
    return OrderAdopted(**(values | kw))


def intent(ident="c1", **kw):
    values = {
        "id": ident,
        "signal_id": "s1",
        "bot": "alpha",
        "symbol": "AAPL",
        "side": Side.BUY,
        "quantity": Decimal(30),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY,
        "ref_px": Decimal("100.5"),
        "reserved": Decimal(3015),
        "decided_ns": T0 + 5_000_000,
        "valid_until": T0 + NS_PER_MINUTE,
    }
    return OrderIntent(**(values | kw))


def submitted(ident="c1", ts_event=T0 + 1):
    return OrderSubmitted(ident, "alpha", "AAPL", ts_event)


def accepted(ident="c1", venue="v1", ts_event=T0 + 2):
    return OrderAccepted(ident, "alpha", "AAPL", venue, ts_event)


def filled(ident="c1", venue="v1", quantity="30", avg_px="101", ts_event=T0 + 9):
    return OrderFilled(ident, "alpha", "AAPL", venue, Decimal(quantity), Decimal(avg_px), ts_event)


def canceled(ident="c1", venue="v1", quantity="10", ts_event=T0 + 9):
    return OrderCanceled(ident, "alpha", "AAPL", venue, Decimal(quantity), ts_event)


def position(cause, signed_qty, symbol="AAPL", bot="alpha"):
    return Position(bot, symbol, Decimal(signed_qty), Decimal("100.25"), Decimal(0), cause, T0)
