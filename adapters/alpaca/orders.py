"""An order intent as Alpaca's request body, and what Alpaca is known to refuse.

Quantities and prices travel as text, which the API takes as well as numbers: alpaca-py's own request models hold
floats, and 0.1 + 0.2 would arrive as 0.30000000000000004. Nothing is rounded here; sizing knows the ticks. Pure; called
by adapters.alpaca.trading. Rules: "Orders at Alpaca" and "Fractional trading" of Alpaca's documentation.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.messages import OrderIntent
from engine.ports import VenueOrder
from engine.values import AssetClass, OrderType, TimeInForce, asset_class_of, plain

DECIMALS_MAX = 9
CLIENT_ORDER_ID_MAX = 48
"""Alpaca's older limit; the newer one is 128."""
_CRYPTO_TIMES = (TimeInForce.GTC, TimeInForce.IOC)
_CRYPTO_TYPES = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT)
_WITH_LIMIT = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_WITH_STOP = (OrderType.STOP, OrderType.STOP_LIMIT)


def order_body(intent: OrderIntent) -> dict[str, Any]:
    """Write the body of POST /v2/orders."""
    body: dict[str, Any] = {
        "symbol": intent.symbol,
        "qty": plain(intent.quantity),
        "side": intent.side.value,
        "type": intent.order_type.value,
        "time_in_force": intent.time_in_force.value,
        "client_order_id": intent.id,
    }
    if intent.limit_px is not None:
        body["limit_price"] = plain(intent.limit_px)
    if intent.stop_px is not None:
        body["stop_price"] = plain(intent.stop_px)
    if intent.extended_hours:
        body["extended_hours"] = True
    return body


def refusal(intent: OrderIntent) -> str:
    """Say why this order must not be sent to Alpaca at all; empty if it may."""
    if not 0 < len(intent.id) <= CLIENT_ORDER_ID_MAX:
        return f"client_order_id must have 1 to {CLIENT_ORDER_ID_MAX} characters, had {len(intent.id)}"
    for name, value in (("quantity", intent.quantity), ("limit_px", intent.limit_px), ("stop_px", intent.stop_px)):
        if value is not None and (fault := _number_fault(value)):
            return f"{name} must {fault}, was {value}"
    for name, value, types in (("limit_px", intent.limit_px, _WITH_LIMIT), ("stop_px", intent.stop_px, _WITH_STOP)):
        needed = intent.order_type in types
        if needed != (value is not None):
            return f"a {intent.order_type} order {'needs' if needed else 'has no'} {name}"
    if asset_class_of(intent.symbol) is AssetClass.CRYPTO:
        if intent.time_in_force not in _CRYPTO_TIMES:
            return f"crypto orders are gtc or ioc at Alpaca, was {intent.time_in_force}"
        if intent.order_type not in _CRYPTO_TYPES:
            return f"crypto orders are market, limit or stop_limit at Alpaca, was {intent.order_type}"
    return ""


def replace_body(intent: OrderIntent, old: VenueOrder) -> dict[str, Any]:
    """Write the body of PATCH /v2/orders/{id}: the new client_order_id, and what differs from the order as it is."""
    body: dict[str, Any] = {"client_order_id": intent.id}
    for key, wanted, has in (
        ("qty", intent.quantity, old.quantity),
        ("limit_price", intent.limit_px, old.limit_px),
        ("stop_price", intent.stop_px, None if intent.order_type is OrderType.TRAILING_STOP else old.stop_px),
        ("trail", intent.trail_px, old.trail_px),
        ("trail", intent.trail_percent, old.trail_percent),
    ):
        if wanted is not None and wanted != has:
            body[key] = plain(wanted)
    if intent.time_in_force is not old.time_in_force:
        body["time_in_force"] = intent.time_in_force.value
    return body


def replace_refusal(intent: OrderIntent, old: VenueOrder) -> str:
    """Say why this order must not take the place of that one; empty if it may."""
    if reason := refusal(intent):
        return reason
    for name, wanted, has in (
        ("symbol", intent.symbol, old.symbol),
        ("side", intent.side, old.side),
        ("order_type", intent.order_type, old.order_type),
    ):
        if wanted != has:
            return f"{name} of an order cannot be replaced: {old.client_order_id} has {has}, not {wanted}"
    if old.notional is not None:
        return f"a notional order cannot be replaced: {old.client_order_id} is for {old.notional} USD; cancel it"
    if (intent.trail_px is None) != (old.trail_px is None):
        return "the trail of an order stays what it is, USD or percent"
    if len(replace_body(intent, old)) == 1:
        return f"nothing of {old.client_order_id} would change"
    return ""


def _number_fault(value: Decimal) -> str:
    if not value.is_finite() or value <= 0:
        return "be > 0"
    decimals = plain(value).partition(".")[2]
    return f"have at most {DECIMALS_MAX} decimals" if len(decimals) > DECIMALS_MAX else ""
