"""What feed publishes and when: bars once and in order per symbol, gaps closed by history or declared.

Invariants:
1. Per symbol, published bars strictly grow in ts_event, but for corrections: these are of a bar that was published,
   with the next revision, where it says something else.
2. After a (re)connect a symbol's live bars wait until its gap is published or declared a gap; where it was lost again
   meanwhile, until that of the last connection is.
3. A bar fetched after the fact is marked backfill only when it is too old to trade on; one that is still fresh is a bar
   like any other (so a feed that was restarted at once changes no decision).
4. A gap that history closed is told with the number of bars it brought, after them; one that is given up, before what
   waited. No word is made of an absence in which no session was open and no bar was traded.
Called by streams/services/feed. Never fetches anything, never reads a clock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from engine.messages import Bar, Gap, MarketBody
from engine.sessions import SessionTable
from engine.values import NS_PER_MS, asset_class_of, timeframe_ns

_RECENT = 8
AWAY, TOO_OLD = "not connected", "older than the longest backfill"


class Span(msgspec.Struct, frozen=True):
    """History to ask for: bars of these symbols whose close lies in (from_ns, to_ns]."""

    symbols: tuple[str, ...]
    from_ns: int
    to_ns: int


class IngestCore:
    """State of one feed.

    Args:
        timeframe: Timeframe of the bars.
        known: Last published ts_event per symbol, read from the stream.
        since_ns: Where a symbol without any bar starts: the opening of the ledger.
        bar_age_ms_max: A fetched bar older than this is backfill.
        span_ms_max: Longest history to ask for; what is older is declared a gap.
        sessions: When bars are due, kept up by the owner.
    """

    def __init__(
        self,
        timeframe: str,
        known: dict[str, int],
        since_ns: int,
        bar_age_ms_max: int,
        span_ms_max: int,
        *,
        sessions: SessionTable,
    ) -> None:
        self._timeframe = timeframe
        self._length_ns = timeframe_ns(timeframe)
        self._sessions = sessions
        self._last = dict(known)
        self._since_ns = since_ns
        self._age_ns_max = bar_age_ms_max * NS_PER_MS
        self._span_ns_max = span_ms_max * NS_PER_MS
        self._held: dict[str, list[Bar]] = {}
        self._awaited: dict[str, int] = {}  # per held symbol, up to where history must come before it is let go
        self._recent: dict[str, deque[Bar]] = {}
        self.repeated = 0

    @property
    def last(self) -> Mapping[str, int]:
        """Time of the last published bar per symbol."""
        return self._last

    @property
    def waiting(self) -> int:
        """Symbols whose gap is not closed yet."""
        return len(self._held)

    def on_connected(self, symbols: Iterable[str], now_ns: int) -> tuple[list[Span], list[MarketBody]]:
        """Hold these symbols; return the history to ask for and gaps too old to ask for."""
        spans: dict[int, list[str]] = {}
        gaps: list[MarketBody] = []
        oldest = now_ns - self._span_ns_max
        step = self._length_ns
        for symbol in symbols:
            since = self._last.get(symbol, self._since_ns)
            if since < oldest:
                gaps.append(Gap(symbol, self._timeframe, since, oldest, TOO_OLD))
                since = oldest
            # Intervals end on multiples of their length; `since` may lie between two.
            if now_ns - since >= step or now_ns // step > since // step or symbol in self._held:
                spans.setdefault(since, []).append(symbol)
                self._held.setdefault(symbol, [])
                self._awaited[symbol] = max(now_ns, self._awaited.get(symbol, 0))
        return [Span(tuple(names), since, now_ns) for since, names in sorted(spans.items())], gaps

    def on_bars(self, bars: Iterable[Bar]) -> list[Bar]:
        """Give the live bars that may be published now."""
        ready: list[Bar] = []
        last, held = self._last, self._held
        for bar in bars:
            if held and bar.symbol in held:
                held[bar.symbol].append(bar)
                continue
            if bar.ts_event <= last.get(bar.symbol, 0):
                self.repeated += 1
                continue
            last[bar.symbol] = bar.ts_event
            self.remember(bar)
            ready.append(bar)
        return ready

    def remember(self, bar: Bar) -> None:
        """Know a bar that was published, for its corrections; a few per symbol."""
        self._recent.setdefault(bar.symbol, deque(maxlen=_RECENT)).append(bar)

    def on_updates(self, bars: Iterable[Bar]) -> tuple[list[Bar], list[Bar]]:
        """Take in bars as they are by now; give corrections to be published, and those of bars that nobody knows."""
        corrected: list[Bar] = []
        unknown: list[Bar] = []
        for bar in bars:
            recent = self._recent.get(bar.symbol, ())
            known = next((one for one in reversed(recent) if one.ts_event == bar.ts_event), None)
            if known is None:
                # While its history is awaited, and before it was ever published, it comes as it is now.
                if bar.symbol not in self._held and bar.ts_event <= self._last.get(bar.symbol, 0):
                    unknown.append(bar)
                continue
            if msgspec.structs.replace(known, revision=0, is_backfill=False) != bar:
                bar = msgspec.structs.replace(bar, revision=known.revision + 1)  # noqa: PLW2901
                self.remember(bar)
                corrected.append(bar)
        return corrected, unknown

    def on_history(self, span: Span, bars: Sequence[Bar], now_ns: int) -> list[MarketBody]:
        """Give the fetched bars and what waited behind them, in time order, and then the gaps that they close."""
        merged = [msgspec.structs.replace(bar, is_backfill=now_ns - bar.ts_event > self._age_ns_max) for bar in bars]
        closed = {symbol: self._since(span, symbol) for symbol in span.symbols if self._closes(span, symbol)}
        released = self._release(span, merged)
        fetched = {(bar.symbol, bar.ts_event) for bar in bars}
        count = Counter(bar.symbol for bar in released if (bar.symbol, bar.ts_event) in fetched)
        gaps = [
            Gap(symbol, self._timeframe, since, span.to_ns, AWAY, "history", count[symbol])
            for symbol, since in closed.items()
            if count[symbol] or self._sessions.closes(asset_class_of(symbol), since, span.to_ns, self._length_ns)
        ]
        return [*released, *gaps]

    def on_history_failed(self, span: Span, reason: str) -> list[MarketBody]:
        """Declare the gap and let what waited pass."""
        gaps: list[MarketBody] = [
            Gap(symbol, self._timeframe, self._since(span, symbol), span.to_ns, reason)
            for symbol in span.symbols
            if self._closes(span, symbol)
        ]
        return [*gaps, *self._release(span, [])]

    def _release(self, span: Span, fetched: list[Bar]) -> list[Bar]:
        for symbol in span.symbols:
            if self._closes(span, symbol):
                del self._awaited[symbol]
                fetched.extend(self._held.pop(symbol))
        fetched.sort(key=lambda bar: (bar.ts_event, bar.symbol))
        return self.on_bars(fetched)

    def _since(self, span: Span, symbol: str) -> int:
        return max(span.from_ns, self._last.get(symbol, 0))

    def _closes(self, span: Span, symbol: str) -> bool:
        """Whether this history is the one the symbol waits for, not that of an earlier connection."""
        return symbol in self._awaited and span.to_ns >= self._awaited[symbol]
