"""The catalogue: every indicator there is, its parameters, unit, warm-up and what it is. Data only.

Conventions where the books differ are talipp's: an average that is smoothed exponentially begins with the mean of its
first period (EMA, RSI, ATR, ADX), standard deviations are those of a population. `PivotsHL` and `ZigZag` of talipp are
not here: they cannot forget old bars.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from talipp.indicators import (
    ADX,
    ALMA,
    AO,
    ATR,
    BB,
    BOP,
    CCI,
    CHOP,
    DEMA,
    DPO,
    EMA,
    EMV,
    HMA,
    IBS,
    KAMA,
    KST,
    KVO,
    MACD,
    NATR,
    OBV,
    ROC,
    RSI,
    SFX,
    SMA,
    SMMA,
    SOBV,
    STC,
    T3,
    TEMA,
    TRIX,
    TSI,
    TTM,
    UO,
    VTX,
    VWAP,
    VWMA,
    WMA,
    ZLEMA,
    AccuDist,
    Aroon,
    ChaikinOsc,
    ChandeKrollStop,
    CoppockCurve,
    DonchianChannels,
    ForceIndex,
    Ichimoku,
    KeltnerChannels,
    MassIndex,
    McGinleyDynamic,
    MeanDev,
    ParabolicSAR,
    RogersSatchell,
    StdDev,
    Stoch,
    StochRSI,
    SuperTrend,
    Williams,
)

from engine.indicators.indicator import close_of, ohlcv_of, volume_of
from engine.messages import Bar


class Param(msgspec.Struct, frozen=True):
    """A parameter: its type is that of its bounds.

    Attributes:
        default: None where it must be given.
        low: Smallest value.
        high: Largest value.
    """

    name: str
    default: float | None
    low: float
    high: float


class Kind(msgspec.Struct, frozen=True):
    """An indicator.

    Attributes:
        build: Makes talipp's of the parameters, in order.
        source: What it takes of a bar.
        warmup: Bars until the first whole value.
        unit: Of its values; `price` is USD as the bars have it.
        outputs: Names of its values where it has several, the main one first.
    """

    name: str
    build: Callable[..., Any]
    source: Callable[[Bar], Any]
    params: tuple[Param, ...]
    warmup: Callable[[Any], int]
    unit: str
    about: str
    outputs: tuple[str, ...] = ()


def _period(name: str, default: int | None = None) -> Param:
    return Param(name, default, 1, 10_000)


def _count(name: str, default: int) -> Param:
    return Param(name, default, 1, 1_000_000_000)


def _factor(name: str, default: float) -> Param:
    return Param(name, default, 0.0, 1_000.0)


def _share(name: str, default: float) -> Param:
    return Param(name, default, 0.0, 1.0)


# fmt: off
KINDS: tuple[Kind, ...] = (
    Kind(
        "adx", ADX, ohlcv_of, (_period("di_period", 14), _period("adx_period", 14)),
        lambda p: p["di_period"] + p["adx_period"], unit="0..100", about="Average directional index (Wilder 1978)",
        outputs=("adx", "plus_di", "minus_di"),
    ),
    Kind(
        "alma", ALMA, close_of, (_period("period", 9), _share("offset", 0.85), _factor("sigma", 6.0)),
        lambda p: p["period"], unit="price", about="Arnaud Legoux moving average (2009)",
    ),
    Kind(
        "ao", AO, ohlcv_of, (_period("fast_period", 5), _period("slow_period", 34)), lambda p: p["slow_period"],
        unit="price", about="Awesome oscillator (Williams 1998)",
    ),
    Kind(
        "atr", ATR, ohlcv_of, (_period("period", 14),), lambda p: p["period"], unit="price",
        about="Average true range (Wilder 1978)",
    ),
    Kind(
        "accdist", AccuDist, ohlcv_of, (), lambda _: 1, unit="volume",
        about="Accumulation/distribution line (Chaikin)",
    ),
    Kind(
        "aroon", Aroon, ohlcv_of, (_period("period", 14),), lambda p: p["period"] + 1, unit="0..100",
        about="Aroon (Chande 1995)", outputs=("up", "down"),
    ),
    Kind(
        "bb", BB, close_of, (_period("period", 20), _factor("std_dev_mult", 2.0)), lambda p: p["period"],
        unit="price", about="Bollinger bands (1980s): centre, lower, upper; population standard deviation",
        outputs=("cb", "lb", "ub"),
    ),
    Kind("bop", BOP, ohlcv_of, (), lambda _: 1, unit="-1..1", about="Balance of power (Livshin 2001)"),
    Kind(
        "cci", CCI, ohlcv_of, (_period("period", 20),), lambda p: p["period"], unit="number",
        about="Commodity channel index (Lambert 1980)",
    ),
    Kind(
        "chop", CHOP, ohlcv_of, (_period("period", 14),), lambda p: p["period"], unit="0..100",
        about="Choppiness index (Dreiss 1993)",
    ),
    Kind(
        "chaikin_osc", ChaikinOsc, ohlcv_of, (_period("fast_period", 3), _period("slow_period", 10)),
        lambda p: p["slow_period"], unit="volume", about="Chaikin oscillator",
    ),
    Kind(
        "chande_kroll_stop", ChandeKrollStop, ohlcv_of,
        (_period("atr_period", 10), _factor("atr_mult", 1.0), _period("period", 9)),
        lambda p: p["atr_period"] + p["period"] - 1, unit="price", about="Chande Kroll stop (1994)",
        outputs=("short_stop", "long_stop"),
    ),
    Kind(
        "coppock", CoppockCurve, close_of,
        (_period("fast_roc_period", 11), _period("slow_roc_period", 14), _period("wma_period", 10)),
        lambda p: p["slow_roc_period"] + p["wma_period"], unit="percent", about="Coppock curve (1962)",
    ),
    Kind(
        "dema", DEMA, close_of, (_period("period", 20),), lambda p: 2 * p["period"] - 1, unit="price",
        about="Double exponential moving average (Mulloy 1994)",
    ),
    Kind(
        "dpo", DPO, close_of, (_period("period", 20),), lambda p: p["period"], unit="price",
        about="Detrended price oscillator",
    ),
    Kind(
        "donchian", DonchianChannels, ohlcv_of, (_period("period", 20),), lambda p: p["period"], unit="price",
        about="Donchian channels: middle, lower, upper", outputs=("cb", "lb", "ub"),
    ),
    Kind(
        "ema", EMA, close_of, (_period("period"),), lambda p: p["period"], unit="price",
        about="Exponential moving average, begun with the mean of the first period",
    ),
    Kind(
        "emv", EMV, ohlcv_of, (_period("period", 14), _count("volume_div", 10000)), lambda p: p["period"] + 1,
        unit="number", about="Ease of movement (Arms 1983)",
    ),
    Kind(
        "force_index", ForceIndex, ohlcv_of, (_period("period", 13),), lambda p: p["period"] + 1,
        unit="price x volume", about="Force index (Elder 1993)",
    ),
    Kind(
        "hma", HMA, close_of, (_period("period", 16),), lambda p: p["period"] + 2 * (math.isqrt(p["period"]) - 1),
        unit="price", about="Hull moving average (2005)",
    ),
    Kind(
        "ibs", IBS, ohlcv_of, (), lambda _: 1, unit="0..1",
        about="Internal bar strength: where the close is between low and high",
    ),
    Kind(
        "ichimoku", Ichimoku, ohlcv_of,
        (_period("kijun_period", 26), _period("tenkan_period", 9), _period("chikou_lag_period", 26),
        _period("senkou_slow_period", 52), _period("senkou_lookup_period", 26)),
        lambda p: max(
            p["chikou_lag_period"],
            max(p["kijun_period"], p["tenkan_period"], p["senkou_slow_period"] + 1) + p["senkou_lookup_period"],
        ),
        unit="price", about="Ichimoku kinko hyo (Hosoda 1969)",
        outputs=("base_line", "conversion_line", "lagging_line", "cloud_leading_fast_line", "cloud_leading_slow_line"),
    ),
    Kind(
        "kama", KAMA, close_of,
        (_period("period", 10), _period("fast_ema_constant_period", 2), _period("slow_ema_constant_period", 30)),
        lambda p: p["period"] + 1, unit="price", about="Kaufman's adaptive moving average (1995)",
    ),
    Kind(
        "kst", KST, close_of,
        (
            _period("roc1_period", 10), _period("roc1_ma_period", 10), _period("roc2_period", 15),
            _period("roc2_ma_period", 10), _period("roc3_period", 20), _period("roc3_ma_period", 10),
            _period("roc4_period", 30), _period("roc4_ma_period", 15), _period("signal_period", 9),
        ),
        lambda p: max(p[f"roc{n}_period"] + p[f"roc{n}_ma_period"] for n in (1, 2, 3, 4)) + p["signal_period"] - 1,
        unit="percent", about="Know sure thing (Pring 1992)", outputs=("kst", "signal"),
    ),
    Kind(
        "kvo", KVO, ohlcv_of, (_period("fast_period", 34), _period("slow_period", 55)),
        lambda p: p["slow_period"] + 2, unit="volume", about="Klinger volume oscillator (1997)",
    ),
    Kind(
        "keltner", KeltnerChannels, ohlcv_of,
        (_period("ma_period", 20), _period("atr_period", 10), _factor("atr_mult_up", 2.0),
        _factor("atr_mult_down", 2.0)), lambda p: max(p["ma_period"], p["atr_period"]), unit="price",
        about="Keltner channels: centre, lower, upper", outputs=("cb", "lb", "ub"),
    ),
    Kind(
        "macd", MACD, close_of,
        (_period("fast_period", 12), _period("slow_period", 26), _period("signal_period", 9)),
        lambda p: p["slow_period"] + p["signal_period"] - 1, unit="price",
        about="Moving average convergence/divergence (Appel 1979)", outputs=("macd", "signal", "histogram"),
    ),
    Kind(
        "mass_index", MassIndex, ohlcv_of,
        (_period("ma_period", 9), _period("ma_ma_period", 9), _period("ma_ratio_period", 25)),
        lambda p: p["ma_period"] + p["ma_ma_period"] + p["ma_ratio_period"] - 2, unit="number",
        about="Mass index (Dorsey 1992)",
    ),
    Kind(
        "mcginley", McGinleyDynamic, close_of, (_period("period", 14),), lambda p: p["period"], unit="price",
        about="McGinley dynamic (1997)",
    ),
    Kind(
        "mean_dev", MeanDev, close_of, (_period("period", 20),), lambda p: p["period"], unit="price",
        about="Mean absolute deviation from the mean of the period",
    ),
    Kind(
        "natr", NATR, ohlcv_of, (_period("period", 14),), lambda p: p["period"], unit="percent",
        about="Average true range as a share of the close",
    ),
    Kind("obv", OBV, ohlcv_of, (), lambda _: 1, unit="volume", about="On-balance volume (Granville 1963)"),
    Kind(
        "psar", ParabolicSAR, ohlcv_of,
        (_factor("init_accel_factor", 0.02), _factor("accel_factor_inc", 0.02), _factor("max_accel_factor", 0.2)),
        lambda _: 5, unit="price", about="Parabolic stop and reverse (Wilder 1978); trend 1 up, -1 down",
        outputs=("value", "trend", "ep", "accel_factor"),
    ),
    Kind(
        "roc", ROC, close_of, (_period("period", 9),), lambda p: p["period"] + 1, unit="percent",
        about="Rate of change",
    ),
    Kind(
        "rsi", RSI, close_of, (_period("period"),), lambda p: p["period"] + 1, unit="0..100",
        about="Relative strength index (Wilder 1978)",
    ),
    Kind(
        "rogers_satchell", RogersSatchell, ohlcv_of, (_period("period", 9),), lambda p: p["period"], unit="share",
        about="Rogers-Satchell volatility (1991)",
    ),
    Kind(
        "sfx", SFX, ohlcv_of,
        (_period("atr_period", 12), _period("std_dev_period", 12), _period("std_dev_smoothing_period", 3)),
        lambda p: max(p["atr_period"], p["std_dev_period"] + p["std_dev_smoothing_period"] - 1), unit="price",
        about="SFX TOR", outputs=("atr", "std_dev", "ma_std_dev"),
    ),
    Kind(
        "sma", SMA, close_of, (_period("period"),), lambda p: p["period"], unit="price",
        about="Simple moving average",
    ),
    Kind(
        "smma", SMMA, close_of, (_period("period", 14),), lambda p: p["period"], unit="price",
        about="Smoothed moving average (Wilder's)",
    ),
    Kind(
        "sobv", SOBV, ohlcv_of, (_period("period", 7),), lambda p: p["period"], unit="volume",
        about="Smoothed on-balance volume",
    ),
    Kind(
        "stc", STC, close_of,
        (_period("fast_macd_period", 23), _period("slow_macd_period", 50), _period("stoch_period", 10),
        _period("stoch_smoothing_period", 3)),
        lambda p: p["slow_macd_period"] + 2 * (p["stoch_period"] - 1) + p["stoch_smoothing_period"] - 1,
        unit="0..100", about="Schaff trend cycle (1999)",
    ),
    Kind(
        "std_dev", StdDev, close_of, (_period("period", 20),), lambda p: p["period"], unit="price",
        about="Population standard deviation",
    ),
    Kind(
        "stoch", Stoch, ohlcv_of, (_period("period", 14), _period("smoothing_period", 3)),
        lambda p: p["period"] + p["smoothing_period"] - 1, unit="0..100", about="Stochastic oscillator (Lane 1950s)",
        outputs=("k", "d"),
    ),
    Kind(
        "stoch_rsi", StochRSI, close_of,
        (_period("rsi_period", 14), _period("stoch_period", 14), _period("k_smoothing_period", 3),
        _period("d_smoothing_period", 3)),
        lambda p: p["rsi_period"] + p["stoch_period"] + p["k_smoothing_period"] + p["d_smoothing_period"] - 2,
        unit="0..100", about="Stochastic RSI (Chande, Kroll 1994)", outputs=("k", "d"),
    ),
    Kind(
        "supertrend", SuperTrend, ohlcv_of, (_period("atr_period", 10), _count("mult", 3)),
        lambda p: p["atr_period"], unit="price", about="SuperTrend (Seban); trend 1 up, -1 down",
        outputs=("value", "trend"),
    ),
    Kind(
        "t3", T3, close_of, (_period("period", 5), _share("factor", 0.7)), lambda p: 6 * (p["period"] - 1) + 1,
        unit="price", about="T3 moving average (Tillson 1998)",
    ),
    Kind(
        "tema", TEMA, close_of, (_period("period", 20),), lambda p: 3 * p["period"] - 2, unit="price",
        about="Triple exponential moving average (Mulloy 1994)",
    ),
    Kind(
        "trix", TRIX, close_of, (_period("period", 18),), lambda p: 3 * p["period"] - 1, unit="basis points",
        about="Rate of change of a triple exponential average (Hutson 1983)",
    ),
    Kind(
        "tsi", TSI, close_of, (_period("fast_period", 13), _period("slow_period", 25)),
        lambda p: p["fast_period"] + p["slow_period"], unit="percent", about="True strength index (Blau 1991)",
    ),
    Kind(
        "ttm", TTM, ohlcv_of, (_period("period", 20), _factor("bb_std_dev_mult", 2.0), _factor("kc_atr_mult", 1.5)),
        lambda p: 2 * p["period"] - 1, unit="price", about="TTM squeeze (Carter 2005); squeeze is 0 or 1",
        outputs=("histogram", "squeeze"),
    ),
    Kind(
        "uo", UO, ohlcv_of, (_period("fast_period", 7), _period("mid_period", 14), _period("slow_period", 28)),
        lambda p: p["slow_period"] + 1, unit="0..100", about="Ultimate oscillator (Williams 1976)",
    ),
    Kind(
        "vtx", VTX, ohlcv_of, (_period("period", 14),), lambda p: p["period"] + 1, unit="number",
        about="Vortex indicator (Botes, Siepman 2010)", outputs=("plus_vtx", "minus_vtx"),
    ),
    Kind(
        "vwap", VWAP, ohlcv_of, (), lambda _: 1, unit="price",
        about="Volume weighted average price since the first bar; never reset",
    ),
    Kind(
        "vwma", VWMA, ohlcv_of, (_period("period", 20),), lambda p: p["period"], unit="price",
        about="Volume weighted moving average",
    ),
    Kind(
        "wma", WMA, close_of, (_period("period", 20),), lambda p: p["period"], unit="price",
        about="Weighted moving average",
    ),
    Kind(
        "williams_r", Williams, ohlcv_of, (_period("period", 14),), lambda p: p["period"], unit="-100..0",
        about="Williams %R (1973)",
    ),
    Kind(
        "zlema", ZLEMA, close_of, (_period("period", 20),), lambda p: p["period"] + round((p["period"] - 1) / 2),
        unit="price", about="Zero lag exponential moving average (Ehlers, Way 2010)",
    ),
    Kind(
        "volume_sma", SMA, volume_of, (_period("period", 20),), lambda p: p["period"], unit="volume",
        about="Simple moving average of the volume",
    ),
)
# fmt: on
