"""Every shipped strategy on 23 years of real hours, bar by bar against a vectorised computation that shares nothing with it.

The prices are unadjusted: the four splits of AAPL are falls that every strategy sees, and so does the computation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import talib

from engine.messages import Bar
from engine.strategies import make, names
from engine.values import Direction

pytestmark = pytest.mark.data

Series = Any
HOURS = "us_equity_1hour_1998_2021.parquet"
_HOUR_NS = 3_600_000_000_000
_SIGN = {Direction.LONG: 1.0, Direction.FLAT: 0.0, Direction.SHORT: -1.0}


class Market:
    """One symbol's hours, as arrays and as bars."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.open, self.high, self.low, self.close, self.volume = (
            frame[name].to_numpy().astype(float) for name in ("open", "high", "low", "close", "volume")
        )
        ends = frame["timestamp"].dt.epoch("ns").to_numpy() + _HOUR_NS
        columns = (self.open, self.high, self.low, self.close, self.volume)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.bars = [Bar("X", "1h", int(end), *row) for end, row in zip(ends, rows, strict=True)]


@pytest.fixture(scope="module")
def markets(real_bars: Callable[[str], Path]) -> Mapping[str, Market]:
    frame = pl.read_parquet(real_bars(HOURS)).sort("symbol", "timestamp")
    return {symbol: Market(frame.filter(pl.col("symbol") == symbol)) for symbol in ("AAPL", "SPY")}


def compare(one: Series, other: Series) -> Series:
    """1 above, 0 equal (to 1e-9, the noise of sums of floats), -1 below, NaN where one of them is not there."""
    noise = 1e-9 * np.maximum(np.abs(one), np.abs(other))
    return np.where(np.abs(one - other) <= noise, 0.0, np.sign(one - other))


def hold(long: Series, out: Series) -> Series:
    """1 from a long on, -1 from an out on, NaN before both."""
    said = np.where(long, 1.0, np.where(out, -1.0, np.nan))
    return pl.Series(said).fill_nan(None).forward_fill().to_numpy()


def sided(one: Series, other: Series) -> Series:
    """1 while above, -1 while below; equal changes nothing."""
    side = compare(one, other)
    return hold(side > 0, side < 0)


def crossing(one: Series, other: Series) -> tuple[Series, Series]:
    """Where `one` comes above `other`, and where below; equal keeps the side it had."""
    side = pl.Series(compare(one, other)).fill_nan(None).replace(0.0, None).forward_fill().to_numpy()
    before = np.concatenate([[np.nan], side[:-1]])
    moved = (side != before) & ~np.isnan(before)
    return moved & (side > 0), moved & (side < 0)


def _averages(fast: int, slow: int) -> Callable[[Market], Series]:
    return lambda m: sided(talib.SMA(m.close, fast), talib.SMA(m.close, slow))


def _rsi(m: Market) -> Series:
    value = talib.RSI(m.close, 14)
    return hold(value <= 30, value >= 70)


def _breakout(m: Market) -> Series:
    high, low = (np.concatenate([[np.nan], series[:-1]]) for series in (talib.MAX(m.high, 20), talib.MIN(m.low, 20)))
    return hold(m.close > high, m.close < low)


def _macd(m: Market) -> Series:
    line = talib.EMA(m.close, 12) - talib.EMA(m.close, 26)
    return sided(line, talib.EMA(line, 9))


def _obv(m: Market) -> Series:
    value = np.concatenate([[m.volume[0]], m.volume[0] + np.cumsum(np.sign(np.diff(m.close)) * m.volume[1:])])
    average = pl.Series(value).rolling_mean(20).to_numpy()
    return sided(value, average)


def _stochastic(m: Market) -> Series:
    fast, slow = talib.STOCHF(m.high, m.low, m.close, 14, 3)
    above, below = crossing(fast, slow)
    return hold(above & (slow < 20), below & (slow > 80))


def _bollinger(m: Market) -> Series:
    upper, middle, lower = talib.BBANDS(m.close, 20, 2, 2)
    now, found = 0.0, []
    for close, high, centre, low in zip(m.close, upper, middle, lower, strict=True):
        side = compare(close, centre)
        if compare(close, low) < 0:
            now = 1.0
        elif compare(close, high) > 0:
            now = -1.0
        elif (now > 0 and side >= 0) or (now < 0 and side <= 0):
            now = 0.0
        found.append(now)
    return np.array(found)


EXPECTED: dict[str, Callable[[Market], Series]] = {
    "bollinger_reversion": _bollinger,
    "breakout": _breakout,
    "macd_trend": _macd,
    "momentum": _averages(50, 200),
    "obv_trend": _obv,
    "rsi": _rsi,
    "sma_crossover": _averages(3, 5),
    "stochastic": _stochastic,
}


def test_no_strategy_is_left_out() -> None:
    assert sorted(EXPECTED) == names()


@pytest.mark.parametrize("symbol", ["AAPL", pytest.param("SPY", marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", EXPECTED)
def test_targets_equal_those_of_a_vectorised_computation(name: str, symbol: str, markets: Mapping[str, Market]) -> None:
    market = markets[symbol]
    strategy = make(name, {"allow_short": True})
    found = [np.nan if (target := strategy.on_bar(bar)) is None else _SIGN[target.direction] for bar in market.bars]
    expected = EXPECTED[name](market)
    if name == "bollinger_reversion":  # flat and no opinion yet are the same
        found = list(np.nan_to_num(found))
    wrong = [n for n, pair in enumerate(zip(found, expected, strict=True)) if not np.array_equal(*pair, equal_nan=True)]
    assert wrong == []
    turns = int(np.count_nonzero(np.diff(np.nan_to_num(expected))))
    assert turns > 100, turns


@pytest.mark.parametrize("name", EXPECTED)
def test_without_shorts_it_goes_out_instead(name: str, markets: Mapping[str, Market]) -> None:
    short, flat = make(name, {"allow_short": True}), make(name, {})
    for bar in markets["SPY"].bars[:3_000]:
        with_shorts, without = short.on_bar(bar), flat.on_bar(bar)
        held = max(0.0, 0.0 if with_shorts is None else _SIGN[with_shorts.direction])
        assert held == (0.0 if without is None else _SIGN[without.direction])
