"""Breakout of a price channel (Donchian's four-week rule; Murphy, Technical Analysis of the Financial Markets, ch. 9).

Rule: long when a bar closes above the highest high of the `period` bars before it, out (or short, when `allow_short`)
when one closes below their lowest low; in between nothing changes. Warm-up: `period` + 1 bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.checks import check_period
from engine.strategies.turning import Turning
from engine.values import Direction


class BreakoutParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Period in bars."""

    period: int = 20
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse a channel of no bar."""
        check_period("period", self.period, low=1)


class Breakout(Turning):
    """State: the channel, and what it was before the bar."""

    def __init__(self, params: BreakoutParams) -> None:
        self._channel = make("donchian", {"period": params.period})
        super().__init__(self._channel, allow_short=params.allow_short)
        self._before: tuple[float, float] | None = None

    def decide(self, bar: Bar, values: Sequence[float]) -> None:  # noqa: ARG002
        """Compare the close with the channel of the bars before it."""
        if self._before is not None:
            low, high = self._before
            if bar.close > high:
                self.turn(Direction.LONG, f"close > high of {self._channel.label}")
            elif bar.close < low:
                self.leave(f"close < low of {self._channel.label}")
        self._before = self._channel["lb"] or 0.0, self._channel["ub"] or 0.0
