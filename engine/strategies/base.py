"""What a strategy is: a small object per (bot, symbol) with indicators, asked once per bar."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def checked(target: object) -> Target | None:
    """Give what `on_bar` gave if it is a target or None. Raises TypeError."""
    if target is None:
        return None
    if not isinstance(target, Target):
        msg = f"on_bar must give a Target or None, gave {type(target).__name__}"
        raise TypeError(msg)
    kinds = (target.direction, Direction), (target.strength, float | int), (target.reason, str)
    for value, kind in kinds:
        if not isinstance(value, kind):
            msg = f"a Target is of a Direction, a strength from 0 to 1 and a reason in words, had {value!r}"
            raise TypeError(msg)
    return target


def senseless(target: Target, values: Mapping[str, float]) -> str:
    """Say which number a target rests on is none; empty when all are.

    Args:
        target: What a strategy wishes.
        values: Its indicators, as far as they are to be said with it.
    """
    if not (math.isfinite(target.strength) and 0 <= target.strength <= 1):
        return f"strength must be a number from 0 to 1, was {target.strength!r}"
    wrong = next((f"{name} = {value!r}" for name, value in values.items() if not math.isfinite(value)), "")
    return f"indicator {wrong} is no number" if wrong else ""
