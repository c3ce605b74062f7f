"""What a strategy is: a small object per (bot, symbol) with indicators, asked once per bar."""

from __future__ import annotations

from typing import Protocol

import msgspec

from engine.messages import Bar
from engine.values import Direction


class Target(msgspec.Struct, frozen=True):
    """What to hold: direction, strength 0..1 of the bot's allocation for the symbol, and why, in words."""

    direction: Direction
    strength: float
    reason: str


class Strategy(Protocol):
    """One strategy on one symbol. Its whole state is its attributes: they are checkpointed and restored as they are."""

    def on_bar(self, bar: Bar) -> Target | None:
        """Move by one closed bar; return the target now, or None while there is no opinion yet."""
        ...

    def snapshot(self) -> dict[str, float]:
        """Give every indicator value of the last bar by label."""
        ...
