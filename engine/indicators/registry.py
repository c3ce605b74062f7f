"""The registry: which indicators exist, their parameters and warm-up, and the wrapper that bounds their memory.

Invariants: (1) a wrapper holds between `keep` and 2 x `keep` inputs; (2) `keep` is at least 4 warm-ups; (3) a value
that is not finite is refused before it reaches talipp, where one NaN would poison every later value.
Called by strategies. Never decides anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import msgspec
from talipp.indicators import EMA, RSI, SMA

from engine.errors import ConfigError
from engine.messages import Bar

_KEEP_WARMUPS = 4
LIBRARY = f"talipp {version('talipp')}"
"""What values and checkpointed states were made by."""


class PeriodParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of an indicator with one period, in bars."""

    period: int

    def __post_init__(self) -> None:
        """Refuse a period that defines nothing."""
        if not 1 <= self.period <= 10_000:
            msg = f"period must be 1..10000 bars, was {self.period}"
            raise ValueError(msg)


class _Kind(msgspec.Struct, frozen=True):
    params: type[PeriodParams]
    build: Callable[[Any], Any]
    warmup: Callable[[Any], int]


_KINDS: dict[str, _Kind] = {
    "sma": _Kind(PeriodParams, lambda p: SMA(p.period), lambda p: p.period),
    "ema": _Kind(PeriodParams, lambda p: EMA(p.period), lambda p: p.period),
    "rsi": _Kind(PeriodParams, lambda p: RSI(p.period), lambda p: p.period + 1),
}


class Indicator:
    """One incremental indicator on the closes of one symbol.

    Attributes:
        label: Name with parameters, as shown in signals: `sma(3)`.
        warmup: Bars until the first value.
    """

    __slots__ = ("_inner", "_keep", "_size", "label", "warmup")

    def __init__(self, label: str, inner: Any, warmup: int) -> None:
        self.label = label
        self.warmup = warmup
        self._inner = inner
        self._keep = warmup * _KEEP_WARMUPS
        self._size = 0

    def update(self, bar: Bar) -> float | None:
        """Move by one bar and return the value in the price's unit (RSI: 0..100), None while warming up.

        Raises:
            ValueError: The close is not finite; the state did not move.
        """
        close = bar.close
        if not math.isfinite(close):
            msg = f"{self.label}: close of {bar.symbol} must be finite, was {close!r}"
            raise ValueError(msg)
        inner = self._inner
        inner.add(close)
        self._size += 1
        value = inner[-1]
        if self._size >= 2 * self._keep:
            inner.purge_oldest(self._size - self._keep)
            self._size = self._keep
        return value

    @property
    def size(self) -> int:
        """Inputs held now; never more than 8 warm-ups."""
        return self._size


def names() -> list[str]:
    """Names of all indicators, sorted."""
    return sorted(_KINDS)


def make(name: str, params: Mapping[str, object]) -> Indicator:
    """Build an indicator.

    Raises:
        ConfigError: Unknown name, unknown or missing parameter, value out of range.
    """
    kind = _KINDS.get(name)
    if kind is None:
        msg = f"unknown indicator {name!r}: choose one of {', '.join(names())}"
        raise ConfigError(msg)
    try:
        typed = msgspec.convert(dict(params), kind.params)
    except msgspec.ValidationError as err:
        msg = f"indicator {name}: {err}"
        raise ConfigError(msg) from None
    label = f"{name}({','.join(str(v) for v in msgspec.structs.astuple(typed))})"
    return Indicator(label, kind.build(typed), kind.warmup(typed))
