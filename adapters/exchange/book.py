"""The order book of the account: which orders are accepted, what they do in each minute, what is told about it.

A pure state machine: no clock, no I/O, no randomness but draws derived from (seed, client_order_id, minute). The venue
calls it: `submit`, `cancel`, `replace` when a request comes in, `acknowledge` to turn what came in into events,
`settle` with the bars of a minute. It never emits by itself.

Promises:
1. Equal seed, bars and orders give equal ids, fills, events and activities, whatever the order in which requests on
   different symbols came in: everything is decided by (symbol, client_order_id), ids come from content. (The one thing
   that must depend on arrival is which of two requests gets the last of the buying power.)
2. An order fills at the earliest in the first minute whose bars are settled after it was received.
3. An order that has asked to leave (cancel, replace) no longer fills.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from adapters.exchange import ids, wire
from adapters.exchange.account import Account, BookRules
from adapters.exchange.bars import VenueBar
from adapters.exchange.calendar import VenueCalendar, new_york, ns_of
from adapters.exchange.ledger import Execution
from adapters.exchange.orders import (
    CANCELABLE,
    REPLACEABLE,
    Order,
    OrderRequest,
    OrderTerms,
    Refusal,
    ReplaceRequest,
    check_request,
    check_terms,
    decimals,
    order_key,
)
from engine.matching import Candle, Draws, FillModel, WorkingOrder, match
from engine.values import (
    CRYPTO_LOT,
    CRYPTO_TICK,
    EQUITY_TICK,
    ZERO,
    AssetClass,
    OrderType,
    Side,
    TimeInForce,
    to_decimal,
)

_SHORT_EQUITY_MIN = Decimal(2000)
_NOTIONAL_MIN = {AssetClass.US_EQUITY: Decimal(1), AssetClass.CRYPTO: Decimal(10)}
_GTC_DAYS = 90


class TradeUpdate(msgspec.Struct, frozen=True):
    """One event for the trading websocket; `order` is the order as it was then."""

    event: str
    symbol: str
    root: str
    ns: int
    order: dict[str, Any]
    position_qty: Decimal
    execution_id: str
    execution: Execution | None = None


class Book:
    """Orders and account of the venue.

    Args:
        rules: Settings.
        calendar: Sessions.
        price_of: Last price of a symbol, None before its first bar.
        symbol_of: Canonical symbol of a spelling (BTCUSD -> BTC/USD) or asset id, None when unknown.
    """

    def __init__(
        self,
        rules: BookRules,
        calendar: VenueCalendar,
        price_of: Callable[[str], Decimal | None],
        symbol_of: Callable[[str], str | None],
    ) -> None:
        self.rules = rules
        self.account_number = ids.account_number(rules.seed)
        self.account = Account(rules, price_of)
        self.ledger = self.account.ledger
        self.orders: dict[str, Order] = {}
        self.by_client_id: dict[str, Order] = {}
        self._calendar = calendar
        self._symbol_of = symbol_of
        self._arrivals: list[Order] = []
        self._leaving: list[Order] = []
        self._auto_ids: dict[tuple[str, int], int] = {}

    # --- requests ---------------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest, now_ns: int) -> Order | Refusal:
        """Take a new order in, or refuse it; nothing is emitted before `acknowledge`."""
        symbol = self._symbol_of(request.symbol) if request.symbol else None
        terms = check_request(request, symbol)
        if isinstance(terms, Refusal):
            return terms
        client_order_id = request.client_order_id or self._auto_id(terms.symbol, now_ns)
        if client_order_id in self.by_client_id:
            return Refusal(422, 40010001, "client_order_id must be unique")
        refusal = self.account.refusal(terms)
        if refusal is not None:
            return refusal
        return self._take_in(terms, client_order_id, now_ns, None, request.position_intent)

    def replace(self, order_id: str, request: ReplaceRequest, now_ns: int) -> Order | Refusal:
        """Put a new order in the place of an open one.

        The new order's quantity is what is still to be done: the old leaves, or the quantity that is given.
        """
        old = self.orders.get(order_id)
        if old is None:
            return Refusal(404, 40410000, f"order not found for {order_id}")
        if old.status not in REPLACEABLE:
            return Refusal(422, 42210000, f"order is not replaceable in status {old.status!r}")
        if old.terms.notional is not None:
            return Refusal(422, 42210000, "notional orders cannot be replaced")
        if request.trail is not None:
            return Refusal(422, 42210000, "trail is not supported by this exchange yet")
        if request.time_in_force not in (None, "day", "gtc", "ioc", "fok"):
            return Refusal(422, 40010001, f"invalid time_in_force {request.time_in_force}")
        wanted = OrderTerms(
            old.terms.symbol, old.terms.side, old.terms.order_type,
            TimeInForce(request.time_in_force) if request.time_in_force else old.terms.time_in_force,
            request.qty if request.qty is not None else old.leaves_qty, None,
            request.limit_price if request.limit_price is not None else old.terms.limit_px,
            request.stop_price if request.stop_price is not None else old.terms.stop_px, old.terms.extended_hours,
        )  # fmt: skip
        same = msgspec.structs.replace(wanted, qty=old.terms.qty) == old.terms
        if same and (request.qty is None or request.qty == old.terms.qty) and request.client_order_id is None:
            return Refusal(422, 42210000, "order parameters are not changed")
        terms = check_terms(wanted)
        if isinstance(terms, Refusal):
            return terms
        client_order_id = request.client_order_id or self._auto_id(terms.symbol, now_ns)
        if client_order_id in self.by_client_id:
            return Refusal(422, 40010001, "client_order_id must be unique")
        refusal = self.account.refusal(terms, instead_of=old)
        if refusal is not None:
            return refusal
        self.account.reserve(old, ZERO)
        new = self._take_in(terms, client_order_id, now_ns, old, None)
        old.status, old.replaced_by, old.updated_ns = "pending_replace", new.id, now_ns
        self._leaving.append(old)
        return new

    def cancel(self, order_id: str, now_ns: int) -> Refusal | None:
        """Ask for the end of an order; it can no longer fill."""
        order = self.orders.get(order_id)
        if order is None:
            return Refusal(404, 40410000, f"order not found for {order_id}")
        if order.status == "pending_cancel":
            return None
        if order.status not in CANCELABLE:
            return Refusal(422, 42210000, f'order is already in "{order.status}" state')
        order.status, order.cancel_requested_ns, order.updated_ns = "pending_cancel", now_ns, now_ns
        self.account.reserve(order, ZERO)
        self._leaving.append(order)
        return None

    def close_request(self, symbol: str, qty: Decimal) -> OrderRequest:
        """The market order that closes `qty` of a position."""
        is_crypto = "/" in symbol
        side = Side.SELL if self.ledger.qty(symbol) > 0 else Side.BUY
        return OrderRequest(symbol, abs(qty), None, side.value, "market", "gtc" if is_crypto else "day")

    # --- what comes out ---------------------------------------------------------------------------------------------

    def acknowledge(self) -> list[TradeUpdate]:
        """Turn everything received since the last call into events, by symbol and client_order_id."""
        events: list[TradeUpdate] = []
        leaving = sorted(self._leaving, key=order_key)
        for order in leaving:
            if order.status == "pending_replace":
                order.replaced_ns = order.updated_ns
                events.append(self._end(order, "replaced", order.updated_ns))
        for order in sorted(self._arrivals, key=order_key):
            if order.status == "pending_cancel":
                continue
            order.status = "new" if order.status == "pending_new" else order.status
            events.append(self._event(order.status, order, order.submitted_ns))
        for order in leaving:
            if order.status == "pending_cancel":
                order.canceled_ns = order.cancel_requested_ns
                events.append(self._end(order, "canceled", order.cancel_requested_ns))
        self._arrivals, self._leaving = [], []
        return in_order(events)

    def settle(self, bars: Iterable[VenueBar], close_ns: int) -> list[TradeUpdate]:
        """Decide everything of the minute that ends at `close_ns`: openings of sessions, fills, expiries.

        What came in before must have been acknowledged.
        """
        working = sorted(
            (order for orders in self.account.open_by_symbol.values() for order in orders.values()), key=order_key
        )
        events: list[TradeUpdate] = []
        if working:
            by_symbol = {bar.symbol: bar for bar in bars if bar.symbol in self.account.open_by_symbol}
            candles: dict[str, Candle] = {}
            for order in working:
                bar = by_symbol.get(order.terms.symbol)
                self._settle_order(order, bar, close_ns, candles, events)
        self.account.mark()
        return in_order(events)

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
        eligible_ns, expires_ns = self._life(terms, now_ns)
        held = self.ledger.qty(terms.symbol)
        order = Order(
            id=ids.make_uuid(self.rules.seed, self.account_number, "order", client_order_id),
            client_order_id=client_order_id,
            root=old.root if old else client_order_id,
            sequence=old.sequence + 1 if old else 0,
            terms=terms,
            position_intent=intent or _intent(terms.side, held),
            status="pending_new" if eligible_ns <= now_ns else "accepted",
            submitted_ns=now_ns,
            expires_ns=expires_ns,
            eligible_ns=eligible_ns,
            reserve_px=self.account.reserve_px(terms),
            updated_ns=now_ns,
            replaces=old.id if old else None,
            opens=held * terms.side.sign >= 0,
        )
        self.orders[order.id] = order
        self.by_client_id[client_order_id] = order
        self.account.add(order)
        self._arrivals.append(order)
        return order

    def _life(self, terms: OrderTerms, now_ns: int) -> tuple[int, int]:
        """From when the order may trade and when it expires (0 = never), ns UTC."""
        if terms.asset_class is AssetClass.CRYPTO:
            return now_ns, 0
        session = self._calendar.session_for(now_ns, extended=terms.extended_hours)
        opens = session.extended_open_ns if terms.extended_hours else session.open_ns
        closes = session.extended_close_ns if terms.extended_hours else session.close_ns
        if terms.time_in_force is TimeInForce.GTC:
            closes = ns_of(new_york(now_ns).date() + timedelta(days=_GTC_DAYS), time(16, 15))
        return max(now_ns, opens), closes

    # --- one minute of one order ------------------------------------------------------------------------------------

    def _settle_order(
        self, order: Order, bar: VenueBar | None, close_ns: int, candles: dict[str, Candle], events: list[TradeUpdate]
    ) -> None:
        if order.status == "accepted" and order.eligible_ns < close_ns:
            order.status, order.updated_ns = "new", order.eligible_ns
            events.append(self._event("new", order, order.eligible_ns))
        if bar is not None and self._may_trade(order, bar):
            candle = candles.get(bar.symbol)
            if candle is None:
                candle = candles[bar.symbol] = candle_of(bar)
            self._try(order, bar, candle, events)
        if order.is_open and 0 < order.expires_ns <= close_ns:
            order.expired_ns = order.expires_ns
            events.append(self._end(order, "expired", order.expires_ns))

    def _may_trade(self, order: Order, bar: VenueBar) -> bool:
        if order.terms.asset_class is AssetClass.CRYPTO:
            return True
        if order.expires_ns and bar.open_ns >= order.expires_ns:
            return False
        if order.terms.extended_hours:
            return self._calendar.is_extended(bar.open_ns)
        return self._calendar.is_regular(bar.open_ns)

    def _try(self, order: Order, bar: VenueBar, candle: Candle, events: list[TradeUpdate]) -> None:
        terms, rules = order.terms, self.rules
        is_crypto = terms.asset_class is AssetClass.CRYPTO
        is_whole = not is_crypto and terms.qty is not None and decimals(terms.qty) == 0
        model = FillModel(
            rules.slippage_bps, rules.partial_fill_probability, rules.volume_share_max,
            CRYPTO_TICK if is_crypto else EQUITY_TICK, Decimal(1) if is_whole else CRYPTO_LOT,
        )  # fmt: skip
        working = WorkingOrder(
            terms.side, terms.order_type, terms.time_in_force,
            order.leaves_qty if terms.qty is not None else None,
            order.leaves_notional if terms.notional is not None else None,
            terms.limit_px, terms.stop_px, order.is_triggered,
        )  # fmt: skip
        result = match(working, candle, model, self._draws(order, bar.open_ns))
        if result.is_triggered and terms.order_type is OrderType.STOP_LIMIT:
            order.is_triggered = True
        if result.quantity > 0:
            events.append(self._fill(order, result.quantity, result.price, bar.close_ns, is_done=result.is_done))
        if result.is_canceled:
            order.canceled_ns = bar.close_ns
            events.append(self._end(order, "canceled", bar.close_ns))

    def _draws(self, order: Order, open_ns: int) -> Draws:
        rules = self.rules
        if rules.slippage_bps <= 0 and rules.partial_fill_probability <= 0:
            return Draws()
        seed, name = rules.seed, order.client_order_id
        return Draws(
            ids.draw(seed, "slippage", name, open_ns), ids.draw(seed, "partial", name, open_ns),
            ids.draw(seed, "share", name, open_ns),
        )  # fmt: skip

    def _fill(self, order: Order, qty: Decimal, price: Decimal, ns: int, *, is_done: bool) -> TradeUpdate:
        order.status = "filled" if is_done else "partially_filled"
        order.updated_ns = ns
        if is_done:
            order.filled_ns = ns
        execution = self.ledger.fill(order, qty, price, ns)
        if is_done:
            self.account.remove(order)
        elif order.opens:
            self.account.reserve(order, max(ZERO, order.leaves_qty * order.reserve_px))
        return self._event("fill" if is_done else "partial_fill", order, ns, execution)

    def _end(self, order: Order, status: str, ns: int) -> TradeUpdate:
        order.status, order.updated_ns = status, ns
        self.account.remove(order)
        return self._event(status, order, ns)

    def _event(self, event: str, order: Order, ns: int, execution: Execution | None = None) -> TradeUpdate:
        held = self.ledger.qty(order.terms.symbol)
        execution_id = execution.id if execution else ids.make_uuid(self.rules.seed, "event", order.id, event)
        shown = wire.order_json(order)
        return TradeUpdate(event, order.terms.symbol, order.root, ns, shown, held, execution_id, execution)


def candle_of(bar: VenueBar) -> Candle:
    """The bar in exact numbers, at most 9 decimals."""
    prices = (to_decimal(price, CRYPTO_TICK) for price in (bar.open, bar.high, bar.low, bar.close))
    return Candle(*prices, volume=to_decimal(bar.volume, CRYPTO_LOT))


def in_order(events: list[TradeUpdate]) -> list[TradeUpdate]:
    """By symbol and client_order_id; the events of one chain of replacements keep their order."""
    return sorted(events, key=lambda event: (event.symbol, event.root))


def _intent(side: Side, held: Decimal) -> str:
    if held * side.sign < 0:
        return f"{side.value}_to_close"
    return f"{side.value}_to_open"
