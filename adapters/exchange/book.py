"""The order book of the account: which orders are accepted, what they do in each minute, what is told about it.

A pure state machine: no clock, no I/O, no randomness but draws derived from (seed, client_order_id, minute). The venue
calls it: `submit`, `cancel`, `replace` when a request comes in, `acknowledge` to turn what came in into events,
`settle` with the bars of a minute. It never emits by itself. Beginnings and ends that requests cause are in `leaving`,
the minutes in `settlement`.

Promises:
1. Equal seed, bars and orders give equal ids, fills, events and activities, whatever the order in which requests on
   different symbols came in: everything is decided by (symbol, client_order_id), ids come from content. (The one thing
   that must depend on arrival is which of two requests gets the last of the buying power.)
2. An order fills at the earliest in the first minute whose bars are settled after it was received.
3. An order that has asked to leave (cancel, replace) no longer fills, unless a fault lets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from adapters.exchange import ids
from adapters.exchange.account import Account, BookRules
from adapters.exchange.bars import VenueBar
from adapters.exchange.calendar import VenueCalendar
from adapters.exchange.checks import check_request
from adapters.exchange.corporate import Split, adjust, fate_of
from adapters.exchange.faults import Faults
from adapters.exchange.groups import class_refusal, make_plan
from adapters.exchange.leaving import Leaving
from adapters.exchange.life import auction_refusal, life_of
from adapters.exchange.orders import (
    CANCELABLE,
    ENTRY,
    STOP_LOSS,
    TAKE_PROFIT,
    Order,
    OrderRequest,
    OrderTerms,
    Refusal,
    ReplaceRequest,
    order_key,
)
from adapters.exchange.replacing import wanted_terms
from adapters.exchange.settlement import Settlement, TradeUpdate, in_order
from engine.values import ZERO, OrderType, Side

__all__ = ["Book", "TradeUpdate", "in_order"]


class Book:
    """Orders and account of the venue.

    Args:
        rules: Settings.
        calendar: Sessions.
        price_of: Last price of a symbol, None before its first bar.
        symbol_of: Canonical symbol of a spelling (BTCUSD -> BTC/USD) or asset id, None when unknown.
        faults: What goes wrong with orders on purpose; None is nothing.
    """

    def __init__(
        self,
        rules: BookRules,
        calendar: VenueCalendar,
        price_of: Callable[[str], Decimal | None],
        symbol_of: Callable[[str], str | None],
        faults: Faults | None = None,
    ) -> None:
        self.rules = rules
        self.account_number = ids.account_number(rules.seed)
        self.account = Account(rules, price_of)
        self.ledger = self.account.ledger
        self.orders: dict[str, Order] = {}
        self.by_client_id: dict[str, Order] = {}
        self._calendar = calendar
        self._price_of = price_of
        self._symbol_of = symbol_of
        self._settlement = Settlement(rules, calendar, self.account)
        self._leaver = Leaving(self._settlement, self.account, faults or Faults(rules.seed))
        self._arrivals: list[Order] = []
        self._leaving: list[Order] = []
        self._auto_ids: dict[tuple[str, int], int] = {}

    # --- requests ---------------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest, now_ns: int) -> Order | Refusal:
        """Take a new order in, or refuse it; nothing is emitted before `acknowledge`."""
        symbol = self._symbol_of(request.symbol) if request.symbol else None
        terms = class_refusal(request) or check_request(request, symbol)
        if isinstance(terms, Refusal):
            return terms
        plan = auction_refusal(self._calendar, terms, now_ns) or make_plan(request, terms, self._price_of(terms.symbol))
        if isinstance(plan, Refusal):
            return plan
        client_order_id = request.client_order_id or self._auto_id(terms.symbol, now_ns)
        if client_order_id in self.by_client_id:
            return Refusal(422, 40010001, "client_order_id must be unique")
        refusal = self.account.refusal(terms, order_class=plan.order_class)
        if refusal is not None:
            return refusal
        order = self._take_in(terms, client_order_id, now_ns, None, request.position_intent)
        order.order_class = plan.order_class
        order.place = TAKE_PROFIT if plan.order_class == "oco" else ENTRY
        for place, leg in ((TAKE_PROFIT, plan.take_profit), (STOP_LOSS, plan.stop_loss)):
            if leg is not None:
                self._take_leg(order, leg, place, now_ns)
        return order

    def replace(self, order_id: str, request: ReplaceRequest, now_ns: int) -> Order | Refusal:
        """Put a new order in the place of an open one.

        The new order counts on from what the old one has filled. It takes the old one's place in its group, and a
        trailing stop keeps its best price.
        """
        old = self.orders.get(order_id)
        if old is None:
            return Refusal(404, 40410000, f"order not found for {order_id}")
        terms = wanted_terms(old, request)
        if isinstance(terms, Refusal):
            return terms
        client_order_id = request.client_order_id or self._auto_id(terms.symbol, now_ns)
        if client_order_id in self.by_client_id:
            return Refusal(422, 40010001, "client_order_id must be unique")
        refusal = None
        if old.status != "held":
            left = msgspec.structs.replace(terms, qty=(terms.qty or ZERO) - old.filled_qty)
            refusal = self.account.refusal(left, instead_of=old, order_class=old.order_class)
        if refusal is not None:
            return refusal
        self.account.reserve(old, ZERO)
        new = self._take_in(terms, client_order_id, now_ns, old, None)
        old.resumes = old.status
        old.status, old.replaced_by, old.updated_ns = "pending_replace", new.id, now_ns
        old.waiting = new
        self._leaving.append(old)
        return new

    def cancel(self, order_id: str, now_ns: int) -> Refusal | None:
        """Ask for the end of an order and of its whole group; it can no longer fill."""
        order = self.orders.get(order_id)
        if order is None:
            return Refusal(404, 40410000, f"order not found for {order_id}")
        if order.status == "pending_cancel":
            return None
        if order.status not in CANCELABLE:
            return Refusal(422, 42210000, f'order is already in "{order.status}" state')
        for member in order.group:
            if member.status in CANCELABLE:
                member.resumes = member.status
                member.status, member.cancel_requested_ns, member.updated_ns = "pending_cancel", now_ns, now_ns
                self.account.reserve(member, ZERO)
                self._leaving.append(member)
        return None

    def close_request(self, symbol: str, qty: Decimal) -> OrderRequest:
        """The market order that closes `qty` of a position."""
        is_crypto = "/" in symbol
        side = Side.SELL if self.ledger.qty(symbol) > 0 else Side.BUY
        return OrderRequest(symbol, abs(qty), None, side.value, "market", "gtc" if is_crypto else "day")

    # --- what comes out ---------------------------------------------------------------------------------------------

    def acknowledge(self) -> list[TradeUpdate]:
        """Turn everything received since the last call into events, by symbol and client_order_id."""
        if not (self._arrivals or self._leaving):
            return []
        leaver, events = self._leaver, list[TradeUpdate]()
        leaving = sorted(self._leaving, key=order_key)
        for order in leaving:
            if order.status == "pending_replace":
                events += leaver.replaced(order)
        for order in sorted(self._arrivals, key=order_key):
            if order.status in ("pending_new", "accepted") and not order.is_waiting:
                events += leaver.arrived(order)
        for order in leaving:
            if order.status == "pending_cancel":
                events += leaver.canceled(order)
        self._arrivals, self._leaving = [], []
        return in_order(events)

    def settle(self, bars: Iterable[VenueBar], close_ns: int, *, is_part: bool = False) -> list[TradeUpdate]:
        """Decide everything of the minute that ends at `close_ns`: openings of sessions, fills, expiries.

        What came in before must have been acknowledged; `is_part` where the minute's bars come one by one.
        """
        return self._settlement.settle(bars, close_ns, is_part=is_part)

    def split(self, split: Split) -> list[TradeUpdate]:
        """Do a split: the holding, and every open order of the symbol; what came in before must be acknowledged."""
        symbol, ns = split.symbol, split.effective_ns
        self.ledger.split(symbol, split.ratio, ns, group=split.id)
        self.account.mark()
        events: list[TradeUpdate] = []
        for order in sorted(self.account.open_by_symbol.get(symbol, {}).values(), key=order_key):
            fate = fate_of(order, split)
            if fate == "adjust" and not adjust(order, split.ratio):
                fate = "cancel"
            if fate == "cancel":
                order.waiting = None
                events += [self._settlement.finish(each, "canceled", ns) for each in order.group if each.is_open]
            elif fate == "adjust" and order.is_open:
                order.updated_ns = ns
                order.reserve_px = self.account.reserve_px(order.terms)
                if order.opens:
                    self.account.reserve(order, max(ZERO, order.leaves_qty * order.reserve_px))
                events.append(self._settlement.tell("restated", order, ns))
        return in_order(events)

    def forget(self, order: Order) -> None:
        """Forget an order that has ended."""
        self.orders.pop(order.id, None)
        self.by_client_id.pop(order.client_order_id, None)

    def counts(self) -> dict[str, int]:
        """How many orders were accepted, are open, have ended."""
        still_open = sum(len(orders) for orders in self.account.open_by_symbol.values())
        return {"accepted": len(self.orders), "open": still_open, "terminal": len(self.orders) - still_open}

    # --- taking in --------------------------------------------------------------------------------------------------

    def _auto_id(self, symbol: str, now_ns: int) -> str:
        ordinal = self._auto_ids.get((symbol, now_ns), 0)
        self._auto_ids[symbol, now_ns] = ordinal + 1
        return ids.make_uuid(self.rules.seed, "client", symbol, now_ns, ordinal)

    def _take_in(
        self, terms: OrderTerms, client_order_id: str, now_ns: int, old: Order | None, intent: str | None
    ) -> Order:
        eligible_ns, expires_ns = life_of(self._calendar, terms, now_ns)
        held = self.ledger.qty(terms.symbol)
        order = Order(
            id=ids.make_uuid(self.rules.seed, self.account_number, "order", client_order_id),
            client_order_id=client_order_id,
            root=old.root if old else client_order_id,
            sequence=old.sequence + 1 if old else 0,
            terms=terms,
            position_intent=intent or (old.position_intent if old else _intent(terms.side, held)),
            status="pending_new" if eligible_ns <= now_ns else "accepted",
            submitted_ns=now_ns,
            expires_ns=expires_ns,
            eligible_ns=eligible_ns,
            reserve_px=self.account.reserve_px(terms),
            updated_ns=now_ns,
            replaces=old.id if old else None,
            opens=held * terms.side.sign >= 0,
        )
        if terms.order_type is OrderType.TRAILING_STOP:
            order.hwm = old.hwm if old else self._price_of(terms.symbol)
        if old is not None:
            _inherit(old, order)
        self._enter(order)
        self._arrivals.append(order)
        return order

    def _take_leg(self, parent: Order, terms: OrderTerms, place: int, now_ns: int) -> None:
        """Take in a leg that waits: `held` until its parent has filled (of an OCO: is accepted)."""
        client_order_id = ids.make_uuid(self.rules.seed, "leg", parent.client_order_id, place)
        leg = Order(
            id=ids.make_uuid(self.rules.seed, self.account_number, "order", client_order_id),
            client_order_id=client_order_id, root=parent.root, sequence=0, terms=terms,
            position_intent=f"{terms.side.value}_to_close", status="held", submitted_ns=now_ns,
            expires_ns=parent.expires_ns, eligible_ns=parent.eligible_ns, reserve_px=ZERO, updated_ns=now_ns,
            opens=False, order_class=parent.order_class, place=place, parent=parent,
        )  # fmt: skip
        parent.legs.append(leg)
        self._enter(leg)

    def _enter(self, order: Order) -> None:
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order
        self.account.add(order)


def _inherit(old: Order, new: Order) -> None:
    """Give a replacement its predecessor's place in the group."""
    new.order_class, new.place, new.parent = old.order_class, old.place, old.parent
    new.active_ns, new.predecessor = old.active_ns, old
    new.filled_qty, new.filled_cost = old.filled_qty, old.filled_cost
    if old.parent is not None:
        new.opens = False
        new.status = "held" if old.status == "held" else new.status
        old.parent.legs[old.parent.legs.index(old)] = new
    new.legs, old.legs = old.legs, []
    for leg in new.legs:
        leg.parent = new
        leg.terms = msgspec.structs.replace(leg.terms, qty=new.terms.qty)


def _intent(side: Side, held: Decimal) -> str:
    if held * side.sign < 0:
        return f"{side.value}_to_close"
    return f"{side.value}_to_open"
