"""Crossover of two simple moving averages of the close (Murphy, Technical Analysis of the Financial Markets, ch. 9).

Rule: long while the fast average is above the slow one, out (or short, when `allow_short`) while it is below; equal
averages change nothing. Warm-up: `slow` bars.
"""

from __future__ import annotations

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.base import Target
from engine.strategies.checks import check_pair
from engine.strategies.turning import compare
from engine.values import Direction


class SmaCrossoverParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Periods in bars; `fast` must be below `slow`."""

    fast: int = 3
    slow: int = 5
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse a pair that can never cross as meant."""
        check_pair(self.fast, self.slow)


class MomentumParams(SmaCrossoverParams, frozen=True, forbid_unknown_fields=True):
    """The averages of `momentum`: 50 and 200 bars (the golden cross; Murphy, ch. 9)."""

    fast: int = 50
    slow: int = 200


class SmaCrossover:
    """State: two averages, their last values, the current target."""

    def __init__(self, params: SmaCrossoverParams) -> None:
        self._params = params
        self._fast = make("sma", {"period": params.fast})
        self._slow = make("sma", {"period": params.slow})
        self._values: tuple[float, float] | None = None
        self._target: Target | None = None

    @property
    def warm_up(self) -> int:
        """Bars until both averages have a value."""
        return max(self._fast.warmup, self._slow.warmup)

    def on_bar(self, bar: Bar) -> Target | None:
        """Move both averages and compare them."""
        fast = self._fast.update(bar)
        slow = self._slow.update(bar)
        if fast is None or slow is None:
            return None
        self._values = (fast, slow)
        side = compare(fast, slow)
        if side > 0:
            direction = Direction.LONG
        elif side < 0:
            direction = Direction.SHORT if self._params.allow_short else Direction.FLAT
        else:
            return self._target
        if self._target is None or self._target.direction is not direction:
            sign = ">" if side > 0 else "<"
            reason = f"{self._fast.label} {sign} {self._slow.label}"
            self._target = Target(direction, 0.0 if direction is Direction.FLAT else 1.0, reason)
        return self._target

    def snapshot(self) -> dict[str, float]:
        """Give both averages."""
        if self._values is None:
            return {}
        return {self._fast.label: self._values[0], self._slow.label: self._values[1]}
