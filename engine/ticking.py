"""Which trades feed publishes: of the symbols that somebody looks at tick by tick, each once and in order.

Called by streams/services/feed. What was traded while feed was away is not published: it is in the bars that follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.ids import make_id
from engine.messages import OldTrade, Ticks
from engine.ports import Quote, Trade


class TickCore:
    """The trades of one feed.

    Args:
        last: What the stream has last, by symbol.
    """

    def __init__(self, last: Iterable[Ticks] = ()) -> None:
        self._last = {ticks.symbol: ticks.ts_event for ticks in last}
        self._wanted = frozenset[str]()

    def follow(self, symbols: Iterable[str]) -> None:
        """Publish the trades of these from now on."""
        self._wanted = frozenset(symbols)

    def on_ticks(self, ticks: Iterable[Trade | Quote]) -> list[Ticks]:
        """Give what is to be published of a frame: one message for each symbol."""
        found: dict[str, list[OldTrade]] = {}
        for tick in ticks:
            if tick.symbol not in self._wanted or not isinstance(tick, Trade):
                continue
            known = found.get(tick.symbol)
            if tick.ts_event >= known[-1][0] if known else tick.ts_event > self._last.get(tick.symbol, 0):
                found.setdefault(tick.symbol, []).append((tick.ts_event, tick.px, tick.size))
        self._last |= {symbol: trades[-1][0] for symbol, trades in found.items()}
        return [_ticks(symbol, trades) for symbol, trades in found.items()]


def _ticks(symbol: str, trades: list[OldTrade]) -> Ticks:
    first, last = trades[0][0], trades[-1][0]
    return Ticks(make_id("ticks", symbol, first, last, len(trades)), symbol, tuple(trades), last)
