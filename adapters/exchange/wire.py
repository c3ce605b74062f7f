"""JSON forms of orders, account, positions and activities, key by key as Alpaca sends them.

Money and quantities are strings, times RFC 3339 with up to nine decimals. It decides nothing and keeps nothing.
Called by the book (orders inside events) and the REST calls.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from adapters.exchange.calendar import utc_date
from adapters.exchange.ids import make_uuid
from adapters.exchange.ledger import Activity
from adapters.exchange.orders import Order
from adapters.exchange.steps import steps_of
from engine.values import NS_PER_S, asset_class_of, plain


def rfc3339(ns: int) -> str:
    """UTC time with as many decimals as it has, none for a whole second."""
    whole, part = divmod(ns, NS_PER_S)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{part:09d}".rstrip("0") + "Z" if part else f"{text}Z"


def moment(ns: int) -> str | None:
    """RFC 3339, or null for what has not happened."""
    return rfc3339(ns) if ns else None


def optional(value: Decimal | None) -> str | None:
    """A number as text, or null."""
    return plain(value) if value is not None else None


@lru_cache(16_384)
def asset_id(symbol: str) -> str:
    """UUID of an asset: the same in every run."""
    return make_uuid("asset", symbol)


def order_json(order: Order, *, is_nested: bool = False) -> dict[str, Any]:
    """The order object of REST and trade_updates; nested, a parent holds its legs."""
    terms = order.terms
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": rfc3339(order.submitted_ns),
        "updated_at": rfc3339(order.updated_ns or order.submitted_ns),
        "submitted_at": rfc3339(order.submitted_ns),
        "filled_at": moment(order.filled_ns),
        "expired_at": moment(order.expired_ns),
        "expires_at": moment(order.expires_ns),
        "cancel_requested_at": moment(order.cancel_requested_ns),
        "canceled_at": moment(order.canceled_ns),
        "failed_at": moment(order.failed_ns),
        "replaced_at": moment(order.replaced_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(terms.symbol),
        "symbol": terms.symbol,
        "asset_class": terms.asset_class.value,
        "notional": optional(terms.notional),
        "qty": optional(terms.qty),
        "filled_qty": plain(order.filled_qty),
        "filled_avg_price": optional(order.avg_px),
        "order_class": order.order_class,
        "order_type": terms.order_type.value,
        "type": terms.order_type.value,
        "side": terms.side.value,
        "position_intent": order.position_intent,
        "time_in_force": terms.time_in_force.value,
        "limit_price": optional(terms.limit_px),
        "stop_price": optional(order.stop_px),
        "status": order.status,
        "extended_hours": terms.extended_hours,
        "legs": [order_json(leg) for leg in order.legs] if is_nested and order.legs else None,
        "trail_percent": optional(terms.trail_percent),
        "trail_price": optional(terms.trail_px),
        "hwm": optional(order.hwm),
        "source": None,
        "subtag": None,
    }


def activity_json(activity: Activity) -> dict[str, Any]:
    """An entry of /v2/account/activities."""
    when = rfc3339(activity.ns)
    if activity.kind == "FILL":
        return {
            "activity_type": "FILL",
            "id": activity.id,
            "order_id": activity.order_id,
            "order_status": activity.order_status,
            "side": activity.side,
            "symbol": activity.symbol,
            "type": "partial_fill" if activity.is_partial else "fill",
            "price": plain(activity.price),
            "qty": plain(activity.qty),
            "cum_qty": plain(activity.cum_qty),
            "leaves_qty": plain(activity.leaves_qty),
            "transaction_time": when,
        }
    shown: dict[str, Any] = {
        "activity_type": activity.kind,
        "id": activity.id,
        "date": utc_date(activity.ns).isoformat(),
        "symbol": activity.symbol,
        "qty": plain(activity.qty),
        "price": plain(activity.price),
        "net_amount": plain(activity.net_amount),
        "description": activity.description or _fee_words(activity),
        "status": "executed",
        "transaction_time": when,
        "created_at": when,
    }
    more = {"order_id": activity.order_id, "activity_sub_type": activity.sub_kind, "group_id": activity.group}
    return shown | {key: value for key, value in more.items() if value}


def _fee_words(activity: Activity) -> str:
    if activity.kind != "CFEE":
        return ""
    currency = "Non USD" if activity.qty else "USD"
    return f"Coin Pair Transaction Fee ({currency}), order {activity.order_id}"


def asset_json(symbol: str) -> dict[str, Any]:
    """The asset object; every symbol of the market is tradable, stocks are shortable and fractionable."""
    is_crypto = asset_class_of(symbol) == "crypto"
    shown: dict[str, Any] = {
        "id": asset_id(symbol),
        "class": asset_class_of(symbol).value,
        "exchange": "CRYPTO" if is_crypto else "NASDAQ",
        "symbol": symbol,
        "name": f"{symbol} on the local exchange",
        "status": "active",
        "tradable": True,
        "marginable": not is_crypto,
        "shortable": not is_crypto,
        "easy_to_borrow": not is_crypto,
        "borrow_status": "not_shortable" if is_crypto else "easy_to_borrow",
        "fractionable": True,
        "attributes": [],
    }
    if is_crypto:
        steps = steps_of(symbol)
        shown |= {
            "min_order_size": plain(steps.qty_min),
            "min_trade_increment": plain(steps.qty_step),
            "price_increment": plain(steps.price_step),
        }
    else:
        shown |= {"margin_requirement_long": "30", "margin_requirement_short": "30"}
    return shown
