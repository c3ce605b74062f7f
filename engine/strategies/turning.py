"""What most strategies are: indicators that move together, a target that turns, and every value in the snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from engine.indicators import Indicator
from engine.messages import Bar
from engine.strategies.base import Target
from engine.values import Direction

_NOISE = 1e-9


def compare(one: float, other: float, scale: float = 0.0) -> int:
    """Give 1, 0 or -1: above, equal, below. What differs by less than the noise of sums of floats (1e-9) is equal.

    Args:
        one: The first.
        other: The second.
        scale: Size of what both are made of, where they come near 0 themselves: 100 for an oscillator of 0..100, the
            price for a difference of averages. Near 0 their noise is as large as they are.
    """
    if abs(one - other) <= _NOISE * max(abs(one), abs(other), scale):
        return 0
    return 1 if one > other else -1


class Turning:
    """Moves its indicators and lets `decide` turn the target once all of them have a value.

    Args:
        indicators: In the order in which `decide` gets their values.
        allow_short: Whether `leave` goes short instead of out.
    """

    def __init__(self, *indicators: Indicator, allow_short: bool) -> None:
        self.indicators = indicators
        self.allow_short = allow_short
        self.target: Target | None = None
        self._is_warm = False

    @property
    def direction(self) -> Direction:
        """Where the target points; flat before there is one."""
        return Direction.FLAT if self.target is None else self.target.direction

    @property
    def warm_up(self) -> int:
        """Bars until every indicator has a value."""
        return max((one.warmup for one in self.indicators), default=0)

    def on_session(self, opened_ns: int, closed_ns: int) -> None:
        """Let indicators of the session begin anew."""
        for one in self.indicators:
            one.on_session(opened_ns, closed_ns)

    def on_bar(self, bar: Bar) -> Target | None:
        """Move by one bar."""
        values = [one.update(bar) for one in self.indicators]
        whole = [value for value in values if value is not None]
        self._is_warm = len(whole) == len(values)
        if self._is_warm:
            self.decide(bar, whole)
        return self.target

    def decide(self, bar: Bar, values: Sequence[float]) -> None:
        """Turn the target, or leave it.

        Args:
            bar: The bar that closed.
            values: Main value of each indicator.
        """
        raise NotImplementedError

    def turn(self, direction: Direction, reason: str) -> None:
        """Point the target there, unless it does."""
        if self.target is None or self.target.direction is not direction:
            self.target = Target(direction, 0.0 if direction is Direction.FLAT else 1.0, reason)

    def leave(self, reason: str) -> None:
        """Go out, or short where that is allowed."""
        self.turn(Direction.SHORT if self.allow_short else Direction.FLAT, reason)

    def snapshot(self) -> dict[str, float]:
        """Give every value of every indicator by label; empty while warming up."""
        if not self._is_warm:
            return {}
        return {label: value for one in self.indicators for label, value in one.values().items()}


class Crossing:
    """Tells when one line crosses another: from at or below to above, or from at or above to below."""

    def __init__(self) -> None:
        self._side = 0

    def move(self, one: float, other: float, scale: float = 0.0) -> int:
        """Give 1 when `one` came above `other`, -1 when it came below, 0 otherwise. Equal keeps the side it had."""
        side = compare(one, other, scale)
        if side == 0:
            return 0
        before, self._side = self._side, side
        return side if before == -side else 0
