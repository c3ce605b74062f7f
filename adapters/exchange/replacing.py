"""What an order becomes by a PATCH, and why it may not.

A quantity is the whole order's, what is filled of it included: the new order counts on from there, so its `filled_qty`
begins with the old one's (Alpaca's `qty must be > filled_qty`; Alpaca-API #165).

Refusals in Alpaca's words (error table of the trading documentation 2026): `cannot replace order in {status} status`,
`order already replaced`, `order parameters are not changed`. Pure; called by the book.
"""

from __future__ import annotations

import msgspec

from adapters.exchange.checks import check_terms
from adapters.exchange.orders import ENTRY, REPLACEABLE, Order, OrderTerms, Refusal, ReplaceRequest, decimals
from engine.values import AssetClass, OrderType, TimeInForce

_TIMES = ("day", "gtc", "ioc", "fok")


def wanted_terms(old: Order, request: ReplaceRequest) -> OrderTerms | Refusal:
    """Make the terms of the new order from the old one and what is to change."""
    refusal = _state_refusal(old) or _group_refusal(old, request) or _fraction_refusal(old, request)
    if refusal is not None:
        return refusal
    if request.trail is not None and old.terms.order_type is not OrderType.TRAILING_STOP:
        return _refused("trail is only supported for trailing stop orders")
    if request.time_in_force not in (None, *_TIMES):
        return Refusal(422, 40010001, f"invalid time_in_force {request.time_in_force}")
    was = old.terms
    trail_px, trail_percent = was.trail_px, was.trail_percent
    if request.trail is not None:
        trail_px = request.trail if trail_px is not None else None
        trail_percent = request.trail if trail_percent is not None else None
    wanted = OrderTerms(
        was.symbol, was.side, was.order_type,
        TimeInForce(request.time_in_force) if request.time_in_force else was.time_in_force,
        request.qty if request.qty is not None else was.qty, None,
        request.limit_price if request.limit_price is not None else was.limit_px,
        request.stop_price if request.stop_price is not None else was.stop_px, was.extended_hours,
        trail_px, trail_percent,
    )  # fmt: skip
    is_same = msgspec.structs.replace(wanted, qty=was.qty) == was
    if is_same and request.qty in (None, was.qty) and request.client_order_id is None:
        return _refused("order parameters are not changed")
    checked = check_terms(wanted)
    if isinstance(checked, OrderTerms) and (checked.qty or 0) <= old.filled_qty:
        return _refused("qty must be > filled_qty")
    return checked


def _state_refusal(old: Order) -> Refusal | None:
    if old.status in ("replaced", "pending_replace"):
        return _refused("order already replaced")
    if old.status not in REPLACEABLE:
        return _refused(f"cannot replace order in {old.status} status")
    if old.terms.notional is not None:
        return _refused("notional orders cannot be replaced")
    if old.is_triggered and old.terms.order_type is OrderType.TRAILING_STOP:
        return _refused("trailing stop order is already triggered")
    return None


def _group_refusal(old: Order, request: ReplaceRequest) -> Refusal | None:
    """Of a group, prices may change and the entry's quantity; an OTO stays as it is (Alpaca)."""
    if old.order_class == "oto":
        return _refused("replacing oto orders is not supported")
    if not old.order_class:
        return None
    if request.qty is not None and request.qty != old.terms.qty and old.place != ENTRY:
        return _refused("qty of bracket and oco legs cannot be changed")
    if request.time_in_force not in (None, "day", "gtc"):
        return _refused("complex orders must be DAY or GTC orders")
    return None


def _fraction_refusal(old: Order, request: ReplaceRequest) -> Refusal | None:
    """Of stocks only whole quantities change (Alpaca: "you can only patch full shares")."""
    if request.qty is None or request.qty == old.terms.qty or old.terms.asset_class is not AssetClass.US_EQUITY:
        return None
    if old.terms.is_fractional or decimals(request.qty) > 0:
        return _refused("qty of fractional orders cannot be changed")
    return None


def _refused(message: str) -> Refusal:
    return Refusal(422, 42210000, message)
