"""What orders do in a minute, and what is told about it: openings of sessions, fills, legs of groups, ends.

The book calls it: `settle` with the bars of a minute; `tell`, `finish` and `open_up` for what requests caused. It takes
no order in and refuses none. Fills are decided by `engine.matching`; draws come from (seed, client_order_id, minute).

Promises:
1. An order ends once, and everything of a group is told in one run: the fill, then what follows from it.
2. An exit of a group never fills in the minute that activated it, and never together with a fill of its twin beyond the
   quantity of the position: a fill of the stop loss ends the take profit, a part of the take profit shrinks the stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from decimal import Decimal
from typing import Any

import msgspec

from adapters.exchange import ids, wire
from adapters.exchange.account import Account, BookRules
from adapters.exchange.bars import VenueBar
from adapters.exchange.calendar import VenueCalendar
from adapters.exchange.ledger import Execution
from adapters.exchange.orders import ENTRY, LEAVING, STOP_LOSS, TAKE_PROFIT, Order, decimals, order_key
from engine.matching import Candle, Draws, FillModel, FillRule, WorkingOrder, match, moved_hwm, takes_profit_first
from engine.values import (
    CRYPTO_LOT,
    CRYPTO_TICK,
    EQUITY_TICK,
    ZERO,
    AssetClass,
    OrderType,
    TimeInForce,
    plain,
    to_decimal,
)

_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_STAMPS = {
    "canceled": "canceled_ns", "expired": "expired_ns", "replaced": "replaced_ns", "rejected": "failed_ns",
}  # fmt: skip


class TradeUpdate(msgspec.Struct, frozen=True):
    """One event for the trading websocket.

    Attributes:
        event: Alpaca's word.
        ns: When.
        order: As it was then, without its group.
        position_qty: What was held of its symbol then, signed.
        seed: Of the id of an event that is no execution.
        execution: The execution, if it is one.
    """

    event: str
    ns: int
    order: Order
    position_qty: Decimal
    seed: int
    execution: Execution | None = None

    @property
    def symbol(self) -> str:
        """Whose order."""
        return self.order.terms.symbol

    @property
    def root(self) -> str:
        """client_order_id of the first order of its chain of replacements."""
        return self.order.root

    @property
    def execution_id(self) -> str:
        """Of the execution, or of the event."""
        if self.execution is not None:
            return self.execution.id
        return ids.make_uuid(self.seed, "event", self.order.id, self.event)

    def json(self) -> dict[str, Any]:
        """What it says of itself; when it was sent is added by whoever sends it."""
        data: dict[str, Any] = {
            "event": self.event,
            "timestamp": wire.rfc3339(self.ns),
            "execution_id": self.execution_id,
            "order": wire.order_json(self.order),
            "position_qty": plain(self.position_qty),
        }
        if self.execution is not None:
            data |= {"price": plain(self.execution.price), "qty": plain(self.execution.qty)}
        return data


class Settlement:
    """Decides the minutes of one account's orders.

    Args:
        rules: Settings.
        calendar: Sessions.
        account: Money, positions and open orders; changed by fills and ends.
    """

    def __init__(self, rules: BookRules, calendar: VenueCalendar, account: Account) -> None:
        self._rules = rules
        self._calendar = calendar
        self._account = account

    def settle(self, bars: Iterable[VenueBar], close_ns: int, *, is_part: bool = False) -> list[TradeUpdate]:
        """Decide everything of the minute that ends at `close_ns`; what came in before must have been acknowledged.

        Args:
            bars: Its bars.
            close_ns: Its end.
            is_part: Bars of other symbols may follow: their orders end with those, or in a later minute.
        """
        orders = [order for found in self._account.open_by_symbol.values() for order in found.values()]
        events: list[TradeUpdate] = []
        if orders:
            by_symbol = {bar.symbol: bar for bar in bars if bar.symbol in self._account.open_by_symbol}
            candles: dict[str, Candle] = {}
            decided: set[str] = set()
            for order in sorted(orders, key=order_key):
                bar = by_symbol.get(order.terms.symbol)
                if bar is not None and bar.symbol not in candles:
                    candles[bar.symbol] = candle_of(bar)
                candle = candles.get(order.terms.symbol)
                if is_part and bar is None and not 0 < order.expires_ns < close_ns:
                    continue
                for each in (*_earlier(order, candle, self._rules.rule), order):
                    if each.id not in decided:
                        decided.add(each.id)
                        self._minute(each, bar, candle, close_ns, events)
        self._account.mark()
        return in_order(events)

    # --- told by the book as well -----------------------------------------------------------------------------------

    def tell(self, event: str, order: Order, ns: int, execution: Execution | None = None) -> TradeUpdate:
        """Make an event of the order as it is now."""
        held = self._account.ledger.qty(order.terms.symbol)
        return TradeUpdate(event, ns, copy(order), held, self._rules.seed, execution)

    def finish(self, order: Order, status: str, ns: int) -> TradeUpdate:
        """End an order in a terminal state other than filled."""
        order.status, order.updated_ns = status, ns
        if status == "rejected":  # a replacement that never came to be has filled nothing
            order.filled_qty = order.filled_cost = ZERO
        setattr(order, _STAMPS[status], ns)
        self._account.remove(order)
        return self.tell(status, order, ns)

    def open_up(self, order: Order, ns: int) -> list[TradeUpdate]:
        """Make an order `new`; the legs of an OCO with it."""
        order.status, order.updated_ns = "new", ns
        events = [self.tell("new", order, ns)]
        if order.order_class == "oco" and order.parent is None:
            events += self._activate(order, ns, order.active_ns, order.terms.qty)
        return events

    # --- one minute of one order ------------------------------------------------------------------------------------

    def _minute(
        self, order: Order, bar: VenueBar | None, candle: Candle | None, close_ns: int, events: list[TradeUpdate]
    ) -> None:
        if not order.is_open or order.status == "pending_new" or order.is_waiting:
            return
        if order.status == "accepted" and order.eligible_ns < close_ns:
            events += self.open_up(order, order.eligible_ns)
        may_fill = order.status not in ("held", *LEAVING) or order.fills_while_leaving
        if bar is not None and candle is not None and may_fill and self._may_trade(order, bar):
            self._try(order, bar, candle, events)
        if order.is_open and order.leaves_ns and order.leaves_ns <= close_ns:
            self._leave(order, close_ns, events)
        elif order.is_open and 0 < order.expires_ns <= close_ns:
            status = "canceled" if order.terms.time_in_force in _AUCTIONS else "expired"
            events.append(self.finish(order, status, order.expires_ns))
            self._follow(order, order.expires_ns, events)

    def _may_trade(self, order: Order, bar: VenueBar) -> bool:
        if order.active_ns and bar.open_ns < order.active_ns:
            return False
        if order.terms.asset_class is AssetClass.CRYPTO:
            return True
        if order.expires_ns and bar.open_ns >= order.expires_ns:
            return False
        lifetime = order.terms.time_in_force
        if lifetime is TimeInForce.OPG:
            return bar.open_ns == order.eligible_ns
        if lifetime is TimeInForce.CLS:
            return bar.close_ns == order.expires_ns
        if order.terms.extended_hours:
            return self._calendar.is_extended(bar.open_ns)
        return self._calendar.is_regular(bar.open_ns)

    def _try(self, order: Order, bar: VenueBar, candle: Candle, events: list[TradeUpdate]) -> None:
        terms = order.terms
        if terms.order_type is OrderType.TRAILING_STOP and order.hwm is None:
            order.hwm = candle.open
        working = WorkingOrder(
            terms.side, terms.order_type, terms.time_in_force,
            order.leaves_qty if terms.qty is not None else None,
            order.leaves_notional if terms.notional is not None else None,
            terms.limit_px, terms.stop_px, order.is_triggered, terms.trail_px, terms.trail_percent, order.hwm,
        )  # fmt: skip
        result = match(working, candle, self._model(order), self._draws(order, bar.open_ns))
        if terms.order_type in _STOPS and result.is_triggered:
            order.is_triggered = True
        elif order.hwm is not None:
            order.hwm = moved_hwm(terms.side, order.hwm, candle)
        if result.quantity > 0:
            self._fill(order, result.quantity, result.price, bar.close_ns, events, is_done=result.is_done)
        if result.is_canceled:
            events.append(self.finish(order, "canceled", bar.close_ns))

    def _model(self, order: Order) -> FillModel:
        terms, rules = order.terms, self._rules
        is_crypto = terms.asset_class is AssetClass.CRYPTO
        is_whole = not is_crypto and terms.qty is not None and decimals(terms.qty) == 0
        return FillModel(
            rules.slippage.bps, rules.partial_fill_probability, rules.volume_share_max,
            CRYPTO_TICK if is_crypto else EQUITY_TICK, Decimal(1) if is_whole else CRYPTO_LOT,
            rules.slippage.ticks, rules.slippage.range, rules.rule,
        )  # fmt: skip

    def _draws(self, order: Order, open_ns: int) -> Draws:
        rules = self._rules
        if rules.slippage.bps <= 0 and rules.partial_fill_probability <= 0:
            return Draws()
        seed, name = rules.seed, order.client_order_id
        return Draws(
            ids.draw(seed, "slippage", name, open_ns), ids.draw(seed, "partial", name, open_ns),
            ids.draw(seed, "share", name, open_ns),
        )  # fmt: skip

    def _fill(
        self, order: Order, qty: Decimal, price: Decimal, ns: int, events: list[TradeUpdate], *, is_done: bool
    ) -> None:
        order.status = "filled" if is_done else "partially_filled"
        order.updated_ns = ns
        if is_done:
            order.filled_ns = ns
        execution = self._account.ledger.fill(order, qty, price, ns)
        if is_done:
            self._account.remove(order)
        elif order.opens:
            self._account.reserve(order, max(ZERO, order.leaves_qty * order.reserve_px))
        events.append(self.tell("fill" if is_done else "partial_fill", order, ns, execution))
        if order.order_class:
            self._after_fill(order, ns, events, is_done=is_done)
        if is_done:
            self._follow(order, ns, events)
        elif order.waiting is not None:
            self._carry(order, order.waiting)

    # --- groups -----------------------------------------------------------------------------------------------------

    def _after_fill(self, order: Order, ns: int, events: list[TradeUpdate], *, is_done: bool) -> None:
        if order.place == ENTRY:
            if is_done:
                events += self._activate(order, ns, ns, order.filled_qty)
            return
        for twin in order.exits:
            if twin is order:
                continue
            if is_done or order.place == STOP_LOSS:
                events.append(self.finish(twin, "canceled", ns))
            else:
                twin.terms = msgspec.structs.replace(twin.terms, qty=order.leaves_qty)
                twin.updated_ns = ns

    def _activate(self, parent: Order, ns: int, active_ns: int, qty: Decimal | None) -> list[TradeUpdate]:
        """Wake the legs: they work for what the parent has filled, in bars that open at `active_ns` or later."""
        events: list[TradeUpdate] = []
        for leg in parent.legs:
            if leg.status == "held":
                leg.terms = msgspec.structs.replace(leg.terms, qty=qty)
                leg.active_ns = active_ns
                leg.status, leg.updated_ns = "new", ns
                events.append(self.tell("new", leg, ns))
        return events

    # --- leaving late -----------------------------------------------------------------------------------------------

    def _leave(self, order: Order, ns: int, events: list[TradeUpdate]) -> None:
        """Carry out at last what was asked: the end, and the order that was to come in its place."""
        was_replaced = order.replaced_by is not None
        events.append(self.finish(order, "replaced" if was_replaced else "canceled", ns))
        self._follow(order, ns, events)

    def _carry(self, old: Order, new: Order) -> None:
        """Let a replacement that waits count what its predecessor fills; one that ended meanwhile changes no more."""
        if not new.is_open:
            return
        new.filled_qty, new.filled_cost = old.filled_qty, old.filled_cost
        if new.opens:
            self._account.reserve(new, max(ZERO, new.leaves_qty * new.reserve_px))

    def _follow(self, order: Order, ns: int, events: list[TradeUpdate]) -> None:
        """An order that ended while a replacement waited for it: the new one begins, or is rejected after a fill."""
        following = order.waiting
        if following is None or not following.is_open:
            return
        order.waiting = None
        if order.status == "replaced" and following.leaves_qty > 0:
            following.active_ns = ns
            events += self.open_up(following, ns)
            return
        order.replaced_by = None
        events.append(self.finish(following, "rejected", ns))


def _earlier(order: Order, candle: Candle | None, rule: FillRule) -> list[Order]:
    """The take profit that comes before this stop loss in the candle."""
    if order.place != STOP_LOSS or candle is None:
        return []
    return [
        twin for twin in order.exits
        if twin.place == TAKE_PROFIT and twin.terms.limit_px is not None
        and takes_profit_first(
            twin.terms.side, twin.terms.limit_px, candle, rule, stop_px=order.stop_px, is_triggered=order.is_triggered
        )
    ]  # fmt: skip


def candle_of(bar: VenueBar) -> Candle:
    """The bar in exact numbers, at most 9 decimals."""
    prices = (to_decimal(price, CRYPTO_TICK) for price in (bar.open, bar.high, bar.low, bar.close))
    return Candle(*prices, volume=to_decimal(bar.volume, CRYPTO_LOT))


def in_order(events: list[TradeUpdate]) -> list[TradeUpdate]:
    """By symbol and client_order_id; the events of one chain of replacements, and of one group, keep their order."""
    return sorted(events, key=lambda event: (event.symbol, event.root)) if len(events) > 1 else events
