"""What strategies are warmed up with in a backtest: bars of the file from before its start, asked for as feed asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from engine.bots import Bot
from engine.messages import Bar, PastBars, Sessions
from engine.pasts import PastCore, past_bars_wanted
from engine.sessions import SessionTable
from engine.values import MINUTE_BAR, timeframe_ns


def past_bars(past: pl.DataFrame, bots: Sequence[Bot], sessions: Sessions, begins: Mapping[str, int]) -> list[PastBars]:
    """Give what the venue would have answered feed.

    Args:
        past: Minutes from before the start, in the columns of VenueBar, by time.
        bots: Who is warmed up.
        sessions: The calendar.
        begins: Open of the first bar of the run by symbol, ns UTC.
    """
    table = SessionTable()
    table.add(sessions)
    core = PastCore(table)
    wanted = [
        (symbol, bot.timeframe, count)
        for bot in bots
        if (count := past_bars_wanted(bot))
        for symbol in bot.symbols
        if symbol in begins
    ]
    now, found = min(begins.values(), default=0), list[PastBars]()
    for ask in core.asks(core.missing(wanted), begins, now):
        of_symbols = past.filter(pl.col("symbol").is_in(ask.symbols))
        bars = _bars(of_symbols, ask.fetched, ask.from_ns, ask.to_ns)
        minutes = _bars(of_symbols, MINUTE_BAR, ask.minutes_from_ns, ask.to_ns)
        found += core.on_past(ask, bars, minutes, now)
    return found


def _bars(minutes: pl.DataFrame, timeframe: str, from_ns: int, to_ns: int) -> list[Bar]:
    """Give bars of a timeframe whose close lies in (from_ns, to_ns], made as a venue makes them, by time."""
    length = timeframe_ns(timeframe)
    close = pl.col("open_ns") // length * length + length
    frame = (
        minutes.with_columns(close.alias("close_ns"))
        .filter(pl.col("close_ns").is_between(from_ns, to_ns, closed="right"))
        .group_by("symbol", "close_ns", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .sort("close_ns", "symbol")
    )
    return [Bar(symbol, timeframe, *rest) for symbol, *rest in frame.iter_rows()]
