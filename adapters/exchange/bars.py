"""Bars as the exchange holds them: one minute's bars on their way out, and the history of those already out.

`History` holds only bars that have closed in venue time, so no request can see the future. It never makes up a bar.
Called by the venue (append), the REST data calls and the trading rules (last price).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Protocol

import msgspec

from engine.values import NS_PER_MINUTE


class VenueBar(msgspec.Struct, frozen=True, gc=False):
    """A minute bar stamped by its open, as Alpaca stamps it."""

    symbol: str
    open_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trade_count: int
    vwap: float

    @property
    def close_ns(self) -> int:
        """End of the minute."""
        return self.open_ns + NS_PER_MINUTE


def late_copy(bar: VenueBar) -> VenueBar:
    """The bar as a late trade at its close leaves it: one percent more volume."""
    volume = float(round(bar.volume * 1.01 + 1)) if "/" not in bar.symbol else round(bar.volume * 1.01, 9)
    return msgspec.structs.replace(bar, volume=volume, trade_count=bar.trade_count + 1)


class BarSource(Protocol):
    """Where the market comes from: a file or the generator. Minutes come in order, each once."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, sorted."""
        ...

    def history(self) -> Iterator[list[VenueBar]]:
        """Minutes before the start; read once, before the first `take`."""
        ...

    def next_open(self) -> int | None:
        """Open of the next minute that has bars, ns UTC; None at the end."""
        ...

    def take(self) -> list[VenueBar]:
        """Bars of that minute, sorted by symbol."""
        ...


class SymbolHistory:
    """Columns of one symbol, sorted by open."""

    __slots__ = ("close", "high", "low", "open", "open_ns", "symbol", "trade_count", "volume", "vwap")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.open_ns = array("q")
        self.open = array("d")
        self.high = array("d")
        self.low = array("d")
        self.close = array("d")
        self.volume = array("d")
        self.trade_count = array("q")
        self.vwap = array("d")

    def append(self, bar: VenueBar) -> None:
        """Add the next bar."""
        self.open_ns.append(bar.open_ns)
        self.open.append(bar.open)
        self.high.append(bar.high)
        self.low.append(bar.low)
        self.close.append(bar.close)
        self.volume.append(bar.volume)
        self.trade_count.append(bar.trade_count)
        self.vwap.append(bar.vwap)

    def __len__(self) -> int:
        return len(self.open_ns)

    def bar(self, index: int) -> VenueBar:
        """The bar at an index, negative from the end."""
        return VenueBar(
            self.symbol, self.open_ns[index], self.open[index], self.high[index], self.low[index], self.close[index],
            self.volume[index], self.trade_count[index], self.vwap[index],
        )  # fmt: skip

    def span(self, from_ns: int, to_ns: int) -> range:
        """Indices of the bars that open in [from_ns, to_ns]."""
        return range(bisect_left(self.open_ns, from_ns), bisect_right(self.open_ns, to_ns))

    def combined(self, indices: range, open_ns: int) -> VenueBar:
        """One bar over a non-empty run of bars, stamped `open_ns`; vwap is weighted by volume."""
        first, stop = indices.start, indices.stop
        volume = sum(self.volume[first:stop])
        traded = sum(v * p for v, p in zip(self.volume[first:stop], self.vwap[first:stop], strict=True))
        return VenueBar(
            self.symbol, open_ns, self.open[first], max(self.high[first:stop]), min(self.low[first:stop]),
            self.close[stop - 1], volume, sum(self.trade_count[first:stop]),
            round(traded / volume, 6) if volume > 0 else self.close[stop - 1],
        )  # fmt: skip

    def replace_last(self, bar: VenueBar) -> None:
        """Put a late update in the place of the newest bar, if it is still the same minute."""
        if self.open_ns and self.open_ns[-1] == bar.open_ns:
            self.volume[-1], self.trade_count[-1], self.vwap[-1] = bar.volume, bar.trade_count, bar.vwap


class History:
    """Closed bars of every symbol."""

    def __init__(self) -> None:
        self._by_symbol: dict[str, SymbolHistory] = {}

    def append(self, bar: VenueBar) -> None:
        """Add a bar that has just closed."""
        known = self._by_symbol.get(bar.symbol)
        if known is None:
            known = self._by_symbol[bar.symbol] = SymbolHistory(bar.symbol)
        known.append(bar)

    def of(self, symbol: str) -> SymbolHistory | None:
        """Columns of a symbol; None when it has no closed bar yet."""
        return self._by_symbol.get(symbol)

    def last_price(self, symbol: str) -> float | None:
        """Close of the newest closed bar."""
        known = self._by_symbol.get(symbol)
        return known.close[-1] if known else None
