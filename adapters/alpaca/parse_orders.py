"""Raw Alpaca orders, order events and fills to engine values: pure, tolerant, and it never raises.

Decides what a payload means: an order's state stays the venue's own word; a type, time in force, class or asset class
that we have no word for becomes `OTHER` and is named in `VenueOrder.unknown`, so that the order is known and nobody
takes it for what it is not. A multi-leg order (`mleg`) has neither symbol nor side: its legs are the orders that trade,
so they are read in its place. Called by `trading`, `reading` and `updates`. Forms: Alpaca's documentation.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from adapters.alpaca.fields import (
    Problem,
    Unreadable,
    canonical_symbol,
    decimal_at,
    decimal_or_none,
    first_time,
    guarded,
    lenient,
    listed,
    mapping_of,
    optional_text,
    short,
    side_of,
    text_at,
    time_ns,
)
from engine.ports import VenueExecution, VenueOrder, VenueUpdate
from engine.values import ZERO, AssetClass, OrderClass, OrderType, TimeInForce

_FILL_EVENTS = frozenset({"fill", "partial_fill"})
_MULTI_LEG = "mleg"


# --- orders ----------------------------------------------------------------------------------------------------------


def _order(raw: Any) -> VenueOrder:
    fields = mapping_of(raw, "an order")
    filled = decimal_or_none(fields.get("filled_qty")) or ZERO
    submitted = first_time(fields, "submitted_at", "created_at")
    unknown: list[str] = []
    asset_class = optional_text(fields, "asset_class")
    if asset_class and asset_class not in tuple(AssetClass):
        unknown.append(f"asset_class {asset_class}")
    return VenueOrder(
        client_order_id=optional_text(fields, "client_order_id"),
        venue_order_id=text_at(fields, "id"),
        symbol=canonical_symbol(text_at(fields, "symbol"), asset_class),
        side=side_of(fields.get("side")),
        status=text_at(fields, "status"),
        quantity=decimal_or_none(fields.get("qty")),
        filled_qty=filled,
        avg_px=decimal_or_none(fields.get("filled_avg_price")) if filled else None,
        submitted_ns=submitted,
        updated_ns=first_time(fields, "updated_at") or submitted,
        order_type=_word(fields.get("type") or fields.get("order_type"), OrderType.OTHER, "type", unknown),
        time_in_force=_word(fields.get("time_in_force"), TimeInForce.OTHER, "time_in_force", unknown),
        order_class=_word(fields.get("order_class") or "simple", OrderClass.OTHER, "order_class", unknown),
        notional=decimal_or_none(fields.get("notional")),
        limit_px=decimal_or_none(fields.get("limit_price")),
        stop_px=decimal_or_none(fields.get("stop_price")),
        trail_px=decimal_or_none(fields.get("trail_price")),
        trail_percent=decimal_or_none(fields.get("trail_percent")),
        legs=tuple(_order(leg) for leg in _list(fields.get("legs"))),
        replaced_by=optional_text(fields, "replaced_by"),
        replaces=optional_text(fields, "replaces"),
        unknown=tuple(unknown),
    )


def _word[E: StrEnum](value: Any, other: E, name: str, unknown: list[str]) -> E:
    """Read one of our words; what we have none for is `other`, and is noted."""
    words = type(other)
    if isinstance(value, str) and value != other.value and value in tuple(words):
        return words(value)
    unknown.append(f"{name} {value if isinstance(value, str) else short(value)}")
    return other


def _list(value: Any) -> list[Any]:
    """Take a list as it is, and nothing (null, absent) as an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        msg = f"legs must be a list, was {short(value)}"
        raise Unreadable(msg)
    return value  # pyright: ignore[reportUnknownVariableType]


parse_order = guarded(_order)


def parse_orders(raw: Any) -> list[VenueOrder | Problem]:
    """Read an entry of the list of orders: one order, or of a multi-leg order each of its legs."""
    legs = _legs_instead(raw)
    return [parse_order(raw)] if legs is None else [parse_order(leg) for leg in legs]


def _legs_instead(raw: Any) -> list[Any] | None:
    """Give the legs that stand for a multi-leg order; None for any other."""
    fields = lenient(raw)
    if fields.get("order_class") != _MULTI_LEG or fields.get("symbol"):
        return None
    return listed(fields.get("legs"))


# --- executions ------------------------------------------------------------------------------------------------------


def _execution_ns(value: Any) -> int:
    """Time of an execution in whole microseconds: trade_updates carry more digits than the activities."""
    ns = time_ns(value)
    if ns is None:
        msg = f"time of the execution must be a time, was {short(value)}"
        raise Unreadable(msg)
    return ns // 1000 * 1000


@guarded
def _update_execution(fields: dict[str, Any], order: VenueOrder) -> VenueExecution:
    return VenueExecution(
        venue_order_id=order.venue_order_id,
        cum_qty=order.filled_qty,
        symbol=order.symbol,
        side=order.side,
        last_qty=decimal_at(fields, "qty"),
        last_px=decimal_at(fields, "price"),
        ts_event=_execution_ns(fields.get("timestamp")),
        execution_id=optional_text(fields, "execution_id"),
        client_order_id=order.client_order_id,
    )


@guarded
def parse_update(raw: Any) -> VenueUpdate:
    """Read the `data` of a trade_updates message about one order.

    A fill whose quantity or price cannot be read still tells of its order: `execution` is None and `reason` says why.
    """
    fields = mapping_of(raw, "data of a trade update")
    event = text_at(fields, "event")
    order = _order(fields.get("order"))
    execution = _update_execution(fields, order) if event in _FILL_EVENTS else None
    reason = optional_text(fields, "reason", "reject_reason") or optional_text(
        mapping_of(fields.get("order"), "an order"), "reason", "reject_reason"
    )
    if isinstance(execution, Problem):
        execution, reason = None, f"{event} without an execution: {execution.what}"
    ts_event = time_ns(fields.get("timestamp")) or time_ns(fields.get("at")) or order.updated_ns
    return VenueUpdate(event=event, order=order, ts_event=ts_event, execution=execution, reason=reason)


def parse_updates(raw: Any) -> list[VenueUpdate | Problem]:
    """Read the `data` of a trade_updates message: one event, or of a multi-leg order one for each leg.

    Such a message names what each leg did in a list of its own (`legs`, by order_id).
    """
    fields = lenient(raw)
    legs = _legs_instead(fields.get("order"))
    if legs is None:
        return [parse_update(raw)]
    done = {str(part.get("order_id")): part for part in map(lenient, listed(fields.get("legs")))}
    nothing = {"qty": None, "price": None}
    return [parse_update(fields | done.get(str(lenient(leg).get("id")), nothing) | {"order": leg}) for leg in legs]


@guarded
def parse_fill(raw: Any) -> VenueExecution:
    """Read a FILL activity. Its id is not the execution_id of trade_updates; (order, cum_qty) names both."""
    fields = mapping_of(raw, "a fill activity")
    return VenueExecution(
        venue_order_id=text_at(fields, "order_id"),
        cum_qty=decimal_at(fields, "cum_qty"),
        symbol=canonical_symbol(text_at(fields, "symbol"), optional_text(fields, "asset_class")),
        side=side_of(fields.get("side")),
        last_qty=decimal_at(fields, "qty"),
        last_px=decimal_at(fields, "price"),
        ts_event=_execution_ns(fields.get("transaction_time")),
        activity_id=text_at(fields, "id"),
        client_order_id=optional_text(fields, "client_order_id"),
    )
