"""Start and end of the server, its clock in both modes, the control URL, keys, rate limit, and bad settings."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from websockets.exceptions import ConnectionClosed

from adapters.exchange.config import ExchangeConfig
from adapters.exchange.server import serve
from engine.errors import BusyError, ConfigError
from tests.exchange.conftest import Start
from tests.exchange.harness import FIRST, OPEN, Exchange, ns, rising, row, running, until, write_csv


def never(_: dict[str, str]) -> None:
    pytest.fail("ready was called")


# --- start and end --------------------------------------------------------------------------------------------------


def test_the_urls_are_complete(exchange: Exchange) -> None:
    base = exchange.urls["rest"]
    ws = base.replace("http", "ws")
    assert base.startswith("http://127.0.0.1:")
    assert exchange.urls == {
        "rest": base, "data_rest": base, "stock_ws": f"{ws}/v2/iex", "crypto_ws": f"{ws}/v1beta3/crypto/us",
        "trading_ws": f"{ws}/stream", "control": f"{base}/control",
    }  # fmt: skip


async def test_a_busy_port_is_one_line_with_port_and_mend(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        bars = write_csv(tmp_path / "bars.csv", rising("AAPL", 100, 2))
        with pytest.raises(BusyError) as caught:
            await serve(ExchangeConfig(bars=bars, port=port), ready=never, stop=asyncio.Event())
    expected = f"port {port} on 127.0.0.1 is in use by another program; stop it or choose another --port"
    assert str(caught.value) == expected


async def test_a_bad_host_or_bar_file_ends_before_ready(tmp_path: Path) -> None:
    bars = write_csv(tmp_path / "bars.csv", rising("AAPL", 100, 2))
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await serve(ExchangeConfig(bars=bars, host="192.0.2.1"), ready=never, stop=asyncio.Event())
    with pytest.raises(ConfigError, match="holds no symbol 'IBM'"):
        await serve(ExchangeConfig(bars=bars, symbols=("IBM",)), ready=never, stop=asyncio.Event())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"speed": 0}, 'speed must be a number above 0 or "max", was 0'),
        ({"speed": float("nan")}, "speed must be a number above 0"),
        ({"port": 70000}, "port must be 0 to 65535, was 70000"),
        ({"cash": -1}, "cash must be 0 or more, was -1"),
        ({"multiplier": 4}, "multiplier must be 1 or 2, was 4"),
        ({"partial_fill_probability": 1.1}, "partial_fill_probability must be 0 to 1, was 1.1"),
        ({"crypto_fee_bps": -1}, "crypto_fee_bps must be 0 or more"),
        ({"volume_share_max": 0}, "volume_share_max must be above 0"),
        ({"symbols": ()}, "symbols must be at least one symbol"),
        ({"generator_sessions": 0}, "generator_sessions must be 1 or more"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected.replace(".", r"\.")):
        ExchangeConfig(**settings)


def test_the_server_stops_with_clients_connected(tmp_path: Path) -> None:
    bars = write_csv(tmp_path / "bars.csv", rising("AAPL", 100, 5))
    with running(ExchangeConfig(bars=bars, speed=1)) as exchange, exchange.market() as market:
        began = time.monotonic()
        stopped = market
        exchange.close()
        with pytest.raises(TimeoutError):
            stopped.socket.recv(timeout=0.01)
    assert time.monotonic() - began < 5
    with pytest.raises(ConnectionClosed):
        stopped.socket.recv(timeout=5)


# --- lock-step ------------------------------------------------------------------------------------------------------


def test_a_step_has_two_phases(exchange: Exchange) -> None:
    assert exchange.status()["state"] == "waiting"
    assert exchange.status()["venue_ns"] == ns(FIRST)
    one = ns(FIRST + timedelta(minutes=1))
    assert exchange.phase("events") == {"venue_ns": one, "events": 0, "finished": False}
    assert exchange.status()["bars_emitted"] == 0
    assert exchange.get("/v2/stocks/bars/latest", symbols="AAPL") == {"bars": {}}, "not out before its phase"
    assert exchange.phase("bars") == {"venue_ns": one, "bars": 3, "finished": False}
    assert exchange.get("/v2/stocks/bars/latest", symbols="AAPL")["bars"]["AAPL"]["o"] == 100


def test_phases_must_alternate(exchange: Exchange) -> None:
    def refused(phase: str) -> tuple[int, str]:
        answer = exchange.call("POST", "/control/step", json={"phase": phase})
        return answer.status_code, answer.json()["message"]

    assert refused("bars") == (409, "the events of this step are not emitted yet: POST phase events first")
    exchange.phase("events")
    assert refused("events") == (409, "the bars of this step are not emitted yet: POST phase bars first")
    assert refused("both")[0] == 422
    exchange.phase("bars")
    assert exchange.call("POST", "/control/step", data=b"{").status_code == 400


def test_the_end_of_a_lock_step_run(start: Start) -> None:
    exchange = start(rising("AAPL", 100, 3))
    exchange.step(2)
    assert exchange.step()["finished"] is True
    assert exchange.status()["state"] == "finished"
    order = exchange.order(symbol="AAPL", qty=1)
    assert exchange.phase("events") == {"venue_ns": ns(OPEN + timedelta(minutes=1)), "events": 1, "finished": True}
    assert exchange.phase("bars")["bars"] == 0
    assert exchange.order_now(order["id"])["status"] == "new"
    assert exchange.status()["orders_open"] == 1


def test_only_lock_step_has_steps_and_only_held_runs_start(start: Start) -> None:
    exchange = start(speed=1.0)
    answer = exchange.call("POST", "/control/step", json={"phase": "events"})
    assert (answer.status_code, answer.json()["message"]) == (409, 'only a run with speed "max" is moved by steps')
    assert exchange.call("POST", "/control/start").json()["started"] is False


def test_the_control_url_says_when_each_order_was_taken_in(exchange: Exchange) -> None:
    exchange.step(5)
    before = time.time_ns()
    exchange.order(symbol="AAPL", qty="1", client_order_id="first")
    between = time.time_ns()
    exchange.order(symbol="AAPL", qty="1", client_order_id="second")
    assert exchange.post_order(symbol="AAPL", qty="1", client_order_id="first").status_code == 422
    assert exchange.post_order(symbol="NONE", qty="1", client_order_id="third").status_code == 422
    times = exchange.control("accepted")
    assert list(times) == ["first", "second"]
    assert before < times["first"] < between < times["second"] < time.time_ns()


def test_counters_of_the_control_url(exchange: Exchange) -> None:
    exchange.step_to(OPEN)
    exchange.order(symbol="AAPL", qty=1)
    exchange.order(symbol="AAPL", qty=1, type="limit", limit_price=1)
    exchange.order(symbol="BTC/USD", qty=1, time_in_force="gtc")
    exchange.step()
    status = exchange.status()
    wanted = {
        "bars_emitted": 9, "executions": 2, "activities": 1, "orders_accepted": 3, "orders_open": 1,
        "orders_terminal": 2,
        "events_emitted": 5, "rest_open": 0, "market_clients": 0, "market_subscribed": 0, "trading_clients": 0,
        "speed": "max", "venue_ns": ns(OPEN + timedelta(minutes=1)),
    }  # fmt: skip
    assert {key: status[key] for key in wanted} == wanted
    assert exchange.control("clock") == {"venue_ns": status["venue_ns"], "speed": "max", "running": False}


def test_an_order_between_the_phases_waits_for_the_next_minute(exchange: Exchange) -> None:
    exchange.step_to(OPEN)
    exchange.phase("events")
    order = exchange.order(symbol="AAPL", qty=1)
    exchange.phase("bars")
    assert exchange.order_now(order["id"])["status"] == "pending_new"
    exchange.step()
    assert exchange.order_now(order["id"])["filled_avg_price"] == "103"


# --- timed ----------------------------------------------------------------------------------------------------------


def test_a_timed_run_plays_to_its_end_and_stays_up(start: Start) -> None:
    exchange = start(rising("AAPL", 100, 20), speed=60_000)
    until(lambda: exchange.status()["state"] == "finished")
    assert exchange.status()["bars_emitted"] == 20
    assert exchange.control("clock")["venue_ns"] == ns(FIRST + timedelta(minutes=20))
    assert len(exchange.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min")["bars"]["AAPL"]) == 20


def test_a_timed_run_keeps_its_pace_and_never_passes_an_unemitted_close(start: Start) -> None:
    exchange = start(rising("AAPL", 100, 60), speed=600)
    began = exchange.control("clock")["venue_ns"]
    wall = time.monotonic()
    until(lambda: exchange.status()["bars_emitted"] >= 8)
    passed = time.monotonic() - wall
    status = exchange.status()
    assert 0.5 < (status["venue_ns"] - began) / 1e9 / 600 / passed < 1.5
    last_close = ns(FIRST) + status["bars_emitted"] * 60 * 10**9
    assert last_close <= status["venue_ns"] <= last_close + 60 * 10**9


def test_long_silences_are_jumped_over(start: Start) -> None:
    rows = [row("AAPL", OPEN + timedelta(hours=hours), "10 10 10 10") for hours in (0, 1, 24, 100)]
    exchange = start(rows, speed=300)
    until(lambda: exchange.status()["state"] == "finished")
    assert exchange.status()["venue_ns"] == ns(OPEN + timedelta(hours=100, minutes=1))


def test_a_held_run_waits_for_its_start(start: Start) -> None:
    exchange = start(rising("AAPL", 100, 5), speed=60_000, hold=True)
    assert exchange.status()["state"] == "held"
    assert exchange.control("clock") == {"venue_ns": ns(FIRST), "speed": 60_000, "running": False}
    assert exchange.call("POST", "/control/start").json()["started"] is True
    until(lambda: exchange.status()["state"] == "finished")


def test_a_run_is_held_at_a_close_and_goes_on_from_there(start: Start) -> None:
    exchange = start(rising("BTC/USD", 5000, 600), speed=600)
    until(lambda: exchange.status()["bars_emitted"] >= 2)
    assert exchange.call("POST", "/control/hold").json()["held"] is True
    assert exchange.call("POST", "/control/hold").json()["held"] is False
    held = until(lambda: (status := exchange.status())["state"] == "held" and status)
    assert held["venue_ns"] == ns(FIRST) + held["bars_emitted"] * 60 * 10**9
    order = exchange.order(symbol="BTC/USD", qty=1, time_in_force="gtc")
    assert exchange.control("clock") == {"venue_ns": held["venue_ns"], "speed": 600, "running": False}
    assert exchange.call("POST", "/control/start").json() == {"started": True, "venue_ns": held["venue_ns"]}
    filled = until(lambda: (shown := exchange.order_now(order["id"]))["status"] == "filled" and shown)
    assert filled["filled_avg_price"] == str(5000 + held["bars_emitted"]), "the first close after the pause"


def test_a_timed_order_fills_at_the_next_close(start: Start) -> None:
    exchange = start(rising("BTC/USD", 5000, 60), speed=600)
    order = exchange.order(symbol="BTC/USD", qty=1, time_in_force="gtc")
    assert order["status"] == "pending_new"
    filled = until(lambda: (shown := exchange.order_now(order["id"]))["status"] == "filled" and shown)
    submitted, at = (datetime.fromisoformat(filled[key]) for key in ("submitted_at", "filled_at"))
    assert timedelta(0) < at - submitted <= timedelta(minutes=1)
    assert at.second == 0
    assert float(filled["filled_avg_price"]) == 5000 + (at - FIRST) / timedelta(minutes=1) - 1


def test_the_generator_plays_too(start: Start) -> None:
    exchange = start(generator_symbols=3, generator_history_minutes=30)
    assert exchange.status()["venue_ns"] == ns(datetime(2026, 1, 5, 14, 30, tzinfo=UTC))
    bars = exchange.get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min", start="2026-01-01")["bars"]["AAPL"]
    assert len(bars) == 30
    assert exchange.step()["bars"] == 3


# --- keys and limits ------------------------------------------------------------------------------------------------


def test_keys_are_checked_on_trading_and_stock_data(start: Start) -> None:
    exchange = start(key="key", secret="right")
    with pytest.raises(APIError) as caught:
        exchange.client().get_account()
    assert (caught.value.status_code, caught.value._error) == (401, '{"message":"unauthorized."}')
    base = exchange.urls["rest"]
    for headers in ({}, {"Authorization": "Basic ???"}, {"APCA-API-KEY-ID": "key"}, {"Authorization": "Bearer key"}):
        assert requests.get(f"{base}/v2/clock", headers=headers, timeout=5).status_code == 401
    assert requests.get(f"{base}/v2/clock", auth=("key", "right"), timeout=5).status_code == 200
    assert requests.get(f"{base}/v2/stocks/bars/latest?symbols=AAPL", timeout=5).status_code == 401
    assert requests.get(f"{base}/v1beta3/crypto/us/latest/bars?symbols=BTC/USD", timeout=5).status_code == 200
    assert exchange.status()["state"] == "waiting", "the control URL needs no key"


def test_any_key_is_let_in_when_none_is_set_but_not_none_at_all(exchange: Exchange) -> None:
    assert exchange.client("anything").get_account().status.value == "ACTIVE"
    bearer = requests.get(f"{exchange.urls['rest']}/v2/clock", headers={"Authorization": "Bearer x"}, timeout=5)
    assert bearer.status_code == 200
    assert requests.get(f"{exchange.urls['rest']}/v2/clock", timeout=5).status_code == 401


def test_the_rate_limit_answers_429_with_its_headers(start: Start) -> None:
    exchange = start(orders_per_min_max=3)
    left = [exchange.call("GET", "/v2/clock").headers["X-RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    answer = exchange.call("POST", "/v2/orders", json={"symbol": "AAPL"})
    assert (answer.status_code, answer.json()) == (429, {"code": 42910000, "message": "rate limit exceeded"})
    assert answer.headers["X-RateLimit-Limit"] == "3"
    assert 0 < int(answer.headers["X-RateLimit-Reset"]) - time.time_ns() / 1e9 < 62
    assert exchange.status()["orders_accepted"] == 0


def test_unknown_paths_and_methods_are_json(exchange: Exchange) -> None:
    for method, path, status in (("GET", "/v2/nothing", 404), ("PUT", "/v2/orders", 405)):
        answer = exchange.call(method, path)
        assert (answer.status_code, set(answer.json())) == (status, {"code", "message"})
