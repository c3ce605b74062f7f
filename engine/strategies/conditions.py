"""Conditions in words: `rsi(14) < 30`, `macd crosses above macd.signal`, `volume > 2 * volume_sma(20)`.

    condition = side ("<" | "<=" | ">" | ">=" | "crosses above" | "crosses below") side
    side      = [number "*"] (number | field | indicator)
    field     = "open" | "high" | "low" | "close" | "volume" | "price" (the close)
    indicator = name ["(" parameters ")"] ["." output]      as in docs/indicators.md; by place or by name

Called by the rule strategy, which moves the indicators; a condition only looks at them. Picklable with its state.
"""

from __future__ import annotations

import ast
import math
import re
from functools import lru_cache

import msgspec

from engine.errors import ConfigError
from engine.indicators import Indicator, kind_of, make
from engine.messages import Bar
from engine.strategies.turning import Crossing, compare

_FIELDS = {"open": "open", "high": "high", "low": "low", "close": "close", "price": "close", "volume": "volume"}
_OPERATOR = re.compile(r"<=|>=|<|>|\bcrosses (?:above|below)\b")
_SCALES = {"0..100": 100.0, "-100..0": 100.0, "percent": 100.0, "0..1": 1.0, "-1..1": 1.0, "share": 1.0}
_FORM = "a condition is `side < side`, with <, <=, >, >=, crosses above or crosses below"
_SIDE = "a side is a number, open, high, low, close, volume or an indicator like sma(20) or macd.signal"


class Side(msgspec.Struct):
    """One side of a condition: a number, a field of the bar or a value of an indicator, times a factor."""

    factor: float
    field: str = ""
    indicator: Indicator | None = None
    output: str = ""
    unit: str = ""

    def value(self, bar: Bar) -> float:
        """Give its value at a bar that its indicator was moved by, and is warm."""
        if self.indicator is not None:
            return self.factor * ((self.indicator[self.output] if self.output else self.indicator.value) or 0.0)
        return self.factor * (getattr(bar, self.field) if self.field else 1.0)

    def scale(self, bar: Bar) -> float:
        """Give the size of what the indicator's values are made of; 0 where the value itself says it."""
        size = {"price": bar.close, "volume": bar.volume}.get(self.unit) or _SCALES.get(self.unit, 0.0)
        return abs(self.factor) * size


class Condition:
    """One condition and, where it is about a crossing, on which side it was.

    Args:
        text: In words.
        shared: Indicators by label; those that this one needs are added.

    Raises:
        ConfigError: It cannot be read, or names an indicator, parameter or output that there is not.
    """

    def __init__(self, text: str, shared: dict[str, Indicator]) -> None:
        self.text = _plain(text)
        try:
            self._one, self._operator, self._other = _read(self.text, shared)
        except ConfigError as err:
            msg = f"condition {self.text!r}: {err}"
            raise ConfigError(msg) from None
        self._crossing = Crossing()

    def holds(self, bar: Bar) -> bool:
        """Whether it holds at this bar; to be asked once per bar, for a crossing is told once."""
        one, other = self._one.value(bar), self._other.value(bar)
        scale = max(self._one.scale(bar), self._other.scale(bar))
        if self._operator.startswith("crosses"):
            return self._crossing.move(one, other, scale) == (1 if self._operator.endswith("above") else -1)
        side = compare(one, other, scale)
        if side == 0:
            return "=" in self._operator
        return side == (1 if self._operator[0] == ">" else -1)


@lru_cache(4096)
def _plain(text: str) -> str:
    """Give a text without superfluous blanks: one object of it for thousands of symbols."""
    return " ".join(text.split())


def _read(text: str, shared: dict[str, Indicator]) -> tuple[Side, str, Side]:
    found = _OPERATOR.findall(text)
    if len(found) != 1:
        msg = f"it has {len(found) or 'no'} comparison{'s' * (len(found) > 1)}; {_FORM}"
        raise ConfigError(msg)
    one, other = (_side(part.strip(), shared) for part in _OPERATOR.split(text))
    if not any(side.field or side.indicator for side in (one, other)):
        msg = "it compares two numbers and never changes: name a field of the bar or an indicator"
        raise ConfigError(msg)
    return one, found[0], other


def _side(text: str, shared: dict[str, Indicator]) -> Side:
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested beyond all reason
        raise _unreadable(text) from None
    factor = 1.0
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        factor, node = _known_number(node.left, text), node.right
    if (number := _number(node)) is not None:
        return Side(factor * number)
    if isinstance(node, ast.Name) and node.id in _FIELDS:
        return Side(factor, _FIELDS[node.id])
    output = ""
    if isinstance(node, ast.Attribute):
        node, output = node.value, node.attr
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise _unreadable(text)
    indicator = _indicator(call.func.id, call, text)
    kind = kind_of(call.func.id)
    outputs = kind.outputs
    if output and output not in outputs:
        msg = f"indicator {call.func.id} has no output {output!r}: it has {', '.join(outputs) or 'one value'}"
        raise ConfigError(msg)
    return Side(factor, "", shared.setdefault(indicator.label, indicator), output, kind.unit)


def _indicator(name: str, call: ast.Call, text: str) -> Indicator:
    known = [param.name for param in kind_of(name).params]
    if len(call.args) > len(known):
        msg = (
            f"indicator {name} takes {len(known)} parameters ({', '.join(known) or 'none'}), was given {len(call.args)}"
        )
        raise ConfigError(msg)
    given = dict(zip(known, call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in given:
            msg = f"indicator {name} is given {keyword.arg or 'something'} twice: leave one out"
            raise ConfigError(msg)
        given[keyword.arg] = keyword.value
    numbers = {key: _known_number(value, text) for key, value in given.items()}
    return make(name, {key: int(value) if value.is_integer() else value for key, value in numbers.items()})


def _number(node: ast.expr) -> float | None:
    """Give the number that stands there; None where something else does."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        number = float(node.value)
        return number if math.isfinite(number) else None
    return None


def _known_number(node: ast.expr, text: str) -> float:
    number = _number(node)
    if number is None:
        raise _unreadable(text)
    return number


def _unreadable(text: str) -> ConfigError:
    return ConfigError(f"{text!r} cannot be read; {_SIDE}")
