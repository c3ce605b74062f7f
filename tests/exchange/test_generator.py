"""Properties of the seeded market."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.exchange.bars import VenueBar
from adapters.exchange.calendar import VenueCalendar, new_york
from adapters.exchange.generator import GeneratedBars, SyntheticBars, generator_symbols, volume_shape
from engine.errors import ConfigError
from engine.values import NS_PER_MINUTE

CALENDAR = VenueCalendar(date(2025, 11, 1), date(2025, 12, 31))
THANKSGIVING = [session for session in CALENDAR.sessions if session.day >= date(2025, 11, 26)][:3]


def market(seed: int, symbols: tuple[str, ...] = ("AAPL", "BTC/USD", "QAAAB"), history: int = 0) -> GeneratedBars:
    return GeneratedBars(symbols, seed, CALENDAR, THANKSGIVING, history)


def minutes(source: GeneratedBars, count: int) -> list[VenueBar]:
    return [bar for _ in range(count) if source.next_open() is not None for bar in source.take()]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_every_bar_is_a_possible_bar(seed: int) -> None:
    for bar in minutes(market(seed), 450):
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.low <= bar.vwap <= bar.high + 1e-6
        assert bar.volume > 0
        assert bar.trade_count >= 1
        assert round(bar.close * 100) == pytest.approx(bar.close * 100, abs=1e-6), "whole cents"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_equal_seeds_give_equal_bars_and_others_differ(seed: int) -> None:
    assert minutes(market(seed), 30) == minutes(market(seed), 30)
    assert minutes(market(seed), 30) != minutes(market(seed + 1), 30)


def test_a_symbols_bars_do_not_depend_on_the_others() -> None:
    alone = minutes(market(7, ("AAPL",)), 100)
    together = [bar for bar in minutes(market(7, ("AAPL", "MSFT", "TSLA")), 100) if bar.symbol == "AAPL"]
    assert alone == together


def test_stocks_keep_to_sessions_and_half_days_and_coins_do_not() -> None:
    stocks = market(1, ("AAPL", "MSFT"))
    bars = minutes(stocks, 10_000)
    assert len(bars) == 2 * (390 + 210 + 390), "Wednesday, half a Friday, Monday"
    assert {new_york(bar.open_ns).date() for bar in bars} == {date(2025, 11, 26), date(2025, 11, 28), date(2025, 12, 1)}
    coins = minutes(market(1, ("BTC/USD",)), 100_000)
    assert [b.open_ns - a.open_ns for a, b in pairwise(coins)] == [60 * 10**9] * (len(coins) - 1)
    assert len(coins) == timedelta(days=5, hours=6, minutes=30).total_seconds() / 60


def test_a_session_opens_with_a_gap_and_has_a_shape() -> None:
    bars = minutes(market(3, ("AAPL",)), 600)
    assert abs(bars[390].open / bars[389].close - 1) > 0.0005
    assert volume_shape(0.0) == 2.5
    assert volume_shape(0.5) == 0.6
    assert volume_shape(1.0) == 2.0
    morning, noon = (sum(bar.volume for bar in bars[a:b]) for a, b in ((0, 30), (180, 210)))
    assert morning > 1.5 * noon


def test_history_ends_where_the_market_begins() -> None:
    source = market(5, ("AAPL",), history=500)
    before = [bar for bars in source.history() for bar in bars]
    assert len(before) == 500
    assert before[-1].open_ns < THANKSGIVING[0].open_ns
    assert source.next_open() == THANKSGIVING[0].open_ns


def test_eleven_thousand_names_are_different_symbols() -> None:
    names = generator_symbols(11_000)
    assert len(set(names)) == 11_000
    assert {"AAPL", "BRK.B"} <= set(names)
    assert list(names) == sorted(names)
    assert generator_symbols(3) == ("AAPL", "GOOGL", "MSFT")


def test_the_test_stream_is_seeded() -> None:
    assert SyntheticBars(1).minute(0) == SyntheticBars(1).minute(0)
    assert SyntheticBars(1).minute(0).symbol == "FAKEPACA"


@pytest.mark.parametrize("symbols", [("AAPL", "MSFT"), ("AAPL", "BTC/USD")])
def test_only_minutes_within_start_and_end_are_played_behind_their_history(symbols: tuple[str, ...]) -> None:
    first, last = THANKSGIVING[0].open_ns + 60 * NS_PER_MINUTE, THANKSGIVING[2].open_ns + 90 * NS_PER_MINUTE
    part = GeneratedBars(symbols, 1, CALENDAR, THANKSGIVING, 30, start_ns=first, end_ns=last)
    before = [bars[0].open_ns for bars in part.history()]
    assert before == [first - number * NS_PER_MINUTE for number in range(30, 0, -1)]
    whole = sorted({bar.open_ns for bar in minutes(market(1, symbols), 100_000)})
    assert sorted({bar.open_ns for bar in minutes(part, 100_000)}) == [ns for ns in whole if first <= ns < last]
    with pytest.raises(ConfigError, match="no minute between the chosen start and end; widen --from and --to"):
        GeneratedBars(("AAPL",), 1, CALENDAR, THANKSGIVING[:1], 0, start_ns=THANKSGIVING[0].close_ns)
