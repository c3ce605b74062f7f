"""A strategy written as rules, without code: what must hold to enter and to leave (grammar: conditions.py).

Rule: from flat, long when `enter_long` holds and `exit_long` does not; out when `exit_long` holds, or, without one,
when `enter_long` does not hold any more. Short likewise. A bar that ends one side may begin the other. Both entries at
once are none. Warm-up: the longest of the indicators, and one more bar where a crossing is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from engine.errors import ConfigError
from engine.indicators import Indicator
from engine.messages import Bar
from engine.strategies.conditions import Condition
from engine.strategies.turning import Turning, compare
from engine.values import Direction


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition that counts for so much."""

    when: str
    weight: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 1.0


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds when every one of `all` holds, one of `any` (if there are), and enough of `vote` (if there are).

    Attributes:
        every: `all` in a file.
        one: `any` in a file.
        vote: Conditions with weights.
        at_least: Share of the weights of `vote` whose conditions must hold, (0, 1].
    """

    every: tuple[str, ...] = msgspec.field(default=(), name="all")
    one: tuple[str, ...] = msgspec.field(default=(), name="any")
    vote: tuple[Vote, ...] = ()
    at_least: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        """Refuse rules without a condition, and conditions that cannot be read."""
        texts = [*self.every, *self.one, *(vote.when for vote in self.vote)]
        if not texts:
            msg = "rules need a condition in all, any or vote"
            raise ValueError(msg)
        try:
            for text in texts:
                Condition(text, {})
        except ConfigError as err:
            raise ValueError(str(err)) from None


class RuleParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold to enter and to leave; `enter_long` or `enter_short` at least."""

    enter_long: Rules | None = None
    exit_long: Rules | None = None
    enter_short: Rules | None = None
    exit_short: Rules | None = None

    def __post_init__(self) -> None:
        """Refuse rules that never enter, and exits of what is never entered."""
        if self.enter_long is None and self.enter_short is None:
            msg = "a rule strategy needs enter_long or enter_short"
            raise ValueError(msg)
        for side, enter, leave in (
            ("long", self.enter_long, self.exit_long),
            ("short", self.enter_short, self.exit_short),
        ):
            if leave is not None and enter is None:
                msg = f"exit_{side} without enter_{side}: add one or leave the other out"
                raise ValueError(msg)


class _Group:
    """Rules with their conditions, asked once per bar."""

    def __init__(self, rules: Rules, shared: dict[str, Indicator]) -> None:
        self._every = [Condition(text, shared) for text in rules.every]
        self._one = [Condition(text, shared) for text in rules.one]
        self._votes = [(Condition(vote.when, shared), vote.weight) for vote in rules.vote]
        self._at_least = rules.at_least

    def why(self, bar: Bar) -> str:
        """Give the conditions that make it hold at this bar; empty where it does not."""
        every, one = ([each.text for each in them if each.holds(bar)] for them in (self._every, self._one))
        votes = [(each.text, weight) for each, weight in self._votes if each.holds(bar)]
        share = math.fsum(weight for _, weight in votes)
        needed = self._at_least * math.fsum(weight for _, weight in self._votes)
        if len(every) < len(self._every) or (self._one and not one) or compare(share, needed) < 0:
            return ""
        return ", ".join([*every, *one, *(text for text, _ in votes)])


class Rule(Turning):
    """State: every indicator that a condition names, the sides of what crosses, the target."""

    def __init__(self, params: RuleParams) -> None:
        shared: dict[str, Indicator] = {}
        given = {name: getattr(params, name) for name in params.__struct_fields__}
        self._groups = {name: _Group(rules, shared) for name, rules in given.items() if rules is not None}
        super().__init__(*shared.values(), allow_short=params.enter_short is not None)

    def decide(self, bar: Bar, values: Sequence[float]) -> None:  # noqa: ARG002
        """Leave first, then look whether to enter."""
        why = {name: group.why(bar) for name, group in self._groups.items()}
        ended = {side: self._ends(side, why) for side in ("long", "short")}
        side = {Direction.LONG: "long", Direction.SHORT: "short"}.get(self.direction, "")
        if side and not ended[side]:
            return
        entered = [to for to in ("long", "short") if why.get(f"enter_{to}") and not ended[to]]
        if len(entered) == 1:
            self.turn(Direction.LONG if entered == ["long"] else Direction.SHORT, why[f"enter_{entered[0]}"])
        elif side or self.target is None:
            self.turn(Direction.FLAT, ended.get(side, "") or "no rule to enter holds")

    def _ends(self, side: str, why: Mapping[str, str]) -> str:
        """Say why that side has to be left or not be entered; empty where nothing says so."""
        if f"exit_{side}" in why:
            return why[f"exit_{side}"]
        return "" if why.get(f"enter_{side}") else f"what enter_{side} needs does not hold any more"
