"""The strategy of the comparison, for Tapeline: EMA 10 above EMA 20 is long, below is short; always in the market."""

from tapeline.api import Bar, Direction, Target, indicator

FAST, SLOW = 10, 20


class Crossing:
    """Long above, short below."""

    def __init__(self) -> None:
        """Make both averages."""
        self._fast, self._slow = indicator("ema", {"period": FAST}), indicator("ema", {"period": SLOW})
        self._long, self._short = Target(Direction.LONG, 1.0, "above"), Target(Direction.SHORT, 1.0, "below")
        self._last: Target | None = None

    def on_bar(self, bar: Bar) -> Target | None:
        """Move both averages."""
        fast, slow = self._fast.update(bar), self._slow.update(bar)
        if fast is None or slow is None or fast == slow:
            return self._last
        self._last = self._long if fast > slow else self._short
        return self._last

    def snapshot(self) -> dict[str, float]:
        """Show nothing."""
        return {}
