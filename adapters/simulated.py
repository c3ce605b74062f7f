"""The local exchange without sockets: orders in and trade updates out, in one process, minute by minute.

The same order book that `tapeline exchange` serves, asked and answering in the engine's own values (`adapters.told`),
which are what a client reads of the wire. No clock: time is what it is called with. It forgets orders that have ended,
and what was told of the account: a run over millions of bars stays as large as it is. Called through
`engine.ports.SimulatedVenue` by shadows of bots and by backtests.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from adapters.alpaca.activities import parse_activity
from adapters.alpaca.fields import Problem
from adapters.alpaca.orders import refusal, replace_body, replace_refusal
from adapters.alpaca.parse_catalog import parse_asset
from adapters.exchange import wire
from adapters.exchange.account import BookRules
from adapters.exchange.bars import VenueBar
from adapters.exchange.book import Book, TradeUpdate, in_order
from adapters.exchange.calendar import Session, VenueCalendar, new_york, session_of
from adapters.exchange.corporate import Split as VenueSplit
from adapters.exchange.orders import TERMINAL, Order, Refusal, ReplaceRequest
from adapters.told import order_of, request_of, update_of
from engine.errors import BrokenPromiseError
from engine.messages import Bar, OrderIntent, Sessions, Split
from engine.ports import Accepted, Rejected, VenueAccount, VenueActivity, VenueAsset, VenueUpdate, Worth
from engine.values import NS_PER_MINUTE, NS_PER_S, ZERO, AssetClass, TimeInForce, to_decimal

CRYPTO_FEE_BPS = Decimal(25)
"""Alpaca's taker fee of the lowest volume, basis points of what is credited."""
_ENDED_MAX = 1_000
"""Of as many orders that ended last it is known what came of them."""


class KnownCalendar(VenueCalendar):
    """The sessions that calendar messages named; of days outside of them nothing is known."""

    def __init__(self) -> None:
        self._known: dict[int, Session] = {}
        self._index(())

    def add(self, spans: Iterable[tuple[int, int]]) -> None:
        """Take in regular sessions, (open, close) in ns UTC."""
        for opens, closes in spans:
            self._known[opens] = session_of(new_york(opens).date(), opens, closes)
        self._index(self._known[opens] for opens in sorted(self._known))

    def between(self, first: date, last: date) -> list[Session]:
        """Sessions from `first` to `last`, both included."""
        return [session for session in self.sessions if first <= session.day <= last]

    def reaches(self, ns: int, *, is_for_opening: bool) -> bool:
        """Whether the session is known in which an order of now could trade first."""
        if not self.sessions or ns < self.sessions[0].open_ns:
            return False
        return ns < (self.sessions[-1].open_ns if is_for_opening else self.sessions[-1].close_ns)


class SimulatedVenue:
    """Order book and account of one `Desk`.

    Args:
        rules: Cash, fees, slippage, partial fills; `seed` names its ids.
    """

    def __init__(self, rules: BookRules) -> None:
        self._prices: dict[str, Decimal] = {}
        self._calendar = KnownCalendar()
        self._book = Book(rules, self._calendar, self._prices.get, lambda symbol: symbol)
        self._ended: deque[Order] = deque()

    def on_sessions(self, sessions: Sessions) -> None:
        """Take in the calendar."""
        if sessions.asset_class is AssetClass.US_EQUITY:
            self._calendar.add(sessions.spans)

    def submit(self, intent: OrderIntent, now_ns: int) -> Accepted | Rejected:
        """Take an order in; nothing happens to it before `advance`."""
        if reason := refusal(intent) or self._unknown_day(intent, now_ns):
            return Rejected("not_sent", reason)
        return _outcome(_active(self._book.submit(request_of(intent), now_ns), now_ns))

    def replace(self, intent: OrderIntent, now_ns: int) -> Accepted | Rejected:
        """Put an order in the place of the open one that `intent.replaces` names."""
        old = self._book.by_client_id[intent.replaces]
        known = order_of(old)
        if reason := replace_refusal(intent, known) or self._unknown_day(intent, now_ns):
            return Rejected("not_sent", reason)
        request = msgspec.convert(replace_body(intent, known), ReplaceRequest, strict=False)
        return _outcome(_active(self._book.replace(old.id, request, now_ns), now_ns))

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Ask for the end of an order; one that has ended stays as it is."""
        order = self._book.by_client_id.get(client_order_id)
        if order is not None:
            self._book.cancel(order.id, now_ns)

    def acknowledge(self) -> list[VenueUpdate]:
        """Tell what came of requests since the last call."""
        return self._told(self._book.acknowledge())

    def advance(self, bars: Sequence[Bar], now_ns: int) -> list[VenueUpdate]:
        """Tell what came of requests, then decide the minute that ends now; its prices are known afterwards.

        Args:
            bars: 1-minute bars, at most one per symbol; those of other symbols may follow.
            now_ns: Their close; never before an earlier one.
        """
        book = self._book
        updates = book.acknowledge()
        if book.account.open_by_symbol:
            minute = [_venue_bar(bar) for bar in bars]
            updates = in_order([*updates, *book.settle(minute, now_ns, is_part=True)])
        for bar in bars:
            self._prices[bar.symbol] = to_decimal(bar.close)
        book.account.mark()
        return self._told(updates)

    def split(self, split: Split) -> list[VenueUpdate]:
        """Exchange what is held, and restate or end open orders, as the venue does; with another name they all end."""
        book, symbol, new = self._book, split.symbol, split.new_symbol
        day = new_york(split.ts_event).date()
        policy = "venue" if symbol == new else "cancel"
        updates = book.acknowledge()
        updates += book.split(VenueSplit(split.id, symbol, split.ratio, Decimal(1), day, split.ts_event, day, policy))
        if (last := self._prices.pop(symbol, None)) is not None:
            self._prices[new] = last / split.ratio
        if symbol != new and (held := book.ledger.positions.pop(symbol, None)) is not None:
            book.ledger.positions[new] = msgspec.structs.replace(held, symbol=new)
        book.account.mark()
        return self._told(updates)

    def activities(self) -> list[VenueActivity]:
        """Give what moved the account beside fills since the last call, oldest first."""
        rows = self._book.ledger.take_activities()
        return [_read(parse_activity, wire.activity_json(row)) for row in rows if row.kind != "FILL"]

    def worth(self) -> Worth:
        """Say what the account is worth now."""
        account = self._book.account
        valued = account.valuation()
        held = valued.long_value - valued.short_value + abs(valued.crypto_value)
        return Worth(float(valued.equity), float(account.ledger.cash), float(held))

    def account(self) -> VenueAccount:
        """Cash, worth and positions now."""
        book, ledger = self._book, self._book.ledger
        return VenueAccount(
            account_number=book.account_number,
            cash=ledger.cash,
            equity=book.account.valuation().equity,
            buying_power=book.account.means().buying_power,
            positions={symbol: position.qty for symbol, position in ledger.positions.items()},
            prices=dict(self._prices),
            is_shorting_enabled=book.rules.multiplier > 1,
        )

    @staticmethod
    def assets(symbols: Iterable[str]) -> list[VenueAsset]:
        """Say how the exchange lists symbols."""
        return [_read(parse_asset, wire.asset_json(symbol)) for symbol in symbols]

    def _told(self, updates: list[TradeUpdate]) -> list[VenueUpdate]:
        """Tell events; forget orders that have ended long ago."""
        for update in updates:
            if update.order.status in TERMINAL:
                self._ended.append(update.order)
                if len(self._ended) > _ENDED_MAX:
                    self._book.forget(self._ended.popleft())
        return [update_of(update) for update in updates]

    def _unknown_day(self, intent: OrderIntent, now_ns: int) -> str:
        is_for_opening = intent.time_in_force is TimeInForce.OPG
        if "/" in intent.symbol or self._calendar.reaches(now_ns, is_for_opening=is_for_opening):
            return ""
        moment = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).isoformat()
        return f"the calendar does not reach {moment}: no session is known in which the order could trade"


def shadow_venue(cash: Decimal, name: str) -> SimulatedVenue:
    """Make the venue of a shadow: a margin account, the venue's fee on coins, no slippage, whole fills.

    Args:
        cash: USD that it begins with.
        name: Names its ids.
    """
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest())
    return SimulatedVenue(BookRules(seed, cash, 2, CRYPTO_FEE_BPS, ZERO, None))


def _venue_bar(bar: Bar) -> VenueBar:
    opened = bar.ts_event - NS_PER_MINUTE
    vwap = bar.close if bar.vwap is None else bar.vwap
    return VenueBar(bar.symbol, opened, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count or 0, vwap)


def _active(taken: Order | Refusal, now_ns: int) -> Order | Refusal:
    """Let no bar fill an order that began before it came in."""
    if isinstance(taken, Order):
        taken.active_ns = max(taken.active_ns, now_ns)
    return taken


def _outcome(taken: Order | Refusal) -> Accepted | Rejected:
    if isinstance(taken, Refusal):
        return Rejected(str(taken.code), taken.message)
    return Accepted(order_of(taken, is_nested=True))


def _read[T](parse: Callable[[Any], T | Problem], raw: dict[str, Any]) -> T:
    found = parse(raw)
    if isinstance(found, Problem):
        msg = f"what the simulated venue says cannot be read: {found.what}"
        raise BrokenPromiseError(msg)
    return found
