"""Minutes that are forming, made of trades and quotes: for bots with trading_frequency `every_tick`. Part of signals.

Invariants:
1. A trade counts once: one at or before the last one of an earlier message, or of a minute whose bar is there, is none.
   So does a quote, which is none either where a tick from after it was there before.
2. The bar of a minute takes the place of what was formed of it. Ticks of the next minute may come before that bar:
   until it is there both minutes are forming.
3. Minutes are formed twice, of trades alone and with the middles of quotes: a bot sees the same whoever else looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.messages import Bar, Ticks
from engine.ports import Trade
from engine.seconds import Tick, first, grown
from engine.values import MINUTE_BAR, NS_PER_MINUTE


class _Formed(NamedTuple):
    """What is known of a symbol: the last trade and quote, the last close, and minutes that are forming."""

    last: tuple[int, int] = (0, 0)
    closed: int = 0
    of_trades: tuple[Bar, ...] = ()
    with_quotes: tuple[Bar, ...] = ()


class Forming:
    """The minutes of symbols whose ticks come."""

    def __init__(self) -> None:
        self._of: dict[str, _Formed] = {}

    def state(self) -> dict[str, _Formed]:
        """Give everything, for pickling."""
        return self._of

    def restore(self, state: dict[str, _Formed]) -> None:
        """Take a state back."""
        self._of = state

    def on_ticks(self, ticks: Ticks) -> Iterator[Tick]:
        """Take in ticks; give each that counts, by time. `minutes` has the minutes that are forming with it."""
        symbol = ticks.symbol
        known = self._of.get(symbol, _Formed())
        last = (
            max((known.last[0], *(trade[0] for trade in ticks.trades))),
            max((known.last[1], *(quote[0] for quote in ticks.quotes))),
        )
        of_quotes = (Tick(Trade(symbol, ts, (bid + ask) / 2, 0.0), True) for ts, bid, ask in ticks.quotes)
        of_trades = (Tick(Trade(symbol, *trade), False) for trade in ticks.trades)
        for tick in sorted((*of_trades, *of_quotes), key=lambda tick: (tick.trade.ts_event, tick.is_quote)):
            now = self._of.get(symbol, _Formed())
            since = max(known.last) if tick.is_quote else known.last[0]
            if tick.trade.ts_event <= since or tick.trade.ts_event < now.closed:
                continue
            formed = now.of_trades if tick.is_quote else _joined(now.of_trades, tick)
            self._of[symbol] = _Formed(last, now.closed, formed, _joined(now.with_quotes, tick))
            yield tick

    def minutes(self, symbol: str, *, has_quotes: bool) -> tuple[Bar, ...]:
        """Give the minutes of a symbol that are forming, by time."""
        known = self._of.get(symbol, _Formed())
        return known.with_quotes if has_quotes else known.of_trades

    def on_bar(self, bar: Bar) -> None:
        """Take in a minute's bar."""
        if bar.symbol in self._of:
            known = self._of[bar.symbol]
            closed = max(known.closed, bar.ts_event)
            both = (tuple(one for one in some if one.ts_event > closed) for some in known[2:])
            self._of[bar.symbol] = _Formed(known.last, closed, *both)


def _joined(minutes: tuple[Bar, ...], tick: Tick) -> tuple[Bar, ...]:
    """Give the minutes with one more tick in them."""
    end = (tick.trade.ts_event // NS_PER_MINUTE + 1) * NS_PER_MINUTE
    if not minutes or minutes[-1].ts_event != end:
        return (*minutes, first(tick, MINUTE_BAR, end))
    return (*minutes[:-1], grown(minutes[-1], tick))
