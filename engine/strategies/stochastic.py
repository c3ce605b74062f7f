"""Stochastic oscillator that turns in its extremes (Lane, Lane's Stochastics, Stocks and Commodities 2:3, 1984).

Rule: long when %K crosses above %D while %D is below `oversold`, out (or short, when `allow_short`) when it crosses
below while %D is above `overbought`; in between nothing changes. Warm-up: `period` + `smoothing` - 1 bars, and one more
to see a crossing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.checks import check_levels, check_period
from engine.strategies.turning import Crossing, Turning
from engine.values import Direction


class StochasticParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Periods in bars, levels 0..100."""

    period: int = 14
    smoothing: int = 3
    oversold: float = 20.0
    overbought: float = 80.0
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse levels that overlap and periods of too few bars."""
        check_period("period", self.period)
        check_period("smoothing", self.smoothing)  # with 1 the lines are the same
        check_levels(self.oversold, self.overbought)


class Stochastic(Turning):
    """State: the oscillator, on which side of %D %K is, the target."""

    def __init__(self, params: StochasticParams) -> None:
        self._params = params
        self._stoch = make("stoch", {"period": params.period, "smoothing_period": params.smoothing})
        self._crossing = Crossing()
        super().__init__(self._stoch, allow_short=params.allow_short)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:  # noqa: ARG002
        """Look for a crossing in an extreme."""
        slow = self._stoch["d"] or 0.0
        crossed = self._crossing.move(values[0], slow, scale=100.0)
        if crossed > 0 and slow < self._params.oversold:
            self.turn(Direction.LONG, f"{self._stoch.label}: k above d below {self._params.oversold:g}")
        elif crossed < 0 and slow > self._params.overbought:
            self.leave(f"{self._stoch.label}: k below d above {self._params.overbought:g}")
