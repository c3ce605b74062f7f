"""Recorded payloads (Alpaca's documentation) and junk through the parser."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.alpaca import parse
from adapters.alpaca.parse import Problem, canonical_symbol, decimal_or_none, rfc3339, time_ns
from engine.messages import Bar
from engine.ports import VenueActivity, VenueExecution, VenueOrder, VenueUpdate
from engine.values import NS_PER_MINUTE, Side
from tests.alpaca.wire import bar_record, relaxed

FILL_UPDATE = {
    "event": "fill",
    "execution_id": "2f63ea93-423d-4169-b3f6-3fdafc10c418",
    "order": {
        "asset_class": "crypto",
        "asset_id": "1cf35270-99ee-44e2-a77f-6fab902c7f80",
        "cancel_requested_at": None,
        "client_order_id": "4642fd68-d59a-47d7-a9ac-e22f536828d1",
        "created_at": "2022-04-19T13:45:04.981350886-04:00",
        "extended_hours": False,
        "filled_at": "2022-04-19T17:45:05.024916716Z",
        "filled_avg_price": "105.8988475",
        "filled_qty": "1790.86",
        "id": "a5be8f5e-fdfa-41f5-a644-7a74fe947a8f",
        "order_type": "market",
        "qty": "1790.86",
        "side": "sell",
        "status": "filled",
        "submitted_at": "2022-04-19T13:45:04.980944666-04:00",
        "symbol": "SOLUSD",
        "time_in_force": "gtc",
        "type": "market",
        "updated_at": "2022-04-19T13:45:05.027690731-04:00",
    },
    "position_qty": "0",
    "price": "105.8988475",
    "qty": "1790.86",
    "timestamp": "2022-04-19T17:45:05.024916716Z",
}
ORDER = {
    "id": "7b08df51-c1ac-453c-99f9-323a5f075f0d",
    "client_order_id": "5680c4bc-9ac1-4a12-a44c-df427ba53032",
    "created_at": "2023-12-12T22:31:24.668464435Z",
    "updated_at": "2023-12-12T22:31:24.668464435Z",
    "submitted_at": "2023-12-12T22:31:24.577215743Z",
    "filled_at": None,
    "symbol": "AAPL",
    "asset_class": "us_equity",
    "notional": None,
    "qty": "2",
    "filled_qty": "0",
    "filled_avg_price": None,
    "order_class": "",
    "type": "limit",
    "side": "buy",
    "time_in_force": "gtc",
    "limit_price": "150",
    "status": "accepted",
    "extended_hours": False,
}
FILL_ACTIVITY = {
    "activity_type": "FILL",
    "id": "20220202135509981::2d7be4ff-d1f3-43e9-856a-0f5cf5c5088e",
    "order_id": "b5abe576-6a8a-49f3-a353-46b72c1ccae9",
    "order_status": "filled",
    "side": "buy",
    "symbol": "AAPL",
    "type": "fill",
    "price": "174.78",
    "qty": "2",
    "cum_qty": "2",
    "leaves_qty": "0",
    "transaction_time": "2022-02-02T18:55:09.981482Z",
}
CFEE = {
    "id": "20220812000000000::53be51ba-46f9-43de-b81f-576f241dc680",
    "activity_type": "CFEE",
    "date": "2022-08-12",
    "net_amount": "0",
    "description": "Coin Pair Transaction Fee (Non USD)",
    "symbol": "ETHUSD",
    "qty": "-0.000195",
    "price": "1884.5",
    "status": "executed",
}
ACCOUNT = {
    "id": "1d9eed04-be39-4e01-9b84-a48ac5bbafcf",
    "account_number": "PALPACA_123",
    "status": "ACTIVE",
    "cash": "122086.50",
    "portfolio_value": "123346.11",
    "equity": "123346.11",
    "buying_power": "245432.61",
}
POSITIONS = [
    {"symbol": "AAPL", "asset_class": "us_equity", "qty": "5", "side": "long", "exchange": "NASDAQ"},
    {"symbol": "TSLA", "asset_class": "us_equity", "qty": "-3.50", "side": "short"},
    {"symbol": "MSFT", "asset_class": "us_equity", "qty": "3", "side": "short"},
    {"symbol": "NONE", "asset_class": "us_equity", "qty": "0", "side": "long"},
    {"symbol": "BTCUSD", "asset_class": "crypto", "qty": "0.99750000", "side": "long"},
]
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


def test_fill_of_trade_updates() -> None:
    update = parse.parse_update(FILL_UPDATE)
    order = VenueOrder(
        client_order_id="4642fd68-d59a-47d7-a9ac-e22f536828d1",
        venue_order_id="a5be8f5e-fdfa-41f5-a644-7a74fe947a8f",
        symbol="SOL/USD",
        side=Side.SELL,
        status="filled",
        quantity=Decimal("1790.86"),
        filled_qty=Decimal("1790.86"),
        avg_px=Decimal("105.8988475"),
        submitted_ns=1650390304980944666,
        updated_ns=1650390305027690731,
    )
    execution = VenueExecution(
        venue_order_id=order.venue_order_id,
        cum_qty=Decimal("1790.86"),
        symbol="SOL/USD",
        side=Side.SELL,
        last_qty=Decimal("1790.86"),
        last_px=Decimal("105.8988475"),
        ts_event=1650390305024916000,
        execution_id="2f63ea93-423d-4169-b3f6-3fdafc10c418",
        client_order_id=order.client_order_id,
    )
    assert update == VenueUpdate("fill", order, 1650390305024916716, execution, "")


def test_same_execution_from_stream_and_activities_is_the_same_but_for_its_ids() -> None:
    update = parse.parse_update(FILL_UPDATE | {"qty": "1790.860", "price": 105.8988475})
    activity = parse.parse_fill(
        {
            "activity_type": "FILL",
            "id": "20220419134505024::aaaa",
            "order_id": FILL_UPDATE["order"]["id"],
            "side": "sell",
            "symbol": "SOL/USD",
            "price": "105.89884750",
            "qty": "1790.86",
            "cum_qty": "1790.86000",
            "transaction_time": "2022-04-19T17:45:05.024916Z",
        }
    )
    assert isinstance(update, VenueUpdate)
    assert isinstance(activity, VenueExecution)
    one, two = update.execution, activity
    assert one is not None
    same = ("venue_order_id", "cum_qty", "symbol", "side", "last_qty", "last_px", "ts_event")
    assert [(str(getattr(one, name))) for name in same] == [(str(getattr(two, name))) for name in same]


@pytest.mark.parametrize("event", ["new", "canceled", "order_cancel_rejected", "something_new", "trade_bust"])
def test_other_events_keep_the_venues_word_and_have_no_execution(event: str) -> None:
    update = parse.parse_update({"event": event, "order": ORDER, "timestamp": "2023-12-12T22:31:25Z"})
    assert isinstance(update, VenueUpdate)
    assert (update.event, update.execution, update.order.status) == (event, None, "accepted")


def test_reason_of_a_rejection_is_kept() -> None:
    update = parse.parse_update({"event": "rejected", "order": ORDER, "timestamp": None, "reason": "no such thing"})
    assert isinstance(update, VenueUpdate)
    assert (update.reason, update.ts_event) == ("no such thing", update.order.updated_ns)


@pytest.mark.parametrize("missing", ["qty", "price", "timestamp"])
def test_fill_without_its_numbers_still_tells_of_the_order(missing: str) -> None:
    update = parse.parse_update(FILL_UPDATE | {missing: None})
    assert isinstance(update, VenueUpdate)
    assert update.execution is None
    assert update.order.filled_qty == Decimal("1790.86")
    assert "fill without an execution" in update.reason


def test_order_of_rest() -> None:
    order = parse.parse_order(ORDER)
    assert isinstance(order, VenueOrder)
    assert (order.quantity, order.filled_qty, order.avg_px) == (Decimal(2), Decimal(0), None)
    assert (order.submitted_ns, order.updated_ns) == (1702420284577215743, 1702420284668464435)


def test_order_with_unknown_words_and_nulls_is_kept_as_it_is() -> None:
    raw = ORDER | {"status": "brand_new_state", "submitted_at": None, "updated_at": None, "qty": None, "zzz": 1}
    order = parse.parse_order(raw | {"asset_class": "treasury"})
    assert isinstance(order, VenueOrder)
    assert (order.status, order.quantity) == ("brand_new_state", None)
    assert order.submitted_ns == order.updated_ns == time_ns(ORDER["created_at"])


@pytest.mark.parametrize("changes", [{"id": None}, {"side": "hold"}, {"symbol": ""}, {"status": 7}])
def test_order_without_what_matters_is_a_problem(changes: dict[str, Any]) -> None:
    assert isinstance(parse.parse_order(ORDER | changes), Problem)


def test_fill_activity() -> None:
    assert parse.parse_fill(FILL_ACTIVITY) == VenueExecution(
        venue_order_id="b5abe576-6a8a-49f3-a353-46b72c1ccae9",
        cum_qty=Decimal(2),
        symbol="AAPL",
        side=Side.BUY,
        last_qty=Decimal(2),
        last_px=Decimal("174.78"),
        ts_event=1643828109981482000,
        activity_id="20220202135509981::2d7be4ff-d1f3-43e9-856a-0f5cf5c5088e",
    )


def test_short_sale_of_an_activity_is_a_sale() -> None:
    execution = parse.parse_fill(FILL_ACTIVITY | {"side": "sell_short"})
    assert isinstance(execution, VenueExecution)
    assert execution.side is Side.SELL


def test_crypto_fee_moves_the_holding() -> None:
    assert parse.parse_activity(CFEE) == VenueActivity(
        id=CFEE["id"],
        kind="CFEE",
        symbol="ETH/USD",
        cash=Decimal(0),
        quantity=Decimal("-0.000195"),
        ts_event=time_ns("2022-08-12T00:00:00-04:00") or 0,
    )


def test_dividend_moves_cash_and_its_quantity_is_only_told() -> None:
    raw = {"activity_type": "DIV", "id": "20190801::5f", "date": "2019-08-01", "net_amount": "1.02", "symbol": "T"}
    activity = parse.parse_activity(raw | {"qty": "2", "per_share_amount": "0.51"})
    assert isinstance(activity, VenueActivity)
    assert (activity.cash, activity.quantity) == (Decimal("1.02"), Decimal(0))


def test_fee_without_symbol() -> None:
    activity = parse.parse_activity({"activity_type": "FEE", "id": "x", "date": "2022-08-12", "net_amount": "-0.01"})
    assert isinstance(activity, VenueActivity)
    assert (activity.symbol, activity.cash, activity.quantity) == ("", Decimal("-0.01"), Decimal(0))


def test_account_with_positions() -> None:
    account = parse.parse_account(ACCOUNT, POSITIONS)
    assert not isinstance(account, Problem)
    assert (account.account_number, account.cash, account.equity) == (
        "PALPACA_123",
        Decimal("122086.5"),
        Decimal("123346.11"),
    )
    held = {"AAPL": Decimal(5), "TSLA": Decimal("-3.5"), "MSFT": Decimal(-3), "BTC/USD": Decimal("0.9975")}
    assert account.positions == held
    assert str(account.positions["BTC/USD"]) == "0.9975"


def test_activity_without_a_time_is_a_problem() -> None:
    assert isinstance(parse.parse_activity(CFEE | {"date": None}), Problem)


def test_account_with_a_position_that_cannot_be_read_is_a_problem() -> None:
    assert isinstance(parse.parse_account(ACCOUNT, [{"symbol": "AAPL", "qty": "many"}]), Problem)


@pytest.mark.parametrize(
    ("day", "opened", "closed"),
    [
        ({"date": "2025-01-02", "open": "09:30", "close": "16:00"}, "2025-01-02T14:30:00Z", "2025-01-02T21:00:00Z"),
        ({"date": "2025-07-03", "open": "09:30", "close": "13:00"}, "2025-07-03T13:30:00Z", "2025-07-03T17:00:00Z"),
    ],
)
def test_session_in_winter_and_on_a_half_day_in_summer(day: dict[str, str], opened: str, closed: str) -> None:
    assert parse.parse_session(day) == (time_ns(opened), time_ns(closed))


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
    for read in (parse.parse_order, parse.parse_update, parse.parse_fill, parse.parse_activity, parse.parse_session):
        assert isinstance(read(junk), Problem)
    assert isinstance(parse.parse_bar(junk, "1m", MINUTE), Problem)
    assert isinstance(parse.parse_account(junk, junk), Problem)
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
    assert isinstance(parse.parse_order(order), VenueOrder | Problem)
    assert isinstance(parse.parse_update(update), VenueUpdate | Problem)
    assert isinstance(parse.parse_update(FILL_UPDATE | {"order": order}), VenueUpdate | Problem)
    assert isinstance(parse.parse_fill(fill), VenueExecution | Problem)
    assert isinstance(parse.parse_activity(fee), VenueActivity | Problem)


@relaxed
@given(st.text(max_size=60))
def test_any_text_as_an_error_body(text: str) -> None:
    parse.parse_error(text)
