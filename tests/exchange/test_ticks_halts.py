"""Trades, quotes, halts and price bands on the market-data websocket."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from alpaca.data.live import StockDataStream
from hypothesis import given
from hypothesis import strategies as st

from adapters.exchange.bars import VenueBar
from adapters.exchange.ticks import quotes_of, trades_of
from engine.matching import Candle, FillModel, WorkingOrder, match
from engine.matching import Draws as NoDraws
from engine.values import NS_PER_MINUTE, NS_PER_S, OrderType, Side, TimeInForce, to_decimal
from tests.exchange.conftest import Start
from tests.exchange.harness import FIRST, OPEN, Exchange, Market, Streaming, ns, until

T0 = ns(FIRST)


def _until(market: Market, kind: str) -> list[dict[str, Any]]:
    """Everything up to and with the frame that holds a record of this kind."""
    found: list[dict[str, Any]] = []
    while not any(record["T"] == kind for record in found):
        found += market.receive()
    return found


def _at(record: dict[str, Any]) -> int:
    stamp: msgpack.Timestamp = record["t"]
    return stamp.seconds * NS_PER_S + stamp.nanoseconds - T0


# --- ticks ----------------------------------------------------------------------------------------------------------


def test_ticks_of_all_symbols_go_out_by_time_before_the_bars(exchange: Exchange) -> None:
    with exchange.market() as market:
        market.ask(action="subscribe", bars=["*"], trades=["*"], quotes=["AAPL"])
        exchange.step()
        records = _until(market, "b")
    kinds = [(_at(r) // NS_PER_S, r["S"], r["T"]) for r in records]
    expected = [(second, *what) for second in (0, 20, 40, 59) for what in (("AAPL", "q"), ("AAPL", "t"), ("MSFT", "t"))]
    assert kinds == [*expected, (0, "AAPL", "b"), (0, "MSFT", "b")]
    assert [r["p"] for r in records if r["T"] == "t" and r["S"] == "AAPL"] == [100.0, 99.0, 101.0, 100.5]


def test_a_connection_gets_the_ticks_it_asked_for_and_no_others(exchange: Exchange) -> None:
    with exchange.market() as one, exchange.market("/v1beta3/crypto/us") as coin:
        one.ask(action="subscribe", bars=["MSFT"], trades=["MSFT"])
        coin.ask(action="subscribe", bars=["BTC/USD"], quotes=["*"])
        exchange.step()
        assert {(r["T"], r["S"]) for r in _until(one, "b")} == {("t", "MSFT"), ("b", "MSFT")}
        assert {(r["T"], r["S"]) for r in _until(coin, "b")} == {("q", "BTC/USD"), ("b", "BTC/USD")}


_tick = st.integers(1_00, 500_00).map(lambda cents: cents / 100)


@given(st.lists(_tick, min_size=4, max_size=4), st.integers(0, 10**6), st.sampled_from(["AAPL", "BTC/USD"]))
def test_ticks_are_the_bar_and_fills_lie_among_them(prices: list[float], volume: int, symbol: str) -> None:
    opened, closed = prices[0], prices[3]
    bar = VenueBar(symbol, T0, opened, max(prices), min(prices), closed, float(volume), 1, opened)
    trades, quotes = trades_of(bar), quotes_of(bar)
    assert [tick["t"] for tick in quotes] == sorted(tick["t"] for tick in quotes)
    assert all(T0 <= tick["t"] < T0 + NS_PER_MINUTE for tick in (*trades, *quotes))
    assert all(quote["bp"] < quote["ap"] for quote in quotes)
    assert sum(tick["s"] for tick in trades) == pytest.approx(volume)
    if len(trades) == 4:
        path = [tick["p"] for tick in trades]
        assert (path[0], path[3], min(path), max(path)) == (opened, closed, min(prices), max(prices))
        assert [quote["bp"] + 0.01 for quote in quotes] == pytest.approx(path)
        candle = Candle(*(to_decimal(px) for px in (opened, max(prices), min(prices), closed)))
        for side in Side:
            order = WorkingOrder(side, OrderType.MARKET, TimeInForce.DAY, leaves_qty=to_decimal(1.0))
            fill = match(order, candle, FillModel(), NoDraws())
            assert fill.price == to_decimal(path[0]), "a market order fills at the first trade"


# --- halts ----------------------------------------------------------------------------------------------------------


def _post(exchange: Exchange, path: str, **body: Any) -> tuple[int, Any]:
    reply = exchange.call("POST", f"/control/{path}", json=body)
    return reply.status_code, reply.json()


def test_a_halted_symbol_has_no_bar_no_tick_and_no_fill_until_it_resumes(exchange: Exchange) -> None:
    exchange.step_to(OPEN)
    with exchange.market() as market:
        market.ask(action="subscribe", bars=["*"], trades=["AAPL"], statuses=["AAPL"])
        assert _post(exchange, "halts", symbol="AAPL") == (200, {"halted": {"AAPL": "T1"}, "venue_ns": ns(OPEN)})
        order = exchange.order(symbol="AAPL", qty=1)
        exchange.step(2)
        records = [*_until(market, "b"), *_until(market, "b")]
        assert [(r["T"], r["S"]) for r in records] == [("s", "AAPL"), ("b", "MSFT"), ("b", "MSFT")]
        halt = records[0]
        assert (halt["sc"], halt["rc"], halt["z"], _at(halt)) == ("H", "T1", "C", ns(OPEN) - T0)
        assert exchange.order_now(order["id"])["status"] in ("new", "accepted")
        assert exchange.control("halts") == {"halted": {"AAPL": "T1"}}
        _post(exchange, "halts", symbol="AAPL", halted=False)
        exchange.step()
        records = _until(market, "b")
        assert [(r["T"], r["S"]) for r in records[:2]] == [("s", "AAPL"), ("t", "AAPL")]
        assert (records[0]["sc"], records[0]["rc"]) == ("T", "T3")
        exchange.phase("events")
        assert exchange.order_now(order["id"])["status"] == "filled"
        assert exchange.control("halts") == {"halted": {}}


def test_a_pause_and_bands_are_told_to_those_who_want_them(exchange: Exchange) -> None:
    with exchange.market() as market, exchange.market("/v2/sip") as other:
        market.ask(action="subscribe", lulds=["MSFT"], statuses=["*"])
        other.ask(action="subscribe", bars=["*"])
        assert _post(exchange, "bands", symbol="MSFT", low=195.5, high=205) == (
            200, {"symbol": "MSFT", "venue_ns": T0},
        )  # fmt: skip
        _post(exchange, "bands", symbol="AAPL", low=1, high=2)
        _post(exchange, "halts", symbol="MSFT", code="LUDP")
        exchange.step()
        assert market.receive() == [
            {"T": "l", "S": "MSFT", "u": 205.0, "d": 195.5, "i": "B", "t": msgpack.Timestamp(T0 // NS_PER_S), "z": "C"}
        ]
        (pause,) = market.receive()
        assert (pause["T"], pause["sc"], pause["rc"]) == ("s", "P", "LUDP")
        assert {r["T"] for r in other.receive()} == {"b"}


def test_a_timed_market_tells_at_once(start: Start) -> None:
    exchange = start(speed=0.01)
    with exchange.market() as market:
        market.ask(action="subscribe", statuses=["AAPL"])
        _post(exchange, "halts", symbol="AAPL")
        (halt,) = market.receive()
        assert (halt["S"], halt["sc"]) == ("AAPL", "H")


def test_alpaca_py_reads_a_halt(exchange: Exchange) -> None:
    got: list[Any] = []

    async def keep(message: Any) -> None:
        got.append(message)

    stream = StockDataStream("key", "secret", url_override=exchange.urls["stock_ws"])
    stream.subscribe_trading_statuses(keep, "AAPL")
    with Streaming(stream):
        until(lambda: exchange.status()["market_subscribed"] == 1)
        _post(exchange, "halts", symbol="AAPL")
        exchange.step()
        until(lambda: got)
    assert (got[0].symbol, got[0].status_code, got[0].reason_code, got[0].tape) == ("AAPL", "H", "T1", "C")


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("halts", {"symbol": "NOPE"}, "was 'NOPE'"),
        ("halts", {"symbol": "BTC/USD"}, "was 'BTC/USD'"),
        ("halts", {}, "symbol"),
        ("bands", {"symbol": "AAPL", "low": 0, "high": 5}, "low"),
        ("bands", {"symbol": "AAPL", "low": 1}, "high"),
    ],
)
def test_what_cannot_be_halted_is_refused(exchange: Exchange, path: str, body: dict[str, Any], says: str) -> None:
    status, answer = _post(exchange, path, **body)
    assert status == 422
    assert says in answer["message"]
