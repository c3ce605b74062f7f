"""What the order book takes and says, as the engine's values, without the text that goes over a wire between them.

The same as asking in Alpaca's bodies and reading what is said with Alpaca's parsers (tests/exchange/test_book.py and
test_told.py compare them), at a fraction of the cost: a simulated venue does nothing else all day. Pure; called by
adapters.simulated.
"""

from __future__ import annotations

from decimal import Decimal

from adapters.exchange.orders import Order, OrderRequest, StopLoss, TakeProfit
from adapters.exchange.settlement import TradeUpdate
from engine.messages import OrderIntent
from engine.ports import VenueExecution, VenueOrder, VenueUpdate
from engine.values import OrderClass, normal

_EXECUTION_STEP_NS = 1_000
"""trade_updates and activities agree on a time to the microsecond."""


def request_of(intent: OrderIntent) -> OrderRequest:
    """Give what is asked of the venue for an intent."""
    is_oco = intent.order_class is OrderClass.OCO
    profit, loss, limit = intent.take_profit_px, intent.stop_loss_px, intent.stop_loss_limit_px
    return OrderRequest(
        symbol=intent.symbol,
        qty=normal(intent.quantity) if intent.notional is None else None,
        notional=_short(intent.notional),
        side=intent.side.value,
        type=intent.order_type.value,
        time_in_force=intent.time_in_force.value,
        limit_price=None if is_oco else _short(intent.limit_px),  # it stands in `take_profit`
        stop_price=_short(intent.stop_px),
        extended_hours=True if intent.extended_hours else None,
        client_order_id=intent.id,
        order_class=None if intent.order_class is OrderClass.SIMPLE else intent.order_class.value,
        trail_price=_short(intent.trail_px),
        trail_percent=_short(intent.trail_percent),
        take_profit=None if profit is None else TakeProfit(normal(profit)),
        stop_loss=None if loss is None else StopLoss(normal(loss), _short(limit)),
    )


def order_of(order: Order, *, is_nested: bool = False) -> VenueOrder:
    """Give an order as the venue says it is.

    Args:
        order: The book's.
        is_nested: With the orders of its group that it leads.
    """
    terms = order.terms
    return VenueOrder(
        client_order_id=order.client_order_id,
        venue_order_id=order.id,
        symbol=terms.symbol,
        side=terms.side,
        status=order.status,
        quantity=_short(terms.qty),
        filled_qty=normal(order.filled_qty),
        avg_px=_short(order.avg_px),
        submitted_ns=order.submitted_ns,
        updated_ns=order.updated_ns or order.submitted_ns,
        order_type=terms.order_type,
        time_in_force=terms.time_in_force,
        order_class=OrderClass(order.order_class or OrderClass.SIMPLE),
        notional=_short(terms.notional),
        limit_px=_short(terms.limit_px),
        stop_px=_short(order.stop_px),
        trail_px=_short(terms.trail_px),
        trail_percent=_short(terms.trail_percent),
        legs=tuple(order_of(leg) for leg in order.legs) if is_nested else (),
        replaced_by=order.replaced_by or "",
        replaces=order.replaces or "",
    )


def update_of(update: TradeUpdate) -> VenueUpdate:
    """Give an event of the book as the venue tells it."""
    order, done = order_of(update.order), update.execution
    execution = None
    if done is not None:
        at_ns = update.ns // _EXECUTION_STEP_NS * _EXECUTION_STEP_NS
        execution = VenueExecution(
            order.venue_order_id,
            order.filled_qty,
            order.symbol,
            order.side,
            normal(done.qty),
            normal(done.price),
            at_ns,
            done.id,
            client_order_id=order.client_order_id,
            commission=normal(done.commission),
        )
    return VenueUpdate(update.event, order, update.ns, execution)


def _short(value: Decimal | None) -> Decimal | None:
    return None if value is None else normal(value)
