"""Brackets, OCOs and OTOs through the unmodified TradingClient, minute by minute on bars by hand."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)

from tests.exchange.conftest import Start
from tests.exchange.harness import OPEN, Exchange, row
from tests.exchange.test_trading_ws import listening, receive

FLAT = "100 100 100 100"
EXITS = {"take_profit": {"limit_price": 105}, "stop_loss": {"stop_price": 95}}
names = itertools.count()


def market(start: Start, *prices: str, **settings: Any) -> Exchange:
    """An exchange one minute after the open: a flat bar at 100, then the bars given."""
    rows = [row("AAPL", OPEN + timedelta(minutes=i), bar) for i, bar in enumerate((FLAT, *prices, *[FLAT] * 3))]
    exchange = start(rows, **settings)
    exchange.step()
    return exchange


def bracket(exchange: Exchange, **body: Any) -> dict[str, Any]:
    return exchange.order(**{"symbol": "AAPL", "qty": 10, "order_class": "bracket", **EXITS, **body})


def refusal(answer: Any) -> tuple[int, int, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["message"]


def states(exchange: Exchange, order: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Status and quantity of parent, take profit (limit) and stop loss (stop)."""
    parent = exchange.get(f"/v2/orders/{order['id']}", nested=True)
    return {"parent": (parent["status"], parent["qty"])} | {
        leg["type"]: (leg["status"], leg["qty"]) for leg in parent["legs"] or []
    }


def test_a_bracket_by_alpaca_py_waits_is_activated_and_ends_as_one(start: Start) -> None:
    exchange = market(start, FLAT, "100 106 100 105")
    client = exchange.client()
    order = client.submit_order(
        MarketOrderRequest(
            symbol="AAPL", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=105), stop_loss=StopLossRequest(stop_price=95, limit_price=94.5),
            client_order_id="b",
        )
    )  # fmt: skip
    assert (order.order_class, order.status) == (OrderClass.BRACKET, OrderStatus.PENDING_NEW)
    assert [
        (leg.status, leg.side, str(leg.order_type.value), leg.limit_price, leg.stop_price) for leg in order.legs
    ] == [
        (OrderStatus.HELD, OrderSide.SELL, "limit", "105", None),
        (OrderStatus.HELD, OrderSide.SELL, "stop_limit", "94.5", "95"),
    ]
    with listening(exchange) as socket:
        exchange.step(2)
        events = [receive(socket)["data"] for _ in range(6)]
    take, stop = (str(leg.id) for leg in order.legs)
    ids = {str(order.id): "parent", take: "take", stop: "stop"}
    assert [(ids[e["order"]["id"]], e["event"]) for e in events] == [
        ("parent", "new"), ("parent", "fill"), ("take", "new"), ("stop", "new"), ("take", "fill"), ("stop", "canceled"),
    ]  # fmt: skip
    assert [e["order"]["legs"] for e in events] == [None] * 6
    nested = client.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    assert [leg.filled_avg_price for leg in nested.legs] == ["105", None]
    assert client.get_order_by_id(order.id).legs is None
    assert exchange.get("/v2/positions") == []
    everything = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))
    assert {str(found.id) for found in everything} == set(ids)
    rolled = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True))
    assert [(str(found.id), len(found.legs)) for found in rolled] == [(str(order.id), 2)]


@pytest.mark.parametrize(
    ("bar", "ended", "price"),
    [
        ("100 106 94 100", "stop", "95"),  # both inside one bar: nobody knows which came first, so the loss
        ("106 107 94 100", "limit", "106"),  # opens at the gain
        ("93 107 92 100", "stop", "93"),
        ("100 104 96 100", None, None),
    ],
)
def test_of_two_exits_in_one_bar_one_fills(start: Start, bar: str, ended: str | None, price: str | None) -> None:
    exchange = market(start, FLAT, bar)
    order = bracket(exchange)
    exchange.step(2)
    legs = {leg["type"]: leg for leg in exchange.get(f"/v2/orders/{order['id']}", nested=True)["legs"]}
    if ended is None:
        assert {leg["status"] for leg in legs.values()} == {"new"}
        return
    other = "limit" if ended == "stop" else "stop"
    assert (legs[ended]["status"], legs[ended]["filled_avg_price"]) == ("filled", price)
    assert (legs[other]["status"], legs[other]["filled_qty"]) == ("canceled", "0")


def test_exits_do_not_fill_in_the_minute_of_the_entry(start: Start) -> None:
    exchange = market(start, "100 110 90 100", FLAT)
    order = bracket(exchange)
    exchange.step(2)
    assert states(exchange, order) == {"parent": ("filled", "10"), "limit": ("new", "10"), "stop": ("new", "10")}


def test_legs_wait_for_the_whole_entry_and_a_part_of_the_gain_shrinks_the_stop(start: Start) -> None:
    exchange = market(
        start, FLAT, FLAT, "105 105 105 105", "105 105 105 105", "95 95 95 95", volume_share_max=0.006
    )  # six shares of a thousand
    order = bracket(exchange)
    exchange.step()
    assert states(exchange, order)["limit"] == ("held", "10")
    exchange.step()
    assert states(exchange, order) == {"parent": ("filled", "10"), "limit": ("new", "10"), "stop": ("new", "10")}
    exchange.step()
    assert states(exchange, order)["stop"] == ("new", "4")
    assert states(exchange, order)["limit"] == ("partially_filled", "10")
    exchange.step()
    assert states(exchange, order) == {"parent": ("filled", "10"), "limit": ("filled", "10"), "stop": ("canceled", "4")}
    assert exchange.get("/v2/positions") == []


def test_legs_take_the_quantity_that_the_entry_filled_after_a_replacement(start: Start) -> None:
    exchange = market(start, FLAT, "99 99 99 99")
    order = bracket(exchange, type="limit", limit_price=99)
    exchange.step()
    new = exchange.client().replace_order_by_id(order["id"], ReplaceOrderRequest(qty=7))
    assert [leg.qty for leg in new.legs] == ["7", "7"]
    exchange.step()
    shown = states(exchange, {"id": str(new.id)})
    assert shown == {"parent": ("filled", "7"), "limit": ("new", "7"), "stop": ("new", "7")}
    assert exchange.order_now(order["id"])["status"] == "replaced"
    assert exchange.get("/v2/positions/AAPL")["qty_available"] == "0", "two exits hold the shares once"


@pytest.mark.parametrize("which", ["parent", "limit", "stop"])
def test_canceling_one_cancels_the_group(start: Start, which: str) -> None:
    exchange = market(start, FLAT)
    order = bracket(exchange, type="limit", limit_price=96.5)
    exchange.step()
    legs = {leg["type"]: leg for leg in order["legs"]}
    chosen = order if which == "parent" else legs[which]
    exchange.client().cancel_order_by_id(chosen["id"])
    exchange.step()
    assert states(exchange, order) == {
        "parent": ("canceled", "10"),
        "limit": ("canceled", "10"),
        "stop": ("canceled", "10"),
    }
    assert exchange.status()["orders_open"] == 0


def test_the_prices_of_legs_can_be_replaced(start: Start) -> None:
    exchange = market(start, FLAT, FLAT, "100 103 100 103")
    order = bracket(exchange)
    legs = {leg["type"]: leg for leg in order["legs"]}
    client = exchange.client()
    held = client.replace_order_by_id(legs["stop"]["id"], ReplaceOrderRequest(stop_price=96))
    assert held.status is OrderStatus.HELD
    exchange.step()
    assert exchange.order_now(str(held.id))["status"] == "new"
    client.replace_order_by_id(legs["limit"]["id"], ReplaceOrderRequest(limit_price=102))
    answer = exchange.call("PATCH", f"/v2/orders/{held.id}", json={"qty": 3})
    assert refusal(answer) == (422, 42210000, "qty of bracket and oco legs cannot be changed")
    exchange.step(2)
    nested = exchange.get(f"/v2/orders/{order['id']}", nested=True)
    assert {leg["type"]: (leg["status"], leg["filled_avg_price"]) for leg in nested["legs"]} == {
        "limit": ("filled", "102"), "stop": ("canceled", None),
    }  # fmt: skip


def test_an_oco_by_alpaca_py_closes_a_position(start: Start) -> None:
    exchange = market(start, FLAT, FLAT, "96 97 94 95")
    exchange.order(symbol="AAPL", qty=10)
    exchange.step()
    client = exchange.client()
    order = client.submit_order(
        LimitOrderRequest(
            symbol="AAPL", qty=10, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, order_class=OrderClass.OCO,
            take_profit=TakeProfitRequest(limit_price=105), stop_loss=StopLossRequest(stop_price=95),
        )
    )  # fmt: skip
    assert (order.limit_price, order.legs[0].stop_price, order.legs[0].status) == ("105", "95", OrderStatus.HELD)
    exchange.step()
    assert states(exchange, {"id": str(order.id)}) == {"parent": ("new", "10"), "stop": ("new", "10")}
    assert exchange.get("/v2/positions/AAPL")["qty_available"] == "0"
    exchange.step()
    assert states(exchange, {"id": str(order.id)}) == {"parent": ("canceled", "10"), "stop": ("filled", "10")}
    assert exchange.get("/v2/positions") == []


def test_an_oto_has_one_exit_and_a_short_bracket_is_the_mirror(start: Start) -> None:
    exchange = market(start, FLAT, "100 106 99 105")
    oto = exchange.order(symbol="AAPL", qty=3, order_class="oto", stop_loss={"stop_price": 95})
    assert [(leg["type"], leg["status"]) for leg in oto["legs"]] == [("stop", "held")]
    exchange.step()
    assert states(exchange, oto) == {"parent": ("filled", "3"), "stop": ("new", "3")}
    answer = exchange.call("PATCH", f"/v2/orders/{oto['legs'][0]['id']}", json={"stop_price": 96})
    assert refusal(answer) == (422, 42210000, "replacing oto orders is not supported")


def test_a_short_bracket_is_the_mirror(start: Start) -> None:
    exchange = market(start, FLAT, "100 106 99 105")
    short = bracket(exchange, side="sell", take_profit={"limit_price": 95}, stop_loss={"stop_price": 105})
    assert {leg["side"] for leg in short["legs"]} == {"buy"}
    exchange.step(2)
    assert states(exchange, short) == {
        "parent": ("filled", "10"),
        "limit": ("canceled", "10"),
        "stop": ("filled", "10"),
    }
    assert exchange.cash() == "99950"


def test_a_day_bracket_ends_with_its_session(start: Start) -> None:
    close = OPEN + timedelta(hours=6, minutes=30)
    rows = [row("AAPL", close - timedelta(minutes=i), FLAT) for i in (3, 2, 1)]
    exchange = start(rows)
    exchange.step()
    waiting, filled = bracket(exchange, type="limit", limit_price=96), bracket(exchange)
    exchange.step(2)
    expired = {"parent": ("expired", "10"), "limit": ("expired", "10"), "stop": ("expired", "10")}
    assert states(exchange, waiting) == expired
    assert states(exchange, filled) == {**expired, "parent": ("filled", "10")}


MARKET = {"symbol": "AAPL", "qty": 1}
GAIN, LOSS = {"take_profit": {"limit_price": 105}}, {"stop_loss": {"stop_price": 95}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (GAIN, (40010001, "take_profit and stop_loss require order_class bracket, oco or oto")),
        ({"order_class": "bracket", **GAIN}, (40010001, "bracket orders require stop_loss.stop_price")),
        ({"order_class": "bracket", **LOSS}, (40010001, "bracket orders require take_profit.limit_price")),
        (
            {"order_class": "bracket", "type": "stop", "stop_price": 101, **EXITS},
            (40010001, "bracket orders must be market or limit orders"),
        ),
        ({"order_class": "oco", **EXITS}, (40010001, "oco orders must be limit orders")),
        ({"order_class": "oto", **EXITS}, (40010001, "oto orders require one of take_profit or stop_loss")),
        ({"order_class": "bracket", **EXITS, "qty": 0.5}, (42210000, "fractional orders must be simple orders")),
        (
            {"order_class": "bracket", **EXITS, "time_in_force": "ioc"},
            (42210000, "complex orders must be DAY or GTC orders"),
        ),
        (
            {"order_class": "bracket", **EXITS, "type": "limit", "limit_price": 99, "extended_hours": True},
            (42210000, "complex orders are not supported in extended hours"),
        ),
        (
            {"order_class": "bracket", "take_profit": {"limit_price": 95}, "stop_loss": {"stop_price": 96}},
            (42210000, "take_profit.limit_price must be > stop_loss.stop_price"),
        ),
        (
            {"order_class": "bracket", "take_profit": {"limit_price": 105}, "stop_loss": {"stop_price": 100}},
            (42210000, "stop_loss.stop_price must be <= base_price - 0.01"),
        ),
        (
            {"order_class": "bracket", "take_profit": {"limit_price": 100}, "stop_loss": {"stop_price": 95}},
            (42210000, "take_profit.limit_price must be >= base_price + 0.01"),
        ),
        (
            {"order_class": "bracket", "take_profit": {"limit_price": 105.123}, **LOSS},
            (
                42210000,
                "invalid take_profit.limit_price 105.123. sub-penny increment does not fulfill minimum pricing criteria",
            ),
        ),
        ({"order_class": "oco", "type": "limit", **EXITS, "side": "sell"}, (42210000, "oco orders must be exit orders")),
    ],
)  # fmt: skip
def test_a_bad_group_is_refused_with_alpacas_code(flat_once: Exchange, body: dict[str, Any], expected: Any) -> None:
    answer = (
        flat_once.post_order(**MARKET, **body) if "qty" not in body else flat_once.post_order(symbol="AAPL", **body)
    )
    assert refusal(answer) == (422, *expected)
    assert flat_once.status()["orders_accepted"] == 0
    if "base_price" in expected[1]:
        assert answer.json()["base_price"] == "100"


@pytest.fixture(scope="module")
def flat_once(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from adapters.exchange.config import ExchangeConfig
    from tests.exchange.harness import running, write_csv

    rows = [row("AAPL", OPEN + timedelta(minutes=i), FLAT) for i in range(3)]
    path = write_csv(tmp_path_factory.mktemp("flat") / "bars.csv", rows)
    with running(ExchangeConfig(bars=path, speed="max")) as exchange:
        exchange.step()
        yield exchange


def test_brackets_are_entries_and_exempt_from_the_wash_trade_rule(start: Start) -> None:
    exchange = market(start)
    bracket(exchange)
    exchange.step()
    answer = exchange.post_order(symbol="AAPL", qty=1, order_class="bracket", side="sell", **EXITS)
    assert refusal(answer)[:2] == (422, 42210000)
    answer = exchange.post_order(
        symbol="AAPL", qty=1, order_class="bracket", side="sell", take_profit={"limit_price": 95},
        stop_loss={"stop_price": 105},
    )  # fmt: skip
    assert refusal(answer) == (422, 42210000, "bracket orders must be entry orders")
    assert refusal(exchange.post_order(symbol="AAPL", qty=1))[2].startswith("potential wash trade")
    bracket(exchange)
