"""Minutes that are forming, made of trades: for bots with trading_frequency `every_tick`. Part of signals; pure.

Invariants:
1. A trade counts once: one at or before the last one of an earlier message, or of a minute whose bar is there, is none.
2. The bar of a minute takes the place of what was formed of it. Trades of the next minute may come before that bar:
   until it is there both minutes are forming.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.messages import Bar, Ticks
from engine.ports import Trade
from engine.values import MINUTE_BAR, NS_PER_MINUTE

Formed = dict[str, tuple[int, int, tuple[Bar, ...]]]
"""By symbol: time of the last trade, close of the last bar, minutes that are forming."""


class Forming:
    """The minutes of symbols whose trades come."""

    def __init__(self) -> None:
        self._of: Formed = {}

    def state(self) -> Formed:
        """Give everything, for pickling."""
        return self._of

    def restore(self, state: Formed) -> None:
        """Take a state back."""
        self._of = state

    def on_ticks(self, ticks: Ticks) -> Iterator[tuple[Trade, tuple[Bar, ...]]]:
        """Take in trades; give each that counts, with the minutes that are forming with it, by time."""
        symbol = ticks.symbol
        last, closed, minutes = self._of.get(symbol, (0, 0, ()))
        for ts_event, px, size in ticks.trades:
            if ts_event > last and ts_event >= closed:
                minutes = _joined(symbol, minutes, Trade(symbol, ts_event, px, size))
                self._of[symbol] = max(last, ticks.ts_event), closed, minutes
                yield Trade(symbol, ts_event, px, size), minutes

    def on_bar(self, bar: Bar) -> None:
        """Take in a minute's bar."""
        if bar.symbol in self._of:
            last, closed, minutes = self._of[bar.symbol]
            closed = max(closed, bar.ts_event)
            self._of[bar.symbol] = last, closed, tuple(one for one in minutes if one.ts_event > closed)


def _joined(symbol: str, minutes: tuple[Bar, ...], trade: Trade) -> tuple[Bar, ...]:
    """Give the minutes with one more trade in them."""
    end, px, size = (trade.ts_event // NS_PER_MINUTE + 1) * NS_PER_MINUTE, trade.px, trade.size
    if not minutes or minutes[-1].ts_event != end:
        return (*minutes, Bar(symbol, MINUTE_BAR, end, px, px, px, px, size, 1))
    known = minutes[-1]
    formed = msgspec.structs.replace(
        known,
        high=max(known.high, px),
        low=min(known.low, px),
        close=px,
        volume=known.volume + size,
        trade_count=(known.trade_count or 0) + 1,
    )
    return (*minutes[:-1], formed)
