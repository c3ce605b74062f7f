"""The venue's hours: regular and extended sessions of XNYS, in ns UTC, and when a day order ends.

Taken from exchange_calendars (half days, holidays); never from fixed hours in code, but for the extended day, which is
04:00 to 20:00 New York on every trading day (Alpaca "Orders at Alpaca"; half days keep the same extended hours here).
Called by the book (may this order trade in this bar) and by clock, calendar and history over REST.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from engine.values import NS_PER_S

NEW_YORK = ZoneInfo("America/New_York")


class Session(msgspec.Struct, frozen=True):
    """One trading day; times in ns UTC."""

    day: date
    open_ns: int
    close_ns: int
    extended_open_ns: int
    extended_close_ns: int


class VenueCalendar:
    """Sessions of XNYS from one year to another, widened when asked for a day outside.

    Args:
        first: A day near the first bar.
        last: A day near the last bar.
    """

    def __init__(self, first: date, last: date) -> None:
        self._from_year = first.year - 1
        self._to_year = last.year + 1
        self._load()

    def _load(self) -> None:
        self._index(_sessions(self._from_year, self._to_year))

    def _index(self, sessions: Iterable[Session]) -> None:
        self.sessions = list(sessions)
        self._opens = [session.open_ns for session in self.sessions]
        self._extended_opens = [session.extended_open_ns for session in self.sessions]

    def between(self, first: date, last: date) -> list[Session]:
        """Sessions from `first` to `last`, both included. Days outside 1970 to 2029 have none (Alpaca's own range)."""
        first, last = max(first, date(1970, 1, 1)), min(last, date(2029, 12, 31))
        if first > last:
            return []
        if first.year < self._from_year or last.year > self._to_year:
            self._from_year = min(self._from_year, first.year)
            self._to_year = max(self._to_year, last.year)
            self._load()
        return [session for session in self.sessions if first <= session.day <= last]

    def is_regular(self, ns: int) -> bool:
        """True while the regular session is open."""
        index = bisect_right(self._opens, ns) - 1
        return index >= 0 and ns < self.sessions[index].close_ns

    def is_extended(self, ns: int) -> bool:
        """True from 04:00 to 20:00 New York on a trading day."""
        index = bisect_right(self._extended_opens, ns) - 1
        return index >= 0 and ns < self.sessions[index].extended_close_ns

    def session_for(self, ns: int, *, extended: bool) -> Session:
        """The session in which an order received at `ns` can trade: today's if it has not ended, else the next."""
        starts = self._extended_opens if extended else self._opens
        index = max(bisect_right(starts, ns) - 1, 0)
        session = self.sessions[index]
        ends = session.extended_close_ns if extended else session.close_ns
        return session if ns < ends else self.sessions[index + 1]

    def next_open(self, ns: int) -> Session:
        """The first session that opens after `ns`."""
        return self.sessions[bisect_right(self._opens, ns)]

    def next_close(self, ns: int) -> int:
        """The first regular close after `ns`."""
        return self.session_for(ns, extended=False).close_ns


@lru_cache(maxsize=8)
def _sessions(from_year: int, to_year: int) -> tuple[Session, ...]:
    import exchange_calendars  # noqa: PLC0415  3 s of pandas: only when a server starts

    with warnings.catch_warnings():
        # The vendor calls parts of pandas that newer versions call deprecated; nobody here can mend that.
        warnings.simplefilter("ignore")
        vendor: Any = exchange_calendars.get_calendar("XNYS", start=f"{from_year}-01-01", end=f"{to_year}-12-31")
    days: list[date] = [stamp.date() for stamp in vendor.opens.index]
    opens: list[int] = [int(value) for value in vendor.opens.astype("int64").tolist()]
    closes: list[int] = [int(value) for value in vendor.closes.astype("int64").tolist()]
    return tuple(session_of(day, opened, closed) for day, opened, closed in zip(days, opens, closes, strict=True))


def session_of(day: date, open_ns: int, close_ns: int) -> Session:
    """Give a trading day with its extended hours."""
    return Session(day, open_ns, close_ns, ns_of(day, time(4)), ns_of(day, time(20)))


def ns_of(day: date, at: time) -> int:
    """Ns UTC of a New York wall time."""
    return int(datetime.combine(day, at, NEW_YORK).timestamp()) * NS_PER_S


def new_york(ns: int) -> datetime:
    """New York time of a moment, to the second."""
    return datetime.fromtimestamp(ns // NS_PER_S, NEW_YORK)


def day_start_ns(ns: int) -> int:
    """Midnight in New York of the day that holds `ns`: the stamp of daily bars."""
    return ns_of(new_york(ns).date(), time(0))


def utc_date(ns: int) -> date:
    """UTC day of a moment."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // NS_PER_S)).date()
