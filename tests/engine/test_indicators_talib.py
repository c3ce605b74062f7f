"""Indicators against TA-Lib, which shares no code with the library behind them: equal after the warm-up.

Where the two begin otherwise (`SETTLES`) they are equal to 1e-9 only when the beginning is forgotten; what differs is
in docs/indicators.md.
"""

from __future__ import annotations

import numpy as np
import pytest
import talib

from engine.indicators import make
from tests.engine.test_indicator_catalog import bars

BARS = bars(2_000, seed=3)
P, H, L, C, V = (
    np.array([getattr(bar, field) for bar in BARS]) for field in ("open", "high", "low", "close", "volume")
)
MEDIAN = (H + L) / 2

CASES = {
    "sma": ({"period": 20}, {"": talib.SMA(C, 20)}),
    "ema": ({"period": 20}, {"": talib.EMA(C, 20)}),
    "wma": ({"period": 20}, {"": talib.WMA(C, 20)}),
    "dema": ({"period": 20}, {"": talib.DEMA(C, 20)}),
    "tema": ({"period": 20}, {"": talib.TEMA(C, 20)}),
    "t3": ({"period": 5}, {"": talib.T3(C, 5, 0.7)}),
    "kama": ({}, {"": talib.KAMA(C, 10)}),
    "trix": ({}, {"": talib.TRIX(C, 18) * 100}),
    "rsi": ({"period": 14}, {"": talib.RSI(C, 14)}),
    "macd": ({}, dict(zip(("macd", "signal", "histogram"), talib.MACD(C, 12, 26, 9), strict=True))),
    "bb": ({}, dict(zip(("ub", "cb", "lb"), talib.BBANDS(C, 20, 2, 2), strict=True))),
    "std_dev": ({}, {"": talib.STDDEV(C, 20)}),
    "mean_dev": ({}, {"": talib.AVGDEV(C, 20)}),
    "roc": ({}, {"": talib.ROC(C, 9)}),
    "atr": ({}, {"": talib.ATR(H, L, C, 14)}),
    "natr": ({}, {"": talib.NATR(H, L, C, 14)}),
    "adx": (
        {},
        {
            "adx": talib.ADX(H, L, C, 14),
            "plus_di": talib.PLUS_DI(H, L, C, 14),
            "minus_di": talib.MINUS_DI(H, L, C, 14),
        },
    ),
    "aroon": ({}, dict(zip(("down", "up"), talib.AROON(H, L, 14), strict=True))),
    "cci": ({}, {"": talib.CCI(H, L, C, 20)}),
    "uo": ({}, {"": talib.ULTOSC(H, L, C, 7, 14, 28)}),
    "williams_r": ({}, {"": talib.WILLR(H, L, C, 14)}),
    "stoch": ({}, dict(zip(("k", "d"), talib.STOCHF(H, L, C, 14, 3), strict=True))),
    "stoch_rsi": ({"k_smoothing_period": 1}, dict(zip(("k", "d"), talib.STOCHRSI(C, 14, 14, 3), strict=True))),
    "psar": ({}, {"value": talib.SAR(H, L, 0.02, 0.2)}),
    "bop": ({}, {"": talib.BOP(P, H, L, C)}),
    "accdist": ({}, {"": talib.AD(H, L, C, V)}),
    "chaikin_osc": ({}, {"": talib.ADOSC(H, L, C, V, 3, 10)}),
    "obv": ({}, {"": talib.OBV(C, V)}),
    "donchian": (
        {},
        {"ub": talib.MAX(H, 20), "lb": talib.MIN(L, 20), "cb": (talib.MAX(H, 20) + talib.MIN(L, 20)) / 2},
    ),
    "ao": ({}, {"": talib.SMA(MEDIAN, 5) - talib.SMA(MEDIAN, 34)}),
    "coppock": ({}, {"": talib.WMA(talib.ROC(C, 11) + talib.ROC(C, 14), 10)}),
    "hma": ({}, {"": talib.WMA(2 * talib.WMA(C, 8) - talib.WMA(C, 16), 4)}),
    "vwma": ({}, {"": talib.SMA(C * V, 20) / talib.SMA(V, 20)}),
    "force_index": ({}, {"": talib.EMA(np.concatenate([[np.nan], np.diff(C) * V[1:]]), 13)}),
    "volume_sma": ({}, {"": talib.SMA(V, 20)}),
}
SETTLES = {"macd": 200, "atr": 250, "natr": 250, "adx": 400, "psar": 20, "chaikin_osc": 150}
"""Bars after which another beginning is forgotten."""


@pytest.mark.parametrize("name", CASES)
def test_values_equal_those_of_ta_lib(name: str) -> None:
    params, expected = CASES[name]
    indicator = make(name, params)
    found: dict[str, list[float]] = {output: [] for output in expected}
    for bar in BARS:
        indicator.update(bar)
        values = indicator.values()
        for output, series in found.items():
            series.append(values.get(f"{indicator.label}.{output}" if output else indicator.label, float("nan")))
    start = SETTLES.get(name, indicator.warmup - 1)
    for output, series in found.items():
        np.testing.assert_allclose(series[start:], expected[output][start:], rtol=1e-9, atol=1e-7, err_msg=output)
