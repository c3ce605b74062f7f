"""Every shipped strategy on 23 years of real hours, bar by bar against a vectorised computation that shares nothing with it.

The prices are unadjusted: the four splits of AAPL are falls that every strategy sees, and so does the computation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import talib

from engine.messages import Bar
from engine.strategies import Target, make, names
from engine.values import Direction

pytestmark = [pytest.mark.data, pytest.mark.soak]

Series = Any
HOURS = "us_equity_1hour_1998_2021.parquet"
_HOUR_NS = 3_600_000_000_000
_LEAVE_TO_FLAT = {"bollinger_reversion", "crypto_scalping", "rule", "stochrsi_ema"}
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


def compare(one: Series, other: Series, scale: Series = 0.0) -> Series:
    """1 above, 0 equal (to 1e-9, the noise of sums of floats), -1 below, NaN where one of them is not there."""
    noise = 1e-9 * np.maximum(np.maximum(np.abs(one), np.abs(other)), scale)
    return np.where(np.abs(one - other) <= noise, 0.0, np.sign(one - other))


def hold(long: Series, out: Series) -> Series:
    """1 from a long on, -1 from an out on, NaN before both."""
    said = np.where(long, 1.0, np.where(out, -1.0, np.nan))
    return pl.Series(said).fill_nan(None).forward_fill().to_numpy()


def sided(one: Series, other: Series, scale: Series = 0.0) -> Series:
    """1 while above, -1 while below; equal changes nothing."""
    side = compare(one, other, scale)
    return hold(side > 0, side < 0)


def crossing(one: Series, other: Series, scale: Series = 0.0) -> tuple[Series, Series]:
    """Where `one` comes above `other`, and where below; equal keeps the side it had."""
    side = pl.Series(compare(one, other, scale)).fill_nan(None).replace(0.0, None).forward_fill().to_numpy()
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
    return sided(line, talib.EMA(line, 9), m.close)


def _obv(m: Market) -> Series:
    value = np.concatenate([[m.volume[0]], m.volume[0] + np.cumsum(np.sign(np.diff(m.close)) * m.volume[1:])])
    average = pl.Series(value).rolling_mean(20).to_numpy()
    return sided(value, average)


def _stochastic(m: Market) -> Series:
    fast, slow = talib.STOCHF(m.high, m.low, m.close, 14, 3)
    above, below = crossing(fast, slow, 100.0)
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


def _stochrsi(m: Market) -> tuple[Series, Series]:
    """%K and %D; an RSI that does not move is at its top."""
    rsi = pl.Series(talib.RSI(m.close, 14)).fill_nan(None)
    low, high = rsi.rolling_min(14), rsi.rolling_max(14)
    raw = pl.select(pl.when(high == low).then(100.0).otherwise(100 * (rsi - low) / (high - low))).to_series()
    k = raw.rolling_mean(3)
    return k.to_numpy(), k.rolling_mean(3).to_numpy()


def _stateful(m: Market, lines: Callable[[Market], Sequence[Series]]) -> Series:
    """What leaves on its own terms: enter long, leave it, enter short, leave it; an entry goes before."""
    enter, leave, short, cover = lines(m)
    now, found = np.nan, []
    for n in range(len(m.close)):
        if enter[n]:
            now = 1.0
        elif short[n]:
            now = -1.0
        elif (now > 0 and leave[n]) or (now < 0 and cover[n]):
            now = 0.0
        found.append(now)
    return np.array(found)


def _stochrsi_ema(m: Market) -> Series:
    k, d = _stochrsi(m)
    average = talib.EMA(m.close, 50)
    known = ~np.isnan(average)
    above, below = crossing(np.where(known, k, np.nan), d, 100.0)
    low, high, side = above & (d < 20), below & (d > 80), compare(m.close, average)
    return _stateful(m, lambda _: (low & (side > 0), high | (side < 0), high & (side < 0), low | (side > 0)))


def _crypto_scalping(m: Market) -> Series:
    fast, slow, rsi = talib.EMA(m.close, 9), talib.EMA(m.close, 21), talib.RSI(m.close, 14)
    above, below = crossing(fast, slow)
    return _stateful(m, lambda _: (above & (rsi < 70), below | (rsi >= 70), below & (rsi > 30), above | (rsi <= 30)))


RULES: dict[str, object] = {
    "enter_long": {"all": ["rsi(14) < 35", "close > sma(200)"], "any": ["volume > 1.5 * volume_sma(20)", "close < bb(20, 2).lb"]},
    "exit_long": {"any": ["rsi(14) > 65", "close < sma(200)"]},
    "enter_short": {
        "vote": [
            {"when": "macd crosses below macd.signal", "weight": 3},
            {"when": "close < sma(period=200)"},
            {"when": "rsi(14) >= 50", "weight": 2},
        ],
        "at_least": 0.8,
    },
}  # fmt: skip
"""Of everything a rule may say; a short is left when its vote does not hold any more."""


def _rule(m: Market) -> Series:
    rsi, average, volume = talib.RSI(m.close, 14), talib.SMA(m.close, 200), talib.SMA(m.volume, 20)
    _, _, lower = talib.BBANDS(m.close, 20, 2, 2)
    line = talib.EMA(m.close, 12) - talib.EMA(m.close, 26)
    known = ~np.isnan(average)
    _, below = crossing(np.where(known, line, np.nan), talib.EMA(line, 9), m.close)
    either = (compare(m.volume, 1.5 * volume) > 0) | (compare(m.close, lower) < 0)
    enter = (compare(rsi, 35) < 0) & (compare(m.close, average) > 0) & either
    leave = (compare(rsi, 65) > 0) | (compare(m.close, average) < 0)
    short = 3 * below + (compare(m.close, average) < 0) + 2 * (compare(rsi, 50) >= 0) >= 0.8 * 6
    now, found = np.nan, []
    for n in range(len(m.close)):
        if known[n] and not (now > 0 and not leave[n]) and not (now < 0 and short[n]):
            longs, shorts = enter[n] and not leave[n] and not now > 0, short[n] and not now < 0
            now = float(longs) - float(shorts)
        found.append(now)
    return np.array(found)


PARTS = [{"strategy": "rsi", "weight": 2}, {"strategy": "macd_trend"}, {"strategy": "momentum"}]


def _parts(m: Market, *, zero: bool) -> tuple[list[Series], Series]:
    parts = [_rsi(m), _macd(m), EXPECTED["momentum"](m)]
    silent = np.all(np.isnan(parts), axis=0)
    return [np.nan_to_num(part) if zero else part for part in parts], silent


def _weights(m: Market) -> Series:
    parts, silent = _parts(m, zero=True)
    net = (2 * parts[0] + parts[1] + parts[2]) / 4
    return np.where(silent, np.nan, np.where(np.abs(net) >= 0.5, net, 0.0))


def _priority(m: Market) -> Series:
    parts, silent = _parts(m, zero=True)
    first = np.where(parts[0] != 0, parts[0], np.where(parts[1] != 0, parts[1], parts[2]))
    return np.where(silent, np.nan, first)


EXPECTED: dict[str, Callable[[Market], Series]] = {
    "bollinger_reversion": _bollinger,
    "breakout": _breakout,
    "crypto_scalping": _crypto_scalping,
    "macd_trend": _macd,
    "momentum": _averages(50, 200),
    "multi": _weights,
    "multi by priority": _priority,
    "obv_trend": _obv,
    "rsi": _rsi,
    "rule": _rule,
    "sma_crossover": _averages(3, 5),
    "stochastic": _stochastic,
    "stochrsi_ema": _stochrsi_ema,
}


def params_of(case: str, *, allow_short: bool) -> dict[str, object]:
    """Give the parameters that a case is played with."""
    if case == "rule":
        return {name: rules for name, rules in RULES.items() if allow_short or "short" not in name}
    if not case.startswith("multi"):
        return {"allow_short": allow_short}
    parts = [part | {"params": {"allow_short": allow_short}} for part in PARTS]
    return {"parts": parts, "by": "priority" if "priority" in case else "weights"}


def held(target: Target | None) -> float:
    """Give a target as a number, -1 to 1; NaN where there is none."""
    return math.nan if target is None else _SIGN[target.direction] * target.strength


def test_no_strategy_is_left_out() -> None:
    assert sorted({case.split()[0] for case in EXPECTED}) == names()


@pytest.mark.parametrize("symbol", ["AAPL", "SPY"])
@pytest.mark.parametrize("case", EXPECTED)
def test_targets_equal_those_of_a_vectorised_computation(case: str, symbol: str, markets: Mapping[str, Market]) -> None:
    market = markets[symbol]
    strategy = make(case.split(maxsplit=1)[0], params_of(case, allow_short=True))
    found = [held(strategy.on_bar(bar)) for bar in market.bars]
    expected = EXPECTED[case](market)
    if case in _LEAVE_TO_FLAT:  # flat and no opinion yet are the same
        found, expected = list(np.nan_to_num(found)), np.nan_to_num(expected)
    wrong = [n for n, pair in enumerate(zip(found, expected, strict=True)) if not np.array_equal(*pair, equal_nan=True)]
    assert wrong == []
    turns = int(np.count_nonzero(np.diff(np.nan_to_num(expected))))
    assert turns > 100, turns


@pytest.mark.parametrize("case", sorted({*EXPECTED} - {"rule", "multi", "multi by priority"}))
def test_without_shorts_it_goes_out_instead(case: str, markets: Mapping[str, Market]) -> None:
    short, flat = (make(case, params_of(case, allow_short=allow)) for allow in (True, False))
    for bar in markets["SPY"].bars[:3_000]:
        with_shorts, without = held(short.on_bar(bar)), held(flat.on_bar(bar))
        assert max(0.0, np.nan_to_num(with_shorts)) == np.nan_to_num(without)
