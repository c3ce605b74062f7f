"""The market's past: engine.ports.BarHistory over what the simulated exchange has sent out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import msgspec

from engine.errors import UnreachableError
from engine.messages import Bar
from engine.ports import Quote, Trade
from engine.values import NS_PER_MINUTE, AssetClass, asset_class_of, timeframe_ns
from tests.simulation.market import SYMBOLS, T0_NS, Market
from tests.simulation.venue import Exchange

_PAST_MINUTES = 90


def past_of(market: Market) -> list[Bar]:
    """Minutes from before the market's first one, with holes; of half of the seeds there are none."""
    draw = random.Random(repr(market.minutes))  # draws nothing: the rest of a seed's story stays
    if draw.random() < 0.5:
        return []
    bars: list[Bar] = []
    for symbol in market.symbols:
        price = SYMBOLS[symbol]
        for number in range(-_PAST_MINUTES, 1):
            price = round(price * (1 + draw.gauss(0, 0.002)), 2)
            if draw.random() < 0.8:
                ts = T0_NS + number * NS_PER_MINUTE
                bars.append(Bar(symbol, "1m", ts, price, price + 0.5, price - 0.5, price, 1000.0))
    return sorted(bars, key=lambda bar: (bar.ts_event, bar.symbol))


def made_of(bars: Iterable[Bar], timeframe: str) -> list[Bar]:
    """Bars as a venue makes them: counted by the clock."""
    step, found = timeframe_ns(timeframe), dict[tuple[int, str], Bar]()
    for bar in bars:
        key = -(-bar.ts_event // step) * step, bar.symbol
        known = found.get(key, msgspec.structs.replace(bar, timeframe=timeframe, ts_event=key[0], volume=0.0))
        found[key] = msgspec.structs.replace(
            known,
            high=max(known.high, bar.high),
            low=min(known.low, bar.low),
            close=bar.close,
            volume=known.volume + bar.volume,
        )
    return [found[key] for key in sorted(found)]


class BarHistory:
    """engine.ports.BarHistory: every bar, trade and quote that is out, and minutes from before the first."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._past = past_of(exchange.market)

    def bars(
        self,
        asset_class: AssetClass,
        symbols: Sequence[str],
        timeframe: str,
        from_ns: int,
        to_ns: int,
        *,
        is_adjusted: bool = False,
    ) -> Sequence[Bar]:
        self._may_fail()
        every = [*self._past, *self._exchange.out]
        found = [
            bar for bar in (every if timeframe == "1m" else made_of(every, timeframe))
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
