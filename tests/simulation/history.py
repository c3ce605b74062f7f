"""The market's past: engine.ports.BarHistory over what the simulated exchange has sent out."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import UnreachableError
from engine.messages import Bar
from engine.ports import Quote, Trade
from engine.values import AssetClass, asset_class_of
from tests.simulation.venue import Exchange


class BarHistory:
    """engine.ports.BarHistory: every bar, trade and quote that is out."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def bars(
        self, asset_class: AssetClass, symbols: Sequence[str], timeframe: str, from_ns: int, to_ns: int
    ) -> Sequence[Bar]:
        self._may_fail()
        found = [
            bar for bar in self._exchange.out
            if bar.symbol in symbols and asset_class_of(bar.symbol) is asset_class and from_ns < bar.ts_event <= to_ns
        ]  # fmt: skip
        return sorted(found, key=lambda bar: (bar.ts_event, bar.symbol))

    def ticks(
        self, asset_class: AssetClass, symbols: Sequence[str], from_ns: int, to_ns: int
    ) -> Sequence[Trade | Quote]:
        self._may_fail()
        found = [
            tick for tick in self._exchange.ticks_out
            if tick.symbol in symbols and asset_class_of(tick.symbol) is asset_class
            and from_ns < tick.ts_event <= to_ns
        ]  # fmt: skip
        return sorted(found, key=lambda tick: (tick.ts_event, tick.symbol, isinstance(tick, Trade)))

    def _may_fail(self) -> None:
        if self._exchange.faults.hits("history_fails"):
            msg = "no answer after 5 tries"
            raise UnreachableError(msg)
        if self._exchange.faults.hits("history_slow"):
            self._exchange.loop.slow_s = self._exchange.faults.draw.uniform(1.0, 40.0)
