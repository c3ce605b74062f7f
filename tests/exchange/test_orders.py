"""Orders over REST: the unmodified TradingClient for every call, raw requests for bodies and codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
)

from tests.exchange.conftest import Start
from tests.exchange.harness import FIRST, OPEN, Exchange, rising, row


@pytest.fixture
def opened(exchange: Exchange) -> Exchange:
    """The exchange two minutes after the open: AAPL 103.5, MSFT 203.5, BTC/USD 5003.5."""
    exchange.step_to(OPEN + timedelta(minutes=2))
    return exchange


SUB_PENNY = "sub-penny increment does not fulfill minimum pricing criteria"
FRACTIONAL = "fractional orders must be DAY orders"
DECIMALS = "qty must have no more than 9 decimal places"


def refusal(answer: Any) -> tuple[int, int, str]:
    body = answer.json()
    return answer.status_code, body["code"], body["message"]


# --- alpaca-py ------------------------------------------------------------------------------------------------------


def test_market_order_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    request = MarketOrderRequest(
        symbol="AAPL", qty=3, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="m1"
    )
    order = client.submit_order(request)
    assert (order.status, order.filled_qty, order.qty) == (OrderStatus.PENDING_NEW, "0", "3")
    assert order.submitted_at == OPEN + timedelta(minutes=2)
    opened.step()
    filled = client.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    assert (filled.status, filled.filled_qty, filled.filled_avg_price) == (OrderStatus.FILLED, "3", "104")
    assert filled.filled_at == OPEN + timedelta(minutes=3)
    assert client.get_order_by_client_id("m1").id == order.id


def test_limit_stop_and_stop_limit_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    common = {"side": OrderSide.BUY, "time_in_force": TimeInForce.DAY, "qty": 1}
    limit = client.submit_order(LimitOrderRequest(symbol="AAPL", limit_price=103.25, **common))
    stop = client.submit_order(StopOrderRequest(symbol="AAPL", stop_price=104.75, **common))
    both = client.submit_order(StopLimitOrderRequest(symbol="MSFT", stop_price=204.5, limit_price=204.75, **common))
    opened.step()
    prices = [client.get_order_by_id(order.id).filled_avg_price for order in (limit, stop, both)]
    assert prices == ["103.25", "104.75", "204.5"]


def test_notional_crypto_order_by_alpaca_py(opened: Exchange) -> None:
    request = MarketOrderRequest(symbol="BTC/USD", notional=25.0, side=OrderSide.BUY, time_in_force=TimeInForce.GTC)
    order = opened.client().submit_order(request)
    opened.step()
    filled = opened.order_now(str(order.id))
    assert (filled["status"], filled["qty"], filled["notional"]) == ("filled", None, "25")
    assert (filled["filled_qty"], filled["filled_avg_price"]) == ("0.004996003", "5004")


def test_lists_of_orders_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    first = opened.order(symbol="AAPL", qty=1, client_order_id="a")
    opened.step()
    second = opened.order(symbol="AAPL", qty=1, type="limit", limit_price=1, client_order_id="b")
    third = opened.order(symbol="MSFT", qty=1, type="limit", limit_price="1.00", client_order_id="c")

    def ids(**query: Any) -> list[str]:
        return [order.client_order_id for order in client.get_orders(GetOrdersRequest(**query))]

    assert ids() == ["c", "b"]
    assert ids(status=QueryOrderStatus.ALL, direction="asc") == ["a", "b", "c"]
    assert ids(status=QueryOrderStatus.CLOSED) == ["a"]
    assert ids(status=QueryOrderStatus.ALL, limit=1) == ["c"]
    assert ids(status=QueryOrderStatus.ALL, symbols=["AAPL"]) == ["b", "a"]
    assert ids(status=QueryOrderStatus.ALL, side=OrderSide.SELL) == []
    submitted = datetime.fromisoformat(first["submitted_at"])
    assert ids(status=QueryOrderStatus.ALL, after=submitted) == ["c", "b"]
    assert ids(status=QueryOrderStatus.ALL, until=submitted) == []
    assert ids(status=QueryOrderStatus.ALL, until=submitted + timedelta(seconds=1)) == ["a"]
    page = opened.get("/v2/orders", status="all", direction="asc", after_order_id=first["id"], limit=1)
    assert [order["id"] for order in page] == [second["id"]]
    page = opened.get("/v2/orders", status="all", before_order_id=third["id"])
    assert [order["id"] for order in page] == [second["id"], first["id"]]
    assert refusal(opened.call("GET", "/v2/orders?limit=501"))[:2] == (422, 40010001)
    assert refusal(opened.call("GET", "/v2/orders?after=yesterday"))[:2] == (422, 40010001)


def test_cancel_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    order = opened.order(symbol="AAPL", qty=1, type="limit", limit_price=1)
    assert client.cancel_order_by_id(order["id"]) is None
    assert opened.order_now(order["id"])["status"] == "pending_cancel"
    opened.step()
    canceled = opened.order_now(order["id"])
    assert (canceled["status"], canceled["canceled_at"]) == ("canceled", "2025-03-10T13:32:00Z")
    with pytest.raises(APIError) as caught:
        client.cancel_order_by_id(order["id"])
    assert (caught.value.status_code, caught.value.code) == (422, 42210000)
    answer = opened.call("DELETE", "/v2/orders/7b08df51-c1ac-453c-99f9-323a5f075f0d")
    assert refusal(answer) == (404, 40410000, "order not found for 7b08df51-c1ac-453c-99f9-323a5f075f0d")


def test_a_canceled_order_does_not_fill(opened: Exchange) -> None:
    order = opened.order(symbol="AAPL", qty=1)
    assert opened.call("DELETE", f"/v2/orders/{order['id']}").status_code == 204
    assert opened.call("DELETE", f"/v2/orders/{order['id']}").status_code == 204, "asking again changes nothing"
    opened.step()
    assert opened.order_now(order["id"])["filled_qty"] == "0"
    assert opened.status()["executions"] == 0


def test_cancel_all_by_alpaca_py(opened: Exchange) -> None:
    orders = {opened.order(symbol=name, qty=1, type="limit", limit_price=1)["id"] for name in ("AAPL", "MSFT")}
    answers = opened.client().cancel_orders()
    assert {str(answer.id) for answer in answers} == orders
    assert {answer.status for answer in answers} == {200}
    opened.step()
    assert opened.status()["orders_open"] == 0
    assert opened.call("DELETE", "/v2/orders").status_code == 207


def test_replace_by_alpaca_py(opened: Exchange) -> None:
    client = opened.client()
    old = opened.order(symbol="AAPL", qty=2, type="limit", limit_price=1, client_order_id="old")
    opened.step()
    new = client.replace_order_by_id(old["id"], ReplaceOrderRequest(qty=3, limit_price=104.5, client_order_id="new"))
    assert (str(new.replaces), new.qty, new.limit_price, new.status) == (
        old["id"],
        "3",
        "104.5",
        OrderStatus.PENDING_NEW,
    )
    assert opened.order_now(old["id"])["status"] == "pending_replace"
    opened.step()
    was = opened.order_now(old["id"])
    assert (was["status"], was["replaced_by"], was["replaced_at"]) == ("replaced", str(new.id), "2025-03-10T13:33:00Z")
    assert client.get_order_by_client_id("new").filled_avg_price == "104.5"


def test_replace_is_refused(opened: Exchange) -> None:
    order = opened.order(symbol="AAPL", qty=2, type="limit", limit_price=1)
    path = f"/v2/orders/{order['id']}"
    assert refusal(opened.call("PATCH", path, json={"qty": 3}))[:2] == (422, 42210000), "still pending_new"
    opened.step()
    assert refusal(opened.call("PATCH", path, json={"qty": "2"})) == (422, 42210000, "order parameters are not changed")
    assert refusal(opened.call("PATCH", path, json={"qty": 0})) == (422, 42210000, "qty must be positive")
    assert refusal(opened.call("PATCH", path, json={"limit_price": 1.001}))[0] == 422
    assert refusal(opened.call("PATCH", path, json={"trail": 1}))[0] == 422
    assert refusal(opened.call("PATCH", path, json={"qty": 10_000, "limit_price": 100}))[:2] == (403, 40310000)
    assert refusal(opened.call("PATCH", "/v2/orders/none", json={"qty": 3}))[:2] == (404, 40410000)
    notional = opened.order(symbol="AAPL", notional=10, type="limit", limit_price=1)
    opened.step()
    answer = refusal(opened.call("PATCH", f"/v2/orders/{notional['id']}", json={"limit_price": 2}))
    assert answer == (422, 42210000, "notional orders cannot be replaced")
    assert opened.order_now(order["id"])["status"] == "new"


# --- time in force --------------------------------------------------------------------------------------------------


def test_an_order_before_the_open_waits_for_the_first_regular_bar(exchange: Exchange) -> None:
    order = exchange.order(symbol="AAPL", qty=1)
    assert (order["status"], order["submitted_at"]) == ("accepted", "2025-03-10T13:28:00Z")
    assert order["expires_at"] == "2025-03-10T20:00:00Z"
    exchange.step(2)
    assert exchange.order_now(order["id"])["status"] == "accepted"
    exchange.step()
    filled = exchange.order_now(order["id"])
    assert (filled["status"], filled["filled_avg_price"], filled["filled_at"]) == (
        "filled",
        "102",
        "2025-03-10T13:31:00Z",
    )


def test_an_extended_hours_limit_order_fills_before_the_open(exchange: Exchange) -> None:
    order = exchange.order(symbol="AAPL", qty=1, type="limit", limit_price=150, extended_hours=True)
    assert (order["status"], order["expires_at"]) == ("pending_new", "2025-03-11T00:00:00Z")
    exchange.step()
    assert exchange.order_now(order["id"])["filled_avg_price"] == "100"


def test_day_orders_end_with_their_session_and_later_ones_wait_for_the_next(start: Start) -> None:
    close = datetime(2025, 3, 10, 20, 0, tzinfo=UTC)
    tuesday = datetime(2025, 3, 11, 13, 30, tzinfo=UTC)
    rows = [row("AAPL", close - timedelta(minutes=i), "100 101 99 100") for i in (3, 2, 1)]
    rows += [row("AAPL", close, "50 50 50 50"), row("AAPL", tuesday, "70 71 69 70")]
    exchange = start(rows)
    exchange.step()
    day = exchange.order(symbol="AAPL", qty=1, type="limit", limit_price=60)
    gtc = exchange.order(symbol="AAPL", qty=2, type="limit", limit_price=60, time_in_force="gtc")
    exchange.step(2)
    expired = exchange.order_now(day["id"])
    assert (expired["status"], expired["expired_at"]) == ("expired", "2025-03-10T20:00:00Z")
    assert exchange.order_now(gtc["id"])["expires_at"] == "2025-06-08T20:15:00Z"
    late = exchange.order(symbol="AAPL", qty=1)
    assert (late["status"], late["expires_at"]) == ("accepted", "2025-03-11T20:00:00Z")
    exchange.step()
    # The bar at 50 is after hours: neither the gtc limit nor the queued market order may trade in it.
    assert exchange.order_now(gtc["id"])["status"] == "new"
    assert exchange.order_now(late["id"])["status"] == "accepted"
    exchange.step()
    assert exchange.order_now(late["id"])["filled_avg_price"] == "70"


def test_half_days_end_at_one(start: Start) -> None:
    one = datetime(2024, 11, 29, 18, 0, tzinfo=UTC)
    exchange = start([row("AAPL", one - timedelta(minutes=2), "10 10 10 10"), row("AAPL", one, "10 10 10 10")])
    exchange.step()
    assert exchange.order(symbol="AAPL", qty=1)["expires_at"] == "2024-11-29T18:00:00Z"


def test_ioc_and_fok_end_with_the_next_bar(start: Start) -> None:
    exchange = start(volume_share_max=0.01, partial_fill_probability=0.0)
    exchange.step_to(OPEN)
    wanted = {"type": "limit", "limit_price": 150, "qty": 50}
    ioc = exchange.order(symbol="AAPL", time_in_force="ioc", **wanted)
    fok = exchange.order(symbol="MSFT", time_in_force="fok", **{**wanted, "limit_price": 250})
    rest = exchange.order(symbol="AAPL", time_in_force="day", **wanted)
    exchange.step()
    shown = [exchange.order_now(order["id"]) for order in (ioc, fok, rest)]
    assert [(order["status"], order["filled_qty"]) for order in shown] == [
        ("canceled", "10"), ("canceled", "0"), ("partially_filled", "10"),
    ]  # fmt: skip
    exchange.step()
    assert exchange.order_now(rest["id"])["filled_qty"] == "20"


def test_partial_fills_are_seeded_and_add_up(start: Start) -> None:
    exchange = start(partial_fill_probability=1.0)
    exchange.step_to(OPEN)
    order = exchange.order(symbol="AAPL", qty=1000, type="limit", limit_price=150, client_order_id="p")
    while exchange.order_now(order["id"])["status"] != "filled":
        exchange.step()
    fills = exchange.get("/v2/account/activities/FILL", direction="asc")
    assert len(fills) > 2
    assert sum(int(fill["qty"]) for fill in fills) == 1000
    assert [fill["type"] for fill in fills] == ["partial_fill"] * (len(fills) - 1) + ["fill"]
    assert all(int(fill["cum_qty"]) + int(fill["leaves_qty"]) == 1000 for fill in fills)
    assert len({fill["id"] for fill in fills}) == len(fills)


def test_slippage_stays_inside_the_bar(start: Start) -> None:
    exchange = start(slippage_bps=50)
    exchange.step_to(OPEN)
    orders = [exchange.order(symbol="AAPL", qty=1)["id"] for _ in range(20)]
    exchange.step()
    prices = {float(exchange.order_now(order)["filled_avg_price"]) for order in orders}
    assert len(prices) > 5
    assert min(prices) >= 102
    assert max(prices) <= 102.52


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"symbol": "", "qty": 1}, (422, 40010001, "symbol is required")),
        ({"symbol": "NONE", "qty": 1}, (422, 42210000, 'asset "NONE" not found')),
        ({"symbol": "AAPL"}, (422, 40010001, "qty or notional is required")),
        ({"symbol": "AAPL", "qty": 1, "notional": 5}, (400, 40010000, "only one of qty or notional is accepted")),
        ({"symbol": "AAPL", "qty": -1}, (422, 42210000, "qty must be positive")),
        ({"symbol": "AAPL", "qty": "0"}, (422, 42210000, "qty must be positive")),
        ({"symbol": "AAPL", "qty": "NaN"}, (422, 42210000, "qty must be positive")),
        ({"symbol": "AAPL", "qty": 0.30000000000000004}, (422, 42210000, DECIMALS)),
        ({"symbol": "AAPL", "qty": 1, "side": "long"}, (422, 40010001, "invalid side long")),
        ({"symbol": "AAPL", "qty": 1, "side": None}, (422, 40010001, "side is required")),
        ({"symbol": "AAPL", "qty": 1, "type": "iceberg"}, (422, 40010001, "invalid type iceberg")),
        ({"symbol": "AAPL", "qty": 1, "time_in_force": "x"}, (422, 40010001, "invalid time_in_force x")),
        ({"symbol": "AAPL", "qty": 1, "type": "limit"}, (422, 40010001, "limit orders require a limit price")),
        ({"symbol": "AAPL", "qty": 1, "type": "stop"}, (422, 40010001, "stop orders require a stop price")),
        ({"symbol": "AAPL", "qty": 1, "limit_price": 5}, (422, 40010001, "market orders require no limit price")),
        (
            {"symbol": "AAPL", "qty": 1, "type": "limit", "limit_price": 290.123},
            (422, 42210000, f"invalid limit_price 290.123. {SUB_PENNY}"),
        ),
        (
            {"symbol": "AAPL", "qty": 1, "type": "limit", "limit_price": "0.12345"},
            (422, 42210000, f"invalid limit_price 0.12345. {SUB_PENNY}"),
        ),
        ({"symbol": "AAPL", "qty": 0.5, "time_in_force": "gtc"}, (422, 42210000, FRACTIONAL)),
        ({"symbol": "AAPL", "notional": 5, "time_in_force": "ioc"}, (422, 42210000, FRACTIONAL)),
        ({"symbol": "AAPL", "notional": 5.123}, (422, 42210000, "notional must have no more than 2 decimal places")),
        ({"symbol": "AAPL", "notional": 0.5}, (403, 40310000, "cost basis must be >= minimal amount of order 1")),
        (
            {"symbol": "AAPL", "qty": 1, "extended_hours": True},
            (422, 42210000, "extended hours order must be DAY limit orders"),
        ),
        (
            {"symbol": "AAPL", "qty": 1, "type": "stop", "stop_price": 200, "time_in_force": "fok"},
            (422, 42210000, "time_in_force fok requires a market or limit order"),
        ),
        ({"symbol": "BTC/USD", "qty": 1}, (422, 42210000, "invalid crypto time_in_force")),
        (
            {"symbol": "BTC/USD", "qty": 1, "type": "stop", "stop_price": 1, "time_in_force": "gtc"},
            (422, 42210000, "invalid order type for crypto order"),
        ),
        (
            {"symbol": "BTC/USD", "notional": 9.99, "time_in_force": "gtc"},
            (403, 40310000, "cost basis must be >= minimal amount of order 10"),
        ),
        (
            {"symbol": "BTC/USD", "qty": 1, "side": "sell", "time_in_force": "gtc"},
            (403, 40310000, "insufficient balance for BTC (requested: 1, available: 0)"),
        ),
        ({"symbol": "AAPL", "qty": 0.5, "side": "sell"}, (403, 40310000, "fractional orders cannot be sold short")),
        ({"symbol": "AAPL", "qty": 1, "order_class": "mleg"}, (422, 42210000, "mleg orders are for options only")),
        ({"symbol": "AAPL", "qty": 1, "order_class": "odd"}, (422, 40010001, "invalid order_class odd")),
        (
            {"symbol": "AAPL", "qty": 1, "client_order_id": "x" * 129},
            (422, 40010001, "client_order_id must be no more than 128 characters"),
        ),
    ],
)  # fmt: skip
def test_a_bad_order_is_refused_with_alpacas_code(opened_once: Exchange, body: dict[str, Any], expected: Any) -> None:
    assert refusal(opened_once.post_order(**body)) == expected
    assert opened_once.status()["orders_accepted"] == 0


@pytest.fixture(scope="module")
def opened_once(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from adapters.exchange.config import ExchangeConfig
    from tests.exchange.harness import running, write_csv

    rows = [*rising("AAPL", 100, 6), *rising("BTC/USD", 5000, 6)]
    path = write_csv(tmp_path_factory.mktemp("once") / "bars.csv", rows)
    with running(ExchangeConfig(bars=path, speed="max")) as exchange:
        exchange.step_to(OPEN + timedelta(minutes=2))
        yield exchange


def test_bodies_that_are_no_json_or_of_the_wrong_kind(opened_once: Exchange) -> None:
    answer = opened_once.call("POST", "/v2/orders", data=b"{not json")
    assert refusal(answer) == (400, 40010000, "request body format is invalid")
    answer = opened_once.post_order(symbol="AAPL", qty="many")
    assert refusal(answer)[:2] == (422, 40010001)
    answer = opened_once.post_order(symbol=5, qty=1)
    assert refusal(answer)[:2] == (422, 40010001)


def test_client_order_ids_are_unique_for_ever(opened: Exchange) -> None:
    opened.order(symbol="AAPL", qty=1, client_order_id="once")
    assert refusal(opened.post_order(symbol="MSFT", qty=1, client_order_id="once")) == (
        422, 40010001, "client_order_id must be unique",
    )  # fmt: skip
    opened.step()
    assert refusal(opened.post_order(symbol="AAPL", qty=1, client_order_id="once"))[1] == 40010001
    assert opened.get("/v2/orders:by_client_order_id", client_order_id="once")["status"] == "filled"
    answer = opened.call("GET", "/v2/orders:by_client_order_id?client_order_id=never")
    assert refusal(answer) == (404, 40410000, "order not found for never")
    made = [opened.order(symbol="AAPL", qty=1)["client_order_id"] for _ in range(3)]
    assert len(set(made)) == 3


def test_numbers_may_be_strings_and_symbols_may_lack_the_slash(opened: Exchange) -> None:
    order = opened.order(symbol="BTCUSD", qty="0.010", time_in_force="gtc", type="limit", limit_price="6000.00")
    assert (order["symbol"], order["qty"], order["limit_price"]) == ("BTC/USD", "0.01", "6000")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"qty": "0.01", "limit_price": "6000.5"}, "invalid limit_price 6000.5"),
        ({"qty": "0.000015", "limit_price": "6000"}, "qty must be at least 0.000016"),
        ({"qty": "0.0000160001", "limit_price": "6000"}, DECIMALS),
    ],
)
def test_a_coins_orders_lie_on_the_steps_of_its_asset(opened_once: Exchange, more: dict[str, str], says: str) -> None:
    asset = opened_once.get("/v2/assets/BTCUSD")
    listed = (asset["min_order_size"], asset["min_trade_increment"], asset["price_increment"])
    assert listed == ("0.000016", "0.000000001", "1")
    answer = opened_once.post_order(symbol="BTC/USD", side="buy", type="limit", time_in_force="gtc", **more)
    assert answer.status_code == 422
    assert says in answer.json()["message"]


def test_buying_power_is_reserved_and_given_back(opened: Exchange) -> None:
    def power() -> float:
        return float(opened.get("/v2/account")["buying_power"])

    assert power() == 200_000
    order = opened.order(symbol="AAPL", qty=1000, type="limit", limit_price=99)
    assert power() == 101_000
    answer = opened.post_order(symbol="MSFT", qty=1000, type="limit", limit_price=150)
    assert refusal(answer) == (403, 40310000, "insufficient buying power")
    assert (answer.json()["buying_power"], answer.json()["cost_basis"]) == ("101000", "150000")
    opened.call("DELETE", f"/v2/orders/{order['id']}")
    opened.step()
    assert power() == 200_000
    opened.order(symbol="MSFT", qty=1000, type="limit", limit_price=150)
    assert power() == 50_000


def test_crypto_is_bought_from_cash_only(opened: Exchange) -> None:
    answer = opened.post_order(symbol="BTC/USD", qty=20, time_in_force="gtc")
    assert refusal(answer)[:2] == (403, 40310000)
    assert answer.json()["message"] == "insufficient balance for USD (requested: 100070, available: 100000)"
    opened.order(symbol="BTC/USD", qty=19, time_in_force="gtc", type="limit", limit_price=5000)


def test_shares_are_held_by_open_sells(opened: Exchange) -> None:
    opened.order(symbol="AAPL", qty=10)
    opened.step()
    held = opened.order(symbol="AAPL", qty=7, side="sell", type="limit", limit_price=500)
    answer = opened.post_order(symbol="AAPL", qty=4, side="sell", type="limit", limit_price=500)
    assert refusal(answer)[:2] == (403, 40310000)
    assert answer.json() == {
        "code": 40310000, "message": "insufficient qty available for order (requested: 4, available: 3)",
        "available": "3", "existing_qty": "10", "held_for_orders": "7", "symbol": "AAPL",
        "related_orders": [held["id"]],
    }  # fmt: skip
    opened.order(symbol="AAPL", qty=3, side="sell", type="limit", limit_price=500)


def test_a_sell_larger_than_the_position_is_not_split(opened: Exchange) -> None:
    opened.order(symbol="AAPL", qty=10)
    opened.step()
    assert refusal(opened.post_order(symbol="AAPL", qty=11, side="sell"))[0] == 403
    opened.order(symbol="AAPL", qty=10, side="sell")
    opened.step()
    opened.order(symbol="AAPL", qty=11, side="sell")
    opened.step()
    assert opened.get("/v2/positions/AAPL")["qty"] == "-11"
    assert refusal(opened.post_order(symbol="AAPL", qty=12, side="buy"))[0] == 403, "nor is a cover"


def test_shorts_need_2000_of_equity(start: Start) -> None:
    exchange = start(cash=1999)
    exchange.step_to(OPEN)
    answer = exchange.post_order(symbol="AAPL", qty=1, side="sell")
    assert refusal(answer)[:2] == (403, 40310000)
    assert "not allowed to short" in answer.json()["message"]


@pytest.mark.parametrize(
    ("resting", "incoming", "is_refused"),
    [
        ({"type": "limit", "limit_price": 100}, {"type": "limit", "limit_price": 101}, False),
        ({"type": "limit", "limit_price": 100}, {"type": "limit", "limit_price": 100}, True),
        ({"type": "limit", "limit_price": 100}, {"type": "limit", "limit_price": 99}, True),
        ({"type": "limit", "limit_price": 100}, {"type": "market"}, True),
        ({"type": "limit", "limit_price": 100}, {"type": "stop", "stop_price": 90}, True),
        ({"type": "stop", "stop_price": 120}, {"type": "limit", "limit_price": 130}, True),
        ({"type": "stop_limit", "stop_price": 120, "limit_price": 121}, {"type": "limit", "limit_price": 130}, False),
    ],
)  # fmt: skip
def test_wash_trades_are_refused(
    start: Start, resting: dict[str, Any], incoming: dict[str, Any], is_refused: bool
) -> None:
    exchange = start(rising("AAPL", 110, 10))
    exchange.step_to(OPEN)
    existing = exchange.order(symbol="AAPL", qty=1, side="buy", **resting)
    answer = exchange.post_order(symbol="AAPL", qty=1, side="sell", **incoming)
    assert (answer.status_code == 403) == is_refused
    if is_refused:
        assert answer.json()["message"] == "potential wash trade detected. use complex orders"
        assert answer.json()["existing_order_id"] == existing["id"]


def test_every_order_key_is_there_with_text_for_money(opened: Exchange) -> None:
    order = opened.order(symbol="AAPL", qty=1, type="limit", limit_price=5)
    assert datetime.fromisoformat(order["created_at"]) > FIRST
    assert set(order) >= {
        "id", "client_order_id", "created_at", "updated_at", "submitted_at", "filled_at", "expired_at", "expires_at",
        "canceled_at", "failed_at", "replaced_at", "replaced_by", "replaces", "asset_id", "symbol", "asset_class",
        "notional", "qty", "filled_qty", "filled_avg_price", "order_class", "order_type", "type", "side",
        "position_intent", "time_in_force", "limit_price", "stop_price", "status", "extended_hours", "legs",
        "trail_percent", "trail_price", "hwm", "cancel_requested_at",
    }  # fmt: skip
    assert (order["qty"], order["limit_price"], order["filled_qty"], order["order_class"]) == ("1", "5", "0", "")
