"""Decides what one working order does in one candle: how much fills, at which price, and whether the order ends.

Pure: no clock, no randomness (the caller passes the draws), no account, no calendar. Called by the local exchange for
each order and bar, and by the backtester. Whether the order may trade in this candle at all (regular hours, day order
of another day) is the caller's question, asked before.

Promises:
1. A fill price lies inside the candle (low <= price <= high), and never beyond the order's limit.
2. A candle is four prices without an order of high and low in time; where the order matters, the rule is the
   pessimistic one, written at `_stop_limit_price`, unless the model says to follow a path (`FillRule.BAR_PATH`).
3. Touching is trading: a buy limit fills when low <= limit.
4. A stop that was triggered in an earlier candle, and is not filled, is a market order.
5. `opg` sees the open of its candle and nothing else, `cls` the close; what they leave unfilled ends there.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from enum import StrEnum

import msgspec

from engine.values import CRYPTO_LOT, EQUITY_TICK, ZERO, OrderType, Side, TimeInForce, round_to

_BPS = Decimal(10_000)
_PERCENT = Decimal(100)
_ONE_CANDLE = frozenset({TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG, TimeInForce.CLS})


class Candle(msgspec.Struct, frozen=True):
    """Prices and volume of one interval."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO


class WorkingOrder(msgspec.Struct, frozen=True):
    """What matching needs of an order. Exactly one of `leaves_qty` and `leaves_notional` is given.

    `is_triggered` is True for a stop, stop-limit or trailing-stop order that was triggered in an earlier candle. A
    trailing stop has one of `trail_px` (USD) and `trail_percent` (2 is 2 %), and `hwm`, the best price so far: the
    highest for a sale, the lowest for a purchase.
    """

    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    leaves_qty: Decimal | None = None
    leaves_notional: Decimal | None = None
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    is_triggered: bool = False
    trail_px: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None


class FillRule(StrEnum):
    """At what prices of a candle orders are filled."""

    NEXT_OPEN = "next_open"
    """Market orders at the open; of high and low the worse for the order is taken to have come first."""
    CLOSE = "close"
    """Market orders at the close; else as `next_open`, also what is left of a stop that was triggered."""
    BAR_PATH = "bar_path"
    """Market orders at the open; prices went from the open to the nearer of high and low (the high where both are as
    near), to the other, to the close."""


class FillModel(msgspec.Struct, frozen=True):
    """How unkind the venue is. Slippage is of market and stop orders, always against them, and adds up.

    Args:
        slippage_bps_max: Up to this many basis points of the price, drawn; 0 turns it off.
        partial_fill_probability: Chance, per order and candle, that only a part fills; 0..1.
        volume_share_max: Largest part of the candle's volume that one order may take; None is no limit.
        tick: Price step to which slippage is rounded, away from the order's favour.
        lot: Quantity step.
        slippage_ticks: So many ticks.
        slippage_range: Part of the candle's range, high less low.
        rule: At what prices.
    """

    slippage_bps_max: Decimal = ZERO
    partial_fill_probability: Decimal = ZERO
    volume_share_max: Decimal | None = None
    tick: Decimal = EQUITY_TICK
    lot: Decimal = Decimal(1)
    slippage_ticks: Decimal = ZERO
    slippage_range: Decimal = ZERO
    rule: FillRule = FillRule.NEXT_OPEN


class Draws(msgspec.Struct, frozen=True):
    """Random numbers in [0, 1) for one order in one candle, derived by the caller from its seed."""

    slippage: Decimal = ZERO
    partial: Decimal = ZERO
    share: Decimal = ZERO


class Match(msgspec.Struct, frozen=True):
    """What happened in the candle.

    Args:
        quantity: Filled quantity; 0 is no fill.
        price: Price of the fill.
        is_done: Nothing is left to fill.
        is_canceled: The time in force (ioc, fok, opg, cls) ends what is left.
        is_triggered: State of a stop, stop-limit or trailing-stop order after the candle.
    """

    quantity: Decimal = ZERO
    price: Decimal = ZERO
    is_done: bool = False
    is_canceled: bool = False
    is_triggered: bool = False


def match(order: WorkingOrder, candle: Candle, model: FillModel, draws: Draws) -> Match:
    """Match one order against one candle.

    Returns:
        `is_done` when nothing is left after this fill; `is_canceled` when the time in force ends what is left.
    """
    candle = _seen(order.time_in_force, candle)
    price, is_triggered = _price(order, candle, model, draws)
    ends_here = order.time_in_force in _ONE_CANDLE
    if price is None:
        return Match(is_canceled=ends_here, is_triggered=is_triggered)
    wanted = _wanted(order, price)
    available = _available(wanted, candle, model, draws)
    if available <= 0 or (order.time_in_force is TimeInForce.FOK and available < wanted):
        return Match(is_canceled=ends_here, is_triggered=is_triggered)
    is_done = available >= wanted
    return Match(available, price, is_done, ends_here and not is_done, is_triggered)


def trail_stop(
    side: Side, hwm: Decimal, trail_px: Decimal | None, trail_percent: Decimal | None, tick: Decimal
) -> Decimal:
    """Give the stop price that trails the best price so far, rounded to the tick away from it, at least one tick.

    Raises:
        ValueError: Neither trail is given.
    """
    distance = trail_px if trail_px is not None else hwm * _given(trail_percent, "trail_percent") / _PERCENT
    if side is Side.SELL:
        return max(tick, round_to(hwm - distance, tick, ROUND_FLOOR))
    return round_to(hwm + distance, tick, ROUND_CEILING)


def moved_hwm(side: Side, hwm: Decimal, candle: Candle) -> Decimal:
    """Give the best price so far after a candle that did not trigger: it never moves back."""
    return max(hwm, candle.high) if side is Side.SELL else min(hwm, candle.low)


def takes_profit_first(
    side: Side,
    limit_px: Decimal,
    candle: Candle,
    rule: FillRule = FillRule.NEXT_OPEN,
    *,
    stop_px: Decimal | None = None,
    is_triggered: bool = False,
) -> bool:
    """Tell which exit of a pair comes first in a candle: the profit if it opens there, or lies on the path to the stop.

    Else the stop, which is the pessimistic answer.

    Args:
        side: Of both.
        limit_px: Of the profit.
        candle: What happened.
        rule: Whether prices have a path.
        stop_px: Of the stop; None where it is a trailing one without a price yet.
        is_triggered: Whether the stop was triggered in an earlier candle.
    """

    def is_there(point: Decimal) -> bool:
        return point <= limit_px if side is Side.BUY else point >= limit_px

    if is_there(candle.open):
        return True
    if rule is not FillRule.BAR_PATH or is_triggered:
        return False
    is_stopped = stop_px is not None and (candle.open >= stop_px if side is Side.BUY else candle.open <= stop_px)
    return not is_stopped and is_there(path(candle)[1])


def path(candle: Candle) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Give the turning points of a candle's prices as `FillRule.BAR_PATH` takes them to have gone."""
    if candle.high - candle.open <= candle.open - candle.low:
        return candle.open, candle.high, candle.low, candle.close
    return candle.open, candle.low, candle.high, candle.close


def _seen(lifetime: TimeInForce, candle: Candle) -> Candle:
    """What an order sees of the candle: an auction has one price."""
    if lifetime not in (TimeInForce.OPG, TimeInForce.CLS):
        return candle
    price = candle.open if lifetime is TimeInForce.OPG else candle.close
    return Candle(price, price, price, price, candle.volume)


def _trigger(order: WorkingOrder, candle: Candle, model: FillModel) -> Decimal | None:
    """The price at which a stop or trailing stop becomes a market order in this candle, None where it does not.

    A trailing stop counts from the best price before the candle. Where that stop is not touched but the close lies
    beyond the stop of the candle's own best price, the price certainly came back through it: the fill is at the close,
    the worst price known to be later.
    """
    if order.order_type is OrderType.STOP:
        return _stop_price(order.side, _given(order.stop_px, "stop_px"), candle)
    hwm = _given(order.hwm, "hwm")
    if model.rule is FillRule.BAR_PATH:
        return _trailed(order, hwm, candle, model.tick)
    stop = trail_stop(order.side, hwm, order.trail_px, order.trail_percent, model.tick)
    touched = _stop_price(order.side, stop, candle)
    if touched is not None:
        return touched
    best = moved_hwm(order.side, hwm, candle)
    tightened = trail_stop(order.side, best, order.trail_px, order.trail_percent, model.tick)
    is_back = candle.close <= tightened if order.side is Side.SELL else candle.close >= tightened
    return candle.close if is_back else None


def _trailed(order: WorkingOrder, hwm: Decimal, candle: Candle, tick: Decimal) -> Decimal | None:
    """The price at which a trailing stop is reached on the candle's path: the open, or the stop as it stood then."""
    side = order.side
    for number, point in enumerate(path(candle)):
        stop = trail_stop(side, hwm, order.trail_px, order.trail_percent, tick)
        if point <= stop if side is Side.SELL else point >= stop:
            return stop if number else point
        hwm = max(hwm, point) if side is Side.SELL else min(hwm, point)
    return None


def _price(order: WorkingOrder, candle: Candle, model: FillModel, draws: Draws) -> tuple[Decimal | None, bool]:
    match order.order_type:
        case OrderType.MARKET:
            price = candle.close if model.rule is FillRule.CLOSE else candle.open
            return _slipped(order.side, price, candle, model, draws), False
        case OrderType.LIMIT:
            return _limit_price(order.side, _given(order.limit_px, "limit_px"), candle), False
        case OrderType.STOP | OrderType.TRAILING_STOP:
            touched = candle.open if order.is_triggered else _trigger(order, candle, model)
            if touched is None:
                return None, False
            return _slipped(order.side, touched, candle, model, draws), True
        case OrderType.STOP_LIMIT:
            limit, stop = _given(order.limit_px, "limit_px"), _given(order.stop_px, "stop_px")
            if order.is_triggered:
                return _limit_price(order.side, limit, candle), True
            return _stop_limit_price(order.side, limit, stop, candle, model.rule)
        case OrderType.OTHER:  # nobody here sends one
            return None, False


def _given(price: Decimal | None, name: str) -> Decimal:
    if price is None:
        msg = f"{name} must be given for this type of order, was None"
        raise ValueError(msg)
    return price


def _limit_price(side: Side, limit: Decimal, candle: Candle) -> Decimal | None:
    """The open if it is at or better than the limit, the limit if the candle touches it, else nothing."""
    if side is Side.BUY:
        if candle.open <= limit:
            return candle.open
        return limit if candle.low <= limit else None
    if candle.open >= limit:
        return candle.open
    return limit if candle.high >= limit else None


def _stop_price(side: Side, stop: Decimal, candle: Candle) -> Decimal | None:
    """The price at which the stop triggers: the open when the candle gaps through it, else the stop itself."""
    if side is Side.BUY:
        return max(candle.open, stop) if candle.high >= stop else None
    return min(candle.open, stop) if candle.low <= stop else None


def _stop_limit_price(
    side: Side, limit: Decimal, stop: Decimal, candle: Candle, rule: FillRule
) -> tuple[Decimal | None, bool]:
    """Trigger and limit inside one candle.

    Triggered by the open, the order is a limit order for the whole candle. Triggered inside the candle at a price the
    limit allows, it fills at the stop. Triggered inside the candle beyond its limit, it needs the price to come back
    after the trigger: nobody knows whether high or low came first, so only the close, which is later than everything,
    counts (on a path, all points after the trigger), and the fill is at the limit, not better.
    """
    trigger = _stop_price(side, stop, candle)
    if trigger is None:
        return None, False
    if trigger == candle.open:
        return _limit_price(side, limit, candle), True
    is_allowed = stop <= limit if side is Side.BUY else stop >= limit
    if is_allowed:
        return stop, True
    later = path(candle) if rule is FillRule.BAR_PATH else (candle.close,)
    while len(later) > 1 and (later[0] < stop if side is Side.BUY else later[0] > stop):
        later = later[1:]
    comes_back = any(point <= limit if side is Side.BUY else point >= limit for point in later)
    return (limit if comes_back else None), True


def _slipped(side: Side, price: Decimal, candle: Candle, model: FillModel, draws: Draws) -> Decimal:
    """Worsen a price by the slippage, rounded to the tick against the order, kept inside the candle."""
    distance = price * model.slippage_bps_max * draws.slippage / _BPS
    distance += model.tick * model.slippage_ticks + (candle.high - candle.low) * model.slippage_range
    if not distance:
        return price
    if side is Side.BUY:
        return min(candle.high, max(price, round_to(price + distance, model.tick, ROUND_CEILING)))
    return max(candle.low, min(price, round_to(price - distance, model.tick, ROUND_FLOOR)))


def _wanted(order: WorkingOrder, price: Decimal) -> Decimal:
    if order.leaves_qty is not None:
        return order.leaves_qty
    return round_to(_given(order.leaves_notional, "leaves_notional") / price, CRYPTO_LOT, ROUND_DOWN)


def _available(wanted: Decimal, candle: Candle, model: FillModel, draws: Draws) -> Decimal:
    """How much of the wanted quantity the candle gives: its share of the volume, then the drawn partial fill."""
    available = wanted
    if model.volume_share_max is not None:
        available = min(available, round_to(candle.volume * model.volume_share_max, model.lot, ROUND_DOWN))
    if draws.partial < model.partial_fill_probability and available > model.lot:
        available = max(model.lot, round_to(available * draws.share, model.lot, ROUND_DOWN))
    return available
