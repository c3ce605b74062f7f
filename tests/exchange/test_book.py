"""The book as a state machine: whatever is asked of it, the money adds up and nothing is left reserved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapters.alpaca.parse_orders import parse_order, parse_update
from adapters.exchange.account import BookRules
from adapters.exchange.bars import VenueBar
from adapters.exchange.book import Book, TradeUpdate
from adapters.exchange.calendar import VenueCalendar
from adapters.exchange.corporate import Split
from adapters.exchange.faults import ORDER_FAULTS, FaultPlan, FaultRule, Faults
from adapters.exchange.orders import (
    ENTRY,
    TERMINAL,
    Order,
    OrderRequest,
    Refusal,
    ReplaceRequest,
    StopLoss,
    TakeProfit,
)
from adapters.exchange.wire import order_json
from adapters.told import order_of, update_of
from engine.costs import Slippage

D = Decimal
MINUTE = 60 * 10**9
OPEN = datetime(2025, 3, 10, 13, 30, tzinfo=UTC)
CALENDAR = VenueCalendar(OPEN.date(), OPEN.date())
SYMBOLS = {name: name for name in ("AAPL", "MSFT", "BTC/USD")}
CASH = D(20_000)


class Trading(RuleBasedStateMachine):
    """Random orders, cancels, replacements and bars on three symbols."""

    @initialize(seed=st.integers(0, 99))
    def begin(self, seed: int) -> None:
        self.now = int((OPEN - timedelta(minutes=2)).timestamp()) * 10**9
        self.prices: dict[str, Decimal] = {}
        rules = BookRules(seed, CASH, 2, D(25), D("0.4"), None, Slippage(bps=D(10)))
        self.book = self.make_book(rules)
        self.told: dict[str, list[TradeUpdate]] = {}
        self.splits = 0
        self.split_symbols: set[str] = set()

    def make_book(self, rules: BookRules) -> Book:
        return Book(rules, CALENDAR, self.prices.get, SYMBOLS.get)

    @rule(
        symbol=st.sampled_from(sorted(SYMBOLS)),
        side=st.sampled_from(["buy", "sell"]),
        kind=st.sampled_from(["market", "limit", "stop", "stop_limit", "trailing_stop"]),
        lifetime=st.sampled_from(["day", "gtc", "ioc", "fok", "opg", "cls"]),
        hundredths=st.integers(1, 4000),
        limit=st.integers(50, 150),
        stop=st.integers(50, 150),
        is_notional=st.booleans(),
    )
    def submit(
        self, *, symbol: str, side: str, kind: str, lifetime: str, hundredths: int, limit: int, stop: int,
        is_notional: bool,
    ) -> None:  # fmt: skip
        qty = D(hundredths) / 100 if hundredths % 2 else D(hundredths // 100 + 1)
        request = OrderRequest(
            symbol, None if is_notional else qty, qty if is_notional else None, side, kind, lifetime,
            D(limit) if "limit" in kind else None, D(stop) if kind in ("stop", "stop_limit") else None,
            trail_percent=D(limit) / 50 if kind == "trailing_stop" else None,
        )  # fmt: skip
        held = self.book.ledger.qty(symbol)
        outcome = self.book.submit(request, self.now)
        assert isinstance(outcome, Order | Refusal)
        if isinstance(outcome, Order) and outcome.terms.qty is not None and held * outcome.terms.side.sign < 0:
            assert outcome.terms.qty <= abs(held), "never through zero"

    @rule(
        symbol=st.sampled_from(["AAPL", "MSFT"]), side=st.sampled_from(["buy", "sell"]),
        kind=st.sampled_from(["bracket", "oco", "oto"]), is_limit=st.booleans(), qty=st.integers(1, 30),
        limit=st.integers(60, 140), gain=st.integers(1, 40), loss=st.integers(1, 40),
    )  # fmt: skip
    def submit_group(
        self, *, symbol: str, side: str, kind: str, is_limit: bool, qty: int, limit: int, gain: int, loss: int
    ) -> None:
        base = D(limit) if is_limit else self.prices.get(symbol, D(limit))
        up = (side == "buy") != (kind == "oco")
        take, stop = (base + gain, base - loss) if up else (base - gain, base + loss)
        request = OrderRequest(
            symbol, D(qty), None, side, "limit" if is_limit or kind == "oco" else "market", "day",
            D(limit) if is_limit and kind != "oco" else None, order_class=kind,
            take_profit=TakeProfit(max(take, D(1))) if kind != "oto" or qty % 2 else None,
            stop_loss=StopLoss(max(stop, D(1))) if kind != "oto" or not qty % 2 else None,
        )  # fmt: skip
        before = len(self.book.orders)
        outcome = self.book.submit(request, self.now)
        legs = len(outcome.legs) if isinstance(outcome, Order) else -1
        assert legs in (-1, 1, 2)
        assert len(self.book.orders) == before + 1 + legs

    @rule(place=st.integers(0, 50))
    def cancel(self, place: int) -> None:
        if self.book.orders:
            self.book.cancel(list(self.book.orders)[place % len(self.book.orders)], self.now)

    @rule(place=st.integers(0, 50), limit=st.integers(50, 150), qty=st.integers(1, 30))
    def replace(self, place: int, limit: int, qty: int) -> None:
        if self.book.orders:
            name = list(self.book.orders)[place % len(self.book.orders)]
            is_leg = self.book.orders[name].place != ENTRY
            request = ReplaceRequest(qty=None if is_leg else D(qty), limit_price=D(limit))
            self.book.replace(name, request, self.now)

    @rule(prices=st.lists(st.integers(50, 150), min_size=12, max_size=12), minutes=st.sampled_from([1, 1, 1, 30, 400]))
    def minute(self, prices: list[int], minutes: int) -> None:
        bars: list[VenueBar] = []
        self.now += minutes * MINUTE
        for place, symbol in enumerate(sorted(SYMBOLS)):
            low, opened, closed, high = sorted(prices[place * 4 : place * 4 + 4])
            bars.append(VenueBar(symbol, self.now - MINUTE, opened, high, low, closed, 1000, 1, opened))
        by_symbol = {bar.symbol: bar for bar in bars}
        for update in [*self.book.acknowledge(), *self.book.settle(bars, self.now)]:
            self.tell(update)
            if update.execution is not None:
                bar = by_symbol[update.symbol]
                assert bar.low <= update.execution.price <= bar.high
        self.prices.update({bar.symbol: D(int(bar.close)) for bar in bars})
        self.book.account.mark()

    @rule(
        symbol=st.sampled_from(["AAPL", "MSFT"]), ratio=st.sampled_from([(2, 1), (3, 2), (1, 2), (1, 10)]),
        policy=st.sampled_from(["venue", "keep", "adjust", "cancel"]),
    )  # fmt: skip
    def split(self, symbol: str, ratio: tuple[int, int], policy: Any) -> None:
        new, old = map(D, ratio)
        self.splits += 1
        self.split_symbols.add(symbol)
        split = Split(f"s{self.splits}", symbol, new, old, OPEN.date(), self.now, OPEN.date(), policy)
        events = self.book.acknowledge()
        if symbol in self.prices:
            self.prices[symbol] = self.prices[symbol] / split.ratio
        held = self.book.ledger.qty(symbol)
        for update in [*events, *self.book.split(split)]:
            self.tell(update)
        assert abs(self.book.ledger.qty(symbol) - held * split.ratio) < D("0.000000002")

    def tell(self, update: TradeUpdate) -> None:
        """Note what is told; without a wire it is what a client reads of the wire, to the last digit."""
        self.told.setdefault(update.order.id, []).append(update)
        assert repr(update_of(update)) == repr(parse_update(update.json()))
        order = self.book.orders[update.order.id]
        assert repr(order_of(order, is_nested=True)) == repr(parse_order(order_json(order, is_nested=True)))

    @invariant()
    def money_adds_up(self) -> None:
        cash, held = CASH, dict.fromkeys(SYMBOLS, D(0))
        for activity in self.book.ledger.activities:
            if activity.kind == "FILL":
                sign = 1 if activity.side == "buy" else -1
                cash -= sign * activity.qty * activity.price
                held[activity.symbol] += sign * activity.qty
            else:
                cash += activity.net_amount
                held[activity.symbol] += activity.qty
        assert self.book.ledger.cash == cash
        assert {symbol: self.book.ledger.qty(symbol) for symbol in SYMBOLS} == held
        assert held["BTC/USD"] >= 0, "coins are never sold short"

    @invariant()
    def only_open_orders_reserve(self) -> None:
        still_open = {order.id for order in self.book.orders.values() if order.status not in TERMINAL}
        indexed = {name for orders in self.book.account.open_by_symbol.values() for name in orders}
        assert indexed == still_open
        for order in self.book.orders.values():
            assert order.reserved >= 0
            assert order.reserved == 0 or order.id in still_open
        assert sum(self.book.account._reserved.values()) == sum(order.reserved for order in self.book.orders.values())

    @invariant()
    def of_a_group_no_exit_works_before_the_entry_or_beside_a_filled_twin(self) -> None:
        for order in self.book.orders.values():
            if not order.legs:
                continue
            working = [each for each in order.exits if each.status in ("new", "partially_filled")]
            if order.order_class != "oco":
                assert not working or order.status == "filled"
            if order.terms.symbol in self.split_symbols:
                continue  # shares before and after a split do not add up
            exits = [each for each in order.group if each.place != ENTRY]
            done = sum((each.filled_qty for each in exits), D(0))
            filled = order.filled_qty if order.order_class != "oco" else order.terms.qty
            assert done <= (filled or 0)

    @invariant()
    def each_order_ends_once_and_its_fills_add_up(self) -> None:
        for name, updates in self.told.items():
            events = [update.event for update in updates]
            ends = [event for event in events if event in ("fill", "canceled", "expired", "replaced", "rejected")]
            assert len(ends) <= 1
            assert not ends or events[-1] == ends[0]
            filled = sum((update.execution.qty for update in updates if update.execution), D(0))
            order = self.book.orders[name]
            if order.replaces and order.status != "rejected":
                filled += self.book.orders[order.replaces].filled_qty
            assert filled == order.filled_qty
            if order.status == "filled" and order.terms.qty is not None:
                assert filled == order.terms.qty


class TradingWithFaults(Trading):
    """The same on a venue that rejects late, cancels late, and lets orders fill on their way out."""

    def make_book(self, rules: BookRules) -> Book:
        faults = tuple(FaultRule(fault=name, probability=0.3) for name in sorted(ORDER_FAULTS))
        return Book(rules, CALENDAR, self.prices.get, SYMBOLS.get, Faults(rules.seed, FaultPlan(faults)))


Trading.TestCase.settings = settings(stateful_step_count=50)
TestTrading = Trading.TestCase
TradingWithFaults.TestCase.settings = settings(stateful_step_count=30, max_examples=50)
TestTradingWithFaults = TradingWithFaults.TestCase


def test_requests_are_decoded_from_numbers_and_texts() -> None:
    body: dict[str, Any] = {"symbol": "A", "qty": 1.5, "limit_price": "2.50"}
    decoded = msgspec.json.decode(msgspec.json.encode(body), type=OrderRequest)
    assert (decoded.qty, decoded.limit_price) == (D("1.5"), D("2.50"))


@given(
    kind=st.sampled_from(["bracket", "oto", "oco"]), side=st.sampled_from(["buy", "sell"]), seed=st.integers(0, 999),
    partial=st.sampled_from([D(0), D("0.6")]), gain=st.integers(1, 8), loss=st.integers(1, 8),
    minutes=st.lists(st.lists(st.integers(90, 110), min_size=4, max_size=4), min_size=4, max_size=12),
)  # fmt: skip
def test_the_exits_of_a_group_never_do_more_than_close_the_position(
    *, kind: str, side: str, seed: int, partial: Decimal, gain: int, loss: int, minutes: list[list[int]]
) -> None:
    now = int(OPEN.timestamp()) * 10**9
    book = Book(BookRules(seed, CASH, 2, D(0), partial, None), CALENDAR, {"AAPL": D(100)}.get, SYMBOLS.get)
    sign = 1 if side == "buy" else -1
    if kind == "oco":
        book.submit(OrderRequest("AAPL", D(10), None, side, "market", "day", client_order_id="entry"), now)
        while book.ledger.qty("AAPL") != 10 * sign:
            now += MINUTE
            book.acknowledge()
            book.settle([VenueBar("AAPL", now - MINUTE, 100, 100, 100, 100, 1000, 1, 100)], now)
    exit_side = "sell" if side == "buy" else "buy"
    request = OrderRequest(
        "AAPL", D(10), None, exit_side if kind == "oco" else side, "limit" if kind == "oco" else "market", "day",
        order_class=kind, take_profit=TakeProfit(D(100) + gain * sign),
        stop_loss=None if kind == "oto" else StopLoss(D(100) - loss * sign), client_order_id="group",
    )  # fmt: skip
    head = book.submit(request, now)
    assert isinstance(head, Order)
    for prices in minutes:
        now += MINUTE
        low, opened, closed, high = sorted(prices)
        book.acknowledge()
        book.settle([VenueBar("AAPL", now - MINUTE, opened, high, low, closed, 1000, 1, opened)], now)
        held = book.ledger.qty("AAPL") * sign
        assert 0 <= held <= 10
        exits = [order for order in head.exits if order.status in ("new", "partially_filled")]
        if kind != "oco" and head.status != "filled":
            assert not exits
        elif held:
            assert {order.leaves_qty for order in exits} == {held}, "what works is what is held"
        else:
            assert not head.exits
            assert book.counts()["open"] == 0
