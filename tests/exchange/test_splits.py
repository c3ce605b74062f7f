"""Splits, transfers and dividends that control asks for, seen through unmodified alpaca-py."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import Adjustment, CorporateActionsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.enums import CorporateActionDateType, CorporateActionSubType, CorporateActionType, OrderStatus
from alpaca.trading.requests import GetCorporateAnnouncementsRequest

from tests.exchange.conftest import Start
from tests.exchange.harness import OPEN, Exchange, row
from tests.exchange.test_groups import EXITS, FLAT, market
from tests.exchange.test_trading_ws import listening, receive

NEXT = OPEN + timedelta(days=1)
EX_DATE = date(2025, 3, 11)


def two_days(start: Start, **settings: Any) -> Exchange:
    """Three minutes at 100 on each of two days; the source knows of no split."""
    rows = [row(name, day + timedelta(minutes=i), FLAT) for name in ("AAPL", "MSFT") for day in (OPEN, NEXT)
            for i in range(3)]  # fmt: skip
    exchange = start(rows, **settings)
    exchange.step()
    return exchange


def control(exchange: Exchange, path: str, **body: Any) -> Any:
    answer = exchange.http.post(f"{exchange.urls['control']}/{path}", json=body, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(exchange: Exchange, path: str, **body: Any) -> tuple[int, str]:
    answer = exchange.http.post(f"{exchange.urls['control']}/{path}", json=body, timeout=10)
    return answer.status_code, answer.json()["message"]


def held(exchange: Exchange, symbol: str = "AAPL") -> tuple[str, str, str, str]:
    position = exchange.get(f"/v2/positions/{symbol}")
    return position["qty"], position["avg_entry_price"], position["current_price"], position["lastday_price"]


# --- holdings and prices --------------------------------------------------------------------------------------------


def test_a_forward_split_overnight_multiplies_the_holding_and_divides_the_prices(start: Start) -> None:
    exchange = two_days(start)
    exchange.order(symbol="AAPL", qty=10)
    exchange.step()
    split = control(exchange, "splits", symbol="AAPL", ratio=4)
    assert (split["ratio"], split["ex_date"]) == ("4", "2025-03-11")
    exchange.step()
    assert held(exchange) == ("10", "100", "100", "100")
    equity = exchange.get("/v2/account")["equity"]
    exchange.phase("events")
    assert held(exchange)[:3] == ("40", "25", "25"), "before the first bar of the day is out"
    exchange.phase("bars")
    assert held(exchange) == ("40", "25", "25", "25")
    assert exchange.get("/v2/account")["equity"] == equity
    assert exchange.get("/v2/stocks/bars/latest", symbols="AAPL,MSFT")["bars"]["AAPL"]["c"] == 25
    assert exchange.get("/v2/stocks/bars/latest", symbols="AAPL,MSFT")["bars"]["MSFT"]["c"] == 100
    exchange.order(symbol="AAPL", qty=40, side="sell")
    exchange.step()
    assert exchange.get("/v2/positions") == []
    assert exchange.cash() == "100000"


def test_a_reverse_split_keeps_the_parts_of_a_share(start: Start) -> None:
    exchange = two_days(start)
    exchange.order(symbol="AAPL", qty=33)
    exchange.order(symbol="MSFT", qty=7, side="sell")
    exchange.step()
    control(exchange, "splits", symbol="AAPL", new_rate=1, old_rate=20)
    control(exchange, "splits", symbol="MSFT", ratio="0.1", ex_date="2025-03-11")
    exchange.step(2)
    assert held(exchange) == ("1.65", "2000", "2000", "2000")
    assert held(exchange, "MSFT") == ("-0.7", "1000", "1000", "1000")
    rows = exchange.get("/v2/account/activities/SPLIT", direction="asc")
    assert [(it["symbol"], it["qty"], it["activity_sub_type"], it["description"].split(",")[0]) for it in rows] == [
        ("AAPL", "-33", "RSPLIT", "REMOVE"), ("AAPL", "1.65", "RSPLIT", "ADD"),
        ("MSFT", "7", "RSPLIT", "REMOVE"), ("MSFT", "-0.7", "RSPLIT", "ADD"),
    ]  # fmt: skip
    assert rows[0]["description"] == "REMOVE, From QTY:-33, To QTY:1.65, Position Value:3300"
    assert rows[0]["group_id"] == rows[1]["group_id"] != rows[2]["group_id"]
    assert rows[0]["transaction_time"] == "2025-03-11T04:00:00Z"
    assert len({it["id"] for it in rows}) == 4
    assert exchange.status()["activities"] == 0, "rows of a split are no fees"


def test_bars_before_a_split_are_divided_only_where_it_is_asked_for(start: Start) -> None:
    exchange = two_days(start)
    control(exchange, "splits", symbol="AAPL", ratio=4)
    exchange.step(3)
    client = StockHistoricalDataClient("key", "secret", url_override=exchange.urls["data_rest"])

    def closes(adjustment: Adjustment | None, unit: TimeFrameUnit = TimeFrameUnit.Minute) -> list[tuple[float, float]]:
        request = StockBarsRequest(
            symbol_or_symbols="AAPL", timeframe=TimeFrame(1, unit), start=OPEN.replace(hour=0), adjustment=adjustment
        )
        return [(bar.close, bar.volume) for bar in client.get_stock_bars(request)["AAPL"]]

    raw = [(100.0, 1000.0)] * 3 + [(25.0, 4000.0)]
    assert closes(None) == closes(Adjustment.RAW) == closes(Adjustment.DIVIDEND) == raw
    assert closes(Adjustment.SPLIT) == closes(Adjustment.ALL) == [(25.0, 4000.0)] * 4
    assert closes(Adjustment.SPLIT, TimeFrameUnit.Day) == [(25.0, 12000.0), (25.0, 4000.0)]
    assert exchange.call("GET", "/v2/stocks/bars", params={"symbols": "AAPL", "adjustment": "none"}).status_code == 400


def test_a_split_before_the_next_minute(start: Start) -> None:
    exchange = market(start, FLAT, FLAT)
    exchange.order(symbol="AAPL", qty=4)
    exchange.step()
    control(exchange, "splits", symbol="AAPL", ratio="1.5", at_once=True)
    control(exchange, "splits", symbol="AAPL", ratio=2, at_once=True)
    exchange.step()
    assert held(exchange)[:3] == ("12", "33.333333334", "33.3333")


# --- open orders ----------------------------------------------------------------------------------------------------


def orders_over_a_split(exchange: Exchange, ratio: str, **more: str) -> dict[str, dict[str, Any]]:
    """A limit, a stop, a trailing stop, a notional, a bracket, and one of another symbol, over night."""
    exchange.order(symbol="AAPL", qty=20)
    exchange.step()
    common = {"symbol": "AAPL", "time_in_force": "gtc"}
    made = {
        "limit": exchange.order(**common, qty=3, side="sell", type="limit", limit_price="110"),
        "stop": exchange.order(**common, qty=5, side="sell", type="stop", stop_price="80.03"),
        "trail": exchange.order(**common, qty=5, side="sell", type="trailing_stop", trail_price="30"),
        "other": exchange.order(symbol="MSFT", time_in_force="gtc", qty=3, type="limit", limit_price="90"),
        "bracket": exchange.order(
            **common, qty=2, type="limit", limit_price="80", order_class="bracket",
            take_profit={"limit_price": "120"}, stop_loss={"stop_price": "70"},
        ),
    }  # fmt: skip
    exchange.step()
    control(exchange, "splits", symbol="AAPL", ratio=ratio, **more)
    exchange.step()
    return {name: exchange.order_now(order["id"]) for name, order in made.items()}


def test_a_forward_split_adjusts_simple_orders_and_leaves_groups(start: Start) -> None:
    exchange = two_days(start)
    with listening(exchange) as socket:
        now = orders_over_a_split(exchange, "3")
        told = [receive(socket)["data"] for _ in range(exchange.status()["events_emitted"])]
    assert (now["limit"]["qty"], now["limit"]["limit_price"], now["limit"]["status"]) == ("9", "36.67", "new")
    assert (now["stop"]["qty"], now["stop"]["stop_price"]) == ("15", "26.67")
    assert (now["trail"]["qty"], now["trail"]["trail_price"], now["trail"]["stop_price"]) == ("15", "10", "23.34")
    assert (now["other"]["qty"], now["other"]["limit_price"]) == ("3", "90")
    assert now["bracket"]["status"] == "filled", "sent DNR/DNC, it stays at 80 while the price is 33"
    restated = {event["order"]["id"] for event in told if event["event"] == "restated"}
    assert restated == {now[name]["id"] for name in ("limit", "stop", "trail")}


def test_a_reverse_split_cancels_everything_of_the_symbol(start: Start) -> None:
    exchange = two_days(start)
    now = orders_over_a_split(exchange, "0.1")
    assert {name: order["status"] for name, order in now.items()} == {
        "limit": "canceled", "stop": "canceled", "trail": "canceled", "bracket": "canceled", "other": "new",
    }  # fmt: skip
    assert exchange.status()["orders_open"] == 1


@pytest.mark.parametrize(("policy", "status", "qty"), [("keep", "new", "3"), ("cancel", "canceled", "3")])
def test_what_happens_to_orders_can_be_chosen(start: Start, policy: str, status: str, qty: str) -> None:
    exchange = two_days(start)
    order = exchange.order(symbol="AAPL", qty=3, type="limit", limit_price="10", time_in_force="gtc")
    control(exchange, "splits", symbol="AAPL", ratio=2, orders=policy)
    exchange.step(3)
    now = exchange.order_now(order["id"])
    assert (now["status"], now["qty"], now["limit_price"]) == (status, qty, "10")


def test_groups_are_adjusted_where_that_is_chosen(start: Start) -> None:
    exchange = two_days(start)
    order = exchange.order(symbol="AAPL", qty=10, order_class="bracket", time_in_force="gtc", **EXITS)
    exchange.step()
    control(exchange, "splits", symbol="AAPL", ratio=2, orders="adjust")
    exchange.step(3)
    legs = exchange.get(f"/v2/orders/{order['id']}", nested=True)["legs"]
    assert [(leg["qty"], leg["limit_price"], leg["stop_price"], leg["status"]) for leg in legs] == [
        ("20", "52.5", None, "new"), ("20", None, "47.5", "new"),
    ]  # fmt: skip


def test_what_is_left_of_a_part_filled_order_is_multiplied(start: Start) -> None:
    exchange = market(start, FLAT, FLAT, FLAT, volume_share_max=0.004)
    order = exchange.order(symbol="AAPL", qty=10, type="limit", limit_price=100, time_in_force="gtc")
    exchange.step()
    control(exchange, "splits", symbol="AAPL", ratio=2, at_once=True)
    exchange.step()
    now = exchange.order_now(order["id"])
    assert (now["qty"], now["filled_qty"], now["limit_price"]) == ("16", "12", "50"), "4, then 8 of 2000 shares"
    assert exchange.get("/v2/positions/AAPL")["qty"] == "16", "4 became 8, and 8 were bought"


# --- announcements --------------------------------------------------------------------------------------------------


def test_corporate_actions_by_alpaca_py(start: Start) -> None:
    exchange = two_days(start)
    control(exchange, "splits", symbol="AAPL", ratio=4)
    control(exchange, "splits", symbol="MSFT", ratio="0.1", ex_date="2025-03-12")
    client = CorporateActionsClient("key", "secret", url_override=exchange.urls["data_rest"])
    found = client.get_corporate_actions(
        CorporateActionsRequest(symbols=["AAPL", "MSFT"], start=date(2025, 3, 1), end=date(2025, 3, 31))
    ).data
    (forward,), (reverse,) = found["forward_splits"], found["reverse_splits"]
    assert (forward.symbol, forward.new_rate, forward.old_rate, forward.ex_date) == ("AAPL", 4, 1, EX_DATE)
    assert (reverse.symbol, reverse.new_rate, reverse.old_rate) == ("MSFT", 1, 10)
    one = client.get_corporate_actions(CorporateActionsRequest(ids=[str(forward.id)])).data
    assert [split.id for split in one["forward_splits"]] == [forward.id]
    assert client.get_corporate_actions(CorporateActionsRequest(symbols=["AAPL"])).data == {}, "today there is none"
    pages = [exchange.get("/v1/corporate-actions", start="2025-03-01", end="2025-03-31", limit=1)]
    token = pages[0]["next_page_token"]
    pages.append(exchange.get("/v1/corporate-actions", start="2025-03-01", end="2025-03-31", limit=1, page_token=token))
    assert [list(page["corporate_actions"]) for page in pages] == [["forward_splits"], ["reverse_splits"]]
    assert pages[1]["next_page_token"] is None


@pytest.mark.filterwarnings("ignore:get_corporate_announcements is deprecated:DeprecationWarning")
def test_announcements_by_alpaca_py(start: Start) -> None:
    exchange = two_days(start)
    control(exchange, "splits", symbol="AAPL", ratio="0.25")
    client = exchange.client()

    def asked(**more: Any) -> Any:
        span: dict[str, Any] = {"since": date(2025, 3, 1), "until": date(2025, 3, 31)}
        return client.get_corporate_announcements(
            GetCorporateAnnouncementsRequest(**({"ca_types": [CorporateActionType.SPLIT]} | span | more))
        )

    (found,) = asked()
    assert (found.ca_sub_type, found.initiating_symbol, found.old_rate, found.new_rate, found.ex_date) == (
        CorporateActionSubType.REVERSE_SPLIT, "AAPL", 4, 1, EX_DATE,
    )  # fmt: skip
    assert client.get_corporate_announcement_by_id(found.id) == found
    assert asked(ca_types=[CorporateActionType.DIVIDEND]) == []
    assert asked(symbol="MSFT") == []
    assert asked(until=date(2025, 3, 10)) == []
    assert asked(until=date(2025, 3, 10), date_type=CorporateActionDateType.DECLARATION_DATE) == [found]
    long = {"ca_types": "split", "since": "2025-01-01", "until": "2025-12-31"}
    assert exchange.call("GET", "/v2/corporate_actions/announcements", params=long).status_code == 422
    with pytest.raises(APIError):
        client.get_corporate_announcement_by_id("3fa85f64-5717-4562-b3fc-2c963f66afa6")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"symbol": "AAPL", "ratio": 0}, "ratio must be above 0 and not 1, was 0"),
        ({"symbol": "AAPL", "ratio": 1}, "ratio must be above 0 and not 1, was 1"),
        ({"symbol": "AAPL"}, "ratio, or new_rate and old_rate above 0, must be given, was None for None"),
        ({"symbol": "AAPL", "new_rate": 2, "old_rate": 0}, "must be given, was 2 for 0"),
        ({"symbol": "NONE", "ratio": 2}, 'asset "NONE" not found'),
        ({"symbol": "AAPL", "ratio": 2, "ex_date": "2025-03-10"}, "ex_date must be after 2025-03-10, was 2025-03-10"),
        ({"symbol": "AAPL", "ratio": 2, "orders": "burn"}, "invalid request"),
        ({"symbol": "AAPL", "ratios": 2}, "invalid request"),
    ],
)
def test_a_split_that_cannot_be_is_refused(start: Start, body: dict[str, Any], said: str) -> None:
    exchange = two_days(start)
    status, message = refused(exchange, "splits", **body)
    assert status == 422
    assert said in message
    assert exchange.control("splits") == []


def test_no_split_inside_a_minute_of_coins_or_at_the_end(start: Start) -> None:
    exchange = start()
    exchange.step()
    assert refused(exchange, "splits", symbol="BTC/USD", ratio=2)[1] == "BTC/USD is a coin: only stocks are split"
    exchange.phase("events")
    assert refused(exchange, "splits", symbol="AAPL", ratio=2, at_once=True)[0] == 409
    exchange.phase("bars")
    exchange.step(60)
    assert "the market is at its end" in refused(exchange, "splits", symbol="AAPL", ratio=2)[1]


# --- activities -----------------------------------------------------------------------------------------------------


def test_transfers_dividends_and_interest_move_cash_and_are_told(start: Start) -> None:
    exchange = two_days(start)
    exchange.order(symbol="AAPL", qty=10)
    exchange.step()
    control(exchange, "activities", activity_type="CSD", net_amount=1000)
    control(exchange, "activities", activity_type="INT", net_amount="-3.01", activity_sub_type="MGN")
    paid = control(exchange, "activities", activity_type="DIV", net_amount="2.50", symbol="AAPL", qty=10)
    assert exchange.cash() == "99999.49"
    assert exchange.get("/v2/positions/AAPL")["qty"] == "10", "a dividend's shares are told only"
    shown = exchange.client().get("/account/activities", {"category": "non_trade_activity", "direction": "asc"})
    told = [(it["activity_type"], it["net_amount"]) for it in shown if it["activity_type"] != "FILL"]
    assert told == [("CSD", "1000"), ("INT", "-3.01"), ("DIV", "2.5")]
    assert paid["id"] in {it["id"] for it in shown}
    assert exchange.status()["activities"] == 3


def test_shares_come_and_go(start: Start) -> None:
    exchange = two_days(start)
    control(exchange, "activities", activity_type="ACATS", symbol="MSFT", qty=4, price=50)
    control(exchange, "activities", activity_type="JNLS", symbol="AAPL", qty="-2.5")
    assert held(exchange, "MSFT")[:2] == ("4", "50")
    assert held(exchange)[:2] == ("-2.5", "100")
    control(exchange, "activities", activity_type="JNLS", symbol="AAPL", qty="2.5")
    control(exchange, "activities", activity_type="OCT", symbol="MSFT", qty="1", moves_qty=True)
    assert [position["qty"] for position in exchange.get("/v2/positions")] == ["5"]
    assert exchange.client().get_open_position("MSFT").qty == "5"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"activity_type": "FILL", "net_amount": 1}, "activity_type must be a kind but FILL, was 'FILL'"),
        ({"activity_type": "", "net_amount": 1}, "activity_type must be a kind"),
        ({"activity_type": "JNLS", "qty": 1}, 'asset "" not found'),
        ({"activity_type": "JNLS", "qty": 1, "symbol": "NONE"}, 'asset "NONE" not found'),
        ({"activity_type": "CSD", "net_amount": "NaN"}, "qty and net_amount must be numbers"),
        ({"activity_type": "CSD", "amount": 1}, "invalid request"),
    ],
)
def test_an_activity_that_cannot_be_is_refused(start: Start, body: dict[str, Any], said: str) -> None:
    exchange = two_days(start)
    status, message = refused(exchange, "activities", **body)
    assert status == 422
    assert said in message
    assert exchange.cash() == "100000"


def test_an_order_placed_by_hand_shows_as_any_other(start: Start) -> None:
    exchange = two_days(start)
    order = exchange.order(symbol="AAPL", qty=4, client_order_id="by-hand")
    exchange.step()
    shown = exchange.client().get_order_by_id(order["id"])
    assert (shown.status, shown.client_order_id) == (OrderStatus.FILLED, "by-hand")
    exchange.order(symbol="AAPL", qty=1, side="sell", type="limit", limit_price=120)
    exchange.step()
    position = exchange.client().get_open_position("AAPL")
    assert (position.qty, position.qty_available) == ("4", "3")
