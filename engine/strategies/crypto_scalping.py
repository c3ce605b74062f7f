"""Short moves around the clock: a crossing of two exponential averages, left early (practice; averages of 9 and 21).

Rule: long when the fast average crosses above the slow one while the RSI is below `overbought`; out when it crosses
below or the RSI is at or above `overbought`. With `allow_short` the same upside down, with `oversold`. Meant for crypto
and timeframes of minutes; it trades whatever bars it is given. Warm-up: the larger of `slow` and `rsi_period` + 1 bars,
and one more to see a crossing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.checks import check_levels, check_pair, check_period
from engine.strategies.turning import Crossing, Turning
from engine.values import Direction


class CryptoScalpingParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Periods in bars, levels 0..100; `fast` must be below `slow`."""

    fast: int = 9
    slow: int = 21
    rsi_period: int = 14
    oversold: float = 30.0
    overbought: float = 70.0
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse a pair that can never cross as meant, and levels that overlap."""
        check_pair(self.fast, self.slow)
        check_period("rsi_period", self.rsi_period)
        check_levels(self.oversold, self.overbought)


class CryptoScalping(Turning):
    """State: averages and RSI, which average is above, the target."""

    def __init__(self, params: CryptoScalpingParams) -> None:
        self._params = params
        self._crossing = Crossing()
        averages = [make("ema", {"period": period}) for period in (params.fast, params.slow)]
        super().__init__(*averages, make("rsi", {"period": params.rsi_period}), allow_short=params.allow_short)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:  # noqa: ARG002
        """Leave at an extreme or against a crossing, enter with one."""
        fast, slow, rsi = values
        low, high = self._params.oversold, self._params.overbought
        names = [one.label for one in self.indicators]
        crossed = self._crossing.move(fast, slow)
        if crossed > 0 and rsi < high:
            self.turn(Direction.LONG, f"{names[0]} above {names[1]}, {names[2]} < {high:g}")
        elif crossed < 0 and rsi > low and self.allow_short:
            self.turn(Direction.SHORT, f"{names[0]} below {names[1]}, {names[2]} > {low:g}")
        elif self.direction is Direction.LONG and (crossed < 0 or rsi >= high):
            self.turn(Direction.FLAT, f"{names[0]} below {names[1]}" if crossed < 0 else f"{names[2]} >= {high:g}")
        elif self.direction is Direction.SHORT and (crossed > 0 or rsi <= low):
            self.turn(Direction.FLAT, f"{names[0]} above {names[1]}" if crossed > 0 else f"{names[2]} <= {low:g}")
