"""AlpacaHistory against a paging REST server that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.alpaca.fields import rfc3339, time_ns
from adapters.alpaca.history import AlpacaHistory
from engine.errors import ConfigError, UnreachableError
from engine.ports import Quote, Trade
from engine.values import NS_PER_MINUTE, AssetClass
from tests.alpaca.wire import DROP, HANG, Ear, Wire

STOCKS, CRYPTO = ("GET", "/v2/stocks/bars"), ("GET", "/v1beta3/crypto/us/bars")
START = time_ns("2022-01-03T14:30:00Z") or 0
HTML = "<html>oops</html>"


def _record(minute: int, **changes: Any) -> dict[str, Any]:
    record = {"t": rfc3339(START + minute * NS_PER_MINUTE), "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 10}
    return record | {"n": 3, "vw": 1.2} | changes


def _server(minutes: dict[str, list[dict[str, Any]]], page: int | None = None) -> Any:
    """Serve as Alpaca does: sorted by symbol then time, `limit` counts points of all symbols, inclusive span."""

    def reply(query: dict[str, str], _body: Any) -> Any:
        start, end = time_ns(query["start"]) or 0, time_ns(query["end"]) or 0
        symbols = sorted(query["symbols"].split(","))
        points = [
            (symbol, record)
            for symbol in symbols
            for record in minutes.get(symbol, [])
            if start <= (time_ns(record["t"]) or 0) <= end
        ]
        offset, limit = int(query.get("page_token", "0")), page or int(query["limit"])
        bars: dict[str, list[Any]] = {}
        for symbol, record in points[offset : offset + limit]:
            bars.setdefault(symbol, []).append(record)
        more = offset + limit < len(points)
        return 200, {"bars": bars, "next_page_token": str(offset + limit) if more else None}

    return reply


@pytest.fixture
def history(wire: Wire) -> Iterator[AlpacaHistory]:
    made = AlpacaHistory(wire.config())
    yield made
    made.close()


def _bars(history: AlpacaHistory, symbols: list[str], first: int, last: int) -> list[tuple[str, int]]:
    """Ask for closes in (first, last] minutes after START; give (symbol, close minute)."""
    asset_class = AssetClass.CRYPTO if "/" in symbols[0] else AssetClass.US_EQUITY
    span = START + first * NS_PER_MINUTE, START + last * NS_PER_MINUTE
    found = history.bars(asset_class, symbols, "1m", *span)
    return [(bar.symbol, (bar.ts_event - START) // NS_PER_MINUTE) for bar in found]


def test_closes_lie_in_the_span_and_are_sorted_by_time_then_symbol(wire: Wire, history: AlpacaHistory) -> None:
    wire.routes[STOCKS] = _server({name: [_record(minute) for minute in range(10)] for name in ("MSFT", "AAPL")})
    assert _bars(history, ["MSFT", "AAPL"], 3, 5) == [("AAPL", 4), ("MSFT", 4), ("AAPL", 5), ("MSFT", 5)]
    query = wire.requests[0][2]
    assert (query["start"], query["end"]) == ("2022-01-03T14:32:01Z", "2022-01-03T14:34:00Z")
    assert (query["timeframe"], query["feed"], query["sort"], query["limit"]) == ("1Min", "iex", "asc", "10000")


@pytest.mark.parametrize("offset_ns", [-1, 0, 1, 10**9, 59 * 10**9])
def test_edges_of_the_span_are_exact(wire: Wire, history: AlpacaHistory, offset_ns: int) -> None:
    wire.routes[STOCKS] = _server({"AAPL": [_record(minute) for minute in range(10)]})
    lower, upper = START + 3 * NS_PER_MINUTE + offset_ns, START + 6 * NS_PER_MINUTE + offset_ns
    found = [bar.ts_event for bar in history.bars(AssetClass.US_EQUITY, ["AAPL"], "1m", lower, upper)]
    assert found == [
        close for close in range(START, START + 11 * NS_PER_MINUTE, NS_PER_MINUTE) if lower < close <= upper
    ]


@pytest.mark.parametrize("page", [1, 3, 7, 20, 1000])
def test_pages_that_split_symbols_lose_nothing(wire: Wire, history: AlpacaHistory, page: int) -> None:
    symbols = ["AAPL", "MSFT", "TSLA"]
    wire.routes[STOCKS] = _server({name: [_record(minute) for minute in range(7)] for name in symbols}, page)
    assert _bars(history, symbols, 0, 7) == [(name, close) for close in range(1, 8) for name in symbols]


def test_many_symbols_go_in_chunks(wire: Wire) -> None:
    symbols = [f"S{number:03d}" for number in range(25)]
    wire.routes[STOCKS] = _server({name: [_record(0)] for name in symbols})
    history = AlpacaHistory(wire.config(history_symbols_per_request=10))
    assert _bars(history, symbols, 0, 1) == [(name, 1) for name in symbols]
    history.close()
    assert [len(query["symbols"].split(",")) for _, _, query, _ in wire.requests] == [10, 10, 5]


def test_crypto_has_its_own_path_and_no_feed(wire: Wire, history: AlpacaHistory) -> None:
    wire.routes[CRYPTO] = _server({"BTC/USD": [_record(0), _record(0, c=1.9), _record(1, v=0, n=0, vw=0)]})
    assert _bars(history, ["BTC/USD"], 0, 5) == [("BTC/USD", 1), ("BTC/USD", 2)]
    assert "feed" not in wire.requests[0][2]


def test_minute_that_comes_twice_counts_as_it_came_last(wire: Wire, history: AlpacaHistory) -> None:
    wire.routes[CRYPTO] = _server({"BTC/USD": [_record(0), _record(0, c=1.9)]})
    (bar,) = history.bars(AssetClass.CRYPTO, ["BTC/USD"], "1m", START, START + NS_PER_MINUTE)
    assert bar.close == 1.9


def test_unfinished_interval_is_left_out(wire: Wire) -> None:
    wire.routes[STOCKS] = _server({"AAPL": [_record(minute) for minute in range(5)]})
    history = AlpacaHistory(wire.config(), now_ns=lambda: START + 3 * NS_PER_MINUTE + 30 * 10**9)
    assert _bars(history, ["AAPL"], 0, 100) == [("AAPL", 1), ("AAPL", 2), ("AAPL", 3)]
    history.close()


def test_bars_outside_the_span_are_left_out_whatever_the_server_sends(wire: Wire, history: AlpacaHistory) -> None:
    page = {"bars": {"AAPL": [_record(minute) for minute in range(10)], "MSFT": [_record(4)]}, "next_page_token": None}
    wire.routes[STOCKS] = (200, page)
    assert _bars(history, ["AAPL"], 3, 5) == [("AAPL", 4), ("AAPL", 5)]


def test_empty_span_asks_nothing(wire: Wire, history: AlpacaHistory) -> None:
    assert _bars(history, ["AAPL"], 5, 5) == []
    assert _bars(history, ["AAPL"], 5, 4) == []
    assert wire.requests == []


def test_other_timeframes(wire: Wire, history: AlpacaHistory) -> None:
    wire.routes[STOCKS] = (200, {"bars": {"AAPL": [_record(0)]}, "next_page_token": None})
    (bar,) = history.bars(AssetClass.US_EQUITY, ["AAPL"], "1h", START, START + 60 * NS_PER_MINUTE)
    assert (bar.timeframe, bar.ts_event) == ("1h", START + 60 * NS_PER_MINUTE)
    assert wire.requests[0][2]["timeframe"] == "1Hour"
    with pytest.raises(ValueError, match="30s"):
        history.bars(AssetClass.US_EQUITY, ["AAPL"], "30s", START, START + 60 * NS_PER_MINUTE)


@pytest.mark.parametrize(
    "page",
    [
        {"bars": None, "next_page_token": None},
        {"bars": {}},
        {"next_page_token": ""},
        {"bars": {"AAPL": None}, "next_page_token": ""},
    ],
)
def test_every_form_of_nothing_is_nothing(wire: Wire, history: AlpacaHistory, page: Any) -> None:
    wire.routes[STOCKS] = (200, page)
    assert _bars(history, ["AAPL"], 0, 5) == []


def test_bad_bar_is_left_out_and_reported(wire: Wire) -> None:
    ear = Ear()
    wire.routes[STOCKS] = _server({"AAPL": [_record(0), _record(1, h=0.1), _record(2)]})
    history = AlpacaHistory(wire.config(), on_problem=ear.on_problem)
    assert _bars(history, ["AAPL"], 0, 5) == [("AAPL", 1), ("AAPL", 3)]
    history.close()
    assert ear.problem("history: bar of AAPL at 2022-01-03T14:31:00Z: high must be >= low")


def test_trouble_is_tried_through(wire: Wire, history: AlpacaHistory) -> None:
    good = (200, {"bars": {"AAPL": [_record(0)]}, "next_page_token": None})
    wire.routes[STOCKS] = [HANG, DROP, (429, {"message": "too many requests."}), good]
    assert _bars(history, ["AAPL"], 0, 5) == [("AAPL", 1)]


@pytest.mark.parametrize("reply", [(500, HTML), (200, HTML), HANG, DROP, (403, HTML)])
def test_trouble_that_stays_is_unreachable(wire: Wire, history: AlpacaHistory, reply: Any) -> None:
    wire.routes[STOCKS] = reply
    with pytest.raises(UnreachableError, match="4 tries"):
        _bars(history, ["AAPL"], 0, 5)
    assert len(wire.requests) == 4


def test_feed_outside_the_plan_says_so(wire: Wire, history: AlpacaHistory) -> None:
    text = "subscription does not permit querying recent SIP data"
    wire.routes[STOCKS] = (403, {"message": text})
    with pytest.raises(ConfigError, match=text):
        _bars(history, ["AAPL"], 0, 5)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("page", [[], "null", {"bars": []}, {"bars": 7}])
def test_another_kind_of_server_is_named(wire: Wire, history: AlpacaHistory, page: Any) -> None:
    wire.routes[STOCKS] = (200, page)
    if page == {"bars": []}:
        assert _bars(history, ["AAPL"], 0, 5) == []
    else:
        with pytest.raises(UnreachableError, match="not Alpaca's data API"):
            _bars(history, ["AAPL"], 0, 5)


def test_pages_that_repeat_end(wire: Wire, history: AlpacaHistory) -> None:
    wire.routes[STOCKS] = (200, {"bars": {}, "next_page_token": "again"})
    with pytest.raises(UnreachableError, match="do not end"):
        _bars(history, ["AAPL"], 0, 5)


# --- ticks ----------------------------------------------------------------------------------------------------------

TRADES, QUOTES = ("GET", "/v2/stocks/trades"), ("GET", "/v2/stocks/quotes")


def _tick(second: float, **fields: Any) -> dict[str, Any]:
    return {"t": rfc3339(START + int(second * 10**9)), **fields}


def _trade(second: float, px: Any, *conditions: str) -> dict[str, Any]:
    return _tick(second, p=px, s=100, c=["@", *conditions], z="C", x="V", i=1)


def _quote(second: float, bid: Any, ask: Any) -> dict[str, Any]:
    return _tick(second, bp=bid, ap=ask, bs=1, **{"as": 1})


def _pages(kind: str, *pages: dict[str, list[Any]] | None) -> Any:
    def reply(query: dict[str, str], _body: Any) -> Any:
        place = int(query.get("page_token", "0"))
        more = str(place + 1) if place + 1 < len(pages) else None
        return 200, {kind: pages[place], "next_page_token": more}

    return reply


def test_ticks_are_merged_by_time_and_only_those_that_count_are_given(wire: Wire, history: AlpacaHistory) -> None:
    wire.routes[TRADES] = _pages(
        "trades",
        {"AAPL": [_trade(0, 1.0), _trade(5, 2.0), _trade(6, 9.0, "I")]},
        {"MSFT": [_trade(5, 3.0), _trade(10, 4.0), _trade(10.000000001, 5.0)]},
    )
    wire.routes[QUOTES] = _pages("quotes", {"AAPL": [_quote(5, 1.0, 2.5)], "MSFT": [_quote(7, 0, 4.5)]})
    found = history.ticks(AssetClass.US_EQUITY, ["MSFT", "AAPL"], START, START + 10 * 10**9)
    at = [START + second * 10**9 for second in (5, 5, 5, 7, 10)]
    assert found == [
        Quote("AAPL", at[0], 1.0, 2.5), Trade("AAPL", at[1], 2.0, 100.0), Trade("MSFT", at[2], 3.0, 100.0),
        Quote("MSFT", at[3], 0.0, 4.5), Trade("MSFT", at[4], 4.0, 100.0),
    ]  # fmt: skip
    queries = [query for _, path, query, _ in wire.requests if path == TRADES[1]]
    assert queries[0] == {
        "symbols": "MSFT,AAPL", "start": rfc3339(START), "end": rfc3339(START + 10 * 10**9), "limit": "10000",
        "sort": "asc", "feed": "iex",
    }  # fmt: skip


def test_ticks_of_crypto_have_their_own_path(wire: Wire, history: AlpacaHistory) -> None:
    wire.routes["GET", "/v1beta3/crypto/us/trades"] = _pages("trades", {"BTC/USD": [_tick(1, p=5.5, s=0.1, tks="B")]})
    wire.routes["GET", "/v1beta3/crypto/us/quotes"] = _pages("quotes", None)
    found = history.ticks(AssetClass.CRYPTO, ["BTC/USD"], START, START + 10**10)
    assert found == [Trade("BTC/USD", START + 10**9, 5.5, 0.1)]
    assert all("feed" not in query for _, _, query, _ in wire.requests)


def test_a_bad_tick_costs_itself_and_is_reported(wire: Wire) -> None:
    ear = Ear()
    made = AlpacaHistory(wire.config(), on_problem=ear.on_problem)
    wire.routes[TRADES] = _pages("trades", {"AAPL": [_trade(1, "x"), "junk", _trade(2, 7.0)]})
    wire.routes[QUOTES] = _pages("quotes", {})
    found = made.ticks(AssetClass.US_EQUITY, ["AAPL"], START, START + 10**10)
    assert found == [Trade("AAPL", START + 2 * 10**9, 7.0, 100.0)]
    assert ear.problem("history: trade of AAPL")
    made.close()


def test_too_many_ticks_are_not_waited_for(wire: Wire, history: AlpacaHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.alpaca.history._TICKS_MAX", 3)
    wire.routes[QUOTES] = _pages("quotes", {"AAPL": [_quote(second, 1.0, 2.0) for second in range(1, 5)]})
    with pytest.raises(UnreachableError, match="more than 3 trades and quotes of 1 symbols"):
        history.ticks(AssetClass.US_EQUITY, ["AAPL"], START, START + 10**10)
    wire.routes[QUOTES] = (200, {"bars": {}})
    wire.routes[TRADES] = _pages("trades", {})
    assert history.ticks(AssetClass.US_EQUITY, ["AAPL"], START, START + 10**10) == []
    wire.routes[TRADES] = HANG
    with pytest.raises(UnreachableError, match="no answer"):
        history.ticks(AssetClass.US_EQUITY, ["AAPL"], START, START + 10**10)
