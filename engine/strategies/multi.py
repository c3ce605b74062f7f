"""Several strategies on one symbol and one capital, by weights or by priority.

Rule: `weights`: the directions (1, 0, -1, times strength) are averaged by weight; where the average is `at_least` or
more on either side, that direction with the average as strength, else flat. `priority`: the first part that is not
flat. A part without an opinion yet counts as flat. Warm-up: of the first part that has an opinion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from engine.messages import Bar
from engine.strategies.base import Strategy, Target, tell_session
from engine.strategies.turning import compare
from engine.values import Direction

_SIGN = {Direction.LONG: 1.0, Direction.SHORT: -1.0}


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the strategies, its own parameters, and how much it counts; the weight has no meaning with `priority`."""

    strategy: str
    params: dict[str, Any] = {}
    weight: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 1.0


class MultiParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts, with `priority` the most important first; how they are put together."""

    parts: Annotated[tuple[Part, ...], msgspec.Meta(min_length=1, max_length=20)]
    by: Literal["weights", "priority"] = "weights"
    at_least: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5


class Multi:
    """State: the parts.

    Args:
        params: How they are put together.
        parts: The strategies themselves, in the order of `params.parts`.
    """

    def __init__(self, params: MultiParams, parts: Sequence[Strategy]) -> None:
        self._params = params
        self._parts = list(parts)
        self._target: Target | None = None

    @property
    def warm_up(self) -> int:
        """The longest of its parts."""
        return max(getattr(part, "warm_up", 0) for part in self._parts)

    def on_session(self, opened_ns: int, closed_ns: int) -> None:
        """Tell every part that asks for it."""
        for part in self._parts:
            tell_session(part, 0, (opened_ns, closed_ns))

    def on_bar(self, bar: Bar) -> Target | None:
        """Move every part by one bar."""
        targets = [part.on_bar(bar) for part in self._parts]
        if any(targets):
            self._target = self._weighed(targets) if self._params.by == "weights" else self._first(targets)
        return self._target

    def snapshot(self) -> dict[str, float]:
        """Give every value of every part by label; equal labels are equal values."""
        return {label: value for part in self._parts for label, value in part.snapshot().items()}

    def _weighed(self, targets: Sequence[Target | None]) -> Target:
        pairs = list(zip(self._params.parts, targets, strict=True))
        sums = [part.weight * _signed(target) for part, target in pairs]
        net = math.fsum(sums) / math.fsum(part.weight for part in self._params.parts)
        if compare(abs(net), self._params.at_least) < 0:
            return Target(Direction.FLAT, 0.0, f"the parts come to {net:+.2g}, {self._params.at_least:g} is needed")
        to = Direction.LONG if net > 0 else Direction.SHORT
        said = [f"{part.strategy}: {target.reason}" for part, target in pairs if target and target.direction is to]
        return Target(to, min(abs(net), 1.0), f"{net:+.2g} of {'; '.join(said)}")

    def _first(self, targets: Sequence[Target | None]) -> Target:
        for part, target in zip(self._params.parts, targets, strict=True):
            if target is not None and target.direction is not Direction.FLAT:
                return Target(target.direction, target.strength, f"{part.strategy}: {target.reason}")
        return Target(Direction.FLAT, 0.0, "every part is flat")


def _signed(target: Target | None) -> float:
    return 0.0 if target is None else _SIGN.get(target.direction, 0.0) * target.strength
