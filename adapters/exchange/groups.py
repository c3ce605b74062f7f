"""Brackets, OCOs and OTOs: what their requests must look like, and the legs that follow from one.

    bracket   entry (market or limit) -> when filled: take profit and stop loss, one fill of which ends the other
    oto       entry -> when filled: the one exit that was given
    oco       two exits of a position at once: the take profit is the parent, the stop loss its leg

Rules: Alpaca "Orders at Alpaca" (bracket, OCO, OTO); codes and words as in error bodies seen by other clients. The book
calls it before it takes a group in. Pure; what happens to a group later is in the settlement.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from adapters.exchange.checks import CLASSES, check_terms, price_refusal
from adapters.exchange.orders import OrderRequest, OrderTerms, Refusal
from engine.values import ZERO, AssetClass, OrderType, Side, TimeInForce, plain

_CENT = Decimal("0.01")
_ALPACA_NAMES = {"bracket": "otoco", "oco": "oco", "oto": "oto"}


class Plan(msgspec.Struct, frozen=True):
    """The legs of a group beside its parent; a simple order has none."""

    order_class: str = ""
    stop_loss: OrderTerms | None = None
    take_profit: OrderTerms | None = None


def class_refusal(request: OrderRequest) -> Refusal | None:
    """Why the body does not fit its order class, as far as that is seen without asset and account."""
    kind = request.order_class
    gain = request.take_profit.limit_price if request.take_profit else None
    loss = request.stop_loss.stop_price if request.stop_loss else None
    if kind not in CLASSES:
        if request.take_profit or request.stop_loss:
            return _malformed("take_profit and stop_loss require order_class bracket, oco or oto")
        return None
    if kind == "oco" and request.type != "limit":
        return _malformed("oco orders must be limit orders")
    if request.type not in ("market", "limit"):
        return _malformed(f"{kind} orders must be market or limit orders")
    if kind == "oto":
        if (request.take_profit is None) == (request.stop_loss is None):
            return _malformed("oto orders require one of take_profit or stop_loss")
        if gain is None and loss is None:
            return _malformed("oto orders require take_profit.limit_price or stop_loss.stop_price")
        return None
    if gain is None:
        return _malformed(f"{kind} orders require take_profit.limit_price")
    if loss is None:
        return _malformed(f"{kind} orders require stop_loss.stop_price")
    return None


def make_plan(request: OrderRequest, terms: OrderTerms, last: Decimal | None) -> Plan | Refusal:
    """Make the legs of a request that `class_refusal` lets through.

    Args:
        request: The body.
        terms: The parent's, checked.
        last: Last price of the symbol, None before its first bar.
    """
    kind = request.order_class
    if kind not in CLASSES:
        return Plan()
    if terms.asset_class is AssetClass.CRYPTO:
        return _refused(f"crypto orders not allowed for advanced order_class: {_ALPACA_NAMES[kind]}")
    if terms.is_fractional:
        return _refused("fractional orders must be simple orders")
    if terms.time_in_force not in (TimeInForce.DAY, TimeInForce.GTC):
        return _refused("complex orders must be DAY or GTC orders")
    if terms.extended_hours:
        return _refused("complex orders are not supported in extended hours")
    legs = _legs(request, terms)
    gain = terms.limit_px if kind == "oco" else legs[1].limit_px if legs[1] else None
    loss = legs[0].stop_px if legs[0] else None
    refusal = _leg_refusal(legs) or _order_refusal(_exit_side(kind, terms), gain, loss)
    refusal = refusal or _base_refusal(kind, terms, gain, loss, last)
    return refusal or Plan(kind, *legs)


def _legs(request: OrderRequest, terms: OrderTerms) -> tuple[OrderTerms | None, OrderTerms | None]:
    """Terms of stop loss and take profit; of an OCO the take profit is the parent."""
    side = _exit_side(request.order_class or "", terms)
    stop_loss = take_profit = None
    if (loss := request.stop_loss) is not None:
        kind = OrderType.STOP if loss.limit_price is None else OrderType.STOP_LIMIT
        stop_loss = OrderTerms(
            terms.symbol, side, kind, terms.time_in_force, terms.qty, None, loss.limit_price, loss.stop_price
        )
    if (gain := request.take_profit) is not None and request.order_class != "oco":
        take_profit = OrderTerms(
            terms.symbol, side, OrderType.LIMIT, terms.time_in_force, terms.qty, None, gain.limit_price
        )
    return stop_loss, take_profit


def _exit_side(kind: str, terms: OrderTerms) -> Side:
    if kind == "oco":
        return terms.side
    return Side.SELL if terms.side is Side.BUY else Side.BUY


def _leg_refusal(legs: tuple[OrderTerms | None, OrderTerms | None]) -> Refusal | None:
    for name, leg in zip(("stop_loss", "take_profit"), legs, strict=True):
        if leg is None:
            continue
        for key, price in (("stop_price", leg.stop_px), ("limit_price", leg.limit_px)):
            refusal = price_refusal(f"{name}.{key}", price, leg.symbol) if price is not None else None
            if refusal is not None:
                return refusal
        checked = check_terms(leg)
        if isinstance(checked, Refusal):
            return checked
    return None


def _order_refusal(exit_side: Side, gain: Decimal | None, loss: Decimal | None) -> Refusal | None:
    """The gain must lie on the other side of the loss."""
    if gain is None or loss is None or (loss - gain) * exit_side.sign > 0:
        return None
    sign = ">" if exit_side is Side.SELL else "<"
    return _refused(f"take_profit.limit_price must be {sign} stop_loss.stop_price")


def _base_refusal(
    kind: str, terms: OrderTerms, gain: Decimal | None, loss: Decimal | None, last: Decimal | None
) -> Refusal | None:
    """Each exit must be a cent away from the base price: the entry's limit (of an OCO its gain), and the market."""
    exit_side = _exit_side(kind, terms)
    bases = [price for price in (terms.limit_px, last) if price is not None and price > ZERO]
    if not bases:
        return None
    away = _CENT * exit_side.sign  # below the base for a sale's stop, above it for a purchase's
    worst = min(bases) if exit_side is Side.SELL else max(bases)
    if loss is not None and (loss - worst - away) * exit_side.sign < 0:
        bound = "<= base_price - 0.01" if exit_side is Side.SELL else ">= base_price + 0.01"
        return _refused(f"stop_loss.stop_price must be {bound}", base_price=plain(worst))
    if kind == "oco" or gain is None:
        return None
    base = terms.limit_px if terms.limit_px is not None else bases[0]
    if (gain - base + away) * exit_side.sign > 0:
        bound = ">= base_price + 0.01" if exit_side is Side.SELL else "<= base_price - 0.01"
        return _refused(f"take_profit.limit_price must be {bound}", base_price=plain(base))
    return None


def _malformed(message: str) -> Refusal:
    return Refusal(422, 40010001, message)


def _refused(message: str, **extra: str) -> Refusal:
    return Refusal(422, 42210000, message, extra)
