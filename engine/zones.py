"""Wall time in the zones of the world, by the rules of the tzdata package, which are installed with the code.

So the same moment is the same day on every machine, whatever its own zone files say. The only file of the core that
knows dates: times that are no number, or have no zone, do not leave it.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from engine.values import NS_PER_S

NEW_YORK = "America/New_York"
_HOUR_S = 3600


@lru_cache(1)
def names() -> frozenset[str]:
    """Give the names of all zones, such as `Europe/London`."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@lru_cache(600)
def _rules(name: str) -> ZoneInfo:
    with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def midnight_before(ts_ns: int, zone: str = NEW_YORK) -> int:
    """Give the last midnight of a zone at or before a moment, both ns UTC."""
    midnight = _midnight_of_hour(ts_ns // (_HOUR_S * NS_PER_S), zone)
    return midnight if midnight <= ts_ns else _midnight_of_hour(midnight // (_HOUR_S * NS_PER_S) - 1, zone)


@lru_cache(1024)
def _midnight_of_hour(hour: int, zone: str) -> int:
    """Give the midnight before the end of an hour: nearly everywhere midnights lie on whole hours of UTC."""
    there = datetime.fromtimestamp(hour * _HOUR_S + _HOUR_S - 1, _rules(zone))
    return _ns(there.replace(hour=0, minute=0, second=0, microsecond=0, fold=0))


def day_of(ts_ns: int, zone: str) -> int:
    """Give the day in a zone that a moment lies in, as days since the year 1; `day % 7` is 1 on Mondays."""
    return datetime.fromtimestamp(ts_ns // NS_PER_S, _rules(zone)).toordinal()


def moment(day: int, minute: int, zone: str) -> int:
    """Give the moment at which the clocks of a zone show so many minutes after midnight, ns UTC.

    Where clocks are put back and show it twice, the first time; where they are put forward and never show it, so long
    after the change as it lies after the time that they leave out.

    Args:
        day: As of `day_of`.
        minute: 0..1440, by the clock.
        zone: Its name.
    """
    there = date.fromordinal(day) + timedelta(days=minute // 1440)
    hour, minute = divmod(minute % 1440, 60)
    return _ns(datetime(there.year, there.month, there.day, hour, minute, tzinfo=_rules(zone)))


def _ns(there: datetime) -> int:
    return int(there.timestamp()) * NS_PER_S
