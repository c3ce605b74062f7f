"""Recorded payloads (Alpaca's documentation) and junk through the parser."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.alpaca import parse, parse_account, parse_orders
from adapters.alpaca.activities import parse_activity
from adapters.alpaca.fields import Problem, canonical_symbol, decimal_or_none, rfc3339, time_ns
from engine.messages import Bar
from engine.ports import VenueActivity, VenueExecution, VenueOrder, VenueUpdate
from engine.values import NS_PER_MINUTE
from tests.alpaca.payloads import ACCOUNT, CFEE, FILL_ACTIVITY, FILL_UPDATE, ORDER, POSITIONS
from tests.alpaca.wire import bar_record, relaxed

MINUTE = NS_PER_MINUTE


# --- recorded payloads -----------------------------------------------------------------------------------------------


def test_bar_of_the_stream_is_named_by_its_close() -> None:
    assert parse.parse_bar(bar_record("SPY"), "1m", MINUTE) == Bar(
        "SPY", "1m", 1614021360 * 10**9, 388.985, 389.13, 388.975, 389.12, 49378.0, 461, 389.062639
    )


def test_bar_of_the_history_takes_its_symbol_from_the_key() -> None:
    raw = {"t": "2022-01-03T09:00:00Z", "o": 178.26, "h": 178.26, "l": 178.21, "c": 178.21, "v": 1118, "n": 65}
    bar = parse.parse_bar(raw | {"vw": 178.235733}, "1m", MINUTE, "AAPL")
    assert isinstance(bar, Bar)
    assert (bar.symbol, bar.ts_event, bar.trade_count) == ("AAPL", time_ns("2022-01-03T09:01:00Z"), 65)


def test_crypto_bar_without_trades_is_a_bar() -> None:
    bar = parse.parse_bar(bar_record("BTC/USD", v=0, n=0, vw=0), "1m", MINUTE)
    assert isinstance(bar, Bar)
    assert (bar.volume, bar.trade_count, bar.vwap) == (0.0, 0, 0.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"h": 388.0}, "high must be >= low, was 388.0 < 388.975"),
        ({"c": math.nan}, "close must be > 0, was nan"),
        ({"o": 0}, "open must be > 0, was 0.0"),
        ({"l": -1.5}, "low must be > 0"),
        ({"h": math.inf}, "high must be > 0, was inf"),
        ({"v": -1}, "volume must be >= 0"),
        ({"v": math.nan}, "volume must be >= 0"),
        ({"o": None}, "o must be a number, was None"),
        ({"c": "12"}, "c must be a number, was '12'"),
        ({"t": "yesterday"}, "t must be a time"),
        ({"S": ""}, "S must be a text"),
    ],
)
def test_bad_bar_says_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    problem = parse.parse_bar(bar_record("SPY", **changes), "1m", MINUTE)
    assert isinstance(problem, Problem)
    assert said in problem.what


@pytest.mark.parametrize("missing", ["o", "h", "l", "c", "v", "t", "S"])
def test_missing_key_of_a_bar_is_named(missing: str) -> None:
    record = bar_record("SPY")
    del record[missing]
    problem = parse.parse_bar(record, "1m", MINUTE)
    assert isinstance(problem, Problem)
    assert f"{missing} must be" in problem.what


def test_count_and_vwap_may_be_missing() -> None:
    record = bar_record("SPY", vw=math.nan)
    del record["n"]
    bar = parse.parse_bar(record, "1m", MINUTE)
    assert isinstance(bar, Bar)
    assert (bar.trade_count, bar.vwap) == (None, None)


def test_account_with_positions() -> None:
    account = parse_account.parse_account(ACCOUNT, POSITIONS)
    assert not isinstance(account, Problem)
    assert (account.account_number, account.cash, account.equity) == (
        "PALPACA_123",
        Decimal("122086.5"),
        Decimal("123346.11"),
    )
    held = {"AAPL": Decimal(5), "TSLA": Decimal("-3.5"), "MSFT": Decimal(-3), "BTC/USD": Decimal("0.9975")}
    assert account.positions == held
    assert str(account.positions["BTC/USD"]) == "0.9975"


def test_account_with_a_position_that_cannot_be_read_is_a_problem() -> None:
    assert isinstance(parse_account.parse_account(ACCOUNT, [{"symbol": "AAPL", "qty": "many"}]), Problem)


@pytest.mark.parametrize(
    ("day", "opened", "closed"),
    [
        ({"date": "2025-01-02", "open": "09:30", "close": "16:00"}, "2025-01-02T14:30:00Z", "2025-01-02T21:00:00Z"),
        ({"date": "2025-07-03", "open": "09:30", "close": "13:00"}, "2025-07-03T13:30:00Z", "2025-07-03T17:00:00Z"),
    ],
)
def test_session_in_winter_and_on_a_half_day_in_summer(day: dict[str, str], opened: str, closed: str) -> None:
    assert parse_account.parse_session(day) == (time_ns(opened), time_ns(closed))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (
            '{"code":40010001,"message":"client_order_id must be unique"}',
            ("40010001", "client_order_id must be unique"),
        ),
        ('{"message":"unauthorized."}', ("", "unauthorized.")),
        ("<html>502 Bad Gateway</html>", None),
        ("", None),
        ("[]", None),
        ("{}", None),
    ],
)
def test_error_bodies(text: str, read: tuple[str, str] | None) -> None:
    assert parse.parse_error(text) == read


# --- numbers, times, symbols -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("1.50", "1.5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("-0.0", "0"),
        (0.1, "0.1"),
        (7, "7"),
        (1e-9, "1E-9"),
        ("0.000000001000", "1E-9"),
        ("0.12345678901234567890123456789012345", "0.12345678901234567890123456789012345"),
    ],
)
def test_decimals_have_one_form(value: Any, written: str) -> None:
    assert str(decimal_or_none(value)) == written


@pytest.mark.parametrize("value", [None, True, "", "x", "NaN", "Infinity", math.nan, "1E+999999", "1E-999999", [], {}])
def test_what_is_no_number(value: Any) -> None:
    assert decimal_or_none(value) is None


@relaxed
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=9))
def test_every_money_amount_keeps_its_value(number: Decimal) -> None:
    read = decimal_or_none(str(number))
    assert read == number
    assert "E+" not in str(read)
    assert str(read) == str(decimal_or_none(f"{number:.12f}"))
    assert not ("." in str(read) and str(read).endswith("0"))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2022-04-19T17:45:05.024916716Z", 1650390305024916716),
        ("2022-04-19T13:45:05.024916716-04:00", 1650390305024916716),
        ("2022-04-19T23:15:05.0249+05:30", 1650390305024900000),
        ("2022-04-19 17:45:05z", 1650390305000000000),
        ("2016-12-31T23:59:60Z", 1483228800000000000),
        ("2022-13-19T17:45:05Z", None),
        ("2022-04-19", None),
        ("noon", None),
    ],
)
def test_rfc3339(text: str, ns: int | None) -> None:
    assert time_ns(text) == ns


@relaxed
@given(st.integers(0, 4_000_000_000 * 10**9))
def test_times_come_back(ns: int) -> None:
    assert time_ns(rfc3339(ns)) == ns
    assert time_ns(msgpack.Timestamp(*divmod(ns, 10**9))) == ns


@pytest.mark.parametrize(
    ("symbol", "asset_class", "canonical"),
    [
        ("BTCUSD", "crypto", "BTC/USD"),
        ("BTC/USD", "crypto", "BTC/USD"),
        ("BTCUSD", "", "BTC/USD"),
        ("ETHBTC", "crypto", "ETH/BTC"),
        ("USDTUSD", "crypto", "USDT/USD"),
        ("SHIBUSDT", "", "SHIB/USDT"),
        ("TUSD", "us_equity", "TUSD"),
        ("TUSD", "", "TUSD"),
        ("BRK.B", "", "BRK.B"),
        ("BTCUSD", "us_equity", "BTCUSD"),
        ("AAPL240119C00150000", "", "AAPL240119C00150000"),
    ],
)
def test_canonical_symbols(symbol: str, asset_class: str, canonical: str) -> None:
    assert canonical_symbol(symbol, asset_class) == canonical


# --- junk ------------------------------------------------------------------------------------------------------------

_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=8)
)  # fmt: skip
_junk = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=6)
)


def _damaged(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(sorted(good)), _junk, min_size=1, max_size=4).map(lambda bad: good | bad)


@relaxed
@given(_junk)
def test_no_junk_escapes_as_an_exception(junk: Any) -> None:
    for read in (
        parse_orders.parse_order,
        parse_orders.parse_update,
        parse_orders.parse_fill,
        parse_activity,
        parse_account.parse_session,
    ):
        assert isinstance(read(junk), Problem)
    assert isinstance(parse.parse_bar(junk, "1m", MINUTE), Problem)
    assert isinstance(parse_account.parse_account(junk, junk), Problem)
    decimal_or_none(junk)
    time_ns(junk)


@relaxed
@given(_damaged(bar_record("SPY")))
def test_damaged_bar_is_a_bar_or_a_problem(raw: dict[str, Any]) -> None:
    bar = parse.parse_bar(raw, "1m", MINUTE)
    if isinstance(bar, Bar):
        assert 0 < bar.low <= bar.high < math.inf
        assert 0 <= bar.volume < math.inf
        assert all(math.isfinite(value) for value in (bar.open, bar.close, bar.vwap or 0.0))
    else:
        assert bar.what


@settings(relaxed, max_examples=50)
@given(_damaged(ORDER), _damaged(FILL_UPDATE), _damaged(FILL_ACTIVITY), _damaged(CFEE))
def test_damaged_payloads_are_values_or_problems(order: Any, update: Any, fill: Any, fee: Any) -> None:
    assert isinstance(parse_orders.parse_order(order), VenueOrder | Problem)
    assert isinstance(parse_orders.parse_update(update), VenueUpdate | Problem)
    assert isinstance(parse_orders.parse_update(FILL_UPDATE | {"order": order}), VenueUpdate | Problem)
    assert isinstance(parse_orders.parse_fill(fill), VenueExecution | Problem)
    assert isinstance(parse_activity(fee), VenueActivity | Problem)


@relaxed
@given(st.text(max_size=60))
def test_any_text_as_an_error_body(text: str) -> None:
    parse.parse_error(text)
