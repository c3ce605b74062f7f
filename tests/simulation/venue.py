"""The outside world of one seed: a venue that is right, behind lines that are not.

`Exchange` moves the book minute by minute and hands events and bars to the two lines. `VenueRest` answers the
executor's requests as AlpacaVenue does for a venue that times out, answers 429, 500 or a page, and takes an order of
which it says nothing. `UpdateLine` and `BarLine` are the sockets: what is sent while they are down is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from adapters.exchange.bars import VenueBar
from adapters.exchange.book import TradeUpdate
from adapters.exchange.ledger import Activity
from adapters.exchange.orders import OrderRequest, Refusal
from engine.errors import UnreachableError
from engine.messages import Bar, OrderIntent
from engine.ports import (
    Accepted,
    LookupOutcome,
    NotFound,
    RateLimited,
    Rejected,
    SubmitOutcome,
    Unknown,
    VenueAccount,
    VenueActivity,
    VenueAsset,
    VenueExecution,
    VenueOrder,
    VenueSplit,
)
from engine.values import NS_PER_DAY, NS_PER_S, ZERO, Side
from tests.simulation.bodies import change_of, request_of
from tests.simulation.faults import Faults
from tests.simulation.loop import OWNER, SimLoop
from tests.simulation.market import Market, VenueBook, bar_value, ns_at, order_value, update_value

_TIMEOUT_S = 10.0
_LAG_S_MAX = 0.3
"""An order may be invisible to lookups this long after it was taken."""


class Exchange:
    """Book, minutes and lines. `on_post` is told of each order request as it leaves."""

    def __init__(self, loop: SimLoop, faults: Faults, market: Market) -> None:
        self.loop = loop
        self.faults = faults
        self.market = market
        self.book = VenueBook(market, faults.draw)
        self.updates = Line(self)
        self.bars = Line(self)
        self.out: list[Bar] = []
        self.excused: set[tuple[str, int]] = set()
        self.on_post: Callable[[OrderIntent], None] = lambda _: None
        self.posts = 0
        self.unclear: set[str] = set()  # requests whose fate nobody asked about
        self._is_acknowledging = False
        self.hands = 0
        self._by_hand: set[str] = set()
        self.slips: dict[str, Decimal] = {}
        self.seen_at: dict[str, float] = {}
        self._before: tuple[Decimal, dict[str, Decimal]] = (self.book.ledger.cash, {})
        self._stale_until = 0.0

    @property
    def now_ns(self) -> int:
        return ns_at(self.loop.now)

    def minute(self, number: int) -> None:
        """The minute ends: fills first, then its bars."""
        self._is_acknowledging = False
        events = self.book.acknowledge()
        self._before = self.account()
        bars = self.market.minutes.get(number, [])
        if not self.faults.is_on:  # the market goes on elsewhere: everything fills, nobody hears of a bar
            settlement: Any = self.book._settlement
            settlement._rules = msgspec.structs.replace(self.book.rules, partial_fill_probability=ZERO)
            self._tell(events + self.book.settle(self.market.flat(number, self.book.prices), ns_at(number * 60)))
            return
        events += self.book.settle(bars, ns_at(number * 60))
        self._tell(events)
        self.book.know(bars)
        self._send(bars)

    def take(self, intent: OrderIntent) -> Any:
        """An order request has arrived."""
        if intent.replaces:
            old = self.book.by_client_id.get(intent.replaces)
            answer = self.book.replace(old.id if old else "", change_of(intent), self.now_ns)
        else:
            answer = self.book.submit(request_of(intent), self.now_ns)
        self.acknowledge_soon()
        return answer

    def acknowledge_soon(self) -> None:
        if not self._is_acknowledging:
            self._is_acknowledging = True
            self.loop.call_later(self.faults.draw.uniform(0.0, 1.5), self._acknowledge)

    def cancel(self) -> None:
        """Somebody cancels orders at the venue by hand: some, or all of them when nothing goes wrong any more."""
        still_open = [order for order in self.book.orders.values() if order.is_open]
        for order in still_open[:: 3 if self.faults.is_on else 1]:
            self.book.cancel(order.id, self.now_ns)
            self.acknowledge_soon()

    def hand(self) -> None:
        """Somebody trades by hand: at the market, or far from it; under a name of his own or none."""
        draw, self.hands = self.faults.draw, self.hands + 1
        symbol = draw.choice(self.market.symbols)
        amount = Decimal(draw.randint(1, 9)) / (100 if "/" in symbol else 1)
        side = Side.SELL if self.book.ledger.qty(symbol) > amount and draw.random() < 0.5 else Side.BUY
        price = self.book.prices.get(symbol)
        limit = None if price is None or draw.random() < 0.6 else round(price * (1 - side.sign * Decimal("0.1")), 2)
        request = OrderRequest(
            symbol, amount, None, side.value, "market" if limit is None else "limit", "gtc" if "/" in symbol else "day",
            limit, client_order_id=draw.choice((None, f"hand-{self.hands}")),
        )  # fmt: skip
        answer = self.book.submit(request, self.now_ns)
        if not isinstance(answer, Refusal):
            self._by_hand.add(answer.client_order_id)
        self.acknowledge_soon()

    def is_by_hand(self, client_order_id: str) -> bool:
        """Whether an order is one of `hand`'s."""
        return client_order_id in self._by_hand

    def deposit(self) -> None:
        """Cash comes or goes."""
        self.hands += 1
        ledger, amount = self.book.ledger, Decimal(self.faults.draw.randint(-500, 500)) / 10
        ledger.cash += amount
        activity = Activity("", "CSD" if amount > 0 else "CSW", self.now_ns, "", ZERO, ZERO, amount, f"d{self.hands}")
        ledger._post(activity)

    def slip(self) -> None:
        """The venue's position is another one, and nothing says why."""
        symbol = self.faults.draw.choice([name for name in self.market.symbols if "/" not in name])
        amount = Decimal(self.faults.draw.choice((-3, -1, 2, 5)))
        if self.book.ledger.qty(symbol) * (self.book.ledger.qty(symbol) + amount) >= 0:  # not through zero
            self.slips[symbol] = self.slips.get(symbol, ZERO) + amount
            self.book.ledger._move(symbol, amount, self.book.prices.get(symbol, Decimal(100)))
            self.faults.seen["slip"] += 1

    def account(self) -> tuple[Decimal, dict[str, Decimal]]:
        """Cash and positions now."""
        ledger = self.book.ledger
        return ledger.cash, {name: position.qty for name, position in ledger.positions.items()}

    def shown_account(self) -> tuple[Decimal, dict[str, Decimal]]:
        """Cash and positions as they are told, which may lag behind the minute's fills, by 12 seconds at most."""
        if self.faults.hits("account_stale"):
            self._stale_until = self.loop.now // 60 * 60 + self.faults.draw.uniform(1.0, 12.0)
        return self._before if self.faults.is_on and self.loop.now < self._stale_until else self.account()

    def is_listed(self, activity: Activity) -> bool:
        """Whether an activity is listed by now."""
        if activity.id not in self.seen_at:
            is_late = self.faults.hits("activity_late")
            self.seen_at[activity.id] = self.loop.now + (self.faults.draw.uniform(5.0, 150.0) if is_late else 0.0)
        return not self.faults.is_on or self.loop.now >= self.seen_at[activity.id]

    def _acknowledge(self) -> None:
        if self._is_acknowledging:
            self._is_acknowledging = False
            self._tell(self.book.acknowledge())

    def _tell(self, events: list[TradeUpdate]) -> None:
        for event in events:
            update = update_value(event)
            if self.faults.hits("update_lost"):
                continue
            self.updates.send("update_late", lambda listener, it=update: listener.on_update(it))
            if self.faults.hits("update_doubled"):
                self.updates.send("update_late", lambda listener, it=update: listener.on_update(it))

    def _send(self, bars: list[VenueBar]) -> None:
        frame = [bar_value(bar) for bar in bars]
        self.out += frame
        if not frame:
            return
        names = [(bar.symbol, bar.ts_event) for bar in frame]
        if self.faults.hits("bars_lost"):
            self.excused.update(names)
            return

        def give(listener: Any) -> None:
            listener.on_bars(frame, self.now_ns)

        if not self.bars.send("bars_late", give):
            self.excused.update(names)
        if self.faults.hits("bars_doubled"):
            self.bars.send("bars_late", give)


class Line:
    """A socket: in order unless something is late, lost while it is down."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._listener: Any = None
        self._connection = 0
        self._free_at = 0.0
        self._down = asyncio.Event()
        self._hears: tuple[Any, ...] = ()

    async def run(self, *hears: Any) -> None:
        """Be connected again and again; the last of `hears` is the listener."""
        exchange, owner = self._exchange, OWNER.get()
        assert owner is not None
        *first, listener = hears
        down = self._down = asyncio.Event()
        try:
            while True:
                draw = exchange.faults.draw
                longest = draw.choice((1.0, 1.0, 20.0, 70.0)) if exchange.faults.is_disturbed else 1.0
                await asyncio.sleep(draw.uniform(0.1, longest))
                down.clear()
                self._connection += 1
                self._listener = listener
                listener.on_connected(*first)
                await down.wait()
                self._listener = None
                listener.on_disconnected(*first[:1])
        finally:
            if self._down is down:
                self._listener = None

    async def stop(self) -> None:
        self.cut()

    def cut(self) -> None:
        """Lose the connection."""
        self._connection += 1
        self._down.set()

    def send(self, lateness: str, give: Callable[[Any], None]) -> bool:
        """Send something; whether it stays in order."""
        loop, faults, connection = self._exchange.loop, self._exchange.faults, self._connection
        when = max(self._free_at, loop.now + faults.latency())
        is_late = faults.hits(lateness)
        if is_late:
            when += faults.draw.uniform(0.1, 100.0)
        else:
            self._free_at = when

        def arrive() -> None:
            if self._listener is not None and connection == self._connection:
                give(self._listener)

        loop.call_at(when, arrive)
        return not is_late


class VenueRest:
    """engine.ports.Venue; each call is one virtual moment of a worker thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._faults = exchange.faults
        self._loop = exchange.loop

    def submit(self, intent: OrderIntent) -> SubmitOutcome:
        exchange, faults = self._exchange, self._faults
        exchange.posts += 1
        exchange.on_post(intent)
        if faults.hits("post_limited"):
            exchange.unclear.discard(intent.id)
            return RateLimited(faults.draw.choice((0.5, 5.0, 40.0)))
        if faults.hits("post_lost"):
            return self._timed_out()
        if faults.hits("post_late"):
            self._loop.call_later(faults.draw.uniform(0.1, 0.9 * _TIMEOUT_S), exchange.take, intent)
            return self._timed_out()
        if faults.hits("post_html"):
            if faults.draw.random() < 0.5:
                exchange.take(intent)
            return Unknown("POST /orders: answer is not JSON")
        answer = exchange.take(intent)
        if faults.hits("post_unknown"):
            return self._timed_out()
        if not isinstance(answer, Refusal):
            return Accepted(order_value(answer))
        if answer.status == 422 and "must be unique" in answer.message:
            return self._duplicate(intent)
        return Rejected(str(answer.code), answer.message)

    def _timed_out(self) -> Unknown:
        self._loop.slow_s = _TIMEOUT_S
        return Unknown("POST /orders: ReadTimeout")

    def _duplicate(self, intent: OrderIntent) -> SubmitOutcome:
        found = self.lookup(intent.id)
        if isinstance(found, NotFound | Unknown | RateLimited):
            return Unknown("the venue knows the client_order_id; it cannot be looked up")
        return Accepted(found)

    def replace(self, intent: OrderIntent) -> SubmitOutcome:
        """A PATCH goes wrong in the same ways; as the adapter, look the new id up before a refusal counts."""
        outcome = self.submit(intent)
        if not isinstance(outcome, Rejected):
            return outcome
        match self.lookup(intent.id):
            case VenueOrder() as found:
                return Accepted(found)
            case NotFound():
                return outcome
            case Unknown() | RateLimited() as unclear:
                return unclear

    def lookup(self, client_order_id: str) -> LookupOutcome:
        faults = self._faults
        if faults.hits("lookup_unknown"):
            return Unknown("GET /orders:by_client_order_id: ReadTimeout")
        if faults.hits("lookup_limited"):
            return RateLimited(1.0)
        order = self._exchange.book.by_client_id.get(client_order_id)
        if order is None:
            self._exchange.unclear.discard(client_order_id)
            return NotFound()
        lag_ns = faults.draw.random() * _LAG_S_MAX * NS_PER_S if faults.is_on else 0
        if self._exchange.now_ns - order.submitted_ns < lag_ns:
            self._exchange.unclear.discard(client_order_id)
            return NotFound()
        return order_value(order)

    def orders(self, after_ns: int) -> Sequence[VenueOrder]:
        self._may_fail()
        found = [
            order_value(order) for order in self._exchange.book.orders.values()
            if order.parent is None
            and (order.submitted_ns >= after_ns or any(part.is_open for part in (order, *order.legs)))
        ]  # fmt: skip
        return sorted(found, key=lambda order: (order.submitted_ns, order.venue_order_id))

    def assets(self, symbols: Sequence[str]) -> Sequence[VenueAsset]:
        self._may_fail()
        return [
            VenueAsset(symbol, is_tradable=True, is_shortable="/" not in symbol, is_fractionable=True)
            for symbol in dict.fromkeys(symbols)
        ]

    def splits(self, symbols: Sequence[str], from_ns: int, to_ns: int) -> Sequence[VenueSplit]:
        self._may_fail()
        return []

    def account(self) -> VenueAccount:
        self._may_fail()
        book = self._exchange.book
        cash, held = self._exchange.shown_account()
        return VenueAccount(book.account_number, cash, cash, cash, held, dict(book.prices))

    def executions(self, after_ns: int) -> Sequence[VenueExecution]:
        self._may_fail()
        return [
            VenueExecution(
                it.order_id,
                it.cum_qty,
                it.symbol,
                Side(it.side),
                it.qty,
                it.price,
                it.ns // 1000 * 1000,
                "",
                it.id,
                "",
            )
            for it in self._exchange.book.ledger.activities
            if it.kind == "FILL" and it.ns >= after_ns // 1000 * 1000
        ]

    def activities(self, after_ns: int) -> Sequence[VenueActivity]:
        self._may_fail()
        return [
            VenueActivity(it.id, it.kind, it.symbol, it.net_amount, it.qty, it.ns)
            for it in self._exchange.book.ledger.activities
            if it.kind != "FILL" and it.ns >= after_ns - NS_PER_DAY and self._exchange.is_listed(it)
        ]

    def sessions(self, from_ns: int, to_ns: int) -> Sequence[tuple[int, int]]:
        self._may_fail()
        return [span for span in self._exchange.market.sessions if span[0] <= to_ns and span[1] >= from_ns]

    def _may_fail(self) -> None:
        if self._faults.hits("read_fails"):
            msg = "no answer after 3 tries"
            raise UnreachableError(msg)
