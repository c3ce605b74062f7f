"""Reads the parameters of GET /v2/account/portfolio/history and refuses what Alpaca refuses.

Defaults: a month up to now; `1Min` below 7 days, `15Min` below 30, else (and for months) `1D`; market hours; a reset
each day. The old parameters (`extended_hours`, `date_end`) are taken as well as `intraday_reporting`, `start`, `end`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import cast

from adapters.exchange import rest
from adapters.exchange.calendar import new_york, ns_of
from adapters.exchange.orders import Refusal
from adapters.exchange.portfolio import INTRADAY_DAYS_MAX, MINUTES, PortfolioQuery, Reporting, period_start
from engine.values import NS_PER_MINUTE

_DAY_NS = 24 * 60 * NS_PER_MINUTE


def portfolio_query(query: Mapping[str, str], now_ns: int) -> PortfolioQuery:
    """Make the query of a request.

    Raises:
        BadParameterError: A parameter is wrong (422).
    """
    period, start = query.get("period"), rest.time_ns(query, "start")
    end = rest.time_ns(query, "end")
    if period and start is not None and end is not None:
        raise _bad("only two of start, end and period can be specified at the same time")
    last_day = rest.day(query, "date_end")
    if end is None and last_day is not None:
        end = ns_of(last_day + timedelta(days=1), time(0))
    to_ns = min(now_ns, end) if end is not None else now_ns
    from_ns = start if start is not None and not period else _start(to_ns, period or "1M")
    if start is not None and period:
        from_ns, to_ns = start, min(now_ns, start + to_ns - _start(to_ns, period))
    if from_ns > to_ns:
        raise _bad("start must be before end")
    days = (to_ns - from_ns) / _DAY_NS
    is_long = days >= INTRADAY_DAYS_MAX or ((start is None or bool(period)) and (period or "1M")[-1:].upper() in "MA")
    timeframe = query.get("timeframe") or ("1D" if is_long else "1Min" if days < 7 else "15Min")
    if timeframe not in MINUTES:
        raise _bad(f"invalid timeframe {timeframe}: must be one of {', '.join(MINUTES)}")
    if timeframe != "1D" and days > INTRADAY_DAYS_MAX + 1:
        raise _bad(f"timeframe {timeframe} is only available for up to {INTRADAY_DAYS_MAX} days")
    default = "extended_hours" if rest.is_true(query, "extended_hours") else "market_hours"
    reporting = rest.choice(query, "intraday_reporting", default, ("market_hours", "extended_hours", "continuous"))
    reset = rest.choice(query, "pnl_reset", "per_day", ("per_day", "no_reset"))
    return PortfolioQuery(from_ns, to_ns, timeframe, cast("Reporting", reporting), reset == "per_day")


def _start(to_ns: int, period: str) -> int:
    """Begin of a period: the midnight in New York after its last day outside."""
    if period.lower() == "all":
        return 0
    before = period_start(new_york(to_ns - 1).date(), period)
    if before is None:
        raise _bad(f"invalid period {period}: must be a number and D, W, M or A")
    return ns_of(before + timedelta(days=1), time(0)) if before > date(1970, 1, 1) else 0


def _bad(message: str) -> rest.BadParameterError:
    return rest.BadParameterError(Refusal(422, 42210000, message))
