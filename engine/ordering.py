"""From a quantity to an order: type, life time, prices and class as the bot's style and stops say.

What opens or adds follows the style; what reduces goes as a market order, or outside regular hours as a limit order. A
position's first order carries its exits with it (bracket, OTO) where the venue can hold them. Prices are put on the
venue's steps by engine.rounding, here. Pure; called by engine.risk.
Rules: "Orders at Alpaca" and "Fractional trading" of Alpaca's documentation.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from functools import lru_cache

import msgspec

from engine.bots import Bot, OrderStyle, Stops
from engine.messages import SymbolStatus
from engine.rounding import RoundingRefused, round_terms
from engine.rounding import Terms as Numbers
from engine.values import (
    CRYPTO_LOT,
    ZERO,
    AssetClass,
    OrderClass,
    OrderType,
    Side,
    TimeInForce,
    asset_class_of,
    price_tick,
    round_to,
    to_decimal,
)

_BPS = Decimal(10_000)
_WHOLE = Decimal(1)
_EXIT_AWAY_MIN = Decimal("0.01")
"""USD between an entry and each of its exits, at least: the venue refuses less."""
_CENT = Decimal("0.01")
_exact = lru_cache(256)(to_decimal)  # settings are few
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_ROUNDED = ("notional", "limit_px", "stop_px", "take_profit_px", "stop_loss_px")
_LIMITS = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})


class Terms(msgspec.Struct, frozen=True):
    """What an order asks for, side and quantity apart; named as in OrderIntent."""

    order_type: OrderType
    time_in_force: TimeInForce
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    notional: Decimal | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit_px: Decimal | None = None
    stop_loss_px: Decimal | None = None


def lot_of(symbol: str, style: OrderStyle, sign: int = 1) -> Decimal:
    """Give the smallest step of a quantity: whole shares, parts of 1e-9 for coins and fractional long positions."""
    if asset_class_of(symbol) is AssetClass.CRYPTO or (style.fractional and sign > 0):
        return CRYPTO_LOT
    return _WHOLE


def on_venue_step(quantity: Decimal, said: SymbolStatus | None) -> Decimal:
    """Bring a signed quantity to the venue's own step, toward zero; as it is where the venue says none."""
    return quantity if said is None or not said.qty_step else round_to(quantity, said.qty_step, ROUND_DOWN)


def on_steps(
    terms: Terms,
    symbol: str,
    quantity: Decimal,
    price: Decimal,
    *,
    lot: Decimal,
    fraction_max: float,
    said: SymbolStatus | None = None,
) -> Terms | RoundingRefused:
    """Put the prices of an order on the venue's steps, or say why that would make another order of it.

    Args:
        terms: As the style says.
        symbol: Of the order.
        quantity: Signed, on the lot already.
        price: Reference price.
        lot: Smallest step of a quantity.
        fraction_max: By how much rounding may change the order's worth.
        said: The steps that the venue's list of assets says.
    """
    side = Side.BUY if quantity > 0 else Side.SELL
    shared = {name: getattr(terms, name) for name in _ROUNDED}
    wanted = Numbers(symbol, side, abs(quantity), price, terms.order_class, **shared)
    tick, least = (None, None) if said is None else (said.price_step, said.qty_min)
    rounded = round_terms(wanted, tick, lot, _exact(fraction_max), least)
    if isinstance(rounded, RoundingRefused):
        return rounded
    return msgspec.structs.replace(terms, **{name: getattr(rounded, name) for name in _ROUNDED})


def _moved(symbol: str, price: Decimal, fraction: Decimal, rounding: str) -> Decimal:
    """Give a price moved by a fraction of itself, on the venue's tick."""
    exact = price * (1 + fraction)
    return round_to(exact, price_tick(symbol, exact), rounding)


def terms_of(
    bot: Bot, symbol: str, quantity: Decimal, price: Decimal, *, reduces: bool, is_first: bool, is_regular: bool
) -> Terms:
    """Make the terms of an order.

    Args:
        bot: Whose style and stops.
        symbol: Of the order.
        quantity: Signed.
        price: Reference price.
        reduces: Whether it makes the position smaller.
        is_first: Whether nothing is held or working.
        is_regular: Whether the regular session is open.
    """
    style = bot.order
    side = Side.BUY if quantity > 0 else Side.SELL
    if reduces:
        return _exit(style, symbol, side, price, is_regular=is_regular)
    life = style.time_in_force or default_life(symbol)
    if style.notional and side is Side.BUY:  # the venue has no short sales of an amount
        return Terms(style.type, life, notional=round_to(abs(quantity) * price, _CENT, ROUND_DOWN))
    stop_px = limit_px = None
    if style.type in _STOPS:
        stop_px = price * (1 + side.sign * _exact(style.stop_offset_bps) / _BPS)
    if style.type in _LIMITS:
        base = price if stop_px is None else stop_px
        limit_px = base * (1 + side.sign * _exact(style.limit_offset_bps) / _BPS)
    trail = _exact(style.trail_percent, CRYPTO_LOT) if style.type is OrderType.TRAILING_STOP else None
    is_extended = style.extended_hours and asset_class_of(symbol) is AssetClass.US_EQUITY  # coins have all hours
    terms = Terms(style.type, life, limit_px, stop_px, trail, is_extended)
    if bot.stops is None or not is_first or not can_carry_exits(terms, symbol, quantity, bot.stops):
        return terms
    carrying = _with_exits(terms, symbol, side, bot.stops, limit_px or price)
    # Exits live as long as their entry (Alpaca). One at the market is done at once, so they may stay overnight; a limit
    # that nobody said the life of must not, and its exits are placed anew in the next session.
    outlasts = style.time_in_force is None and style.type is OrderType.MARKET
    if not outlasts or carrying.order_class is OrderClass.SIMPLE:
        return carrying
    return msgspec.structs.replace(carrying, time_in_force=TimeInForce.GTC)


def default_life(symbol: str) -> TimeInForce:
    """Give the life time of an order whose style names none."""
    return TimeInForce.GTC if asset_class_of(symbol) is AssetClass.CRYPTO else TimeInForce.DAY


def can_hold(symbol: str, quantity: Decimal) -> bool:
    """Whether the venue can hold exits of this quantity: whole shares of US equities only."""
    return asset_class_of(symbol) is AssetClass.US_EQUITY and quantity == quantity.to_integral_value()


def can_carry_exits(terms: Terms, symbol: str, quantity: Decimal, stops: Stops) -> bool:
    """Whether an entry may carry its exits: market or limit, day or gtc, regular hours, and no trailing stop."""
    return (
        can_hold(symbol, quantity)
        and terms.order_type in (OrderType.MARKET, OrderType.LIMIT)
        and terms.time_in_force in (TimeInForce.DAY, TimeInForce.GTC)
        and not terms.extended_hours
        and stops.trailing_stop is None
        and stops.held_by == "venue"
    )


def levels(
    stops: Stops, symbol: str, sign: int, entry: Decimal, peak: Decimal
) -> tuple[Decimal | None, Decimal | None]:
    """Give where a position is closed at a loss and in profit, None without one.

    Args:
        stops: As configured.
        symbol: For the tick.
        sign: +1 long, -1 short.
        entry: Average price of the position.
        peak: Its best price so far.
    """
    worse, better = (ROUND_FLOOR, ROUND_CEILING) if sign > 0 else (ROUND_CEILING, ROUND_FLOOR)
    stop = target = None
    if stops.stop_loss is not None:
        stop = _moved(symbol, entry, -sign * _exact(stops.stop_loss), worse)
    if stops.trailing_stop is not None:
        trailing = _moved(symbol, peak, -sign * _exact(stops.trailing_stop), worse)
        stop = trailing if stop is None or (trailing - stop) * sign > 0 else stop
    if stops.take_profit is not None:
        target = _moved(symbol, entry, sign * _exact(stops.take_profit), better)
    return stop, target


def _with_exits(terms: Terms, symbol: str, side: Side, stops: Stops, base: Decimal) -> Terms:
    stop, target = levels(stops, symbol, side.sign, base, base)
    if any(px is not None and (px <= ZERO or abs(px - base) < _EXIT_AWAY_MIN) for px in (stop, target)):
        return terms
    kind = OrderClass.OTO if stop is None or target is None else OrderClass.BRACKET
    return msgspec.structs.replace(terms, order_class=kind, take_profit_px=target, stop_loss_px=stop)


def _exit(style: OrderStyle, symbol: str, side: Side, price: Decimal, *, is_regular: bool) -> Terms:
    life = default_life(symbol)
    if not style.extended_hours or is_regular or asset_class_of(symbol) is AssetClass.CRYPTO:
        return Terms(OrderType.MARKET, life)
    limit_px = price * (1 + side.sign * _exact(style.exit_offset_bps) / _BPS)
    return Terms(OrderType.LIMIT, life, limit_px, extended_hours=True)
