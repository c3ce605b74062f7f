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
from engine.zones import midnight_before

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


class Curve:
    """An equity curve as it grows: what its numbers need, whatever its length.

    Args:
        ts_ns: The beginning, ns UTC.
        equity: Then, USD.
    """

    def __init__(self, ts_ns: int, equity: float) -> None:
        self.start = self.last = self._peak = equity
        self.drawdown = 0.0
        self.days: dict[int, float] = {}
        self._first_ns = self._last_ns = ts_ns
        self._samples, self._sum, self._shares = 0, 0.0, 0.0

    def take(self, ts_ns: int, equity: float, exposure: float) -> None:
        """Take in a sample: the close of a minute, equity and what is held, USD; later than those before."""
        self.last, self._last_ns = equity, ts_ns
        self.days[midnight_before(ts_ns - 1)] = equity
        self._peak = max(self._peak, equity)
        if self._peak > 0:
            self.drawdown = max(self.drawdown, 1 - equity / self._peak)
        self._samples += 1
        self._sum += equity
        self._shares += exposure / equity if equity > 0 else 0.0

    @property
    def mean(self) -> float:
        """Mean of all samples, USD."""
        return self._sum / self._samples if self._samples else self.start

    @property
    def exposure(self) -> float:
        """Mean of what was held over equity."""
        return self._shares / self._samples if self._samples else 0.0

    @property
    def span_days(self) -> float:
        """From the beginning to the last sample."""
        return (self._last_ns - self._first_ns) / NS_PER_DAY


def equity_metrics(curve: Curve, days_per_year: int) -> EquityMetrics:
    """Give the numbers of an equity curve.

    Args:
        curve: Equity by time.
        days_per_year: Of daily returns.
    """
    start, last, days = curve.start, curve.last, list(curve.days.values())
    if start <= 0:
        return EquityMetrics(0.0, None, None, None, 0.0, 0)
    returns = [after / before - 1 for before, after in zip((start, *days), days, strict=False) if before > 0]
    return EquityMetrics(
        total_return=last / start - 1,
        cagr=(last / start) ** (_DAYS_OF_YEAR / curve.span_days) - 1 if curve.span_days >= 1 and last > 0 else None,
        sharpe=_sharpe(returns, days_per_year),
        sortino=_sortino(returns, days_per_year),
        max_drawdown=curve.drawdown,
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
