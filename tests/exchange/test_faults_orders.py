"""Faults of orders and of trade_updates: late refusals, slow cancels, fills on the way out, broken and lost messages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from alpaca.trading.requests import ReplaceOrderRequest
from alpaca.trading.stream import TradingStream
from websockets.sync.client import ClientConnection

from tests.exchange.conftest import Start
from tests.exchange.harness import OPEN, Exchange, Streaming, until
from tests.exchange.test_faults_rest import hits, set_faults
from tests.exchange.test_groups import bracket, market
from tests.exchange.test_trading_ws import listening, receive


@pytest.fixture
def opened(exchange: Exchange) -> Exchange:
    """Two minutes after the open: AAPL 103.5, rising by 1 a minute."""
    exchange.step_to(OPEN + timedelta(minutes=2))
    return exchange


def drain(socket: ClientConnection, count: int) -> list[tuple[str, str, str]]:
    """Client order id, event and status of so many updates."""
    updates = [receive(socket)["data"] for _ in range(count)]
    return [(u["order"]["client_order_id"], u["event"], u["order"]["status"]) for u in updates]


# --- orders ---------------------------------------------------------------------------------------------------------


def test_an_order_is_rejected_after_its_200(opened: Exchange) -> None:
    set_faults(opened, {"fault": "reject_after_200", "client_order_id": "bad*"})
    with listening(opened) as socket:
        order = opened.order(symbol="AAPL", qty=10, client_order_id="bad1")
        opened.order(symbol="AAPL", qty=1, client_order_id="good")
        assert order["status"] == "pending_new"
        opened.step()
        assert drain(socket, 3) == [
            ("bad1", "rejected", "rejected"), ("good", "new", "new"), ("good", "fill", "filled"),
        ]  # fmt: skip
    ended = opened.order_now(order["id"])
    assert (ended["status"], ended["failed_at"]) == ("rejected", "2025-03-10T13:32:00Z")
    assert opened.get("/v2/account")["buying_power"] == "199896.5", "nothing stays reserved"


def test_a_rejected_bracket_takes_its_legs_along(start: Start) -> None:
    exchange = market(start, "100 100 100 100")
    set_faults(exchange, {"fault": "reject_after_200", "client_order_id": "b"})
    order = bracket(exchange, client_order_id="b")
    exchange.step()
    assert {exchange.order_now(leg["id"])["status"] for leg in order["legs"]} == {"canceled"}
    assert exchange.status()["orders_open"] == 0


def test_a_cancel_is_rejected_and_the_order_lives_on(opened: Exchange) -> None:
    order = opened.order(symbol="AAPL", qty=10, type="limit", limit_price=90, client_order_id="a")
    opened.step()
    set_faults(opened, {"fault": "cancel_rejected", "nth": [1]})
    with listening(opened) as socket:
        opened.client().cancel_order_by_id(order["id"])
        opened.step()
        assert drain(socket, 1) == [("a", "order_cancel_rejected", "new")]
        assert opened.get("/v2/account")["buying_power"] == "199100"
        opened.client().cancel_order_by_id(order["id"])
        opened.step()
        assert drain(socket, 1) == [("a", "canceled", "canceled")]


@pytest.mark.parametrize(("minutes", "ends_after"), [(2, 2), (0, None)])
def test_a_cancel_is_stuck(opened: Exchange, minutes: int, ends_after: int | None) -> None:
    order = opened.order(symbol="AAPL", qty=10, type="limit", limit_price=90, client_order_id="a")
    opened.step()
    set_faults(opened, {"fault": "stuck_pending_cancel", "minutes": minutes})
    opened.client().cancel_order_by_id(order["id"])
    seen = []
    for _ in range(4):
        opened.step()
        seen.append(opened.order_now(order["id"])["status"])
    expected = ["pending_cancel"] * 4 if ends_after is None else ["pending_cancel", *["canceled"] * 3]
    assert seen == expected


@pytest.mark.parametrize(
    ("bar", "ends"), [("99 100 99 100", ("fill", "filled")), ("100 100 99.5 100", ("canceled", "canceled"))]
)
def test_an_order_fills_after_its_cancel_was_taken(start: Start, bar: str, ends: tuple[str, str]) -> None:
    exchange = market(start, "100 100 100 100", bar, "90 90 90 90")
    order = exchange.order(symbol="AAPL", qty=5, type="limit", limit_price=99, client_order_id="a")
    exchange.step()
    set_faults(exchange, {"fault": "fill_after_cancel"})
    with listening(exchange) as socket:
        assert exchange.call("DELETE", f"/v2/orders/{order['id']}").status_code == 204
        exchange.step()
        assert drain(socket, 2) == [("a", "pending_cancel", "pending_cancel"), ("a", *ends)]
    exchange.step()
    assert exchange.order_now(order["id"])["status"] == ends[1]
    assert exchange.status()["executions"] == (1 if ends[0] == "fill" else 0)


def test_a_replacement_is_rejected_and_the_old_order_lives_on(opened: Exchange) -> None:
    old = opened.order(symbol="AAPL", qty=1, type="limit", limit_price=90, client_order_id="old")
    opened.step()
    set_faults(opened, {"fault": "replace_rejected", "symbol": "AAPL"})
    with listening(opened) as socket:
        request = ReplaceOrderRequest(limit_price=91, client_order_id="new")
        new = opened.client().replace_order_by_id(old["id"], request)
        opened.step()
        assert drain(socket, 2) == [("old", "order_replace_rejected", "new"), ("new", "rejected", "rejected")]
    assert opened.order_now(old["id"])["replaced_by"] is None
    assert opened.order_now(str(new.id))["status"] == "rejected"
    set_faults(opened)
    opened.client().cancel_order_by_id(old["id"])
    opened.step()
    assert opened.status()["orders_open"] == 0


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        (
            "99 100 99 100",
            [("old", "pending_replace"), ("old", "fill"), ("new", "rejected")],
        ),
        (
            "100 100 99.5 100",
            [("old", "pending_replace"), ("old", "replaced"), ("new", "new")],
        ),
    ],
)
def test_the_old_order_may_fill_before_it_is_replaced(start: Start, bar: str, expected: list[tuple[str, str]]) -> None:
    exchange = market(start, "100 100 100 100", bar, "98 98 98 98")
    old = exchange.order(symbol="AAPL", qty=5, type="limit", limit_price=99, client_order_id="old")
    exchange.step()
    set_faults(exchange, {"fault": "fill_before_replace"})
    with listening(exchange) as socket:
        request = ReplaceOrderRequest(limit_price=98, client_order_id="new")
        new = exchange.client().replace_order_by_id(old["id"], request)
        exchange.step()
        assert [(name, event) for name, event, _ in drain(socket, 3)] == expected
    exchange.step()
    is_filled_first = expected[1][1] == "fill"
    assert exchange.order_now(old["id"])["status"] == ("filled" if is_filled_first else "replaced")
    assert exchange.order_now(str(new.id))["status"] == ("rejected" if is_filled_first else "filled")
    assert exchange.get("/v2/positions/AAPL")["qty"] == "5"


def test_a_replacement_that_was_canceled_counts_nothing_of_what_its_predecessor_fills_later(start: Start) -> None:
    prices = ("100 100 100 100", "99 100 99 99", "100 100 100 100")
    exchange = market(start, *prices, volume_share_max=0.001)
    old = exchange.order(symbol="AAPL", qty=5, type="limit", limit_price=99, client_order_id="old")
    exchange.step()
    set_faults(exchange, {"fault": "fill_before_replace"})
    new = exchange.client().replace_order_by_id(old["id"], ReplaceOrderRequest(limit_price=98, client_order_id="new"))
    exchange.client().cancel_order_by_id(new.id)
    exchange.step()
    before = exchange.order_now(old["id"])
    assert (before["status"], before["filled_qty"]) == ("replaced", "1")
    ended = exchange.order_now(str(new.id))
    assert (ended["status"], ended["filled_qty"]) == ("canceled", "0")
    assert exchange.get("/v2/account")["buying_power"] == "199901", "nothing stays reserved"


# --- trade updates --------------------------------------------------------------------------------------------------


def events_with(exchange: Exchange, *rules: dict[str, Any], count: int) -> list[Any]:
    """The updates of three market orders a, b and c: new and fill of each, as they come with these faults."""
    set_faults(exchange, *rules)
    with listening(exchange) as socket:
        for name in "abc":
            exchange.order(symbol="AAPL", qty=1, client_order_id=name)
        exchange.step()
        return [receive(socket)["data"] for _ in range(count)]


def brief(updates: list[Any]) -> str:
    return " ".join(update["order"]["client_order_id"] + update["event"][0] for update in updates)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"fault": "update_lost", "event": "fill", "nth": [2]}, "an af bn cn cf"),
        ({"fault": "update_duplicate", "event": "fill", "count": 2, "client_order_id": "a"}, "an af af af bn bf cn cf"),
        ({"fault": "update_reordered", "event": "new"}, "af an bf bn cf cn"),
        ({"fault": "update_reordered", "event": "fill", "client_order_id": "c"}, "an af bn bf cn cf"),
        ({"fault": "update_delayed", "event": "new", "client_order_id": "a", "count": 3}, "af bn bf an cn cf"),
        ({"fault": "update_lost", "every": 2}, "an bn cn"),
    ],
)  # fmt: skip
def test_updates_are_lost_doubled_swapped_and_late(opened: Exchange, rule: dict[str, Any], expected: str) -> None:
    updates = events_with(opened, rule, count=len(expected.split()))
    assert brief(updates) == expected
    assert opened.status()["events_emitted"] == 6, "what happened does not depend on what was told"
    assert opened.get("/v2/positions/AAPL")["qty"] == "3"


def test_a_doubled_update_is_the_same_to_the_last_letter(opened: Exchange) -> None:
    updates = events_with(opened, {"fault": "update_duplicate", "nth": [2]}, count=7)
    assert updates[1] == updates[2]


def test_updates_that_cannot_be_read_do_not_stop_alpaca_py(opened: Exchange) -> None:
    set_faults(
        opened, {"fault": "update_null", "nth": [1]}, {"fault": "update_unknown", "nth": [2]},
        {"fault": "update_broken", "nth": [3]},
    )  # fmt: skip
    got: list[Any] = []

    async def handler(update: Any) -> None:
        got.append(update)

    stream = TradingStream("key", "secret", url_override=opened.urls["trading_ws"])
    stream.subscribe_trade_updates(handler)
    with Streaming(stream):
        until(lambda: opened.status()["trading_clients"] == 1)
        for name in "abc":
            opened.order(symbol="AAPL", qty=1, client_order_id=name)
        opened.step()
        until(lambda: len(got) == 3)
    assert [(update.order.client_order_id, update.event) for update in got] == [
        ("b", "fill"),
        ("c", "new"),
        ("c", "fill"),
    ]
    assert [count for count, _ in hits(opened)] == [6, 6, 6]


def test_updates_that_cannot_be_read_on_the_wire(opened: Exchange) -> None:
    rules = [{"fault": "update_null", "nth": [1]}, {"fault": "update_unknown", "nth": [2]}]
    null, unknown, broken = events_with(opened, *rules, {"fault": "update_broken", "nth": [3]}, count=6)[:3]
    assert null is None
    assert (unknown["event"], unknown["order"]["status"]) == ("unheard_of", "unheard_of")
    assert broken["order"]["submitted_at"] is None


def test_equal_seeds_give_equal_faults(start: Start) -> None:
    def run() -> tuple[list[Any], list[tuple[int, int]]]:
        exchange = start()
        exchange.step_to(OPEN)
        set_faults(exchange, {"fault": "reject_after_200", "probability": 0.4}, seed=5)
        for name in range(30):
            exchange.order(symbol=("AAPL", "MSFT")[name % 2], qty=1, client_order_id=str(name))
        exchange.step()
        orders = exchange.get("/v2/orders", status="all", limit=500)
        return orders, hits(exchange)

    first, second = run(), run()
    assert first == second
    assert 3 < first[1][0][1] < 25
