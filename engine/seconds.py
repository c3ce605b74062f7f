"""Bars of seconds, 1s to 30s, made of trades, and of quotes where none was traded. Part of signals; pure.

Invariants:
1. A tick at the end of a bar is of the next one. A bar of which something was traded is made of its trades alone; of
   one in which only quotes came, prices are the middles of bid and ask, volume and trade_count are 0. Without either
   there is none.
2. A bar is closed once: by the next tick of its symbol, by the minute that ends with it or later, or where its symbol
   is quiet by ticks and bars of others a second after its end. What comes later for it is too late.
3. A bar is made only if it begins after somebody asked for such bars: it is whole.
4. The newest that were closed are kept, in today's shares: strategies that are made anew are warmed up with them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from engine.messages import Bar, Split
from engine.ports import Trade
from engine.splits import bar_after
from engine.values import NS_PER_S, PAST_SYMBOLS_MAX, timeframe_ns

KEPT_MAX = 500
"""So many of the newest bars of a symbol and timeframe are kept; of a market of more than `PAST_SYMBOLS_MAX` none."""
_LATE_NS = NS_PER_S


class Tick(NamedTuple):
    """A trade, or the middle of a quote, whose size is 0."""

    trade: Trade
    is_quote: bool


class _Span:
    """The bars of one symbol in one timeframe. Plain attributes: they are pickled as they are.

    Attributes:
        since: Bars that begin at or before this are not made, ns UTC.
        told_until: End of the newest bar that was told.
        closed: End of what is closed.
        bar: The one that is forming.
        kept: The newest that were closed.
    """

    __slots__ = ("bar", "closed", "kept", "length", "since", "told_until")

    def __init__(self, timeframe: str, since: int) -> None:
        self.length = timeframe_ns(timeframe)
        self.since = since
        self.told_until = self.closed = 0
        self.bar: Bar | None = None
        self.kept = deque[Bar](maxlen=KEPT_MAX)

    def begin(self, ts_ns: int) -> int:
        """Give the begin of the bar that a moment is of."""
        return ts_ns // self.length * self.length

    def until(self, ts_ns: int) -> list[Bar]:
        """Close what ends at or before a moment."""
        self.closed = max(self.closed, self.begin(ts_ns))
        if self.bar is None or self.bar.ts_event > ts_ns:
            return []
        done, self.bar = self.bar, None
        return [done]


class SecondBars:
    """The bars of seconds that somebody asked for, by symbol."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, _Span]] = {}
        self._agenda: list[tuple[int, str, str]] = []
        self._closed: list[Bar] = []
        self._told: dict[tuple[str, str], int] = {}

    def state(self) -> dict[str, dict[str, _Span]]:
        """Give everything, for pickling."""
        return self._of

    def restore(self, state: dict[str, dict[str, _Span]]) -> None:
        """Take a state back."""
        self._of, self._agenda = state, []
        for symbol, spans in state.items():
            for timeframe, span in spans.items():
                self._plan(symbol, timeframe, span)

    def want(self, symbol: str, timeframe: str, since_ns: int) -> None:
        """Make such bars from now on, as far as they begin after a moment."""
        span = self._of.setdefault(symbol, {}).setdefault(timeframe, _Span(timeframe, since_ns))
        span.told_until = max(span.told_until, self._told.get((symbol, timeframe), 0))  # of a former life

    def kept(self, symbols: Iterable[str], timeframe: str) -> list[Bar]:
        """Give the newest bars of symbols that were closed, by their end."""
        spans = (self._of.get(symbol, {}).get(timeframe) for symbol in symbols)
        return sorted((bar for span in spans if span is not None for bar in span.kept), key=_place)

    def on_split(self, split: Split) -> dict[str, list[Bar]]:
        """Have what is kept in shares of after a split; give what is kept of its new symbol, by timeframe."""
        heirs = self._of.get(split.new_symbol, {})
        for timeframe, span in self._of.get(split.symbol, {}).items():
            kept, heir = [bar_after(bar, split) for bar in span.kept], heirs.get(timeframe)
            if heir is span:
                span.bar = None if span.bar is None else bar_after(span.bar, split)
            else:  # what is forming stays under the old name
                span.kept.clear()
                kept += heir.kept if heir is not None else ()
            if heir is not None:
                heir.kept = deque(sorted(kept, key=_place), KEPT_MAX)
        return {timeframe: list(span.kept) for timeframe, span in heirs.items()}

    def keep(self, symbol: str, wanted: Collection[str]) -> None:
        """Forget the timeframes of a symbol that nobody asks for any more."""
        forget(self._of, symbol, wanted)

    def on_tick(self, tick: Tick) -> list[Bar]:
        """Take in a tick; give the bars of its symbol that it closes, by their end."""
        trade, done = tick.trade, list[Bar]()
        for timeframe, span in self._of.get(trade.symbol, {}).items():
            done += span.until(trade.ts_event)
            begin = span.begin(trade.ts_event)
            if begin < span.closed or begin <= span.since:
                continue
            if span.bar is None:
                span.bar = first(tick, timeframe, begin + span.length)
                self._plan(trade.symbol, timeframe, span)
            else:
                span.bar = _joined(span.bar, tick)
        return self._noted(done)

    def until(self, symbol: str, ts_ns: int) -> list[Bar]:
        """Close the bars of a symbol that end at or before a moment; give them by their end."""
        return self._noted([bar for span in self._of.get(symbol, {}).values() for bar in span.until(ts_ns)])

    def due(self, now_ns: int) -> list[Bar]:
        """Give the bars of quiet symbols that are over for long enough, by their end, and close them."""
        done: list[Bar] = []
        while self._agenda and self._agenda[0][0] + _LATE_NS <= now_ns:
            end, symbol, timeframe = heapq.heappop(self._agenda)
            span = self._of.get(symbol, {}).get(timeframe)
            if span is not None and span.bar is not None and span.bar.ts_event == end:
                done += span.until(end)
        return self._noted(done)

    def forming(self, symbol: str, timeframe: str) -> list[Bar]:
        """Give the bar that is forming, if one is."""
        span = self._of.get(symbol, {}).get(timeframe)
        return [] if span is None or span.bar is None else [span.bar]

    def on_told(self, bar: Bar) -> None:
        """Learn from the stream which bar of its kind was told last."""
        span = self._of.get(bar.symbol, {}).get(bar.timeframe)
        self._told[bar.symbol, bar.timeframe] = bar.ts_event
        if span is not None:
            span.told_until = max(span.told_until, bar.ts_event)

    def take_closed(self) -> list[Bar]:
        """Give the bars that were closed since the last call and not told yet."""
        closed, self._closed = self._closed, []
        return closed

    def _plan(self, symbol: str, timeframe: str, span: _Span) -> None:
        if span.bar is not None:
            heapq.heappush(self._agenda, (span.bar.ts_event, symbol, timeframe))

    def _noted(self, done: list[Bar]) -> list[Bar]:
        for bar in done:
            span = self._of[bar.symbol][bar.timeframe]
            if len(self._of) <= PAST_SYMBOLS_MAX:
                span.kept.append(bar)
            if bar.ts_event > span.told_until:
                span.told_until = bar.ts_event
                self._closed.append(bar)
        return sorted(done, key=_place)


def _place(bar: Bar) -> tuple[int, str, str]:
    return bar.ts_event, bar.symbol, bar.timeframe


def _joined(bar: Bar, tick: Tick) -> Bar:
    """Give a bar with one more tick in it; what was traded takes the place of what was only quoted."""
    if not bar.trade_count and not tick.is_quote:
        return first(tick, bar.timeframe, bar.ts_event)
    return bar if bar.trade_count and tick.is_quote else grown(bar, tick)


def first(tick: Tick, timeframe: str, end_ns: int) -> Bar:
    """Give the bar that begins with a tick."""
    px = tick.trade.px
    return Bar(tick.trade.symbol, timeframe, end_ns, px, px, px, px, tick.trade.size, int(not tick.is_quote))


def grown(bar: Bar, tick: Tick) -> Bar:
    """Give a bar with the price of one more tick in it."""
    trade = tick.trade
    return msgspec.structs.replace(
        bar,
        high=max(bar.high, trade.px),
        low=min(bar.low, trade.px),
        close=trade.px,
        volume=bar.volume + trade.size,
        trade_count=(bar.trade_count or 0) + (not tick.is_quote),
    )


def forget[T](of: dict[str, dict[str, T]], symbol: str, wanted: Collection[str]) -> None:
    """Take out the timeframes of a symbol that nobody wants."""
    known = of.get(symbol, {})
    for timeframe in set(known) - set(wanted):
        del known[timeframe]
    if not known:
        of.pop(symbol, None)
