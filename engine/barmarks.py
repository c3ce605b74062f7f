"""Marks made of bars: the price of what is held, where its trades and quotes are not followed. Pure; called by feed.

One mark per bar: its close, low and high. Of old bars, fetched after the fact, one for all of a symbol: what a position
is worth now is asked, not what it was worth in each minute of the time away.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from engine.ids import make_id
from engine.messages import Bar, BarMarks
from engine.values import timeframe_ns

_TOGETHER_MAX = 1_000
"""60 KB as JSON; nats-server takes 1 MB."""

Prices = tuple[float, float, float]
"""Close, low and high, USD."""


def bar_marks(bars: Iterable[Bar], told: dict[str, int], ledger: str) -> list[BarMarks]:
    """Give the marks of bars, which are ascending per symbol; those of one span together.

    Args:
        bars: Of symbols that are held.
        told: End of the last mark per symbol; moved on here. Nothing at or before it is told again.
        ledger: Account and run, for the ids.
    """
    spans: dict[tuple[int, int], dict[str, Prices]] = {}
    old: dict[str, list[Bar]] = {}
    for bar in bars:
        symbol, ts_event = bar.symbol, bar.ts_event
        if ts_event <= told.get(symbol, 0):
            continue
        if bar.is_backfill or symbol in old:
            old.setdefault(symbol, []).append(bar)
        else:
            span = ts_event - timeframe_ns(bar.timeframe), ts_event
            spans.setdefault(span, {})[symbol] = bar.close, bar.low, bar.high
        if not bar.is_backfill:
            told[symbol] = ts_event
            if symbol in old:
                _merge(old.pop(symbol), spans)
    for symbol, rest in old.items():
        _merge(rest, spans)
        told[symbol] = rest[-1].ts_event
    return [
        BarMarks(make_id(ledger, "bar marks", *span, *some), *span, {symbol: prices[symbol] for symbol in some})
        for span, prices in spans.items()
        for some in itertools.batched(prices, _TOGETHER_MAX)
    ]


def _merge(bars: list[Bar], spans: dict[tuple[int, int], dict[str, Prices]]) -> None:
    """Add one mark for all of these bars of a symbol."""
    first, last = bars[0], bars[-1]
    span = first.ts_event - timeframe_ns(first.timeframe), last.ts_event
    low, high = min(bar.low for bar in bars), max(bar.high for bar in bars)
    spans.setdefault(span, {})[last.symbol] = last.close, low, high
