"""Events that a report of the venue implies for one order. Called by engine.execution.core."""

from __future__ import annotations

from decimal import Decimal

from engine.execution.fold import ExecOrder
from engine.messages import OrderAccepted, OrderAdopted, OrderFilled, OrderSubmitted
from engine.orders import OrderStatus
from engine.ports import VenueOrder
from engine.values import ZERO, money


def is_whole(order: ExecOrder, filled: Decimal, status: OrderStatus) -> bool:
    """Whether nothing is left to fill.

    The venue's word counts: of a notional order only it knows the whole, and of two exits it makes one smaller by what
    the other one filled.
    """
    if status is OrderStatus.FILLED:
        return filled > 0
    return order.intent.notional is None and filled >= order.intent.quantity


def filled_event(
    order: ExecOrder, filled: Decimal, venue_order_id: str, ts_ns: int, more: tuple[Decimal, Decimal] = (ZERO, ZERO)
) -> OrderFilled:
    """Make the end; `more` is what fills that the order does not know of yet cost, and their quantity."""
    spent, counted = more
    intent, counted = order.intent, counted + order.counted_qty
    average = money((spent + order.spent) / counted) if counted else ZERO
    return OrderFilled(intent.id, intent.bot, intent.symbol, venue_order_id, filled, average, ts_ns)


def submitted_events(order: ExecOrder) -> list[OrderSubmitted]:
    """Give what a damaged stream lost: the venue has the order, so it was submitted; else it would be sent again."""
    intent = order.intent
    if order.status is not OrderStatus.INITIALIZED or isinstance(intent, OrderAdopted):
        return []
    return [OrderSubmitted(intent.id, intent.bot, intent.symbol, intent.decided_ns)]


def accepted_events(order: ExecOrder, report: VenueOrder) -> list[OrderSubmitted | OrderAccepted]:
    """Give the acceptance that the report implies; none for an order that is known there or was refused."""
    if order.venue_order_id or order.status is OrderStatus.REJECTED:
        return [*submitted_events(order)]
    intent = order.intent
    accepted = OrderAccepted(intent.id, intent.bot, intent.symbol, report.venue_order_id, report.submitted_ns)
    return [*submitted_events(order), accepted]
