"""Prices and quantities on the venue's steps, before an order is made: always to the side that costs nothing.

    limit of a purchase   down      quantity, notional     down
    limit of a sale       up        distance of a trail    up (later trigger)
    stop of a purchase    up        stop of a sale         down: neither triggers earlier than was asked

An order that rounding would make into another one is refused and never sent: nothing left of the quantity, a price of
0, or its worth changed by more than a fraction. Rounding twice changes nothing more. Pure, Decimal only; called by
engine.risk.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.values import OrderClass, Side, plain, price_tick

_CENT = Decimal("0.01")
_DIGITS_MAX = 24
_SIZE_MAX = 15
"""No believable amount is longer or has more digits before its point, and every step below is exact."""


class Terms(msgspec.Struct, frozen=True):
    """What of an order is a number, as wanted. Names and meaning as in OrderIntent.

    Attributes:
        ref_px: Price the sizing used, > 0; the worth of an order without a limit.
    """

    symbol: str
    side: Side
    quantity: Decimal
    ref_px: Decimal
    order_class: OrderClass = OrderClass.SIMPLE
    notional: Decimal | None = None
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    trail_px: Decimal | None = None
    take_profit_px: Decimal | None = None
    stop_loss_px: Decimal | None = None
    stop_loss_limit_px: Decimal | None = None


class RoundingRefused(msgspec.Struct, frozen=True):
    """Why the order must not be sent. `limit` and `observed` are what was compared, as text, for a RiskDenied."""

    reason: str
    limit: str
    observed: str


def round_terms(
    terms: Terms,
    tick: Decimal | None,
    lot: Decimal,
    fraction_max: Decimal,
    qty_min: Decimal | None = None,
) -> Terms | RoundingRefused:
    """Put an order's numbers on the venue's steps.

    Args:
        terms: As wanted; every number given is > 0.
        tick: Price step (VenueAsset.price_step); None: the rule for this symbol at each price (sub-penny rule).
        lot: Quantity step: 1 for whole shares, else VenueAsset.qty_step or 1e-9.
        fraction_max: By how much of its worth rounding may change the order, 0.01 is 1 %: quantity x price (notional
            where that is given), each exit's price, and a trail's distance against `ref_px`.
        qty_min: Smallest quantity the venue takes (VenueAsset.qty_min); None where it does not say.

    Returns:
        The rounded terms, or why there are none. Of a notional order the quantity is an estimate and stays as it is.
    """
    for name in terms.__struct_fields__:
        value = getattr(terms, name)
        if isinstance(value, Decimal) and not _is_amount(value):
            return RoundingRefused(f"{name} must be a believable number > 0, was {value}", "> 0", str(value))
    # Side on which the exits of the order trade: of an OCO, which is nothing but exits, its own.
    exits = terms.side if terms.order_class is OrderClass.OCO else _other(terms.side)
    is_sale, sells_out = terms.side is Side.SELL, exits is Side.SELL
    quantity, notional = terms.quantity, terms.notional
    rounded = msgspec.structs.replace(
        terms,
        quantity=_step(quantity, lot, up=False) if notional is None else quantity,
        notional=None if notional is None else _step(notional, _CENT, up=False),
        limit_px=_price(terms, terms.limit_px, tick, up=is_sale),
        stop_px=_price(terms, terms.stop_px, tick, up=not is_sale),
        trail_px=_price(terms, terms.trail_px, tick, up=True),
        take_profit_px=_price(terms, terms.take_profit_px, tick, up=sells_out),
        stop_loss_px=_price(terms, terms.stop_loss_px, tick, up=not sells_out),
        stop_loss_limit_px=_price(terms, terms.stop_loss_limit_px, tick, up=sells_out),
    )
    return _nothing_left(terms, rounded, lot, qty_min) or _changed(terms, rounded, fraction_max) or rounded


def _is_amount(value: Decimal) -> bool:
    if not value.is_finite() or value <= 0:
        return False
    return len(value.as_tuple().digits) <= _DIGITS_MAX and value.adjusted() < _SIZE_MAX


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def _step(value: Decimal, step: Decimal, *, up: bool) -> Decimal:
    rest = value % step
    if not rest:
        return value
    return value - rest + step if up else value - rest


def _price(terms: Terms, price: Decimal | None, tick: Decimal | None, *, up: bool) -> Decimal | None:
    if price is None:
        return None
    return _step(price, price_tick(terms.symbol, price) if tick is None else tick, up=up)


def _nothing_left(terms: Terms, rounded: Terms, lot: Decimal, qty_min: Decimal | None) -> RoundingRefused | None:
    least = lot if qty_min is None else max(lot, qty_min)
    if terms.notional is None and rounded.quantity < least:
        text = f"quantity {plain(terms.quantity)} is less than the smallest the venue takes, {plain(least)}"
        return RoundingRefused(text, plain(least), plain(terms.quantity))
    for name in rounded.__struct_fields__:
        value = getattr(rounded, name)
        if isinstance(value, Decimal) and not value:
            return RoundingRefused(f"{name} {plain(getattr(terms, name))} rounds to 0", "> 0", "0")
    return None


def _changed(terms: Terms, rounded: Terms, fraction_max: Decimal) -> RoundingRefused | None:
    """Compare what was wanted with what it became."""
    for name, was, is_now, whole in (
        ("the order's worth", _worth(terms), _worth(rounded), _worth(terms)),
        ("stop_px", terms.stop_px, rounded.stop_px, terms.stop_px),
        ("trail_px", terms.trail_px, rounded.trail_px, terms.ref_px),
        ("take_profit_px", terms.take_profit_px, rounded.take_profit_px, terms.take_profit_px),
        ("stop_loss_px", terms.stop_loss_px, rounded.stop_loss_px, terms.stop_loss_px),
        ("stop_loss_limit_px", terms.stop_loss_limit_px, rounded.stop_loss_limit_px, terms.stop_loss_limit_px),
    ):
        if was is None or is_now is None or whole is None:
            continue
        fraction = abs(is_now - was) / whole
        if fraction > fraction_max:
            shown = plain(round(fraction, 6))
            text = f"rounding to the venue's steps changes {name} from {plain(was)} to {plain(is_now)}"
            return RoundingRefused(text, plain(fraction_max), shown)
    return None


def _worth(terms: Terms) -> Decimal:
    price = terms.limit_px if terms.limit_px is not None else terms.ref_px
    return terms.notional if terms.notional is not None else terms.quantity * price
