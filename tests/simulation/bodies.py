"""An intent as the exchange's request bodies: what the adapter writes, without its text."""

from __future__ import annotations

from adapters.exchange.orders import OrderRequest, ReplaceRequest, StopLoss, TakeProfit
from engine.messages import OrderIntent


def request_of(intent: OrderIntent) -> OrderRequest:
    """The body of a POST as the adapter writes it."""
    loss = None
    if intent.stop_loss_px is not None:
        loss = StopLoss(intent.stop_loss_px, intent.stop_loss_limit_px)
    return OrderRequest(
        intent.symbol, None if intent.notional else intent.quantity, intent.notional, intent.side.value,
        intent.order_type.value, intent.time_in_force.value, intent.limit_px, intent.stop_px, intent.extended_hours,
        intent.id, intent.order_class.value, None, intent.trail_px, intent.trail_percent,
        None if intent.take_profit_px is None else TakeProfit(intent.take_profit_px), loss,
    )  # fmt: skip


def change_of(intent: OrderIntent) -> ReplaceRequest:
    """The body of a PATCH as the adapter writes it."""
    trail = intent.trail_px if intent.trail_px is not None else intent.trail_percent
    return ReplaceRequest(
        intent.quantity, intent.time_in_force.value, intent.limit_px, intent.stop_px, trail, intent.id
    )
