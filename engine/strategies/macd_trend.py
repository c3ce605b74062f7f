"""MACD against its signal line (Appel, The Moving Average Convergence-Divergence Method, 1979).

Rule: long while the line is above its signal, out (or short, when `allow_short`) while it is below; equal lines change
nothing. Warm-up: `slow` + `signal` - 1 bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.checks import check_pair, check_period
from engine.strategies.turning import Turning, compare
from engine.values import Direction


class MacdTrendParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Periods in bars; `fast` must be below `slow`."""

    fast: int = 12
    slow: int = 26
    signal: int = 9
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse a pair that can never cross as meant, and a signal line of no bar."""
        check_pair(self.fast, self.slow)
        check_period("signal", self.signal, low=1)


class MacdTrend(Turning):
    """State: the indicator and the target."""

    def __init__(self, params: MacdTrendParams) -> None:
        periods = {"fast_period": params.fast, "slow_period": params.slow, "signal_period": params.signal}
        self._macd = make("macd", periods)
        super().__init__(self._macd, allow_short=params.allow_short)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:
        """Compare the line with its signal."""
        side = compare(values[0], self._macd["signal"] or 0.0, scale=bar.close)
        if side > 0:
            self.turn(Direction.LONG, f"{self._macd.label} > signal")
        elif side < 0:
            self.leave(f"{self._macd.label} < signal")
