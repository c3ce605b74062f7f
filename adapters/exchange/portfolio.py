"""The account's equity over time: one sample per minute that had bars, and the history Alpaca makes of it.

Sampled by the venue when a minute's bars are out; read by GET /v2/account/portfolio/history. Intervals are stamped by
their start (of a day: midnight UTC of its New York date) and hold the equity at their end; intervals without a sample
are left out, so nothing is ever null. Profit and loss: of days against the day before; within days against the close of
the day before (`pnl_reset=per_day`) or the start of the history (`no_reset`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

from adapters.exchange.calendar import VenueCalendar, new_york, ns_of
from engine.values import NS_PER_MINUTE, NS_PER_S

Reporting = Literal["market_hours", "extended_hours", "continuous"]
MINUTES = {"1Min": 1, "5Min": 5, "15Min": 15, "1H": 60, "1D": 1440}
INTRADAY_DAYS_MAX = 30


class PortfolioQuery(msgspec.Struct, frozen=True):
    """What is asked: samples in (from_ns, to_ns], ns UTC, in intervals of `timeframe`."""

    from_ns: int
    to_ns: int
    timeframe: str
    reporting: Reporting
    is_reset_daily: bool


class EquityHistory:
    """Samples of equity, in order of time.

    Args:
        base: Equity before the first sample, USD.
    """

    def __init__(self, base: Decimal) -> None:
        self._base = base
        self._ns = array("q")
        self._equity: list[Decimal] = []

    def sample(self, ns: int, equity: Decimal) -> None:
        """Add the equity at the end of a minute."""
        self._ns.append(ns)
        self._equity.append(equity)

    def before(self, ns: int) -> Decimal:
        """The last equity at or before a time, the start's where there is none."""
        place = bisect_right(self._ns, ns)
        return self._equity[place - 1] if place else self._base

    def history(self, query: PortfolioQuery, calendar: VenueCalendar) -> dict[str, Any]:
        """Write the answer for a query."""
        ends = self._ends(query, calendar)
        first = self._ns[ends[0][1]] if ends else query.from_ns
        base = self.before(min(_day_start(first), first - 1) if query.is_reset_daily else query.from_ns)
        equities, profits, shares = list[float](), list[float](), list[float]()
        against, last_day = base, None
        for _, place in ends:
            day = new_york(self._ns[place] - 1).date()
            if query.timeframe == "1D":
                against = Decimal(str(equities[-1])) if equities else base
            elif query.is_reset_daily and day != last_day:
                against, last_day = self.before(_day_start(self._ns[place])), day
            profit = self._equity[place] - against
            equities.append(float(round(self._equity[place], 9)))
            profits.append(float(round(profit, 9)))
            shares.append(float(round(profit / against, 9)) if against else 0.0)
        return {
            "timestamp": [stamp for stamp, _ in ends],
            "equity": equities,
            "profit_loss": profits,
            "profit_loss_pct": shares,
            "base_value": float(round(base, 9)),
            "base_value_asof": (new_york(first - 1).date() - timedelta(days=1)).isoformat(),
            "timeframe": query.timeframe,
        }

    def _ends(self, query: PortfolioQuery, calendar: VenueCalendar) -> list[tuple[int, int]]:
        """Start of each interval (unix seconds) and the place of its last sample."""
        ends: dict[int, int] = {}
        for place in range(bisect_right(self._ns, query.from_ns), bisect_right(self._ns, query.to_ns)):
            inside = self._ns[place] - 1  # the minute that ended then
            if query.timeframe == "1D":
                day = new_york(inside).date()
                ends[int(datetime.combine(day, time(0), UTC).timestamp())] = place
                continue
            if query.reporting == "market_hours" and not calendar.is_regular(inside):
                continue
            if query.reporting == "extended_hours" and not calendar.is_extended(inside):
                continue
            width = MINUTES[query.timeframe] * NS_PER_MINUTE
            ends[inside // width * width // NS_PER_S] = place
        return sorted(ends.items())


def period_start(end: date, period: str) -> date | None:
    """The last day before a period (`7D`, `2W`, `1M`, `1A`) that ends with a day; None when it is no period."""
    number, unit = period[:-1], period[-1:].upper()
    if not number.isdigit() or int(number) < 1 or unit not in "DWMA" or not unit:
        return None
    count = int(number)
    if unit in "DW":
        return end - timedelta(days=count * (7 if unit == "W" else 1))
    months = end.year * 12 + end.month - 1 - count * (12 if unit == "A" else 1)
    if months < 12:
        return date.min
    return date(months // 12, months % 12 + 1, min(end.day, 28))


def _day_start(ns: int) -> int:
    """Midnight in New York of the day whose minute ends at `ns`."""
    return ns_of(new_york(ns - 1).date(), time(0))
