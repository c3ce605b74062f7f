"""Return to the mean from outside of Bollinger bands (Bollinger, Bollinger on Bollinger Bands, 2001, method III).

Rule: long when a bar closes below the lower band, out when one closes at or above the middle. With `allow_short` also
short when one closes above the upper band, out when one closes at or below the middle. Warm-up: `period` bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.indicators import make
from engine.messages import Bar
from engine.strategies.checks import check_period
from engine.strategies.turning import Turning, compare
from engine.values import Direction


class BollingerReversionParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Period in bars, width of the bands in (population) standard deviations."""

    period: int = 20
    std_dev: float = 2.0
    allow_short: bool = False

    def __post_init__(self) -> None:
        """Refuse bands that have no width."""
        check_period("period", self.period)
        if not 0 < self.std_dev <= 100:
            msg = f"std_dev must be above 0 and at most 100, was {self.std_dev:g}"
            raise ValueError(msg)


class BollingerReversion(Turning):
    """State: the bands and the target."""

    def __init__(self, params: BollingerReversionParams) -> None:
        self._bands = make("bb", {"period": params.period, "std_dev_mult": params.std_dev})
        super().__init__(self._bands, allow_short=params.allow_short)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:
        """Compare the close with the bands."""
        close, middle, label = bar.close, values[0], self._bands.label
        if compare(close, self._bands["lb"] or 0.0) < 0:
            self.turn(Direction.LONG, f"close < lower of {label}")
        elif self.allow_short and compare(close, self._bands["ub"] or 0.0) > 0:
            self.turn(Direction.SHORT, f"close > upper of {label}")
        elif self.direction is Direction.LONG and compare(close, middle) >= 0:
            self.turn(Direction.FLAT, f"close >= middle of {label}")
        elif self.direction is Direction.SHORT and compare(close, middle) <= 0:
            self.turn(Direction.FLAT, f"close <= middle of {label}")
