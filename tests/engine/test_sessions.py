from __future__ import annotations

import pytest

from engine.messages import Sessions
from engine.sessions import SessionTable
from engine.values import AssetClass

HOUR = 3600 * 10**9
STOCKS, CRYPTO = AssetClass.US_EQUITY, AssetClass.CRYPTO


def _table(*spans: tuple[int, int]) -> SessionTable:
    table = SessionTable()
    table.add(Sessions(STOCKS, spans, 0))
    return table


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        (9 * HOUR - 1, False),
        (9 * HOUR, True),
        (16 * HOUR - 1, True),
        (16 * HOUR, False),
        (20 * HOUR, False),
        (33 * HOUR, True),
        (37 * HOUR, False),
        (10**19, False),
    ],
)
def test_open_is_inclusive_and_close_is_not(at: int, is_open: bool) -> None:
    assert _table((9 * HOUR, 16 * HOUR), (33 * HOUR, 37 * HOUR)).is_open(STOCKS, at) is is_open


def test_an_unknown_moment_is_closed_for_stocks_and_open_for_crypto() -> None:
    assert not SessionTable().is_open(STOCKS, 12 * HOUR)
    assert SessionTable().is_open(CRYPTO, 12 * HOUR)
    assert SessionTable().last_close == 0


def test_a_later_word_on_an_opening_replaces_the_earlier_and_order_of_arrival_does_not_count() -> None:
    table = _table((33 * HOUR, 40 * HOUR))
    table.add(Sessions(STOCKS, ((9 * HOUR, 16 * HOUR), (33 * HOUR, 37 * HOUR)), 0))  # a half day after all
    assert table.is_open(STOCKS, 10 * HOUR)
    assert table.is_open(STOCKS, 36 * HOUR)
    assert not table.is_open(STOCKS, 38 * HOUR)
    assert table.last_close == 37 * HOUR


def test_hours_of_another_market_open_no_stock_exchange() -> None:
    table = SessionTable()
    table.add(Sessions(CRYPTO, ((0, 10**19),), 0))
    assert not table.is_open(STOCKS, 12 * HOUR)


MINUTE = HOUR // 60


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        (9 * HOUR, 9 * HOUR, 0),
        (9 * HOUR, 9 * HOUR + MINUTE - 1, 0),  # the first interval ends a minute after the opening
        (9 * HOUR, 9 * HOUR + MINUTE, 1),
        (9 * HOUR + 30 * 10**9, 9 * HOUR + MINUTE, 1),
        (0, 10 * HOUR, 60),
        (15 * HOUR + 59 * MINUTE, 33 * HOUR + MINUTE, 2),  # the last of a day and the first of the next
        (16 * HOUR, 33 * HOUR, 0),
        (0, 10**16, 11 * 60),
        (50 * HOUR, 60 * HOUR, 0),
        (12 * HOUR, 11 * HOUR, 0),
    ],
)
def test_bars_that_may_have_been_are_those_of_sessions(since: int, until: int, count: int) -> None:
    assert _table((9 * HOUR, 16 * HOUR), (33 * HOUR, 37 * HOUR)).closes(STOCKS, since, until, MINUTE) == count


def test_of_crypto_every_interval_may_have_been() -> None:
    assert SessionTable().closes(CRYPTO, 0, 2 * HOUR, MINUTE) == 120
    assert SessionTable().closes(STOCKS, 0, 2 * HOUR, MINUTE) == 0


def test_the_last_opening_is_known_until_the_next() -> None:
    table = _table((9 * HOUR, 16 * HOUR), (33 * HOUR, 37 * HOUR))
    assert [table.opened_ns(at * HOUR) for at in (8, 9, 20, 33)] == [0, 9 * HOUR, 9 * HOUR, 33 * HOUR]
