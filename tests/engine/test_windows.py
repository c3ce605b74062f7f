"""Windows by calendar: half days, both changes of the clocks, crypto over the same days; against plain wall times."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.exchange.calendar import VenueCalendar
from engine.bots import Bot
from engine.hours import Hours
from engine.messages import Bar, Sessions, Signal
from engine.sessions import SessionTable
from engine.signals import SignalEngine
from engine.values import NS_PER_MINUTE, NS_PER_S, AssetClass, Direction
from engine.window import DAYS, Window, minutes
from tests.engine import build

NEW_YORK = ZoneInfo("America/New_York")
UNTIL_NOON = Window(start="09:35", end="12:00", flatten_before_s=0)
# A Friday that closes at 13:00; the Fridays before and Mondays after both changes of the clocks; days around them.
EQUITY_DAYS = ("2026-11-27", "2026-03-06", "2026-03-09", "2026-10-30", "2026-11-02")
CRYPTO_DAYS = (*EQUITY_DAYS, "2026-03-08", "2026-11-01", "2026-11-26")


@cache
def _calendar() -> Sessions:
    calendar = VenueCalendar(date(2026, 1, 2), date(2026, 12, 31))
    spans = tuple((session.open_ns, session.close_ns) for session in calendar.sessions)
    return Sessions(AssetClass.US_EQUITY, spans, 0)


def _hours() -> Hours:
    table = SessionTable()
    table.add(_calendar())
    return Hours(table)


def _ns(day: str, time: str, zone: ZoneInfo = NEW_YORK) -> int:
    return int(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=zone).timestamp()) * NS_PER_S


def _bars(day: str, first: str, last: str, symbol: str) -> list[Bar]:
    """Minute bars of a day that change their direction with each."""
    moment, until = _ns(day, first), _ns(day, last)
    bars: list[Bar] = []
    while moment <= until:
        close = 100.0 + (moment // NS_PER_MINUTE % 2)
        bars.append(msgspec.structs.replace(build.bar(close, 1, symbol), ts_event=moment))
        moment += NS_PER_MINUTE
    return bars


def _bot(symbol: str, window: Window, **more: object) -> Bot:
    return build.bot(symbols=(symbol,), window=window, params={"fast": 1, "slow": 2, "allow_short": True}, **more)


def _said(bot: Bot, bars: list[Bar]) -> list[Signal]:
    engine = SignalEngine("ACC1", "run1", [bot])
    engine.on_sessions(_calendar())
    return [signal for bar in bars for signal in engine.on_bar(bar)]


@pytest.mark.parametrize("day", EQUITY_DAYS)
def test_a_window_until_noon_ends_at_noon_in_new_york(day: str) -> None:
    said = _said(_bot("AAPL", UNTIL_NOON), _bars(day, "09:31", "12:59", "AAPL"))
    assert said[0].ts_event == _ns(day, "09:35")
    assert [one.ts_event for one in said if one.ts_event >= _ns(day, "12:00")] == [_ns(day, "12:00")]
    assert said[-1].direction is Direction.FLAT
    assert said[-1].reason == "outside of its window, with its positions closed"
    noon_utc = datetime.fromtimestamp(said[-1].ts_event / 1e9, UTC).hour
    assert noon_utc == (16 if day in ("2026-03-09", "2026-10-30") else 17)


@pytest.mark.parametrize("day", CRYPTO_DAYS)
def test_the_same_window_of_a_crypto_bot_on_each_of_these_days(day: str) -> None:
    said = _said(_bot("BTC/USD", UNTIL_NOON), _bars(day, "00:00", "23:59", "BTC/USD"))
    assert said[0].ts_event == _ns(day, "09:35")
    assert said[-1].ts_event == _ns(day, "12:00")
    assert said[-1].direction is Direction.FLAT


@pytest.mark.parametrize("day", CRYPTO_DAYS)
def test_crypto_within_market_hours_is_flat_a_minute_before_the_close_at_the_latest(day: str) -> None:
    window = Window(market_hours=True, flatten_before_s=0)
    said = _said(_bot("BTC/USD", window), _bars(day, "00:00", "23:59", "BTC/USD"))
    if day in ("2026-03-08", "2026-11-01", "2026-11-26"):  # Sundays, Thanksgiving
        assert said == []
        return
    assert said[0].ts_event == _ns(day, "09:30")
    assert said[-1].ts_event == _ns(day, "12:59" if day == "2026-11-27" else "15:59")
    assert said[-1].direction is Direction.FLAT


@pytest.mark.parametrize(
    ("window", "day", "last"),
    [
        (Window(end="16:00", flatten_before_s=300), "2026-11-27", "12:55"),
        (Window(end="16:00", flatten_before_s=300), "2026-11-30", "15:55"),
        (Window(end="15:00", flatten_before_s=300), "2026-11-27", "12:55"),
        (Window(end="15:00", flatten_before_s=300), "2026-11-30", "14:55"),
        (Window(flatten_before_s=0), "2026-11-30", "15:59"),
    ],
)
def test_a_half_day_ends_a_window_early(window: Window, day: str, last: str) -> None:
    said = _said(_bot("AAPL", window), _bars(day, "09:31", "16:05", "AAPL"))
    assert said[-1].ts_event == _ns(day, last)
    assert said[-1].direction is Direction.FLAT


def test_a_window_that_closes_nothing_says_nothing_after_its_end() -> None:
    window = Window(start="10:00", end="12:00")
    said = _said(_bot("AAPL", window), _bars("2026-11-30", "09:31", "15:59", "AAPL"))
    assert (said[0].ts_event, said[-1].ts_event) == (_ns("2026-11-30", "10:00"), _ns("2026-11-30", "11:59"))


def test_days_of_the_week_and_zones() -> None:
    window = Window(start="09:00", end="17:00", zone="Asia/Tokyo", days=("mon",), flatten_before_s=0)
    tokyo = ZoneInfo("Asia/Tokyo")
    bars = _bars("2026-11-29", "12:00", "23:59", "BTC/USD") + _bars("2026-11-30", "00:00", "23:59", "BTC/USD")
    said = _said(_bot("BTC/USD", window), bars)
    assert said[0].ts_event == _ns("2026-11-30", "09:00", tokyo)
    assert said[-1].ts_event == _ns("2026-11-30", "17:00", tokyo)


def test_what_is_still_held_is_closed_as_soon_as_there_is_a_market() -> None:
    """The end of the window passed without a bar that could have said so: a feed that was away over the night."""
    bars = [*_bars("2026-11-30", "09:31", "11:30", "AAPL"), *_bars("2026-12-01", "09:25", "09:34", "AAPL")]
    engine = SignalEngine("ACC1", "run1", [_bot("AAPL", UNTIL_NOON)], bar_wait_ms=10**9)
    engine.on_sessions(_calendar())
    said = [signal for bar in bars for signal in engine.on_bar(bar)]
    assert (said[-1].direction, said[-1].ts_event) == (Direction.FLAT, _ns("2026-12-01", "09:30"))


def test_without_a_calendar_no_window_of_shares_is_open() -> None:
    engine = SignalEngine("ACC1", "run1", [_bot("AAPL", UNTIL_NOON)])
    assert [s for bar in _bars("2026-11-30", "09:31", "12:30", "AAPL") for s in engine.on_bar(bar)] == []


_TIMES = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 7, 30)]


@given(
    st.sampled_from(_TIMES),
    st.sampled_from([*_TIMES, "24:00"]),
    st.sampled_from(["America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    st.booleans(),
    st.integers(0, 360 * 24 * 60),
)
def test_a_moment_is_in_a_window_when_the_clocks_on_the_wall_say_so(
    start: str, end: str, zone: str, days: list[str], market_hours: bool, after: int
) -> None:
    if minutes(end) <= minutes(start):
        return
    moment = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(minutes=after)
    there = moment.astimezone(ZoneInfo(zone))
    shifts = {there.replace(hour=hour, minute=0).utcoffset() for hour in (0, 12, 23)}
    if len(shifts) > 1:
        return  # a day on which the clocks change has examples of its own
    window = Window(start, end, zone, tuple(days), market_hours)  # type: ignore[arg-type]
    minute = there.hour * 60 + there.minute
    is_in = minutes(start) <= minute < minutes(end) and DAYS[there.weekday()] in days
    ts = int(moment.timestamp()) * NS_PER_S
    if market_hours:
        is_in = is_in and any(opened <= ts < closed for opened, closed in _calendar().spans)
    assert _hours().speaks(_bot("BTC/USD", window), AssetClass.CRYPTO, ts) is is_in


def test_times_that_the_clocks_leave_out_or_show_twice() -> None:
    hours = _hours()
    gone = _bot("BTC/USD", Window(start="02:30", end="05:00"))
    span = hours.span(gone, AssetClass.CRYPTO, _ns("2026-03-08", "00:00"))
    assert span is not None
    assert span.opens == _ns("2026-03-08", "03:30")  # half an hour after the change
    twice = _bot("BTC/USD", Window(start="01:30", end="05:00"))
    span = hours.span(twice, AssetClass.CRYPTO, _ns("2026-11-01", "00:00"))
    assert span is not None
    assert span.opens == _ns("2026-11-01", "01:30")  # the first of the two
    assert span.ends - span.opens == 270 * NS_PER_MINUTE
    inside = _bot("BTC/USD", Window(start="02:10", end="02:50"))
    span = hours.span(inside, AssetClass.CRYPTO, _ns("2026-03-08", "00:00"))
    assert span is not None
    assert span.ends - span.opens == 40 * NS_PER_MINUTE


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"start": "12:00", "end": "09:30"}, "end must be after start, 12:00, was 09:30: a window ends on the day"),
        ({"start": "12:00", "end": "12:00"}, "end must be after start"),
        ({"zone": "America/New_Yrok"}, "zone must be a time zone of the IANA list, such as America/New_York"),
        ({"days": ()}, "days must name each day once, and at least one"),
        ({"days": ("mon", "mon")}, "days must name each day once"),
        ({"start": "09:00", "end": "10:00", "flatten_before_s": 3600}, "flatten_before_s must be less than the window"),
    ],
)
def test_refused(given: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Window(**given)  # type: ignore[arg-type]
