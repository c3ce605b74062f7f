"""The market of one seed: symbols, bots, a few dozen bars each, a calendar; and the venue's book on them.

The book is the local exchange's own (adapters.exchange.book over engine.matching); what it says is turned into the
values of engine.ports by adapters.told, without JSON, which would take half of the time.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from adapters.exchange.account import BookRules
from adapters.exchange.bars import VenueBar
from adapters.exchange.book import Book
from adapters.exchange.ticks import quotes_of, trades_of
from engine.costs import Slippage
from engine.messages import Bar
from engine.ports import Quote, Trade
from engine.values import NS_PER_MINUTE, NS_PER_S, to_decimal
from tests.simulation.bots import bots_of
from tests.simulation.faults import Faults

T0_NS = 28_333_333 * NS_PER_MINUTE
_AFTER_HOURS_NS = 240 * NS_PER_MINUTE
SYMBOLS = {"AAPL": 190.0, "BTC/USD": 36_500.0, "MSFT": 370.0, "SPY": 440.0}


def ns_at(seconds: float) -> int:
    """Venue time at this virtual second."""
    return T0_NS + round(seconds * NS_PER_S)


class Market:
    """Bars and bots of one seed.

    Args:
        draw: Randomness of the seed.
        first: Number of the first bar's minute after T0.
    """

    def __init__(self, draw: random.Random, first: int) -> None:
        self.count = draw.choice((5, 6, 6, 8, 8, 10, 16))
        self.first = first
        names = draw.choice((["AAPL", "BTC/USD"], ["AAPL", "MSFT"], list(SYMBOLS)[: draw.choice((2, 3, 4))]))
        self.symbols = tuple(names)
        self.bots = bots_of(draw, self.symbols, T0_NS // NS_PER_MINUTE % 1440 + first)
        closes = draw.random() < 0.15
        self.close_minute = first + (draw.randint(4, self.count) if closes else 10_000)
        self.minutes: dict[int, list[VenueBar]] = {}
        prices = {name: SYMBOLS[name] for name in names}
        for minute in range(first, first + self.count):
            bars: list[VenueBar] = []
            for name in names:
                opened = prices[name]
                closed = round(opened * (1 + draw.gauss(0, 0.004)), 2)
                low, high = min(opened, closed), max(opened, closed)
                prices[name] = closed
                if draw.random() < 0.95:
                    open_ns = T0_NS + (minute - 1) * NS_PER_MINUTE
                    bars.append(VenueBar(name, open_ns, opened, high, low, closed, 50_000.0, 10, closed))
            self.minutes[minute] = sorted(bars, key=lambda bar: bar.symbol)

    @property
    def sessions(self) -> list[tuple[int, int]]:
        """Open from before the start; the next day's is far away."""
        close_ns = T0_NS + self.close_minute * NS_PER_MINUTE
        day_ns = 1440 * NS_PER_MINUTE
        later = [(close_ns + n * day_ns, close_ns + n * day_ns + day_ns // 4) for n in range(1, 12)]
        return [(T0_NS - day_ns, close_ns), *later]

    def flat(self, minute: int, prices: dict[str, Decimal]) -> list[VenueBar]:
        """Bars in which nothing moves, for what is still to be filled."""
        open_ns = T0_NS + (minute - 1) * NS_PER_MINUTE
        last = {name: float(prices.get(name, SYMBOLS[name])) for name in self.symbols}
        return [VenueBar(name, open_ns, px, px, px, px, 50_000.0, 10, px) for name, px in sorted(last.items())]


def ticks_of(bar: VenueBar) -> list[tuple[float, list[Trade | Quote]]]:
    """The trades and quotes inside of a bar, in two frames with the second of the minute at which each is sent."""
    ticks: list[Trade | Quote] = []
    for trade, quote in zip(trades_of(bar), quotes_of(bar), strict=True):
        ticks.append(Quote(bar.symbol, quote["t"], quote["bp"], quote["ap"]))
        ticks.append(Trade(bar.symbol, trade["t"], trade["p"]))
    return [(40.5, ticks[:6]), (59.5, ticks[6:])]


class Calendar:
    """What the book asks of a calendar; exchange_calendars takes seconds to load."""

    def __init__(self, sessions: list[tuple[int, int]]) -> None:
        self._sessions = sessions

    def is_regular(self, ns: int) -> bool:
        return any(opened <= ns < closed for opened, closed in self._sessions)

    def is_extended(self, ns: int) -> bool:
        return any(opened <= ns < closed + _AFTER_HOURS_NS for opened, closed in self._sessions)

    def session_for(self, ns: int, *, extended: bool) -> Any:
        after_ns = _AFTER_HOURS_NS if extended else 0
        opened, closed = next(span for span in self._sessions if ns < span[1] + after_ns)
        return _Session(opened, closed)


class _Session:
    def __init__(self, opened: int, closed: int) -> None:
        self.open_ns = self.extended_open_ns = opened
        self.close_ns, self.extended_close_ns = closed, closed + _AFTER_HOURS_NS


class _Troubles:
    """What the book asks of its faults: whether the venue has second thoughts about an order."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def for_order(self, kind: str, symbol: str, client_order_id: str) -> Any:
        hit = self._faults.hits(kind)
        return SimpleNamespace(minutes=self._faults.draw.randint(1, 3)) if hit else None


class VenueBook(Book):
    """The exchange's book, on the prices of the market and with the troubles of the faults."""

    def __init__(self, market: Market, faults: Faults) -> None:
        draw = faults.draw
        rules = BookRules(
            seed=draw.getrandbits(32),
            cash=Decimal(100_000),
            multiplier=2,
            crypto_fee_bps=Decimal(draw.choice((0, 25))),
            slippage=Slippage(bps=Decimal(2)),
            partial_fill_probability=Decimal(draw.choice(("0", "0.3", "0.6"))),
            volume_share_max=None,
        )
        self.prices: dict[str, Decimal] = {}
        calendar: Any = Calendar(market.sessions)
        troubles: Any = _Troubles(faults)
        super().__init__(rules, calendar, self.prices.get, lambda name: name if name in SYMBOLS else None, troubles)

    def know(self, bars: Iterable[VenueBar]) -> None:
        """These bars are out."""
        for bar in bars:
            self.prices[bar.symbol] = to_decimal(bar.close)
        self.account.mark()


def bar_value(bar: VenueBar) -> Bar:
    """The bar as parse_bar reads it."""
    return Bar(
        bar.symbol, "1m", bar.close_ns, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count, bar.vwap
    )
