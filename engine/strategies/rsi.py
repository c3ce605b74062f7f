"""Relative strength index, mean reversion (Wilder, New Concepts in Technical Trading Systems, 1978).

Rule: long at or below `oversold`, out (or short, when `allow_short`) at or above `overbought`, otherwise unchanged.
Warm-up: `period` + 1 bars.
"""

from __future__ import annotations

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.base import Target
from engine.strategies.checks import check_levels, check_period
from engine.values import Direction


class RsiParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Period in bars, levels 0..100."""

    period: int = 14
    oversold: float = 30.0
    overbought: float = 70.0
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse levels that overlap and a period of less than two bars."""
        check_period("period", self.period)
        check_levels(self.oversold, self.overbought)


class Rsi:
    """State: the index, its last value, the current target."""

    def __init__(self, params: RsiParams) -> None:
        self._params = params
        self._rsi = make("rsi", {"period": params.period})
        self._value: float | None = None
        self._target: Target | None = None

    @property
    def warm_up(self) -> int:
        """Bars until it has a value."""
        return self._rsi.warmup

    def on_bar(self, bar: Bar) -> Target | None:
        """Move the index and compare it with the levels."""
        value = self._rsi.update(bar)
        if value is None:
            return None
        self._value = value
        params = self._params
        if value <= params.oversold:
            self._turn(Direction.LONG, f"{self._rsi.label} <= {params.oversold:g}")
        elif value >= params.overbought:
            out = Direction.SHORT if params.allow_short else Direction.FLAT
            self._turn(out, f"{self._rsi.label} >= {params.overbought:g}")
        return self._target

    def _turn(self, direction: Direction, reason: str) -> None:
        if self._target is None or self._target.direction is not direction:
            self._target = Target(direction, 0.0 if direction is Direction.FLAT else 1.0, reason)

    def snapshot(self) -> dict[str, float]:
        """Give the index, 0..100."""
        return {} if self._value is None else {self._rsi.label: self._value}
