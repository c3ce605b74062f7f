"""Midnight in New York, by arithmetic: where the trading day begins, for shares and coins alike.

Daylight saving time as the United States have it since 2007 (Energy Policy Act of 2005): from the second Sunday of
March, 2:00, to the first Sunday of November, 2:00. The engine knows no clock and no zone files, so the same moment is
the same day on every machine.
"""

from __future__ import annotations

from functools import lru_cache

from engine.values import NS_PER_S

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S
_SUNDAY = 3
"""1970-01-01 was a Thursday, and the fourth day after it the first Sunday."""


def midnight_before(ts_ns: int) -> int:
    """Give the last midnight of New York at or before a moment, both ns UTC."""
    return _midnight_of_hour(ts_ns // (_HOUR_S * NS_PER_S))  # midnights lie on whole hours


@lru_cache(1024)
def _midnight_of_hour(hour: int) -> int:
    now_s = hour * _HOUR_S
    local_s = now_s + _offset_s(now_s)
    midnight_s = local_s - local_s % _DAY_S
    # The clocks are set at 2:00, after midnight: the offset of midnight may be another one.
    return (midnight_s - _offset_s(midnight_s - _offset_s(now_s))) * NS_PER_S


def _offset_s(ts_s: int) -> int:
    begins_s, ends_s = _summer(_year_of(ts_s // _DAY_S))
    return (-4 if begins_s <= ts_s < ends_s else -5) * _HOUR_S


@lru_cache(256)
def _summer(year: int) -> tuple[int, int]:
    """Give when daylight saving time begins and ends in a year, s UTC."""
    begins, ends = _sunday_from(_days(year, 3, 8)), _sunday_from(_days(year, 11, 1))
    return begins * _DAY_S + 7 * _HOUR_S, ends * _DAY_S + 6 * _HOUR_S


def _sunday_from(day: int) -> int:
    """Give the first Sunday at or after a day, both days since 1970."""
    return day + (_SUNDAY - day) % 7


def _days(year: int, month: int, day: int) -> int:
    """Give the days from 1970-01-01 to a date of the Gregorian calendar; years count from March."""
    year -= month <= 2
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - 719_468


def _year_of(day: int) -> int:
    """Give the year that a day since 1970 lies in."""
    year = 1970 + day * 400 // 146_097
    if _days(year, 1, 1) > day:
        return year - 1
    return year + 1 if _days(year + 1, 1, 1) <= day else year
