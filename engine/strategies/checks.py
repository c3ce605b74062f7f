"""Checks that parameters of several strategies share."""

from __future__ import annotations

PERIOD_MAX = 10_000


def check_period(name: str, value: int, low: int = 2) -> None:
    """Refuse a period outside of `low`..10000 bars. Raises ValueError."""
    if not low <= value <= PERIOD_MAX:
        msg = f"{name} must be {low}..{PERIOD_MAX} bars, was {value}"
        raise ValueError(msg)


def check_levels(oversold: float, overbought: float) -> None:
    """Refuse levels that overlap or lie outside of 0..100. Raises ValueError."""
    if not 0 < oversold < overbought < 100:
        msg = (
            "oversold and overbought must satisfy 0 < oversold < overbought < 100, "
            f"were {oversold:g} and {overbought:g}"
        )
        raise ValueError(msg)


def check_pair(fast: int, slow: int) -> None:
    """Refuse a pair of periods that can never cross as meant. Raises ValueError."""
    if not 1 <= fast < slow <= PERIOD_MAX:
        msg = f"fast and slow must satisfy 1 <= fast < slow <= {PERIOD_MAX} bars, were {fast} and {slow}"
        raise ValueError(msg)
