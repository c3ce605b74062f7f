"""The trading day begins once, at midnight in New York, whatever the zone files say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import Sessions
from engine.sessions import SessionTable
from engine.values import NS_PER_MINUTE, NS_PER_S, AssetClass
from engine.zones import midnight_before

ZONE = ZoneInfo("America/New_York")


def _by_zone(ts_s: int) -> datetime:
    there = datetime.fromtimestamp(ts_s, ZONE)
    return there.replace(hour=0, minute=0, second=0, fold=0)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * NS_PER_S


@given(
    st.integers(int(datetime(2007, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2099, 1, 1, tzinfo=UTC).timestamp()))
)
def test_it_is_the_midnight_of_the_zone_files(ts_s: int) -> None:
    assert midnight_before(ts_s * NS_PER_S) == _ns(_by_zone(ts_s))


@pytest.mark.parametrize("year", range(2007, 2050))
def test_around_each_change_of_the_clocks(year: int) -> None:
    moment = datetime(year, 1, 1, tzinfo=UTC)
    while moment.year == year:
        if moment.month in (1, 3, 11, 12):
            ts_s = int(moment.timestamp())
            assert midnight_before(ts_s * NS_PER_S) == _ns(_by_zone(ts_s)), moment
        moment += timedelta(hours=1)


def test_the_days_boundary_is_exact_and_the_opening_is_none() -> None:
    table = SessionTable()
    opened = _ns(datetime(2026, 7, 1, 9, 30, tzinfo=ZONE))
    table.add(Sessions(AssetClass.US_EQUITY, ((opened, opened + 390 * NS_PER_MINUTE),), 0))
    midnight = _ns(datetime(2026, 7, 1, tzinfo=ZONE))
    assert table.day_start(midnight) == midnight
    assert table.day_start(midnight - 1) == _ns(datetime(2026, 6, 30, tzinfo=ZONE))
    assert table.day_start(opened - 1) == table.day_start(opened) == midnight
    utc_midnight = _ns(datetime(2026, 7, 2, tzinfo=UTC))
    assert table.day_start(utc_midnight) == midnight
