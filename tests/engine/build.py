"""Messages for tests with everything filled in that a test does not care about."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from engine.bots import Bot
from engine.ids import bar_key
from engine.messages import AccountOpened, Bar, Fill, OrderIntent, Sessions, Signal, SymbolStatus, VenueFunds
from engine.values import NS_PER_MINUTE, AssetClass, Direction, OrderType, Side, TimeInForce

D = Decimal
OWNER = Path(__file__).with_name("owner.py").read_text(encoding="utf-8")
T0 = 28_333_333 * 60 * 1_000_000_000
"""A whole minute; nothing in the engine knows which day it is."""
DAY_NS = 24 * 60 * NS_PER_MINUTE


def minute(number: int) -> int:
    """Close of the bar `number` minutes after T0."""
    return T0 + number * NS_PER_MINUTE


def bar(close: float, number: int = 1, symbol: str = "AAPL", **more: object) -> Bar:
    return Bar(
        symbol=symbol,
        timeframe="1m",
        ts_event=minute(number),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=100.0,
        **more,  # type: ignore[arg-type]
    )


def bot(**more: object) -> Bot:
    fields: dict[str, object] = {
        "name": "alpha",
        "strategy": "sma_crossover",
        "symbols": ("AAPL",),
        "capital": D(100_000),
        "position_fraction": 0.1,
    }
    return Bot(**(fields | more))  # type: ignore[arg-type]


def signal(
    direction: Direction = Direction.LONG,
    *,
    number: int = 1,
    price: float = 100.0,
    strength: float | None = None,
    symbol: str = "AAPL",
    bot: str = "alpha",
    id: str = "",
) -> Signal:
    return Signal(
        id=id or f"signal-{bot}-{symbol}-{number}",
        bot=bot,
        symbol=symbol,
        strategy="sma_crossover",
        direction=direction,
        strength=(0.0 if direction is Direction.FLAT else 1.0) if strength is None else strength,
        price=price,
        reason="test",
        bar=bar_key(symbol, "1m", minute(number), 0),
        ts_event=minute(number),
    )


def intent(id: str = "i1", side: Side = Side.BUY, quantity: str = "10", **more: object) -> OrderIntent:
    fields: dict[str, object] = {
        "id": id,
        "signal_id": f"signal-of-{id}",
        "bot": "alpha",
        "symbol": "AAPL",
        "side": side,
        "quantity": D(quantity),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY,
        "ref_px": D(100),
        "reserved": D(1020),
        "decided_ns": T0,
        "valid_until": T0 + 2 * NS_PER_MINUTE,
    }
    return OrderIntent(**(fields | more))  # type: ignore[arg-type]


def fill(
    of: OrderIntent, quantity: str | Decimal, cum_qty: str | Decimal, px: str | Decimal = "100", **more: object
) -> Fill:
    fields: dict[str, object] = {
        "venue_order_id": f"venue-{of.id}",
        "cum_qty": D(cum_qty),
        "client_order_id": of.id,
        "bot": of.bot,
        "symbol": of.symbol,
        "side": of.side,
        "last_qty": D(quantity),
        "last_px": D(px),
        "ts_event": T0,
    }
    return Fill(**(fields | more))  # type: ignore[arg-type]


def opened(cash: str = "100000", **positions: str) -> AccountOpened:
    return AccountOpened("SIM", "ACC1", "run1", D(cash), T0, {name: D(qty) for name, qty in positions.items()})


def lent(*symbols: str) -> list[SymbolStatus | VenueFunds]:
    """The venue lends these, and lets the account sell short."""
    return [funds(), *(SymbolStatus(symbol, "assets", "active", T0) for symbol in symbols)]


def funds(buying_power: str = "1e9", equity: str = "100000", **more: object) -> VenueFunds:
    return VenueFunds(D(buying_power), D(equity), **({"is_shorting_enabled": True, "ts_event": T0} | more))  # type: ignore[arg-type]


def always_open() -> Sessions:
    return Sessions(AssetClass.US_EQUITY, ((0, 1 << 62),), T0)
