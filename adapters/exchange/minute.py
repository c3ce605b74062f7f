"""The messages of one minute on one market-data endpoint, encoded when first wanted and then shared.

Decides only in which order they go out: ticks by time, whatever their kind, as a venue sends them. Called by the market
websocket, once per minute, endpoint and set of wishes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from adapters.exchange.bars import History, VenueBar, late_copy
from adapters.exchange.calendar import day_start_ns
from adapters.exchange.frames import Codec, array_frames, encode_bar, encode_message
from adapters.exchange.market_faults import MarketFaults
from adapters.exchange.ticks import quotes_of, trades_of

Frames = list[bytes | str]


class Wishes(Protocol):
    """What a connection wants."""

    codec: Codec
    faults: MarketFaults

    def wants(self, channel: str) -> frozenset[str]:
        """Symbols wanted on a channel."""
        ...


class Minute:
    """One minute's messages of one endpoint."""

    def __init__(self, bars: list[VenueBar], late: list[VenueBar], history: History) -> None:
        self._bars = bars
        self._late = late
        self._history = history
        self._encoded: dict[tuple[Codec, str], list[tuple[str, bytes]]] = {}
        self._frames: dict[tuple[Codec, str, frozenset[str], frozenset[str]], Frames] = {}

    @property
    def ns(self) -> int:
        """End of the minute, 0 without bars."""
        return self._bars[0].close_ns if self._bars else 0

    def frames(self, codec: Codec, channel: str, wanted: frozenset[str]) -> Frames:
        """Frames of one channel of bars for one set of symbols."""
        key = (codec, channel, wanted, frozenset[str]())
        found = self._frames.get(key)
        if found is None:
            encoded = self._of_channel(codec, channel)
            messages = [message for symbol, message in encoded if _is_wanted(symbol, wanted)]
            found = self._frames[key] = array_frames(codec, messages)
        return found

    def ticks(self, codec: Codec, trades: frozenset[str], quotes: frozenset[str]) -> Frames:
        """Frames of trades and quotes in the order of their times; of one moment by symbol, the quote first."""
        if not (trades or quotes):
            return []
        key = (codec, "ticks", trades, quotes)
        found = self._frames.get(key)
        if found is None:
            timed: list[tuple[int, str, int, bytes]] = []
            for bar in self._bars:
                for place, (kind, make, wanted) in enumerate((("q", quotes_of, quotes), ("t", trades_of, trades))):
                    if _is_wanted(bar.symbol, wanted):
                        timed += [
                            (tick["t"], bar.symbol, place, encode_message(codec, {"T": kind, "S": bar.symbol, **tick}))
                            for tick in make(bar)
                        ]
            timed.sort(key=lambda tick: tick[:3])
            found = self._frames[key] = array_frames(codec, [tick[3] for tick in timed])
        return found

    def faulty(self, wishes: Wishes) -> Frames:
        """Frames of the bars as the connection's faults leave them."""
        bars = [bar for bar in self._bars if _is_wanted(bar.symbol, wishes.wants("bars"))]
        codec, late = wishes.codec, wishes.wants("updatedBars")
        updates = [(bar.symbol, encode_bar(codec, "u", late_copy(bar))) for bar in bars if _is_wanted(bar.symbol, late)]
        return wishes.faults.bars(self.ns, [(bar.symbol, encode_bar(codec, "b", bar)) for bar in bars], updates)

    def _of_channel(self, codec: Codec, channel: str) -> list[tuple[str, bytes]]:
        found = self._encoded.get((codec, channel))
        if found is None:
            found = self._encoded[codec, channel] = list(self._encode(codec, channel))
        return found

    def _encode(self, codec: Codec, channel: str) -> Iterable[tuple[str, bytes]]:
        if channel == "bars":
            return ((bar.symbol, encode_bar(codec, "b", bar)) for bar in self._bars)
        if channel == "updatedBars":
            return ((bar.symbol, encode_bar(codec, "u", bar)) for bar in self._late)
        return ((bar.symbol, encode_bar(codec, "d", self._daily(bar))) for bar in self._bars)

    def _daily(self, bar: VenueBar) -> VenueBar:
        start = day_start_ns(bar.open_ns)
        known = self._history.of(bar.symbol)
        if known is None:
            return msgspec.structs.replace(bar, open_ns=start)
        return known.combined(known.span(start, bar.open_ns), start)


def _is_wanted(symbol: str, wanted: frozenset[str]) -> bool:
    return symbol in wanted or "*" in wanted
