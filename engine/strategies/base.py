"""What a strategy is: a small object per (bot, symbol) with indicators, asked once per bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from engine.messages import Bar, FillTold
from engine.values import PAST_BARS_MAX, Direction, Side


class Target(msgspec.Struct, frozen=True):
    """What to hold: direction, strength 0..1 of the bot's allocation for the symbol, and why, in words."""

    direction: Direction
    strength: float
    reason: str


class OwnFill(msgspec.Struct, frozen=True):
    """A fill of the bot's order in the strategy's symbol, as `on_fill` is told of it.

    Attributes:
        quantity: Shares or coins of this fill, > 0; in shares of today.
        price: Of this fill, USD.
        position: What the bot holds of the symbol after it, signed.
        average_price: What that was bought or sold for on average, USD; 0 where nothing is held.
        commission: Of this fill, USD.
        order_id: client_order_id of its order; of several fills of an order the same.
        ts_event: Time of the fill, ns UTC.
    """

    symbol: str
    side: Side
    quantity: float
    price: float
    position: float
    average_price: float
    commission: float
    order_id: str
    ts_event: int


class Strategy(Protocol):
    """One strategy on one symbol. Its whole state is its attributes: they are checkpointed and restored as they are."""

    def on_bar(self, bar: Bar) -> Target | None:
        """Move by one closed bar; return the target now, or None while there is no opinion yet."""
        ...

    def snapshot(self) -> dict[str, float]:
        """Give every indicator value of the last bar by label."""
        ...


_PAST_BARS = (25, 50, 100, 200, 400, 700)


def past_bars_of(strategy: Strategy, given: int | None) -> int:
    """Give how many past bars a strategy is warmed up with: as given, or at least three times what it says it needs.

    A few numbers only, so that bots are warmed up with the same bars. Values that never forget (EMA, Wilder's averages)
    are as good as converged after three warm-ups.

    Args:
        strategy: It may have `warm_up`, how many bars it takes until its first target.
        given: What its bot says; None: nothing.
    """
    if given is not None:
        return given
    warm_up: Any = getattr(strategy, "warm_up", 0)
    is_number = isinstance(warm_up, int) and not isinstance(warm_up, bool)
    if not is_number or warm_up <= 0:
        return 0
    return next((count for count in _PAST_BARS if count >= 3 * warm_up), PAST_BARS_MAX)


def tell_session(strategy: Strategy, known_ns: int, session: tuple[int, int]) -> int:
    """Tell a strategy that a session began, if it asks for that by a method `on_session(opened_ns, closed_ns)`.

    Args:
        strategy: Which one.
        known_ns: Opening that it was told of last; 0: none.
        session: Opening and close of the session before whose end its next bar closes, ns UTC; (0, 0): none is known.

    Returns:
        The opening that it knows of now.
    """
    if session[0] in (0, known_ns):
        return known_ns
    hook = getattr(strategy, "on_session", None)
    if hook is not None:
        hook(*session)
    return session[0]


def tell_fill(strategy: object, told: FillTold) -> None:
    """Tell a strategy of a fill, if it asks for that by a method `on_fill(fill)`. Raises whatever that raises."""
    if not hasattr(type(strategy), "on_fill"):
        return
    fill = OwnFill(
        symbol=told.symbol,
        side=told.side,
        quantity=float(told.quantity),
        price=float(told.price),
        position=float(told.position),
        average_price=float(told.average_px),
        commission=float(told.commission),
        order_id=told.order_id,
        ts_event=told.ts_event,
    )
    hook: Callable[[OwnFill], object] = getattr(strategy, "on_fill")  # noqa: B009  (may be left out)
    hook(fill)


_TEXT_MAX, _NAME_MAX, _VALUES_MAX = 500, 64, 200


def checked(target: object, by: str = "on_bar") -> Target | None:
    """Give what `on_bar` or `on_tick` gave, of plain numbers and texts, if it is a target or None. Raises TypeError."""
    if target is None:
        return None
    if not isinstance(target, Target):
        msg = f"{by} must give a Target or None, gave {type(target).__name__}"
        raise TypeError(msg)
    given: Any = target
    direction, strength = given.direction, given.strength
    is_number = isinstance(strength, float | int) and not isinstance(strength, bool)
    if not (is_number and isinstance(direction, Direction)):
        msg = "a Target is of a Direction, a strength from 0 to 1 and a reason in words"
        raise TypeError(msg)
    reason = plain_text(target.reason, _TEXT_MAX)
    if type(target.strength) is float and reason is target.reason:
        return target
    return Target(target.direction, float(target.strength), reason)


def values_of(strategy: Strategy) -> dict[str, float]:
    """Give a strategy's values, of plain numbers and short names. Raises whatever it raises, TypeError, ValueError."""
    values = strategy.snapshot()
    if len(values) > _VALUES_MAX:
        msg = f"snapshot may have {_VALUES_MAX} values, had {len(values)}"
        raise ValueError(msg)
    return {plain_text(name, _NAME_MAX): _number(name, value) for name, value in values.items()}


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as err:
        msg = f"snapshot must give numbers by name, {name!r} is {type(value).__name__}: {err}"
        raise type(err)(msg) from None


def plain_text(text: object, most: int) -> str:
    """Give a text as it can be stored: one line, valid Unicode, not longer than `most`. Raises TypeError."""
    if not isinstance(text, str):
        msg = f"a text was expected, was {type(text).__name__}"
        raise TypeError(msg)
    if type(text) is str and len(text) <= most and text.isascii() and text.isprintable():
        return text
    whole = " ".join(str.split(text))
    return whole[:most].encode("utf-8", "replace").decode("utf-8")


def fault_text(fault: BaseException) -> str:
    """Say what was raised in one line that can be stored, whatever its own words are."""
    try:
        return f"{type(fault).__name__}: {plain_text(str(fault), _TEXT_MAX)}"
    except Exception:  # noqa: BLE001  (an exception whose words raise)
        return type(fault).__name__


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
