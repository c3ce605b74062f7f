"""Trailing stops, orders for the opening and closing auction, and the races of a replacement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderSide, OrderStatus, OrderType, TimeInForce
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    TrailingStopOrderRequest,
)

from tests.exchange.conftest import Start
from tests.exchange.harness import OPEN, Exchange, row
from tests.exchange.test_faults_rest import set_faults
from tests.exchange.test_groups import FLAT, market, refusal

CLOSE = OPEN + timedelta(hours=6, minutes=30)


def trailing(exchange: Exchange, **body: Any) -> dict[str, Any]:
    return exchange.order(symbol="AAPL", type="trailing_stop", side="sell", time_in_force="gtc", **body)


# --- trailing stops -------------------------------------------------------------------------------------------------


def test_a_trailing_stop_by_alpaca_py_follows_the_price_and_fills_as_a_market_order(start: Start) -> None:
    exchange = market(start, FLAT, "100 104 100 104", "104 104 103 103", "103 103 100 101")
    exchange.order(symbol="AAPL", qty=5)
    exchange.step()
    client = exchange.client()
    request = TrailingStopOrderRequest(
        symbol="AAPL", qty=5, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, trail_percent=2
    )
    order = client.submit_order(request)
    assert (order.order_type, order.trail_percent, order.trail_price) == (OrderType.TRAILING_STOP, "2", None)
    assert (order.hwm, order.stop_price, order.status) == ("100", "98", OrderStatus.PENDING_NEW)
    seen = []
    for _ in range(3):
        exchange.step()
        now = client.get_order_by_id(order.id)
        seen.append((now.status, now.hwm, now.stop_price, now.filled_avg_price))
    assert seen == [
        (OrderStatus.NEW, "104", "101.92", None),
        (OrderStatus.NEW, "104", "101.92", None),
        (OrderStatus.FILLED, "104", "101.92", "101.92"),
    ]


def test_a_trail_in_dollars_can_be_replaced_and_keeps_its_best_price(start: Start) -> None:
    exchange = market(start, FLAT, "100 104 100 104", FLAT, "101 102 100.5 101")
    exchange.order(symbol="AAPL", qty=5)
    exchange.step()
    old = trailing(exchange, qty=5, trail_price="5.5")
    exchange.step()
    assert exchange.order_now(old["id"])["stop_price"] == "98.5"
    new = exchange.client().replace_order_by_id(old["id"], ReplaceOrderRequest(trail=3.5))
    assert (new.hwm, new.trail_price, new.trail_percent, new.stop_price) == ("104", "3.5", None, "100.5")
    exchange.step()
    filled = exchange.order_now(str(new.id))
    assert (filled["status"], filled["filled_avg_price"]) == ("filled", "100")
    answer = exchange.call("PATCH", f"/v2/orders/{new.id}", json={"trail": 2})
    assert refusal(answer) == (422, 42210000, "cannot replace order in filled status")


def test_a_bought_trailing_stop_follows_downward_and_only_in_regular_hours(start: Start) -> None:
    early = OPEN - timedelta(minutes=2)
    rows = [row("AAPL", early, FLAT), row("AAPL", early + timedelta(minutes=1), "90 120 80 100")]
    rows += [row("AAPL", OPEN + timedelta(minutes=i), bar) for i, bar in enumerate(("100 101 97 98", "98 101 98 101"))]
    exchange = start(rows)
    exchange.step()
    order = trailing(exchange, qty=5, trail_price=3) | {}
    assert (order["status"], order["hwm"]) == ("accepted", "100")
    exchange.call("DELETE", f"/v2/orders/{order['id']}")
    bought = exchange.order(symbol="AAPL", qty=5, type="trailing_stop", side="buy", trail_price=3)
    exchange.step()
    assert exchange.order_now(bought["id"])["hwm"] == "100", "nothing moves before the open"
    exchange.step()
    assert exchange.order_now(bought["id"])["stop_price"] == "100"
    exchange.step()
    assert exchange.order_now(bought["id"])["filled_avg_price"] == "100"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (40010001, "trailing stop orders must specify one of trail_price or trail_percent")),
        (
            {"trail_price": 1, "trail_percent": 1},
            (40010001, "trailing stop orders must specify one of trail_price or trail_percent"),
        ),
        ({"trail_percent": 0.05}, (40010001, "trail_percent must be greater than or equal to 0.1")),
        ({"trail_percent": 100}, (40010001, "trail_percent must be less than 100")),
        ({"trail_price": 0}, (42210000, "trail_price must be positive")),
        ({"trail_price": 1, "time_in_force": "ioc"}, (42210000, "trailing stop orders must be DAY or GTC orders")),
        ({"trail_price": 1, "stop_price": 5}, (40010001, "trailing_stop orders require no stop price")),
        ({"trail_price": 1, "type": "market"}, (40010001, "market orders require no trail_price or trail_percent")),
        ({"trail_price": 1, "qty": 0.5}, (42210000, "fractional trailing stop orders are not supported")),
        (
            {"trail_price": 1, "symbol": "BTC/USD", "time_in_force": "gtc"},
            (42210000, "invalid order type for crypto order"),
        ),
        (
            {"trail_price": 1, "order_class": "oto", "stop_loss": {"stop_price": 5}},
            (40010001, "oto orders must be market or limit orders"),
        ),
    ],
)
def test_a_bad_trailing_stop_is_refused(exchange: Exchange, body: dict[str, Any], expected: Any) -> None:
    answer = exchange.post_order(**{"symbol": "AAPL", "qty": 1, "type": "trailing_stop", "side": "sell", **body})
    assert refusal(answer) == (422, *expected)


# --- auctions -------------------------------------------------------------------------------------------------------


def day_of(*, missing_open: bool = False) -> list[Any]:
    """Bars before the cut-off, at the open, after it, before the close and at the close, and the next open."""
    early = [OPEN - timedelta(minutes=4), OPEN - timedelta(minutes=3)]
    rows = [row("AAPL", moment, FLAT) for moment in early]
    if not missing_open:
        rows.append(row("AAPL", OPEN, "101 105 95 103"))
    rows.append(row("AAPL", OPEN + timedelta(minutes=1), "103 106 94 104"))
    rows += [row("AAPL", CLOSE - timedelta(minutes=i), f"1{i} 1{i}.5 1{i} 1{i}.25") for i in (12, 11, 2, 1)]
    return [*rows, row("AAPL", OPEN + timedelta(days=1), "50 51 49 50")]


def test_opening_orders_by_alpaca_py_fill_at_the_open_or_end(start: Start) -> None:
    exchange = start(day_of())
    exchange.step()
    client = exchange.client()
    common: dict[str, Any] = {
        "symbol": "AAPL", "qty": 2, "side": OrderSide.BUY, "time_in_force": TimeInForce.OPG,
    }  # fmt: skip
    moo = client.submit_order(MarketOrderRequest(**common))
    loo = client.submit_order(LimitOrderRequest(limit_price=101, **common))
    low = client.submit_order(LimitOrderRequest(limit_price=100, **common))
    assert moo.status is OrderStatus.ACCEPTED
    exchange.step()
    answer = exchange.post_order(symbol="AAPL", qty=1, time_in_force="opg")
    assert refusal(answer) == (403, 40310000, "opg orders must be submitted after 7:00pm and before 9:28am")
    exchange.step()
    shown = [client.get_order_by_id(order.id) for order in (moo, loo, low)]
    assert [(order.status, order.filled_avg_price) for order in shown] == [
        (OrderStatus.FILLED, "101"), (OrderStatus.FILLED, "101"), (OrderStatus.CANCELED, None),
    ]  # fmt: skip


def test_without_a_bar_at_the_open_there_is_no_auction(start: Start) -> None:
    exchange = start(day_of(missing_open=True))
    exchange.step()
    order = exchange.order(symbol="AAPL", qty=1, time_in_force="opg")
    exchange.step(2)
    ended = exchange.order_now(order["id"])
    assert (ended["status"], ended["filled_qty"], ended["canceled_at"]) == ("canceled", "0", "2025-03-10T13:31:00Z")


def test_closing_orders_fill_at_the_close_or_end(start: Start) -> None:
    exchange = start(day_of())
    exchange.step(4)
    market_on_close = exchange.order(symbol="AAPL", qty=2, time_in_force="cls")
    limit_on_close = exchange.order(symbol="AAPL", qty=2, time_in_force="cls", type="limit", limit_price=11)
    assert market_on_close["status"] == "pending_new"
    assert market_on_close["expires_at"] == "2025-03-10T20:00:00Z"
    exchange.step(2)
    assert exchange.order_now(market_on_close["id"])["status"] == "new"
    answer = exchange.post_order(symbol="AAPL", qty=1, time_in_force="cls")
    assert refusal(answer) == (403, 40310000, "cls orders must be submitted after 7:00pm and before 3:50pm")
    exchange.step(2)
    filled = exchange.order_now(market_on_close["id"])
    assert (filled["status"], filled["filled_avg_price"]) == ("filled", "11.25")
    assert exchange.order_now(limit_on_close["id"])["status"] == "canceled"
    assert refusal(exchange.post_order(symbol="AAPL", qty=1, time_in_force="opg"))[0] == 403, "16:00 is before 19:00"
    assert refusal(exchange.post_order(symbol="AAPL", qty=0.5, time_in_force="cls"))[:2] == (422, 42210000)


def test_the_closing_cut_off_of_a_half_day_is_ten_minutes_before_one(start: Start) -> None:
    one = datetime(2024, 11, 29, 18, 0, tzinfo=UTC)
    exchange = start([row("AAPL", one - timedelta(minutes=i), FLAT) for i in (12, 11, 1)])
    exchange.step()
    exchange.order(symbol="AAPL", qty=1, time_in_force="cls")
    exchange.step()
    answer = exchange.post_order(symbol="AAPL", qty=1, time_in_force="cls")
    assert refusal(answer)[2] == "cls orders must be submitted after 7:00pm and before 12:50pm"


# --- replacing what is no longer there ------------------------------------------------------------------------------


def test_replacing_what_is_filled_canceled_replaced_or_on_its_way_is_refused(start: Start) -> None:
    exchange = market(start, FLAT, FLAT)
    client = exchange.client()
    filled = exchange.order(symbol="AAPL", qty=1)
    leaving = exchange.order(symbol="AAPL", qty=1, type="limit", limit_price=50)
    changed = exchange.order(symbol="AAPL", qty=1, type="limit", limit_price=51)
    exchange.step()
    exchange.call("DELETE", f"/v2/orders/{leaving['id']}")
    client.replace_order_by_id(changed["id"], ReplaceOrderRequest(limit_price=52))

    def replaced(order: dict[str, Any]) -> tuple[int, int, str]:
        with pytest.raises(APIError) as caught:
            client.replace_order_by_id(order["id"], ReplaceOrderRequest(qty=3))
        return caught.value.status_code, caught.value.code, caught.value.message

    assert replaced(filled) == (422, 42210000, "cannot replace order in filled status")
    assert replaced(leaving) == (422, 42210000, "cannot replace order in pending_cancel status")
    assert replaced(changed) == (422, 42210000, "order already replaced")
    exchange.step()
    assert replaced(leaving) == (422, 42210000, "cannot replace order in canceled status")
    assert replaced(changed) == (422, 42210000, "order already replaced")
    answer = exchange.call("DELETE", f"/v2/orders/{filled['id']}")
    assert refusal(answer) == (422, 42210000, 'order is already in "filled" state')


def test_a_replacement_counts_on_from_what_the_old_order_filled(start: Start) -> None:
    exchange = market(start, FLAT, FLAT, FLAT, FLAT, volume_share_max=0.004)
    client = exchange.client()
    old = exchange.order(symbol="AAPL", qty=10, type="limit", limit_price=100)
    exchange.step()
    assert exchange.order_now(old["id"])["filled_qty"] == "4"
    answer = exchange.call("PATCH", f"/v2/orders/{old['id']}", json={"qty": 4})
    assert refusal(answer) == (422, 42210000, "qty must be > filled_qty")
    new = client.replace_order_by_id(old["id"], ReplaceOrderRequest(limit_price=101))
    assert (new.qty, new.filled_qty, new.filled_avg_price) == ("10", "4", "100")
    for filled in ("8", "10"):
        exchange.step()
        assert exchange.order_now(str(new.id))["filled_qty"] == filled
    ended = [exchange.order_now(name) for name in (old["id"], str(new.id))]
    assert [(order["status"], order["filled_qty"]) for order in ended] == [("replaced", "4"), ("filled", "10")]
    fills = client.get("/account/activities/FILL", {"direction": "asc"})
    assert [(fill["order_id"] == old["id"], fill["qty"], fill["cum_qty"], fill["leaves_qty"]) for fill in fills] == [
        (True, "4", "4", "6"), (False, "4", "8", "2"), (False, "2", "10", "0"),
    ]  # fmt: skip
    assert exchange.get("/v2/positions/AAPL")["qty"] == "10"


def test_a_replacement_that_waits_counts_what_fills_meanwhile(start: Start) -> None:
    exchange = market(start, FLAT, FLAT, FLAT, volume_share_max=0.004)
    old = exchange.order(symbol="AAPL", qty=6, type="limit", limit_price=100)
    exchange.step()
    set_faults(exchange, {"fault": "fill_before_replace"})
    new = exchange.client().replace_order_by_id(old["id"], ReplaceOrderRequest(limit_price=101))
    exchange.step()
    assert [exchange.order_now(name)["status"] for name in (old["id"], str(new.id))] == ["filled", "rejected"]
    assert exchange.order_now(str(new.id))["filled_qty"] == "0"
    assert exchange.get("/v2/positions/AAPL")["qty"] == "6"


def test_the_quantity_of_a_part_of_a_share_stays(start: Start) -> None:
    exchange = market(start, FLAT)
    order = exchange.order(symbol="AAPL", qty=1.5, type="limit", limit_price=90)
    exchange.step()
    answer = exchange.call("PATCH", f"/v2/orders/{order['id']}", json={"qty": 2})
    assert refusal(answer) == (422, 42210000, "qty of fractional orders cannot be changed")
    new = exchange.client().replace_order_by_id(order["id"], ReplaceOrderRequest(limit_price=91))
    assert (new.qty, new.limit_price) == ("1.5", "91")
