"""trade_updates: the unmodified TradingStream of alpaca-py, and raw sockets for frames, handshake and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from alpaca.trading.stream import TradingStream
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.exchange.conftest import Start
from tests.exchange.harness import DEADLINE_S, OPEN, Exchange, Streaming, until


def receive(socket: ClientConnection) -> Any:
    frame = socket.recv(timeout=DEADLINE_S)
    assert isinstance(frame, bytes), "JSON comes in binary frames, as on paper"
    return json.loads(frame)


def ask(socket: ClientConnection, **message: Any) -> Any:
    socket.send(json.dumps(message))
    return receive(socket)


@contextmanager
def listening(exchange: Exchange) -> Iterator[ClientConnection]:
    with connect(exchange.urls["trading_ws"]) as socket:
        answer = ask(socket, action="authenticate", data={"key_id": "key", "secret_key": "secret"})
        assert answer == {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
        answer = ask(socket, action="listen", data={"streams": ["trade_updates"]})
        assert answer == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        yield socket


def test_the_life_of_orders_by_alpaca_py(exchange: Exchange) -> None:
    got: list[Any] = []

    async def handler(update: Any) -> None:
        got.append(update)

    stream = TradingStream("key", "secret", url_override=exchange.urls["trading_ws"])
    stream.subscribe_trade_updates(handler)
    with Streaming(stream):
        until(lambda: exchange.status()["trading_clients"] == 1)
        exchange.step_to(OPEN)
        exchange.order(symbol="AAPL", qty=2, client_order_id="1")
        exchange.order(symbol="AAPL", qty=2, client_order_id="2", type="limit", limit_price=1)
        exchange.step()
        exchange.client().cancel_orders()
        exchange.step()
        until(lambda: len(got) == 4)
    assert [(u.event, u.order.client_order_id, u.order.status.value, u.price, u.qty, u.position_qty) for u in got] == [
        ("new", "1", "new", None, None, 0), ("fill", "1", "filled", 102, 2, 2),
        # As of its own time, which is before the fill.
        ("new", "2", "new", None, None, 0),
        ("canceled", "2", "canceled", None, None, 2),
    ]  # fmt: skip
    assert got[0].timestamp == OPEN
    assert got[1].timestamp == OPEN + timedelta(minutes=1)
    assert len({update.execution_id for update in got}) == 4


def test_a_fill_event_on_the_wire(exchange: Exchange) -> None:
    exchange.step_to(OPEN)
    with listening(exchange) as socket:
        order = exchange.order(symbol="BTC/USD", qty="0.5", time_in_force="gtc", client_order_id="c")
        exchange.step()
        new, fill = receive(socket), receive(socket)
    assert new["stream"] == fill["stream"] == "trade_updates"
    data = fill["data"]
    assert (data["event"], data["price"], data["qty"], data["position_qty"]) == ("fill", "5002", "0.5", "0.49875")
    assert data["timestamp"] == data["at"] == "2025-03-10T13:31:00Z"
    assert data["order"]["status"] == "filled"
    assert data["order"] == exchange.order_now(order["id"])
    assert new["data"]["event_id"] < data["event_id"]
    assert len(data["event_id"]) == 26
    assert not {"price", "qty"} & set(new["data"])


def test_a_replacement_tells_of_the_old_order_first(exchange: Exchange) -> None:
    exchange.step_to(OPEN)
    with listening(exchange) as socket:
        old = exchange.order(symbol="AAPL", qty=1, type="limit", limit_price=1, client_order_id="z")
        exchange.step()
        exchange.call("PATCH", f"/v2/orders/{old['id']}", json={"limit_price": 2, "client_order_id": "a"})
        exchange.step()
        events = [receive(socket)["data"] for _ in range(3)]
    assert [(e["event"], e["order"]["client_order_id"]) for e in events] == [
        ("new", "z"),
        ("replaced", "z"),
        ("new", "a"),
    ]
    assert events[1]["order"]["replaced_by"] == events[2]["order"]["id"]


def test_queued_orders_are_accepted_then_new_then_expire(exchange: Exchange) -> None:
    with listening(exchange) as socket:
        exchange.order(symbol="AAPL", qty=1, type="limit", limit_price=1)
        exchange.step(3)
        first, second = receive(socket)["data"], receive(socket)["data"]
    assert [(e["event"], e["timestamp"]) for e in (first, second)] == [
        ("accepted", "2025-03-10T13:28:00Z"), ("new", "2025-03-10T13:30:00Z"),
    ]  # fmt: skip


def test_events_are_sorted_by_symbol_and_client_order_id(exchange: Exchange) -> None:
    exchange.step_to(OPEN)
    with listening(exchange) as socket:
        for symbol, name in (("MSFT", "a"), ("AAPL", "z"), ("AAPL", "b")):
            exchange.order(symbol=symbol, qty=1, client_order_id=name)
        answer = exchange.phase("events")
        assert answer["events"] == 6
        events = [receive(socket)["data"] for _ in range(6)]
        exchange.phase("bars")
    shown = [(e["order"]["symbol"], e["order"]["client_order_id"], e["event"]) for e in events]
    assert shown == [
        ("AAPL", "b", "new"), ("AAPL", "b", "fill"), ("AAPL", "z", "new"), ("AAPL", "z", "fill"),
        ("MSFT", "a", "new"), ("MSFT", "a", "fill"),
    ]  # fmt: skip
    assert exchange.status()["events_emitted"] == 6


def test_nothing_is_replayed_to_a_client_that_was_away(exchange: Exchange) -> None:
    exchange.step_to(OPEN)
    with listening(exchange):
        pass
    until(lambda: exchange.status()["trading_clients"] == 0)
    exchange.order(symbol="AAPL", qty=1, client_order_id="missed")
    exchange.step()
    assert exchange.status()["events_emitted"] == 2
    with listening(exchange) as socket:
        exchange.order(symbol="AAPL", qty=1, client_order_id="seen")
        exchange.step()
        assert receive(socket)["data"]["order"]["client_order_id"] == "seen"


def test_handshake_in_both_forms_and_its_refusals(start: Start) -> None:
    exchange = start(key="k", secret="s")
    denied = {"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}}
    with connect(exchange.urls["trading_ws"]) as socket:
        answer = ask(socket, action="listen", data={"streams": ["trade_updates"]})
        assert answer == {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
        assert ask(socket, action="auth", key="k", secret="wrong") == denied
        assert ask(socket, action="authenticate", data={"key_id": "k"}) == denied
        assert ask(socket, action="auth", key="k", secret="s")["data"]["status"] == "authorized"
        socket.send(b'{"action":"listen","data":{"streams":["trade_updates","account_updates"]}}')
        assert receive(socket)["data"] == {"streams": ["trade_updates"]}
        until(lambda: exchange.status()["trading_clients"] == 1)
        assert ask(socket, action="listen", data={"streams": []})["data"] == {"streams": []}
        assert exchange.status()["trading_clients"] == 0, "listen replaces the list"
        assert ask(socket, action="dance")["data"] == {"error_message": "invalid syntax"}
        socket.send("no json")
        assert receive(socket)["data"] == {"error_message": "invalid syntax"}


def test_a_second_connection_is_refused_with_429_and_let_in_later(exchange: Exchange) -> None:
    with listening(exchange):
        with pytest.raises(InvalidStatus) as caught, connect(exchange.urls["trading_ws"]):
            pass
        assert caught.value.response.status_code == 429
    until(lambda: exchange.status()["trading_clients"] == 0)
    with listening(exchange):
        pass


def test_two_at_once_before_authentication_only_one_gets_in(exchange: Exchange) -> None:
    with connect(exchange.urls["trading_ws"]) as first, connect(exchange.urls["trading_ws"]) as second:
        assert ask(first, action="auth", key="k", secret="s")["data"]["status"] == "authorized"
        assert ask(second, action="auth", key="k", secret="s")["action"] == "error"
        with pytest.raises(ConnectionClosed):
            receive(second)


def test_in_timed_mode_new_comes_at_once(start: Start) -> None:
    exchange = start(speed=1.0)
    with listening(exchange) as socket:
        order = exchange.order(symbol="BTC/USD", qty=1, time_in_force="gtc", type="limit", limit_price=10)
        assert receive(socket)["data"]["event"] == "new"
        exchange.call("DELETE", f"/v2/orders/{order['id']}")
        assert receive(socket)["data"]["event"] == "canceled"
    assert exchange.order_now(order["id"])["status"] == "canceled"
