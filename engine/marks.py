"""When a Mark is due: trades and quotes of a symbol conflated by their own times, so that two equal runs mark equally.

A trade that comes `every` or more after the symbol's last mark is told at once, and so is one that moved by more than a
fraction from the last price told. Everything else waits until a time of its stream is seen that lies `every` behind the
first thing that waits (and behind the last mark): of any symbol of the stream, or of the close of a bar. A stream is
one connection of the venue, whose messages keep their order; two connections do not, so one never ends a wait on the
other. A quote that repeats the prices told only shows that they still hold: it makes a mark when the last one is old.

Invariants:
1. No clock and no framing decides: the same events in the same order give the same marks.
2. Every trade is in the low and high of exactly one mark, or waits for one, or was lost with its connection's end.
3. Per symbol, marks strictly grow in ts_event, and each begins where the one before ended, unless events were missed in
   between for good: then it begins right before its first event, which shows the hole.
4. After a restart nothing at or before the last mark stored counts. What came after it is asked for; until it is there,
   live events of its connection wait. So a feed that is killed and back soon makes the marks it would have made.
Called by streams/services/feed. Never publishes, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush

import msgspec

from engine.messages import Mark
from engine.ports import Quote, Trade
from engine.values import NS_PER_MS, AssetClass, asset_class_of, to_decimal

_REPEATED_AFTER = 8
"""A quote with the prices told makes a mark when this many times `every` have passed since the last."""


Tick = Trade | Quote


class Missed(msgspec.Struct, frozen=True):
    """Trades and quotes to ask for: those of these symbols, of one connection, with a time in (from_ns, to_ns]."""

    symbols: tuple[str, ...]
    from_ns: int
    to_ns: int


class _Symbol:
    """What is known of a symbol, and what waits to be told.

    Attributes:
        floor_ns: Nothing at or before it counts.
        told_ns: End of the last mark; 0 without one.
        told_px: Last price told; 0 for none.
        first_ns: Time of what waits, as it came first; 0 while nothing waits.
        oldest_ns: Begin of the span that waits,
        newest_ns: and its end.
    """

    __slots__ = (
        "ask", "bid", "first_ns", "floor_ns", "high", "is_continued", "last", "last_ns", "low", "name", "newest_ns",
        "oldest_ns", "stream", "told_ns", "told_px",
    )  # fmt: skip

    def __init__(self, name: str, known: Mark | None) -> None:
        self.name, self.stream = name, asset_class_of(name)
        self.is_continued = False
        self.floor_ns = self.told_ns = self.last_ns = 0
        self.bid = self.ask = self.last = self.told_px = 0.0
        if known is not None:
            self.floor_ns = self.told_ns = self.last_ns = known.ts_event
            self.bid, self.ask = float(known.bid_px or 0), float(known.ask_px or 0)
            self.last = self.told_px = float(known.last_px or 0)
        self.low = self.high = 0.0
        self.first_ns = self.oldest_ns = self.newest_ns = 0


class MarkCore:
    """State of one feed's marks.

    Args:
        symbols: Symbols that are marked; ticks of others are ignored.
        every_ms: Least time between two marks of a symbol, unless its price moves.
        move_fraction: A trade that lies farther than this from the last price told is told at once.
        known: The last stored mark per symbol.
        missed_ms_max: Longest absence after which trades and quotes are asked for; a longer one is a hole.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        every_ms: int,
        move_fraction: float,
        known: Mapping[str, Mark],
        *,
        missed_ms_max: int = 0,
    ) -> None:
        self._symbols = {name: _Symbol(name, known.get(name)) for name in symbols}
        self._every_ns = every_ms * NS_PER_MS
        self._missed_ns_max = missed_ms_max * NS_PER_MS
        self._move = move_fraction
        self._held: dict[AssetClass, list[Tick]] = {}
        self._awaited_ns: dict[AssetClass, int] = {}
        self._seen_ns = dict.fromkeys(AssetClass, 0)
        self._due: dict[AssetClass, list[tuple[int, str]]] = {stream: [] for stream in AssetClass}

    def follow(self, symbols: Iterable[str]) -> None:
        """Mark these too from now on."""
        for name in symbols:
            self._symbols.setdefault(name, _Symbol(name, None))

    @property
    def waiting(self) -> int:
        """Symbols with something that is not told yet."""
        return sum(symbol.first_ns > 0 for symbol in self._symbols.values())

    def told_ns(self, symbol: str) -> int:
        """Give the end of a symbol's last mark; 0 without one, and for a symbol that is not marked."""
        found = self._symbols.get(symbol)
        return 0 if found is None else found.told_ns

    def told_of_bars(self, name: str, ts_event: int, price: float) -> None:
        """Take in a mark that was made of bars while no trades came: what it covers is not told again."""
        symbol = self._symbols.get(name)
        if symbol is not None and ts_event > symbol.told_ns:
            symbol.floor_ns = symbol.told_ns = ts_event
            symbol.told_px = price
            symbol.low = symbol.high = 0.0
            symbol.first_ns, symbol.is_continued = 0, True

    def on_connected(self, symbols: Iterable[str], now_ns: int) -> list[Missed]:
        """Give what to ask for, per connection; its live events wait from now on until `on_missed`."""
        asked: dict[AssetClass, list[_Symbol]] = {}
        for name in sorted(symbols):
            symbol = self._symbols.get(name)
            if symbol is None:
                continue
            if symbol.told_ns > 0 and now_ns - symbol.told_ns <= self._missed_ns_max:
                asked.setdefault(symbol.stream, []).append(symbol)
            else:
                symbol.bid = symbol.ask = 0.0  # a quote of long ago says nothing
        for stream in asked:
            self._held.setdefault(stream, [])
            self._awaited_ns[stream] = max(now_ns, self._awaited_ns.get(stream, 0))
        return [
            Missed(tuple(symbol.name for symbol in missing), min(symbol.told_ns for symbol in missing), now_ns)
            for missing in asked.values()
        ]

    def on_missed(self, missed: Missed, ticks: Sequence[Tick] | None) -> list[Mark]:
        """Take in what was asked for, or None where it did not come, and then what waited; give the marks due."""
        stream = asset_class_of(missed.symbols[0])
        if missed.to_ns < self._awaited_ns.get(stream, 0):
            return []  # the connection was lost again meanwhile: more was asked for
        held = self._held.pop(stream, [])
        self._awaited_ns.pop(stream, None)
        for name in missed.symbols:
            symbol = self._symbols[name]
            symbol.floor_ns = symbol.told_ns
            symbol.is_continued = ticks is not None
            if ticks is None:
                symbol.bid = symbol.ask = 0.0
        fetched = frozenset(ticks or ())
        marks = [mark for tick in ticks or () for mark in self.on_tick(tick)]
        marks += [mark for tick in held if tick not in fetched for mark in self.on_tick(tick)]
        return marks + self.on_time(stream, self._seen_ns[stream])

    def on_tick(self, tick: Tick) -> list[Mark]:
        """Take in a trade or quote; give what is due now, in the order of its becoming due."""
        symbol = self._symbols.get(tick.symbol)
        if symbol is None:
            return []
        if symbol.stream in self._held:
            self._held[symbol.stream].append(tick)
            return []
        if tick.ts_event <= symbol.floor_ns:
            return []
        marks = self.on_time(symbol.stream, tick.ts_event)
        if isinstance(tick, Quote):
            self._quote(symbol, tick)
            return marks
        self._open_span(symbol, tick.ts_event)
        if self._trade(symbol, tick):
            marks.append(self._told(symbol))
        return marks

    def on_time(self, stream: AssetClass, ts_event: int) -> list[Mark]:
        """Learn that a stream has reached this venue time; give what waited long enough."""
        seen = self._seen_ns[stream] = max(self._seen_ns[stream], ts_event)
        due = self._due[stream]
        marks: list[Mark] = []
        while stream not in self._held and due and due[0][0] <= seen:
            at, name = heappop(due)
            symbol = self._symbols[name]
            if symbol.first_ns and at >= self._due_at(symbol):
                marks.append(self._told(symbol))
        return marks

    def on_lost(self, symbols: Iterable[str]) -> list[Mark]:
        """Tell what waits, because the connection that would end the wait is gone."""
        marks: list[Mark] = []
        for name in sorted(symbols):
            symbol = self._symbols.get(name)
            if symbol is not None:
                if symbol.first_ns:
                    marks.append(self._told(symbol))
                symbol.is_continued = False
        return marks

    def _due_at(self, symbol: _Symbol) -> int:
        return max(symbol.first_ns, symbol.told_ns) + self._every_ns

    def _open_span(self, symbol: _Symbol, ts_event: int) -> None:
        if symbol.first_ns:
            symbol.oldest_ns = min(symbol.oldest_ns, ts_event)
            symbol.newest_ns = max(symbol.newest_ns, ts_event)
            return
        symbol.first_ns = symbol.oldest_ns = symbol.newest_ns = ts_event
        heappush(self._due[symbol.stream], (self._due_at(symbol), symbol.name))

    def _quote(self, symbol: _Symbol, quote: Quote) -> None:
        is_same = quote.bid_px == symbol.bid and quote.ask_px == symbol.ask
        if is_same and quote.ts_event - symbol.told_ns < _REPEATED_AFTER * self._every_ns:
            return
        self._open_span(symbol, quote.ts_event)
        symbol.bid, symbol.ask = quote.bid_px, quote.ask_px

    def _trade(self, symbol: _Symbol, trade: Trade) -> bool:
        """Fold a trade in; say whether it is told at once."""
        px = trade.px
        symbol.low = min(symbol.low, px) if symbol.low else px
        symbol.high = max(symbol.high, px)
        if trade.ts_event >= symbol.last_ns:  # one that comes late is part of the range, but not the last
            symbol.last, symbol.last_ns = px, trade.ts_event
        if trade.ts_event - symbol.told_ns >= self._every_ns:
            return True
        return abs(px - symbol.told_px) > self._move * symbol.told_px > 0

    def _told(self, symbol: _Symbol) -> Mark:
        """Make the mark of what waits, and begin anew."""
        begin = symbol.told_ns if symbol.is_continued else max(symbol.told_ns, symbol.oldest_ns - 1)
        ts_event = max(symbol.newest_ns, symbol.told_ns + 1)
        traded = symbol.low > 0
        mark = Mark(
            symbol=symbol.name,
            ts_from=begin,
            ts_event=ts_event,
            last_px=to_decimal(symbol.last) if traded else None,
            low_px=to_decimal(symbol.low) if traded else None,
            high_px=to_decimal(symbol.high) if traded else None,
            bid_px=to_decimal(symbol.bid) if symbol.bid else None,
            ask_px=to_decimal(symbol.ask) if symbol.ask else None,
        )
        if traded:
            symbol.told_px = symbol.last
        symbol.told_ns, symbol.is_continued = ts_event, True
        symbol.low = symbol.high = 0.0
        symbol.first_ns = 0
        return mark
