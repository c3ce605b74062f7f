"""Which trades and quotes feed publishes: of the symbols that somebody looks at tick by tick, each once and in order.

Called by streams/services/feed. What was traded while feed was away is not published: it is in the bars that follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.ids import make_id
from engine.messages import OldQuote, OldTrade, Ticks
from engine.ports import Quote, Trade


class TickCore:
    """The trades of one feed.

    Args:
        last: What the stream has last, by symbol.
    """

    def __init__(self, last: Iterable[Ticks] = ()) -> None:
        self._last = {ticks.symbol: ticks.ts_event for ticks in last}
        self._last_quote = {ticks.symbol: (ticks.ts_event, 0.0) for ticks in last}
        self._wanted = self._quoted = frozenset[str]()

    def follow(self, symbols: Iterable[str], quoted: Iterable[str] = ()) -> None:
        """Publish the trades of these from now on, and the quotes of some."""
        self._wanted, self._quoted = frozenset(symbols), frozenset(quoted)

    def on_ticks(self, ticks: Iterable[Trade | Quote]) -> list[Ticks]:
        """Give what is to be published of a frame: one message for each symbol."""
        found: dict[str, list[OldTrade]] = {}
        quotes: dict[str, list[OldQuote]] = {}
        for tick in ticks:
            if isinstance(tick, Quote):
                if tick.symbol in self._quoted and self._is_move(tick):
                    quotes.setdefault(tick.symbol, []).append((tick.ts_event, tick.bid_px, tick.ask_px))
                continue
            if tick.symbol not in self._wanted:
                continue
            known = found.get(tick.symbol)
            if tick.ts_event >= known[-1][0] if known else tick.ts_event > self._last.get(tick.symbol, 0):
                found.setdefault(tick.symbol, []).append((tick.ts_event, tick.px, tick.size))
        self._last |= {symbol: trades[-1][0] for symbol, trades in found.items()}
        return [_ticks(symbol, found.get(symbol, []), quotes.get(symbol, [])) for symbol in {**found, **quotes}]

    def _is_move(self, quote: Quote) -> bool:
        """Whether a quote moves the middle of bid and ask; one that is none, or comes late, does not."""
        last, middle = self._last_quote.get(quote.symbol, (0, 0.0))
        now = (quote.bid_px + quote.ask_px) / 2
        if not 0 < quote.bid_px <= quote.ask_px or quote.ts_event <= last or now == middle:
            return False
        self._last_quote[quote.symbol] = quote.ts_event, now
        return True


def _ticks(symbol: str, trades: list[OldTrade], quotes: list[OldQuote]) -> Ticks:
    times = [tick[0] for tick in (*trades, *quotes)]
    tick_id = make_id("ticks", symbol, min(times), max(times), len(trades), len(quotes))
    return Ticks(tick_id, symbol, tuple(trades), max(times), tuple(quotes))
