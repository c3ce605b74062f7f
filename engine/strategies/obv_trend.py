"""On-balance volume against its average (Granville, Granville's New Key to Stock Market Profits, 1963).

Rule: long while on-balance volume is above its average over `period` bars, out (or short, when `allow_short`) while it
is below; equal values change nothing. Warm-up: `period` bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.checks import check_period
from engine.strategies.turning import Turning, compare
from engine.values import Direction


class ObvTrendParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Period in bars."""

    period: int = 20
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse an average that is the value itself."""
        check_period("period", self.period)


class ObvTrend(Turning):
    """State: the volume, its average, the target."""

    def __init__(self, params: ObvTrendParams) -> None:
        volume, average = make("obv", {}), make("sobv", {"period": params.period})
        self._reasons = tuple(f"{volume.label} {sign} {average.label}" for sign in "><")
        super().__init__(volume, average, allow_short=params.allow_short)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:  # noqa: ARG002
        """Compare the volume with its average."""
        side = compare(*values)
        if side > 0:
            self.turn(Direction.LONG, self._reasons[0])
        elif side < 0:
            self.leave(self._reasons[1])
