"""Faults on purpose: the rules and their counting, and every fault of a REST request, seen by unmodified clients."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from adapters.exchange.faults import FAULTS, FaultPlan, FaultRule, Faults, load_faults
from engine.errors import ConfigError
from tests.exchange.conftest import Start
from tests.exchange.harness import OPEN, Exchange
from tests.exchange.test_groups import refusal

POST_ORDER = {"method": "POST", "path": "/v2/orders"}


def set_faults(exchange: Exchange, *rules: dict[str, Any], **plan: Any) -> None:
    answer = exchange.http.post(f"{exchange.urls['control']}/faults", json={"rules": rules, **plan}, timeout=10)
    assert answer.status_code == 200, answer.text


def hits(exchange: Exchange) -> list[tuple[int, int]]:
    return [(rule["occasions"], rule["hits"]) for rule in exchange.control("faults")["rules"]]


def buy(exchange: Exchange, name: str) -> Any:
    request = MarketOrderRequest(
        symbol="BTC/USD", qty=0.1, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, client_order_id=name
    )
    return exchange.client().submit_order(request)


# --- rules ----------------------------------------------------------------------------------------------------------


def outcomes(count: int, **rule: Any) -> str:
    faults = Faults(1, FaultPlan((FaultRule(fault="http_500", **rule),)))
    kinds = frozenset({"http_500"})
    return "".join("x" if faults.for_request(kinds, "GET", f"/{i}") else "." for i in range(count))


def test_when_a_rule_comes_about() -> None:
    assert outcomes(5) == "xxxxx"
    assert outcomes(5, nth=(2, 4)) == ".x.x."
    assert outcomes(7, every=3) == "..x..x."
    assert outcomes(5, times=2) == "xx..."
    assert outcomes(5, path="/[13]") == ".x.x."
    assert outcomes(5, method="POST") == "....."
    assert outcomes(100, probability=0.3).count("x") == outcomes(100, probability=0.3).count("x")
    assert 15 < outcomes(100, probability=0.3).count("x") < 45
    assert outcomes(40, probability=0.5) != outcomes(40, probability=0.5, nth=tuple(range(1, 41, 2)))


def test_probability_depends_on_content_and_seed_and_not_on_the_order_of_arrival() -> None:
    kinds, names = frozenset({"http_500"}), [f"/{i}" for i in range(60)]

    def hit(seed: int, order: list[str]) -> set[str]:
        faults = Faults(seed, FaultPlan((FaultRule(fault="http_500", probability=0.4),)))
        return {name for name in order if faults.for_request(kinds, "GET", name)}

    assert hit(1, names) == hit(1, names[::-1])
    assert hit(1, names) != hit(2, names)
    again = Faults(1, FaultPlan((FaultRule(fault="http_500", probability=0.5),)))
    same = ["x" if again.for_request(kinds, "GET", "/same") else "." for _ in range(40)]
    assert {"x", "."} == set(same), "each repetition is drawn anew"


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_a_file_of_faults(tmp_path: Path, start: Start, suffix: str) -> None:
    path = tmp_path / f"faults.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps({"seed": 7, "rules": [{"fault": "http_500", "nth": [2], **POST_ORDER}]}))
    else:
        path.write_text('seed = 7\n[[rules]]\nfault = "http_500"\nnth = [2]\nmethod = "POST"\npath = "/v2/orders"\n')
    plan = load_faults(path)
    assert plan == FaultPlan((FaultRule(fault="http_500", nth=(2,), method="POST", path="/v2/orders"),), 7)
    exchange = start(faults=plan)
    exchange.order(symbol="AAPL", qty=1)
    assert exchange.post_order(symbol="AAPL", qty=1).status_code == 500
    assert exchange.control("faults")["seed"] == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot be read"),
        ('{"rules": [{"fault": "earthquake"}]}', "fault rule 1 (earthquake): unknown fault; known are bad_message,"),
        ('{"rules": [{"fault": "slow", "delay": 1}]}', "unknown field `delay`"),
        ('{"rules": [{"fault": "slow", "probability": 2}]}', "fault rule 1 (slow): probability must be 0 to 1, was 2"),
        ('{"rules": [{"fault": "slow", "nth": [0]}]}', "nth counts from 1, was [0]"),
        ('{"rules": [{"fault": "slow", "every": 0}]}', "every must be 1 or more, was 0"),
        ('{"rules": [{"fault": "ws_error", "code": 1}]}', "code must be one of"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_faults(path)
    assert str(caught.value).startswith(f"faults file {path}")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_faults(tmp_path / "none.json")


def test_the_control_url_sets_counts_and_clears(exchange: Exchange) -> None:
    assert exchange.control("faults") == {"seed": 1, "rules": []}
    set_faults(exchange, {"fault": "http_500", "nth": [2], "path": "/v2/clock"}, seed=9)
    assert [exchange.call("GET", "/v2/clock").status_code for _ in range(3)] == [200, 500, 200]
    assert exchange.call("GET", "/v2/account").status_code == 200
    shown = exchange.control("faults")
    assert (shown["seed"], shown["rules"]) == (
        9, [{"fault": "http_500", "nth": [2], "path": "/v2/clock", "occasions": 3, "hits": 1}],
    )  # fmt: skip
    bad = exchange.http.post(f"{exchange.urls['control']}/faults", json={"rules": [{"fault": "x"}]}, timeout=10)
    assert refusal(bad)[:2] == (422, 40010001)
    assert hits(exchange) == [(3, 1)], "a bad plan changes nothing"
    exchange.http.delete(f"{exchange.urls['control']}/faults", timeout=10)
    assert exchange.control("faults")["rules"] == []


def test_every_fault_is_tested_here_or_beside() -> None:
    folder = Path(__file__).parent
    text = "".join(path.read_text() for path in folder.glob("test_faults_*.py"))
    assert {name for name in FAULTS if f'"{name}"' not in text} == set()


# --- REST -----------------------------------------------------------------------------------------------------------


def test_429_comes_with_headers_and_processes_nothing(exchange: Exchange) -> None:
    set_faults(exchange, {"fault": "http_429", "times": 1, "delay_s": 7, **POST_ORDER})
    with pytest.raises(APIError) as caught:
        buy(exchange, "a")
    assert (caught.value.status_code, caught.value.code) == (429, 42910000)
    headers = caught.value.response.headers
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("200", "0")
    assert headers["Retry-After"] == "7"
    assert 0 <= int(headers["X-RateLimit-Reset"]) - time.time_ns() // 10**9 <= 9
    assert buy(exchange, "a").client_order_id == "a"


@pytest.mark.parametrize(
    ("fault", "status"), [("http_500", 500), ("http_504", 504), ("html", 502), ("http_429", 429)]
)  # fmt: skip
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_before_or_after_the_order_was_accepted(start: Start, fault: str, status: int, when: str) -> None:
    exchange = start()
    set_faults(exchange, {"fault": fault, "when": when, "nth": [1], **POST_ORDER})
    with pytest.raises(APIError) as caught:
        buy(exchange, "a")
    assert caught.value.status_code == status
    if fault == "html":
        with pytest.raises(json.JSONDecodeError):
            _ = caught.value.message
    is_there = exchange.status()["orders_accepted"] == 1
    assert is_there == (when == "after")
    if is_there:
        assert exchange.client().get_order_by_client_id("a").client_order_id == "a"
        with pytest.raises(APIError) as caught:
            buy(exchange, "a")
        assert (caught.value.status_code, caught.value.code) == (422, 40010001)
    else:
        buy(exchange, "a")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_before_or_after_processing(exchange: Exchange, when: str) -> None:
    set_faults(exchange, {"fault": "reset", "when": when, "nth": [1], **POST_ORDER})
    with pytest.raises(requests.ConnectionError):
        buy(exchange, "a")
    assert exchange.status()["orders_accepted"] == (1 if when == "after" else 0)
    set_faults(exchange)
    assert buy(exchange, "b").client_order_id == "b"


@pytest.mark.parametrize("when", ["before", "after"])
def test_slow_and_no_answer(exchange: Exchange, when: str) -> None:
    set_faults(
        exchange,
        {"fault": "slow", "when": when, "delay_s": 0.15, "nth": [1], **POST_ORDER},
        {"fault": "no_answer", "when": when, "path": "/v2/clock"},
    )
    began = time.monotonic()
    assert buy(exchange, "a").client_order_id == "a"
    assert time.monotonic() - began >= 0.15
    with pytest.raises(requests.ReadTimeout):
        requests.get(exchange.urls["rest"] + "/v2/clock", headers=exchange.http.headers, timeout=0.1)
    assert exchange.get("/v2/account")["status"] == "ACTIVE"


def test_an_answer_that_breaks_off_and_a_duplicate_that_is_none(exchange: Exchange) -> None:
    set_faults(
        exchange, {"fault": "truncated", "nth": [1], **POST_ORDER}, {"fault": "duplicate_422", "nth": [1], **POST_ORDER}
    )
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        buy(exchange, "a")
    set_faults(exchange, {"fault": "duplicate_422", "nth": [1], **POST_ORDER})
    with pytest.raises(APIError) as caught:
        buy(exchange, "b")
    assert (caught.value.status_code, caught.value.code) == (422, 40010001)
    assert caught.value.message == "client_order_id must be unique"
    assert {exchange.client().get_order_by_client_id(name).client_order_id for name in "ab"} == {"a", "b"}


def test_bars_null_breaks_alpaca_py_as_the_real_one_does(exchange: Exchange) -> None:
    exchange.step(2)
    client = StockHistoricalDataClient("key", "secret", url_override=exchange.urls["data_rest"])
    request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Minute, start=OPEN.replace(hour=0))
    set_faults(exchange, {"fault": "bars_null", "nth": [1]})
    with pytest.raises(AttributeError):
        client.get_stock_bars(request)
    assert len(client.get_stock_bars(request).data["AAPL"]) == 2


def test_positions_lag_behind_and_the_clock_is_wrong(exchange: Exchange) -> None:
    buy(exchange, "a")
    exchange.step()
    set_faults(exchange, {"fault": "stale_positions", "minutes": 2}, {"fault": "clock_skew", "skew_s": -90, "nth": [1]})
    client = exchange.client()
    assert client.get_all_positions() == []
    exchange.order(symbol="BTC/USD", qty="0.2", time_in_force="gtc")
    exchange.step()
    assert exchange.call("GET", "/v2/positions/BTCUSD").status_code == 404
    exchange.step()
    assert [position.qty for position in client.get_all_positions()] == ["0.09975"]
    assert (client.get_clock().timestamp - client.get_clock().timestamp).total_seconds() == -90
    set_faults(exchange)
    assert [position.qty for position in client.get_all_positions()] == ["0.29925"]
