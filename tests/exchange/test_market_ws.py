"""Market-data websockets: the unmodified streams of alpaca-py, and raw sockets for what they hide."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest
from alpaca.data.live import CryptoDataStream, StockDataStream
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode
from websockets.sync.client import connect

from adapters.exchange.bars import VenueBar
from adapters.exchange.frames import BYTES_PER_FRAME_MAX, array_frames, encode_bar, pack_bar
from tests.exchange.conftest import Start
from tests.exchange.harness import FIRST, Exchange, Streaming, ns, until

T0 = ns(FIRST)


def collector(into: list[Any]) -> Any:
    async def handler(message: Any) -> None:
        into.append(message)

    return handler


# --- alpaca-py ------------------------------------------------------------------------------------------------------


def test_stock_stream_gets_bars_trades_quotes_daily_and_updated_bars(start: Start) -> None:
    exchange = start(late_update_probability=1.0)
    got: dict[str, list[Any]] = {name: [] for name in ("bars", "updated", "daily", "trades", "quotes", "status")}
    stream = StockDataStream("key", "secret", url_override=exchange.urls["stock_ws"])
    stream.subscribe_bars(collector(got["bars"]), "AAPL", "MSFT")
    stream.subscribe_updated_bars(collector(got["updated"]), "AAPL")
    stream.subscribe_daily_bars(collector(got["daily"]), "AAPL")
    stream.subscribe_trades(collector(got["trades"]), "AAPL")
    stream.subscribe_quotes(collector(got["quotes"]), "AAPL")
    stream.subscribe_trading_statuses(collector(got["status"]), "AAPL")
    with Streaming(stream):
        until(lambda: exchange.status()["market_subscribed"] == 1)
        exchange.step(2)
        until(lambda: len(got["bars"]) == 4 and len(got["daily"]) == 2 and got["updated"])
    bars = [(bar.symbol, bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in got["bars"]]
    second = FIRST + timedelta(minutes=1)
    assert bars == [
        ("AAPL", FIRST, 100, 101, 99, 100.5, 1000),
        ("MSFT", FIRST, 200, 201, 199, 200.5, 1000),
        ("AAPL", second, 101, 102, 100, 101.5, 1001),
        ("MSFT", second, 201, 202, 200, 201.5, 1001),
    ]
    assert [(bar.timestamp, bar.volume, bar.close) for bar in got["updated"]] == [(FIRST, 1011, 100.5)]
    daily = got["daily"][-1]
    assert (daily.open, daily.high, daily.low, daily.close) == (100, 102, 99, 101.5)
    # The late trade of the first minute is in the day: 1011 + 1001.
    assert (daily.timestamp, daily.volume) == (datetime(2025, 3, 10, 4, tzinfo=UTC), 2012)
    assert [trade.price for trade in got["trades"]] == [100, 99, 101, 100.5, 101, 100, 102, 101.5]
    assert [(q.bid_price, q.ask_price) for q in got["quotes"][:2]] == [(99.99, 100.01), (98.99, 99.01)]
    assert sum(trade.size for trade in got["trades"]) == 2001
    assert got["status"] == []


def test_crypto_stream_gets_bars_trades_and_quotes(exchange: Exchange) -> None:
    bars: list[Any] = []
    trades: list[Any] = []
    quotes: list[Any] = []
    stream = CryptoDataStream("key", "secret", url_override=exchange.urls["crypto_ws"])
    stream.subscribe_bars(collector(bars), "BTC/USD")
    stream.subscribe_trades(collector(trades), "BTC/USD")
    stream.subscribe_quotes(collector(quotes), "BTC/USD")
    with Streaming(stream):
        until(lambda: exchange.status()["market_subscribed"] == 1)
        exchange.step()
        until(lambda: bars and len(trades) == 4 and len(quotes) == 4)
    assert [(bar.symbol, bar.open, bar.volume, bar.timestamp) for bar in bars] == [("BTC/USD", 5000, 1000.0, FIRST)]
    assert sum(trade.size for trade in trades) == 1000


def test_star_subscription_and_unsubscribe_by_alpaca_py(exchange: Exchange) -> None:
    got: list[Any] = []
    stream = StockDataStream("key", "secret", url_override=exchange.urls["stock_ws"], raw_data=True)
    stream.subscribe_bars(collector(got), "*")
    with Streaming(stream) as running:
        until(lambda: exchange.status()["market_subscribed"] == 1)
        exchange.step()
        until(lambda: len(got) == 2)
        running.unsubscribe_bars("*")
        until(lambda: exchange.status()["market_subscribed"] == 0)
        exchange.step()
        running.subscribe_bars(collector(got), "MSFT")
        until(lambda: exchange.status()["market_subscribed"] == 1)
        exchange.step()
        until(lambda: len(got) == 3)
    assert [(bar["S"], bar["o"]) for bar in got] == [("AAPL", 100), ("MSFT", 200), ("MSFT", 202)]
    assert isinstance(got[0]["t"], msgpack.Timestamp)
    assert next(iter(got[0])) == "T"


def test_alpaca_py_waits_and_comes_in_when_the_slot_is_free(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR", logger="alpaca.data.live.websocket")  # our own adapter silences it where it is loaded
    got: list[Any] = []
    stream = StockDataStream("key", "secret", url_override=exchange.urls["stock_ws"])
    stream.subscribe_bars(collector(got), "AAPL")
    with exchange.market() as first:
        first.ask(action="subscribe", bars=["MSFT"])
        with Streaming(stream):
            until(lambda: "connection limit exceeded" in caplog.text)
            first.socket.close()
            until(lambda: exchange.status()["market_subscribed"] == 1)
            exchange.step()
            until(lambda: len(got) == 1)


# --- codecs ---------------------------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(["b", "u", "d"]), symbol=st.sampled_from(["AAPL", "BRK.B", "BTC/USD", "Q" * 40]),
    seconds=st.integers(0, 2**33), prices=st.lists(st.floats(0.0001, 1e6), min_size=5, max_size=5),
    volume=st.integers(0, 2**40), count=st.integers(0, 2**40),
)  # fmt: skip
def test_packed_bars_read_back_as_the_general_packer_would_write_them(
    *, kind: str, symbol: str, seconds: int, prices: list[float], volume: int, count: int
) -> None:
    opened, high, low, close, vwap = prices
    bar = VenueBar(symbol, seconds * 10**9, opened, high, low, close, float(volume), count, vwap)
    read = msgpack.unpackb(pack_bar(kind, bar))
    assert list(read) == ["T", "S", "o", "h", "l", "c", "v", "n", "vw", "t"]
    assert read == {
        "T": kind, "S": symbol, "o": opened, "h": high, "l": low, "c": close, "v": volume, "n": count, "vw": vwap,
        "t": msgpack.Timestamp(seconds, 0),
    }  # fmt: skip
    assert isinstance(read["v"], float) == ("/" in symbol)


def test_frames_stay_below_a_megabyte_and_keep_every_message() -> None:
    bars = [VenueBar(f"A{i}", 0, 1, 1, 1, 1, 1, 1, 1) for i in range(4500)]
    frames = array_frames("msgpack", [encode_bar("msgpack", "b", bar) for bar in bars])
    assert len(frames) == 3
    assert all(len(frame) <= BYTES_PER_FRAME_MAX for frame in frames)
    assert [bar["S"] for frame in frames for bar in msgpack.unpackb(frame)] == [bar.symbol for bar in bars]  # type: ignore[arg-type]
    large = array_frames("json", [b'"' + b"x" * 400_000 + b'"'] * 5)
    assert [len(json.loads(frame)) for frame in large] == [2, 2, 1] or all(len(frame) < 2**20 for frame in large)
    assert sum(len(json.loads(frame)) for frame in large) == 5


def test_json_codec(exchange: Exchange) -> None:
    with exchange.market(codec="json") as market:
        market.ask(action="subscribe", bars=["AAPL"], trades=["AAPL"])
        exchange.step()
        trades, bars = market.receive(), market.receive()
    assert bars == [
        {"T": "b", "S": "AAPL", "t": "2025-03-10T13:28:00Z", "o": 100.0, "h": 101.0, "l": 99.0, "c": 100.5, "v": 1000,
         "n": 10, "vw": 100.166667}
    ]  # fmt: skip
    assert trades[0] == {
        "T": "t", "S": "AAPL", "t": "2025-03-10T13:28:00Z", "x": "V", "p": 100.0, "s": 250, "c": ["@"],
        "i": T0 // 60_000_000_000 * 4, "z": "C",
    }  # fmt: skip
    assert [trade["t"][17:] for trade in trades] == ["00Z", "20Z", "40Z", "59Z"]


def test_a_frame_holds_the_whole_minute_sorted(start: Start) -> None:
    exchange = start(generator_symbols=300)
    with exchange.market() as market:
        market.ask(action="subscribe", bars=["*"])
        exchange.step()
        bars = market.receive()
    symbols = [bar["S"] for bar in bars]
    assert len(symbols) == 300
    assert symbols == sorted(symbols)
    assert exchange.status()["bars_emitted"] == 300
    assert 0 < exchange.status()["first_bar_sent_wall_ns"] <= exchange.status()["last_bar_sent_wall_ns"]


# --- handshake and errors -------------------------------------------------------------------------------------------


def error(code: int, msg: str) -> list[dict[str, Any]]:
    return [{"T": "error", "code": code, "msg": msg}]


def test_errors_before_and_after_authentication(start: Start) -> None:
    exchange = start(key="right", secret="pair")
    with exchange.market(auth=False) as market:
        assert market.ask(action="subscribe", bars=["AAPL"]) == error(401, "not authenticated")
        assert market.ask(action="auth", key="right", secret="wrong") == error(402, "auth failed")
        assert market.ask(action="auth", key="", secret="") == error(402, "auth failed")
        market.send([1, 2])
        assert market.receive() == error(400, "invalid syntax")
        # Another attempt on the same socket is let in, as the vendor's Go client expects.
        assert market.ask(action="auth", key="right", secret="pair") == [{"T": "success", "msg": "authenticated"}]
        assert market.ask(action="auth", key="right", secret="pair") == error(403, "already authenticated")
        assert market.ask(action="listen") == error(400, "invalid syntax")
        assert market.ask(action="subscribe", bars=["aapl$"]) == error(400, "invalid syntax")
        assert market.ask(action="subscribe", bars="AAPL") == error(400, "invalid syntax")
        assert market.ask(action="subscribe", nonsense=["AAPL"]) == error(400, "invalid syntax")
        assert market.ask(action="subscribe", orderbooks=["AAPL"]) == error(
            410, "invalid subscribe action for this feed"
        )
        market.socket.send(b"\xc1")
        assert market.receive() == error(400, "invalid syntax")


def test_second_session_of_a_key_is_refused_and_let_in_later(exchange: Exchange) -> None:
    with exchange.market() as first, exchange.market(auth=False) as second:
        assert second.ask(action="auth", key="key", secret="secret") == error(406, "connection limit exceeded")
        assert first.ask(action="subscribe", bars=["AAPL"])[0]["bars"] == ["AAPL"]
        with exchange.market("/v1beta3/crypto/us"), exchange.market("/v2/sip"):
            assert exchange.status()["market_clients"] == 4
        first.socket.close()
        until(lambda: exchange.status()["market_clients"] == 1)
        assert second.ask(action="auth", key="key", secret="secret") == [{"T": "success", "msg": "authenticated"}]


def test_symbol_limit_leaves_the_subscription_as_it_was(start: Start) -> None:
    exchange = start(symbol_limit=2)
    with exchange.market() as market:
        market.ask(action="subscribe", bars=["AAPL"])
        assert market.ask(action="subscribe", bars=["MSFT"], trades=["IBM"]) == error(405, "symbol limit exceeded")
        assert market.ask(action="subscribe", trades=["AAPL", "MSFT"])[0]["bars"] == ["AAPL"]


def test_authentication_must_come_in_time(start: Start) -> None:
    exchange = start(auth_timeout_s=0.05)
    with exchange.market(auth=False) as market:
        assert market.receive() == error(404, "auth timeout")
        with pytest.raises(ConnectionClosed):
            market.receive()


def test_authentication_by_headers(exchange: Exchange) -> None:
    headers = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
    with exchange.market(auth=False, **headers) as market:
        assert market.receive() == [{"T": "success", "msg": "authenticated"}]
        assert market.ask(action="auth", key="k", secret="s") == error(403, "already authenticated")


def test_subscriptions_add_and_subtract_and_the_answer_is_whole(exchange: Exchange) -> None:
    with exchange.market() as market:
        assert market.ask(action="subscribe", bars=["MSFT", "AAPL"], trades=["AAPL"]) == [
            {"T": "subscription", "trades": ["AAPL"], "quotes": [], "bars": ["AAPL", "MSFT"], "updatedBars": [],
             "dailyBars": [], "statuses": [], "lulds": [], "corrections": ["AAPL"], "cancelErrors": ["AAPL"]}
        ]  # fmt: skip
        answer = market.ask(action="unsubscribe", bars=["MSFT", "IBM"])
        assert answer[0]["bars"] == ["AAPL"]
    with exchange.market("/v1beta3/crypto/us") as market:
        assert market.ask(action="subscribe", trades=["BTC/USD"]) == [
            {"T": "subscription", "trades": ["BTC/USD"], "quotes": [], "orderbooks": [], "bars": [], "updatedBars": [],
             "dailyBars": []}
        ]  # fmt: skip
        assert market.ask(action="subscribe", bars=["BTCUSD"]) == error(400, "invalid syntax")
    with exchange.market("/v1beta1/news") as market:
        assert market.ask(action="subscribe", news=["*"]) == [{"T": "subscription", "news": ["*"]}]
        assert market.ask(action="subscribe", trades=["AAPL"]) == error(410, "invalid subscribe action for this feed")


def test_a_fragmented_subscribe_with_an_empty_last_frame_is_put_together(exchange: Exchange) -> None:
    symbols = [f"A{i}" for i in range(20_000)]
    message = msgpack.packb({"bars": symbols, "action": "subscribe"})
    with exchange.market() as market:

        def parts() -> Any:
            for at in range(0, len(message), 32_768):
                yield message[at : at + 32_768]

        market.socket.send(parts())
        assert len(market.receive()[0]["bars"]) == 20_000


def test_unknown_feed_is_404(exchange: Exchange) -> None:
    for path in ("/v2/nasdaq", "/v1beta3/crypto/mars"):
        with pytest.raises(InvalidStatus) as caught, connect(exchange.urls["rest"].replace("http", "ws") + path):
            pass
        assert caught.value.response.status_code == 404


def test_compression_is_declined_and_pings_are_answered(exchange: Exchange) -> None:
    with connect(exchange.urls["stock_ws"]) as client:
        assert client.protocol.extensions == []
        assert client.ping().wait(5)


def test_the_test_feed_streams_fakepaca(exchange: Exchange) -> None:
    with exchange.market("/v2/test") as market:
        market.ask(action="subscribe", bars=["FAKEPACA"], quotes=["FAKEPACA"])
        exchange.step(2)
        frames = [market.receive() for _ in range(4)]
    assert [frame[0]["T"] for frame in frames] == ["q", "b", "q", "b"]
    assert {bar["S"] for frame in frames for bar in frame} == {"FAKEPACA"}
    assert frames[1][0]["t"] == msgpack.Timestamp.from_unix_nano(T0)
    assert exchange.status()["bars_emitted"] == 6, "synthetic bars are not part of the market"


def test_a_client_that_does_not_read_is_cut_off_and_the_market_goes_on(start: Start) -> None:
    exchange = start(generator_symbols=3000, send_buffer_bytes_max=500_000)
    lazy = socket.create_connection(("127.0.0.1", int(exchange.urls["rest"].rsplit(":", 1)[1])))
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    upgrade = (
        "GET /v2/iex HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAPCA-API-KEY-ID: lazy\r\nAPCA-API-SECRET-KEY: s\r\n\r\n"
    )
    lazy.sendall(upgrade.encode())
    lazy.sendall(_masked(b'{"action":"subscribe","bars":["*"],"trades":["*"],"quotes":["*"]}'))
    try:
        until(lambda: exchange.status()["market_subscribed"] == 1)
        with exchange.market() as eager:
            eager.ask(action="subscribe", bars=["*"])
            got = [0]

            def read() -> None:
                while got[0] < 9000:
                    got[0] += len(eager.receive())

            reader = threading.Thread(target=read)
            reader.start()
            exchange.step(3)
            reader.join(10)
            assert got[0] == 9000
            until(lambda: exchange.status()["market_clients"] == 1, "the lazy client's end")
    finally:
        lazy.close()


def _masked(payload: bytes) -> bytes:
    mask = b"\0\0\0\0"
    return bytes([0x80 | Opcode.TEXT, 0x80 | len(payload)]) + mask + payload
