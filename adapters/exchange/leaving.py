"""How orders begin and leave: what `acknowledge` tells of arrivals, replacements and cancels, and the faults in it.

Without a fault an arrival becomes `new`, a cancel `canceled`, a replacement `replaced` and then `new`. With one, the
venue refuses after it said yes, is slow, or lets the order fill meanwhile, as Alpaca is known to do (Alpaca-API #71,
#107, #111, alpaca-py #400). It decides no fill; the book calls it, in the order of symbols and client_order_ids.
"""

from __future__ import annotations

from adapters.exchange.account import Account
from adapters.exchange.faults import Faults
from adapters.exchange.orders import Order
from adapters.exchange.settlement import Settlement, TradeUpdate
from engine.values import NS_PER_MINUTE, ZERO

_NEVER_NS = 2**62


class Leaving:
    """Beginnings and ends of orders that requests cause.

    Args:
        settlement: Makes the events.
        account: Reservations.
        faults: What goes wrong on purpose.
    """

    def __init__(self, settlement: Settlement, account: Account, faults: Faults) -> None:
        self._settlement = settlement
        self._account = account
        self._faults = faults

    def arrived(self, order: Order) -> list[TradeUpdate]:
        """Tell of an order that came in: `accepted` while its session is shut, `new`, or by fault `rejected`."""
        if self._faults.for_order("reject_after_200", order.terms.symbol, order.client_order_id):
            events = [self._settlement.finish(order, "rejected", order.submitted_ns)]
            held = [leg for leg in order.legs if leg.is_open]
            return events + [self._settlement.finish(leg, "canceled", order.submitted_ns) for leg in held]
        if order.status == "accepted":
            return [self._settlement.tell("accepted", order, order.submitted_ns)]
        return self._settlement.open_up(order, order.submitted_ns)

    def canceled(self, order: Order) -> list[TradeUpdate]:
        """Carry out a cancel, or by fault refuse it, forget it for some minutes, or let the order fill meanwhile."""
        ns, symbol, name = order.cancel_requested_ns, order.terms.symbol, order.client_order_id
        if order.resumes in ("new", "partially_filled"):
            if self._faults.for_order("cancel_rejected", symbol, name):
                return [self._stay(order, "order_cancel_rejected", ns)]
            stuck = self._faults.for_order("stuck_pending_cancel", symbol, name)
            if stuck is not None:
                order.leaves_ns = ns + stuck.minutes * NS_PER_MINUTE if stuck.minutes else _NEVER_NS
                return [self._settlement.tell("pending_cancel", order, ns)]
            if self._faults.for_order("fill_after_cancel", symbol, name):
                order.leaves_ns, order.fills_while_leaving = ns + 1, True
                return [self._settlement.tell("pending_cancel", order, ns)]
        return [self._settlement.finish(order, "canceled", ns)]

    def replaced(self, order: Order) -> list[TradeUpdate]:
        """Carry out a replacement, or by fault refuse it, or let the old order fill before the new one comes."""
        ns, symbol, name = order.updated_ns, order.terms.symbol, order.client_order_id
        if order.resumes in ("new", "partially_filled") and not order.order_class:
            if self._faults.for_order("replace_rejected", symbol, name):
                return self._refuse_replacement(order, ns)
            if self._faults.for_order("fill_before_replace", symbol, name):
                order.leaves_ns, order.fills_while_leaving = ns + 1, True
                return [self._settlement.tell("pending_replace", order, ns)]
        order.waiting = None
        return [self._settlement.finish(order, "replaced", ns)]

    def _refuse_replacement(self, order: Order, ns: int) -> list[TradeUpdate]:
        new, order.waiting, order.replaced_by = order.waiting, None, None
        events = [self._stay(order, "order_replace_rejected", ns)]
        if new is not None and new.is_open:
            events.append(self._settlement.finish(new, "rejected", ns))
        return events

    def _stay(self, order: Order, event: str, ns: int) -> TradeUpdate:
        """Go back to where the order was, with its reservation."""
        order.status, order.cancel_requested_ns, order.updated_ns = order.resumes, 0, ns
        if order.opens:
            self._account.reserve(order, max(ZERO, order.leaves_qty * order.reserve_px))
        return self._settlement.tell(event, order, ns)
