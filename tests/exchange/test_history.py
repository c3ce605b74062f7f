"""Historical data over REST: the unmodified clients of alpaca-py, and raw requests for pages, nulls and refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import (
    CryptoBarsRequest,
    CryptoLatestBarRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from adapters.exchange.config import ExchangeConfig
from tests.exchange.conftest import Start
from tests.exchange.harness import FIRST, Exchange, rising, row, running, write_csv

BOTH = ["AAPL", "MSFT"]
FIVE_MINUTES = TimeFrame(5, TimeFrameUnit.Minute)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Nine of ten minutes are out."""
    rows = [*rising("AAPL", 100, 10), *rising("MSFT", 200, 10), *rising("BTC/USD", 5000, 10)]
    path = write_csv(tmp_path_factory.mktemp("played") / "bars.csv", rows)
    with running(ExchangeConfig(bars=path, speed="max")) as exchange:
        exchange.step(9)
        yield exchange


def stocks(exchange: Exchange) -> StockHistoricalDataClient:
    return StockHistoricalDataClient("key", "secret", url_override=exchange.urls["data_rest"])


def crypto(exchange: Exchange) -> CryptoHistoricalDataClient:
    return CryptoHistoricalDataClient(url_override=exchange.urls["data_rest"])


# --- bars -----------------------------------------------------------------------------------------------------------


def test_stock_bars_by_alpaca_py_end_with_venue_time(played: Exchange) -> None:
    request = StockBarsRequest(
        symbol_or_symbols=BOTH, timeframe=TimeFrame.Minute, start=FIRST, end=FIRST + timedelta(days=1)
    )
    data = stocks(played).get_stock_bars(request).data
    assert {symbol: len(bars) for symbol, bars in data.items()} == {"AAPL": 9, "MSFT": 9}
    bar = data["AAPL"][3]
    assert (bar.timestamp, bar.open, bar.high, bar.low, bar.close) == (
        FIRST + timedelta(minutes=3),
        103,
        104,
        102,
        103.5,
    )
    assert (bar.volume, bar.trade_count, bar.vwap) == (1003, 10, 103.166667)


def test_crypto_bars_by_alpaca_py_need_no_keys(played: Exchange) -> None:
    request = CryptoBarsRequest(symbol_or_symbols="BTC/USD", timeframe=TimeFrame.Minute, start=FIRST, limit=4)
    data = crypto(played).get_crypto_bars(request).data
    assert [bar.open for bar in data["BTC/USD"]] == [5000, 5001, 5002, 5003]


def test_start_and_end_are_inclusive_and_order_can_be_turned(played: Exchange) -> None:
    start, end = FIRST + timedelta(minutes=2), FIRST + timedelta(minutes=4)
    request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Minute, start=start, end=end, sort="desc")
    assert [bar.open for bar in stocks(played).get_stock_bars(request).data["AAPL"]] == [104, 103, 102]


@pytest.mark.parametrize(
    ("timeframe", "expected"),
    [
        (FIVE_MINUTES, [("13:25", 100, 102, 99, 101.5, 2001), ("13:30", 102, 107, 101, 106.5, 5020)]),
        (TimeFrame.Hour, [("13:00", 100, 109, 99, 108.5, 9036)]),
        (TimeFrame.Day, [("04:00", 100, 109, 99, 108.5, 9036)]),
        (TimeFrame.Week, [("04:00", 100, 109, 99, 108.5, 9036)]),
    ],
)  # fmt: skip
def test_longer_bars_are_made_of_minutes(played: Exchange, timeframe: TimeFrame, expected: list[Any]) -> None:
    start, end = FIRST.replace(hour=0, minute=0), FIRST.replace(hour=23)
    request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=timeframe, start=start, end=end)
    bars = stocks(played).get_stock_bars(request).data["AAPL"]
    shown = [(f"{b.timestamp:%H:%M}", b.open, b.high, b.low, b.close, b.volume) for b in bars]
    assert shown[: len(expected)] == expected


def test_pages_split_inside_a_symbol_and_end_with_null(played: Exchange) -> None:
    seen: list[tuple[str, str]] = []
    sizes: list[int] = []
    token = None
    while True:
        answer = played.get(
            "/v2/stocks/bars", symbols="MSFT,AAPL", timeframe="1Min", start="2025-03-10", limit=4, page_token=token
        )
        sizes.append(sum(len(bars) for bars in answer["bars"].values()))
        seen += [(symbol, bar["t"]) for symbol, bars in answer["bars"].items() for bar in bars]
        token = answer["next_page_token"]
        if token is None:
            break
        assert token
    assert sizes == [4, 4, 4, 4, 2]
    assert seen == sorted(seen)
    assert len(set(seen)) == 18


def test_alpaca_py_walks_all_pages_of_more_than_ten_thousand(start: Start) -> None:
    exchange = start(generator_symbols=40, generator_history_minutes=300)
    first = exchange.status()["venue_ns"] // 10**9
    begin = datetime.fromtimestamp(first, UTC) - timedelta(days=5)
    request = StockBarsRequest(
        symbol_or_symbols=[asset["symbol"] for asset in exchange.get("/v2/assets")],
        timeframe=TimeFrame.Minute,
        start=begin,
    )
    data = stocks(exchange).get_stock_bars(request).data
    assert {len(bars) for bars in data.values()} == {300}
    assert len(data) == 40


def test_default_range_is_the_venues_day(played: Exchange) -> None:
    assert len(played.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min")["bars"]["AAPL"]) == 9


def test_empty_answers_are_empty_maps(played: Exchange) -> None:
    answer = played.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min", start="2020-01-01", end="2020-01-02")
    assert answer == {"bars": {}, "next_page_token": None}
    assert played.get("/v2/stocks/bars/latest", symbols="NONE") == {"bars": {}}
    assert played.get("/v2/stocks/snapshots", symbols="NONE") == {}
    assert played.get("/v1beta3/crypto/us/snapshots", symbols="ETH/USD") == {"snapshots": {}}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v2/stocks/bars?timeframe=1Min", "symbols is required"),
        ("/v2/stocks/bars?symbols=AAPL&timeframe=7Fortnight", "invalid timeframe: 7Fortnight"),
        ("/v2/stocks/bars?symbols=AAPL&timeframe=60Min", "invalid timeframe: 60Min"),
        ("/v2/stocks/bars?symbols=AAPL&timeframe=1Min&page_token=%25%25", "invalid page_token: %%"),
        (
            "/v2/stocks/bars?symbols=AAPL&timeframe=1Min&start=2025-03-11&end=2025-03-10",
            "end should not be before start",
        ),
        (
            "/v1beta3/crypto/us/bars?symbols=BTCUSD&timeframe=1Min",
            "invalid symbol: BTCUSD does not match ^[A-Z]+/[A-Z]+$",
        ),
    ],
)
def test_bad_questions_are_400(played: Exchange, path: str, message: str) -> None:
    answer = played.call("GET", path)
    assert (answer.status_code, answer.json()["message"]) == (400, message)


# --- trades, quotes, latest, snapshots ------------------------------------------------------------------------------


def test_trades_and_quotes_by_alpaca_py(played: Exchange) -> None:
    span: dict[str, Any] = {"symbol_or_symbols": "AAPL", "start": FIRST, "end": FIRST + timedelta(seconds=59)}
    trades = stocks(played).get_stock_trades(StockTradesRequest(**span)).data["AAPL"]
    assert [(trade.price, trade.size) for trade in trades] == [(100, 250), (99, 250), (101, 250), (100.5, 250)]
    quotes = stocks(played).get_stock_quotes(StockQuotesRequest(**span, limit=2)).data["AAPL"]
    assert [(q.bid_price, q.ask_price) for q in quotes] == [(99.99, 100.01), (98.99, 99.01)]
    span["symbol_or_symbols"] = "BTC/USD"
    coins = crypto(played).get_crypto_trades(CryptoTradesRequest(**span)).data["BTC/USD"]
    assert [trade.price for trade in coins] == [5000, 4999, 5001, 5000.5]
    assert len(crypto(played).get_crypto_quotes(CryptoQuoteRequest(**span)).data["BTC/USD"]) == 4


def test_trades_are_paged_newest_first_too(played: Exchange) -> None:
    seen: list[int] = []
    token = None
    while True:
        answer = played.get(
            "/v2/stocks/trades", symbols="AAPL", start="2025-03-10", sort="desc", limit=5, page_token=token
        )
        seen += [trade["i"] for trade in answer["trades"]["AAPL"]]
        token = answer["next_page_token"]
        if token is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 36


def test_latest_of_stocks_by_alpaca_py(played: Exchange) -> None:
    client = stocks(played)
    bar = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=BOTH))["MSFT"]
    assert (bar.open, bar.timestamp) == (208, FIRST + timedelta(minutes=8))
    assert client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"].price == 108.5
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))["AAPL"]
    assert (quote.bid_price, quote.ask_price) == (108.49, 108.51)


def test_latest_of_crypto_by_alpaca_py(played: Exchange) -> None:
    client, coin = crypto(played), "BTC/USD"
    assert client.get_crypto_latest_bar(CryptoLatestBarRequest(symbol_or_symbols=coin))[coin].close == 5008.5
    assert client.get_crypto_latest_trade(CryptoLatestTradeRequest(symbol_or_symbols=coin))[coin].price == 5008.5
    assert client.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols=coin))[coin].bid_price == 5008.49
    book = client.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols=coin))[coin]
    assert (book.bids[0].price, book.asks[0].price) == (5008.49, 5008.51)


def test_snapshots_by_alpaca_py(played: Exchange) -> None:
    snapshot = stocks(played).get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=BOTH))["AAPL"]
    assert (snapshot.latest_trade.price, snapshot.minute_bar.open, snapshot.daily_bar.open) == (108.5, 108, 100)
    assert snapshot.daily_bar.volume == 9036
    assert snapshot.previous_daily_bar is None
    coin = crypto(played).get_crypto_snapshot(CryptoSnapshotRequest(symbol_or_symbols="BTC/USD"))["BTC/USD"]
    assert (coin.latest_quote.ask_price, coin.daily_bar.high) == (5008.51, 5009)


def test_the_day_before_is_in_the_snapshot_and_in_daily_bars_across_the_clock_change(start: Start) -> None:
    friday, sunday, monday = (datetime(2025, 3, day, 15, tzinfo=UTC) for day in (7, 9, 10))
    rows = [row("BTC/USD", moment, f"{p} {p} {p} {p}") for p, moment in ((7, friday), (9, sunday), (10, monday))]
    exchange = start(rows)
    exchange.step(3)
    answer = exchange.get("/v1beta3/crypto/us/bars", symbols="BTC/USD", timeframe="1Day", start="2025-03-01")
    assert [(bar["t"], bar["o"]) for bar in answer["bars"]["BTC/USD"]] == [
        ("2025-03-07T05:00:00Z", 7), ("2025-03-09T05:00:00Z", 9), ("2025-03-10T04:00:00Z", 10),
    ]  # fmt: skip
    snapshot = exchange.get("/v1beta3/crypto/us/snapshots", symbols="BTC/USD")["snapshots"]["BTC/USD"]
    assert (snapshot["prevDailyBar"]["o"], snapshot["dailyBar"]["o"]) == (9, 10)


def test_late_updates_are_in_the_history(start: Start) -> None:
    exchange = start(late_update_probability=1.0)
    exchange.step(2)
    bars = exchange.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min")["bars"]["AAPL"]
    assert [(bar["v"], bar["n"]) for bar in bars] == [(1011, 11), (1001, 10)]
