"""Which word on a symbol's halt or price band is news, and which halts are over though nobody said so.

A halt is known from a message that comes once: one that came while the connection was down is not known, and neither is
its end. So a bar that opened after a halt began ends it, for bars are made of trades.
Invariants: per symbol and source, what is published strictly grows in ts_event; the same word twice is no news.
Called by streams/services/feed. Never publishes, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.messages import Bar, SymbolStatus
from engine.values import timeframe_ns

HALTS, BANDS = "statuses", "lulds"
"""Sources of a status that come with market data."""


class HaltCore:
    """State of one feed's halts and price bands.

    Args:
        timeframe: Timeframe of the bars.
        known: The last stored status per symbol and source.
    """

    def __init__(self, timeframe: str, known: Iterable[SymbolStatus]) -> None:
        self._length_ns = timeframe_ns(timeframe)
        self._known = {(status.symbol, status.source): status for status in known}
        self._halted = {
            symbol for (symbol, source), status in self._known.items() if source == HALTS and status.is_halted
        }

    @property
    def halted(self) -> list[str]:
        """Symbols whose trading is halted, sorted."""
        return sorted(self._halted)

    def on_status(self, status: SymbolStatus) -> SymbolStatus | None:
        """Give what is to be published: nothing for an old word or a repetition."""
        key = (status.symbol, status.source)
        known = self._known.get(key)
        if known is None:
            if status.source == HALTS and not status.is_halted:
                return None  # that nothing is halted is what everybody assumes
        elif status.ts_event < known.ts_event or msgspec.structs.replace(status, ts_event=known.ts_event) == known:
            return None
        elif status.ts_event == known.ts_event:
            status = msgspec.structs.replace(status, ts_event=known.ts_event + 1)
        return self._keep(status)

    def on_bars(self, bars: Iterable[Bar]) -> list[SymbolStatus]:
        """Give the ends of halts that these bars show."""
        if not self._halted:
            return []
        ended: list[SymbolStatus] = []
        for bar in bars:
            if bar.symbol in self._halted:
                since = self._known[bar.symbol, HALTS].ts_event
                if bar.ts_event - self._length_ns >= since:
                    why = "a bar was traded after the halt: its end was missed"
                    ended.append(self._keep(SymbolStatus(bar.symbol, HALTS, why, bar.ts_event)))
        return ended

    def _keep(self, status: SymbolStatus) -> SymbolStatus:
        self._known[status.symbol, status.source] = status
        if status.source == HALTS:
            (self._halted.add if status.is_halted else self._halted.discard)(status.symbol)
        return status
