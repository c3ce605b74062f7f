"""One incremental indicator on one symbol: talipp's, with bounded memory and refusals before it is harmed.

Invariants: (1) it holds between `keep` and 2 x `keep` inputs, and its values are those of one that keeps everything;
(2) a number that is not finite is refused before it reaches talipp, where one NaN would poison every later value;
(3) where a value is not defined (no volume, no range) the last one stands.
Called by strategies. Never decides anything.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any

from talipp.ohlcv import OHLCV

from engine.messages import Bar

_FIELDS = ("close", "volume", "open", "high", "low")
_KEEP_WARMUPS = 2
_KEEP_MIN = 8
"""For those without a period: they look back to their own last outputs."""


def close_of(bar: Bar) -> float:
    """Give the close."""
    return bar.close


def volume_of(bar: Bar) -> float:
    """Give the volume, shares or coins."""
    return bar.volume


def ohlcv_of(bar: Bar) -> OHLCV:
    """Give the whole bar as talipp wants it."""
    return OHLCV(bar.open, bar.high, bar.low, bar.close, bar.volume)


class Indicator:
    """One incremental indicator.

    Args:
        label: Name with parameters.
        inner: talipp's indicator.
        source: What it takes of a bar.
        outputs: Names of its values where it has several, the main one first.
        warmup: Bars until the first whole value.

    Attributes:
        label: Name with parameters, as shown in signals: `sma(3)`.
        warmup: Bars until the first value.
    """

    __slots__ = ("_inner", "_keep", "_last", "_outputs", "_parts", "_size", "_source", "label", "warmup")

    def __init__(
        self, label: str, inner: Any, source: Callable[[Bar], Any], outputs: tuple[str, ...], warmup: int
    ) -> None:
        self.label = label
        self.warmup = warmup
        self._inner = inner
        self._source = source
        self._outputs = outputs
        self._keep = warmup * _KEEP_WARMUPS + _KEEP_MIN
        self._size = 0
        self._last: Any = None
        self._parts: list[float] | None = None

    def update(self, bar: Bar) -> float | None:
        """Move by one bar and return the value, of several the main one; None while warming up.

        Raises:
            ValueError: A number of the bar is not finite; the state did not move.
        """
        taken = self._source(bar)
        if not (math.isfinite(taken) if isinstance(taken, float | int) else _is_finite(bar)):
            field = next(name for name in _FIELDS if not math.isfinite(getattr(bar, name)))
            msg = f"{self.label}: {field} of {bar.symbol} must be finite, was {getattr(bar, field)!r}"
            raise ValueError(msg)
        inner = self._inner
        try:
            inner.add(taken)
        except ZeroDivisionError:  # the input is in, its output is not
            inner._add_to_output_values(inner[-1] if len(inner) else None)  # noqa: SLF001
        self._size += 1
        self._last = inner[-1]
        if self._outputs:
            self._parts = self._split(self._last)
        if self._size >= 2 * self._keep:
            inner.purge_oldest(self._size - self._keep)
            self._size = self._keep
        return self.value

    def on_session(self, opened_ns: int, closed_ns: int) -> None:
        """Tell it that a session began, both ns UTC; those that know no sessions do not mind."""
        begin = getattr(self._inner, "on_session", None)
        if begin is not None:
            begin(opened_ns, closed_ns)

    @property
    def value(self) -> float | None:
        """The value of the last bar, of several the main one; None while warming up."""
        if not self._outputs:
            return self._last
        return None if self._parts is None else self._parts[0]

    def values(self) -> dict[str, float]:
        """Give every value of the last bar by label (`macd(12,26,9).signal`); empty while warming up."""
        if not self._outputs:
            return {} if self._last is None else {self.label: self._last}
        if self._parts is None:
            return {}
        return {f"{self.label}.{name}": value for name, value in zip(self._outputs, self._parts, strict=True)}

    def __getitem__(self, output: str) -> float | None:
        """Give one of several values of the last bar by its name; None while warming up."""
        return None if self._parts is None else self._parts[self._outputs.index(output)]

    def _split(self, last: Any) -> list[float] | None:
        if last is None:
            return None
        parts = [getattr(last, name) for name in self._outputs]
        return None if any(part is None for part in parts) else [_number(part) for part in parts]

    @property
    def size(self) -> int:
        """Inputs held now; never more than 4 warm-ups and 16."""
        return self._size


def _is_finite(bar: Bar) -> bool:
    return all(map(math.isfinite, (bar.open, bar.high, bar.low, bar.close, bar.volume)))


def _number(value: Any) -> float:
    """Make a float of what talipp gives: a flag is 0 or 1, a trend 1 (up) or -1."""
    if isinstance(value, enum.Enum):
        return 1.0 if value.name == "UP" else -1.0
    return float(value)
