"""What a run came to, as numbers. Pure; defined in docs/backtest.md.

Returns are those of days, from the last equity of each day of New York, the first of them from the cash at the
beginning; a day without a bar is none. Risk-free rate 0. A year has 252 such days; 365 where a symbol trades around the
clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from engine.values import NS_PER_DAY

_DAYS_OF_YEAR = 365.25


class EquityMetrics(msgspec.Struct, frozen=True):
    """Numbers of an equity curve; None where there is too little to say.

    Attributes:
        total_return: Last equity over the first, less 1.
        cagr: The same per year of 365.25 days, compounded; None below a day.
        sharpe: Mean of daily returns over their standard deviation (of a sample), times the root of days per year.
        sortino: The same over the root of the mean square of negative returns.
        max_drawdown: Largest fall from a peak, share of the peak, at any sample; 0 or more.
        days: Daily returns.
    """

    total_return: float
    cagr: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    days: int


def equity_metrics(
    start: float, samples: Sequence[tuple[int, float]], days: Sequence[float], days_per_year: int
) -> EquityMetrics:
    """Give the numbers of an equity curve.

    Args:
        start: Equity at the beginning, USD.
        samples: (ns UTC, equity USD), by time; the first at the beginning.
        days: Last equity of each day, by time.
        days_per_year: Of daily returns.
    """
    if not samples or start <= 0:
        return EquityMetrics(0.0, None, None, None, 0.0, 0)
    returns = [after / before - 1 for before, after in zip((start, *days), days, strict=False) if before > 0]
    last, span = samples[-1][1], (samples[-1][0] - samples[0][0]) / NS_PER_DAY
    return EquityMetrics(
        total_return=last / start - 1,
        cagr=(last / start) ** (_DAYS_OF_YEAR / span) - 1 if span >= 1 and last > 0 else None,
        sharpe=_sharpe(returns, days_per_year),
        sortino=_sortino(returns, days_per_year),
        max_drawdown=_drawdown(start, [equity for _, equity in samples]),
        days=len(returns),
    )


def _sharpe(returns: Sequence[float], days_per_year: int) -> float | None:
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((one - mean) ** 2 for one in returns) / (len(returns) - 1)
    return mean / math.sqrt(variance) * math.sqrt(days_per_year) if variance > 0 else None


def _sortino(returns: Sequence[float], days_per_year: int) -> float | None:
    if len(returns) < 2:
        return None
    downside = math.fsum(min(one, 0.0) ** 2 for one in returns) / len(returns)
    mean = math.fsum(returns) / len(returns)
    return mean / math.sqrt(downside) * math.sqrt(days_per_year) if downside > 0 else None


def _drawdown(start: float, equities: Sequence[float]) -> float:
    peak, worst = start, 0.0
    for equity in equities:
        peak = max(peak, equity)
        worst = max(worst, 1 - equity / peak)
    return worst
