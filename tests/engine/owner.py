"""A strategy of a user's that trades by what it was filled at; its text is the code of bots (build.OWNER)."""

from __future__ import annotations

from tapeline.api import Bar, Direction, OwnFill, Target


class Owner:
    """In at a bar that closes higher than the one before, out where the price left its entry or after three bars."""

    def __init__(self) -> None:
        self.before = 0.0
        self.held = 0
        self.heard = 0
        self.position = self.average = self.spent = 0.0

    def on_fill(self, fill: OwnFill) -> None:
        """Know what is held, and since when; `spent` tells one order of fills from another."""
        self.heard += 1
        self.position, self.average = fill.position, fill.average_price
        self.spent = 0.5 * self.spent + fill.quantity * fill.price
        self.held = 0

    def on_bar(self, bar: Bar) -> Target:
        """In or out."""
        self.held += self.position != 0
        is_higher, self.before = bar.close > self.before > 0, bar.close
        moved = abs(bar.close - self.average) / self.average if self.average else 0.0
        if self.position and (self.held >= 3 or moved > 0.004):
            return Target(Direction.FLAT, 0.0, "its time is over")
        if self.position or is_higher:
            return Target(Direction.LONG, 1.0, "higher")
        return Target(Direction.FLAT, 0.0, "lower")

    def snapshot(self) -> dict[str, float]:
        """What it knows."""
        return {
            "heard": float(self.heard),
            "held": float(self.held),
            "position": self.position,
            "average": self.average,
            "spent": self.spent,
        }
