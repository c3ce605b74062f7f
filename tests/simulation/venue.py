"""The outside world of one seed: a venue that is right, behind lines that are not (`line`, `rest`).

`Exchange` moves the book minute by minute and hands order events, bars, trades and quotes to its two lines. People trade
by hand, move cash, and now and then a position is another one and nothing says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from adapters.exchange.bars import VenueBar
from adapters.exchange.book import TradeUpdate
from adapters.exchange.ledger import Activity
from adapters.exchange.orders import OrderRequest, Refusal
from adapters.told import update_of
from engine.messages import Bar, OrderIntent
from engine.ports import Quote, Trade
from engine.values import ZERO, Side
from tests.simulation.bodies import change_of, request_of
from tests.simulation.faults import Faults
from tests.simulation.line import Line
from tests.simulation.loop import SimLoop
from tests.simulation.market import Market, VenueBook, bar_value, ns_at, ticks_of


class Exchange:
    """Book, minutes and lines. `on_post` is told of each order request as it leaves."""

    def __init__(self, loop: SimLoop, faults: Faults, market: Market) -> None:
        self.loop = loop
        self.faults = faults
        self.market = market
        self.book = VenueBook(market, faults)
        self.updates = Line(loop, faults)
        self.bars = Line(loop, faults)
        self.out: list[Bar] = []
        self.corrected: list[Bar] = []
        self.marked: frozenset[str] = frozenset()  # symbols whose trades and quotes somebody follows
        self.ticks_out: list[Trade | Quote] = []
        self.in_flight: set[str] = set()  # requests that arrive after nobody waits for them any more
        self.meddled_at = -1e9  # when somebody last traded, or something last happened, that nobody here asked for
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
        self._begin(self.market.minutes.get(number + 1, []), number * 60.0)

    def _begin(self, bars: Iterable[VenueBar], at: float) -> None:
        """A minute begins: its trades and quotes come while it lasts."""
        frames: dict[float, list[Trade | Quote]] = {}
        for bar in bars:
            if bar.symbol in self.marked:
                for second, ticks in ticks_of(bar):
                    frames.setdefault(second, []).extend(ticks)
        for second, ticks in frames.items():
            self.loop.call_at(at + second, self._send_ticks, sorted(ticks, key=lambda tick: tick.ts_event))

    def _send_ticks(self, ticks: list[Trade | Quote]) -> None:
        self.ticks_out += ticks
        if self.faults.hits("ticks_lost"):
            return
        self.bars.send("ticks_late", lambda listener: listener.on_ticks(ticks, self.now_ns))
        if self.faults.hits("ticks_doubled"):
            self.bars.send("ticks_late", lambda listener: listener.on_ticks(ticks, self.now_ns))

    def take(self, intent: OrderIntent) -> Any:
        """An order request has arrived."""
        if intent.id in self.in_flight:
            self.meddled_at = self.loop.now
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
        draw, self.hands, self.meddled_at = self.faults.draw, self.hands + 1, self.loop.now
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
            self.meddled_at = self.loop.now
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
            update = update_of(event)
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
        late = self.faults.late
        if late.random() < 0.1:
            self.loop.call_at(self.loop.now + late.uniform(1.0, 100.0), lambda: self._correct(late.choice(frame)))

    def _correct(self, bar: Bar) -> None:
        """Late trades change a bar that was sent."""
        low, high = bar.low * 0.999, bar.high * 1.001
        close = round(self.faults.late.uniform(low, high), 2)
        update = msgspec.structs.replace(bar, low=low, high=high, close=close, volume=bar.volume + 100.0)
        self.corrected.append(update)
        connection = self.bars
        self.loop.call_at(
            self.loop.now + self.faults.late.uniform(0.0, 0.5),
            lambda: connection.tell(lambda listener: listener.on_updates([update], self.now_ns)),
        )
