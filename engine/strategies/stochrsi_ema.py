"""Stochastic RSI in the direction of the trend (Chande and Kroll, The New Technical Trader, 1994; filter: practice).

Rule: long when %K crosses above %D while %D is below `oversold` and the close is above the average of `ema` bars; out
when it crosses below while %D is above `overbought`, or when the close is below the average. With `allow_short` the
same upside down. Warm-up: the larger of `ema` and 2 x `period` + 2 x `smoothing` - 2 bars, and one more to see a
crossing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.checks import check_levels, check_period
from engine.strategies.turning import Crossing, Turning, compare
from engine.values import Direction


class StochrsiEmaParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Periods in bars, levels 0..100; `smoothing` is that of %K and of %D."""

    period: int = 14
    smoothing: int = 3
    oversold: float = 20.0
    overbought: float = 80.0
    ema: int = 50
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse levels that overlap and periods of too few bars."""
        check_period("period", self.period)
        check_period("smoothing", self.smoothing)  # with 1 the lines are the same
        check_period("ema", self.ema)
        check_levels(self.oversold, self.overbought)


class StochrsiEma(Turning):
    """State: oscillator and average, on which side of %D %K is, the target."""

    def __init__(self, params: StochrsiEmaParams) -> None:
        self._params = params
        smoothing = {"k_smoothing_period": params.smoothing, "d_smoothing_period": params.smoothing}
        self._stoch = make("stoch_rsi", {"rsi_period": params.period, "stoch_period": params.period} | smoothing)
        self._ema = make("ema", {"period": params.ema})
        self._crossing = Crossing()
        super().__init__(self._stoch, self._ema, allow_short=params.allow_short)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:
        """Leave what the trend is against, then look for a crossing in an extreme."""
        params, slow = self._params, self._stoch["d"] or 0.0
        crossed = self._crossing.move(values[0], slow, scale=100.0)
        side = compare(bar.close, values[1])
        is_low, is_high = crossed > 0 and slow < params.oversold, crossed < 0 and slow > params.overbought
        if is_low and side > 0:
            why = f"{self._stoch.label}: k above d below {params.oversold:g}, close > {self._ema.label}"
            self.turn(Direction.LONG, why)
        elif is_high and side < 0 and self.allow_short:
            why = f"{self._stoch.label}: k below d above {params.overbought:g}, close < {self._ema.label}"
            self.turn(Direction.SHORT, why)
        elif self.direction is Direction.LONG and (is_high or side < 0):
            self.turn(Direction.FLAT, f"close < {self._ema.label}" if side < 0 else f"{self._stoch.label}: k below d")
        elif self.direction is Direction.SHORT and (is_low or side > 0):
            self.turn(Direction.FLAT, f"close > {self._ema.label}" if side > 0 else f"{self._stoch.label}: k above d")
