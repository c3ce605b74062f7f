"""Marks made of bars: the price of what is held, where its trades and quotes are not followed. Pure; called by feed.

One mark per bar: its close, low and high. Of old bars, fetched after the fact, one for all of a symbol: what a position
is worth now is asked, not what it was worth in each minute of the time away.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.messages import Bar, Mark
from engine.values import timeframe_ns, to_decimal


def bar_marks(bars: Iterable[Bar], told: dict[str, int]) -> list[Mark]:
    """Give the marks of bars, which are ascending per symbol.

    Args:
        bars: Of symbols that are held.
        told: End of the last mark per symbol; moved on here. Nothing at or before it is told again.
    """
    marks: list[Mark] = []
    old: dict[str, list[Bar]] = {}
    for bar in bars:
        if bar.ts_event <= told.get(bar.symbol, 0):
            continue
        old.setdefault(bar.symbol, []).append(bar)
        if not bar.is_backfill:
            marks.append(_mark(old.pop(bar.symbol)))
            told[bar.symbol] = bar.ts_event
    for symbol, rest in old.items():
        marks.append(_mark(rest))
        told[symbol] = rest[-1].ts_event
    return marks


def _mark(bars: list[Bar]) -> Mark:
    first, last = bars[0], bars[-1]
    return Mark(
        symbol=last.symbol,
        ts_from=first.ts_event - timeframe_ns(first.timeframe),
        ts_event=last.ts_event,
        last_px=to_decimal(last.close),
        low_px=to_decimal(min(bar.low for bar in bars)),
        high_px=to_decimal(max(bar.high for bar in bars)),
    )
