"""Faults of the websockets: refused, dropped, mute, held slots, junk, and what alpaca-py makes of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alpaca.data.enums import DataFeed
from alpaca.data.live import StockDataStream
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from tests.exchange.harness import OPEN, Exchange, Market, Streaming, until
from tests.exchange.test_faults_rest import hits, set_faults
from tests.exchange.test_trading_ws import ask, listening, receive


@contextmanager
def bars(exchange: Exchange, codec: str = "msgpack", **channels: list[str]) -> Iterator[Market]:
    with exchange.market(codec=codec) as market:
        market.ask(action="subscribe", **{"bars": ["*"], **channels})
        yield market


def brief(frame: list[dict[str, Any]]) -> str:
    return " ".join(f"{message['T']}{message['S'][0]}" for message in frame)


# --- both websockets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/stream", "/v2/iex"])
def test_an_upgrade_is_refused_with_429(exchange: Exchange, path: str) -> None:
    set_faults(exchange, {"fault": "upgrade_429", "path": path, "times": 2})
    url = exchange.urls["rest"].replace("http", "ws") + path
    for _ in range(2):
        with pytest.raises(InvalidStatus) as caught, connect(url):
            pass
        assert caught.value.response.status_code == 429
    with connect(url):
        pass


@pytest.mark.parametrize(("mode", "error"), [("clean", ConnectionClosedOK), ("reset", ConnectionClosedError)])
def test_a_trading_connection_is_dropped_before_an_update(
    exchange: Exchange, mode: str, error: type[ConnectionClosed]
) -> None:
    set_faults(exchange, {"fault": "socket_drop", "path": "/stream", "nth": [2], "mode": mode})
    exchange.step_to(OPEN)
    with listening(exchange) as socket:
        exchange.order(symbol="AAPL", qty=1)
        exchange.step()
        if mode == "clean":  # a reset may take what went before with it
            assert receive(socket)["data"]["event"] == "new"
        with pytest.raises(error):
            for _ in range(2):
                receive(socket)
    until(lambda: exchange.status()["trading_clients"] == 0)
    assert exchange.status()["events_emitted"] == 2
    with listening(exchange):
        pass


def test_a_connection_is_dropped_after_a_message(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "socket_drop", "when": "after", "mode": "clean", "nth": [1], "path": "/v2/*"})
    with bars(exchange) as market:
        exchange.step()
        assert brief(market.receive()) == "bA bM"
        with pytest.raises(ConnectionClosed):
            market.receive()


def test_a_slow_client_may_be_told_so_before_its_end(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "socket_drop", "code": 407, "mode": "clean", "nth": [2], "path": "/v2/iex"})
    with bars(exchange) as market:
        exchange.step(2)
        assert brief(market.receive()) == "bA bM"
        assert market.receive() == [{"T": "error", "code": 407, "msg": "slow client"}]
        with pytest.raises(ConnectionClosed):
            market.receive()


def test_a_mute_connection_stays_open_and_holds_its_slot(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "socket_mute", "nth": [1], "path": "/stream"})
    exchange.step_to(OPEN)
    with listening(exchange) as socket:
        exchange.order(symbol="AAPL", qty=1)
        exchange.step()
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.1)
        assert not socket.ping().wait(0.1), "no pong either"
        with pytest.raises(InvalidStatus), connect(exchange.urls["trading_ws"]):
            pass
    until(lambda: exchange.status()["trading_clients"] == 0)
    with listening(exchange):
        pass


def test_pings_are_answered_unless_a_rule_says_no(exchange: Exchange) -> None:
    with exchange.market() as market:
        assert market.socket.ping().wait(5)
    set_faults(exchange, {"fault": "no_pong", "path": "/v2/iex"})
    with bars(exchange) as market:
        assert not market.socket.ping().wait(0.1)
        exchange.step()
        assert brief(market.receive()) == "bA bM"


def test_a_dead_connection_keeps_its_slot_for_a_while(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "zombie", "delay_s": 0.4, "times": 2})
    with listening(exchange), exchange.market():
        pass
    until(lambda: [exchange.status()[name] for name in ("trading_clients", "market_clients")] == [0, 0])
    with pytest.raises(InvalidStatus), connect(exchange.urls["trading_ws"]):
        pass
    with exchange.market(auth=False) as market:
        refused = [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
        assert market.ask(action="auth", key="key", secret="secret") == refused
        answer = until(lambda: market.ask(action="auth", key="key", secret="secret")[0]["T"] == "success")
        assert answer


@pytest.mark.parametrize(
    ("code", "text"), [(402, "auth failed"), (406, "connection limit exceeded"), (500, "internal error")]
)
def test_an_error_instead_of_authentication(exchange: Exchange, code: int, text: str) -> None:
    set_faults(exchange, {"fault": "ws_error", "code": code, "times": 1, "path": "/v2/iex"})
    with exchange.market(auth=False) as market:
        answers = [market.ask(action="auth", key="k", secret="s") for _ in range(2)]
    assert answers == [[{"T": "error", "code": code, "msg": text}], [{"T": "success", "msg": "authenticated"}]]


def test_an_error_instead_of_authorization(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "ws_error", "path": "/stream"})
    with connect(exchange.urls["trading_ws"]) as socket:
        answer = ask(socket, action="auth", key="k", secret="s")
        assert answer == {"action": "error", "data": {"error_message": "internal server error"}}
        with pytest.raises(ConnectionClosed):
            receive(socket)


def test_409_ends_the_stream_of_alpaca_py(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "ws_error", "code": 409})

    async def handler(_: Any) -> None: ...

    stream = StockDataStream("key", "secret", feed=DataFeed.IEX, url_override=exchange.urls["stock_ws"])
    stream.subscribe_bars(handler, "AAPL")
    with Streaming(stream):
        until(lambda: hits(exchange) == [(1, 1)])
        until(lambda: exchange.status()["market_clients"] == 0)


# --- bars -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_bars_are_doubled_lost_and_beside_junk(exchange: Exchange, codec: str) -> None:
    set_faults(
        exchange, {"fault": "bar_duplicate", "symbol": "AAPL", "nth": [1], "count": 2},
        {"fault": "bar_lost", "symbol": "MSFT", "nth": [2]}, {"fault": "bad_message", "symbol": "M*", "nth": [2]},
    )  # fmt: skip
    with bars(exchange, codec) as market:
        exchange.step(3)
        frames = [market.receive() for _ in range(3)]
    assert [brief(frame) for frame in frames] == ["bA bA bA bM", "bA", "bA bM bM"]
    assert frames[0][0] == frames[0][1]
    assert "c" not in frames[2][1]
    assert exchange.status()["bars_emitted"] == 9, "the market is as it was: two stocks and a coin a minute"


def test_one_bad_message_costs_alpaca_py_the_rest_of_its_frame(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "bad_message", "symbol": "MSFT", "nth": [1]})
    got: list[Any] = []

    async def handler(bar: Any) -> None:
        got.append(bar.symbol)

    stream = StockDataStream("key", "secret", feed=DataFeed.IEX, url_override=exchange.urls["stock_ws"])
    stream.subscribe_bars(handler, "AAPL", "MSFT")
    with Streaming(stream):
        until(lambda: exchange.status()["market_subscribed"] == 1)
        exchange.step(2)
        until(lambda: len(got) == 3)
    assert got == ["AAPL", "AAPL", "MSFT"]


def test_a_bar_is_corrected_minutes_later(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "late_update", "symbol": "AAPL", "nth": [1], "minutes": 2})
    with bars(exchange, bars=["AAPL"], updatedBars=["AAPL"]) as market:
        exchange.step(3)
        frames = [market.receive() for _ in range(4)]
    assert [brief(frame) for frame in frames] == ["bA", "bA", "bA", "uA"]
    bar, update = frames[0][0], frames[3][0]
    assert (update["t"], update["v"], update["n"]) == (bar["t"], 1011, bar["n"] + 1)


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_a_frame_above_one_mebibyte(exchange: Exchange, codec: str) -> None:
    set_faults(exchange, {"fault": "huge_frame", "symbol": "AAPL", "nth": [1]})
    with bars(exchange, codec, bars=["AAPL"]) as market:
        exchange.step()
        first = market.receive()
        frame = market.socket.recv(timeout=10)
    assert len(frame) > 1024 * 1024
    if isinstance(frame, bytes):
        assert struct.unpack(">xI", frame[:5])[0] > 10_000
    assert brief(first) == "bA"
    with connect(
        exchange.urls["stock_ws"], additional_headers={"Content-Type": f"application/{codec}"}, compression=None
    ) as small:
        market = Market(small, codec)
        market.receive()
        market.ask(action="auth", key="key", secret="secret")
        market.ask(action="subscribe", bars=["AAPL"])
        set_faults(exchange, {"fault": "huge_frame", "symbol": "AAPL", "nth": [1]})
        exchange.step()
        assert brief(market.receive()) == "bA"
        with pytest.raises(ConnectionClosed) as caught:
            market.receive()
        assert caught.value.sent is not None
        assert caught.value.sent.code == 1009
