"""Equal bars, seed and orders give equal everything, whatever the order of arrival and the hash seed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from websockets.sync.client import connect

from adapters.exchange.barfile import read_bars
from adapters.exchange.config import ExchangeConfig
from adapters.exchange.faults import ORDER_FAULTS, FaultPlan, FaultRule
from adapters.exchange.orders import OrderRequest
from adapters.exchange.venue import Venue
from engine.values import to_decimal
from tests.exchange.harness import Exchange, data_folder, running

SYMBOLS = ("AAPL", "BTC/USD", "MSFT", "NVDA", "TSLA")

EXITS = {"take_profit": {"limit_price": 100_000}, "stop_loss": {"stop_price": 1}}
FAULTS = FaultPlan(tuple(FaultRule(fault=name, probability=0.2) for name in sorted(ORDER_FAULTS)))


def orders_of(minute: int) -> list[dict[str, Any]]:
    """The same wishes in every run: some of each type, on five symbols; MSFT trails, TSLA comes in brackets."""
    rng = random.Random(minute)
    wishes: list[dict[str, Any]] = []
    for symbol in SYMBOLS:
        is_coin = "/" in symbol
        body: dict[str, Any] = {
            "symbol": symbol, "side": "buy", "qty": "0.5" if is_coin else rng.randint(1, 9), "type": "market",
            "time_in_force": "gtc" if is_coin else "day", "client_order_id": f"{symbol}-{minute}",
        }  # fmt: skip
        if rng.random() < 0.4:
            body |= {"type": "limit", "limit_price": str(rng.randint(100, 700))}
        if symbol == "MSFT":
            body |= {"type": "trailing_stop", "trail_percent": "0.2"}
            body.pop("limit_price", None)
        if symbol == "TSLA":
            body |= {"type": "market", "order_class": "bracket", **EXITS}
            body.pop("limit_price", None)
        wishes.append(body)
    return wishes


def play(arrival_seed: int, seed: int = 5, minutes: int = 25) -> dict[str, Any]:
    """Run a market in lock-step, with orders of each minute sent in an order of arrival of their own."""
    shuffle = random.Random(arrival_seed).shuffle
    config = ExchangeConfig(
        speed="max", seed=seed, symbols=SYMBOLS, generator_history_minutes=0, slippage_bps=20,
        partial_fill_probability=0.5, late_update_probability=0.3, cash=10_000_000,
        faults=FAULTS,
    )  # fmt: skip
    seen: dict[str, Any] = {"events": [], "posts": [], "stream": []}
    with running(config) as exchange, exchange.market() as market:
        market.ask(action="subscribe", bars=["*"], updatedBars=["*"])
        with connect(exchange.urls["trading_ws"]) as socket:
            for message in (
                {"action": "auth", "key": "k", "secret": "s"},
                {"action": "listen", "data": {"streams": ["trade_updates"]}},
            ):
                socket.send(json.dumps(message))
                socket.recv(timeout=10)
            for minute in range(minutes):
                for _ in range(exchange.phase("events")["events"]):
                    seen["events"].append(json.loads(socket.recv(timeout=10)))
                exchange.phase("bars")
                frame = market.receive()
                seen["stream"].append(frame)
                if frame[0]["T"] == "u":
                    seen["stream"].append(market.receive())
                wishes = orders_of(minute)
                shuffle(wishes)
                answers = [exchange.order(**body) for body in wishes]
                if minute % 7 == 3:
                    exchange.call("DELETE", "/v2/orders")
                seen["posts"].append(sorted(answers, key=lambda order: order["client_order_id"]))
        seen |= everything(exchange)
    return seen


def everything(exchange: Exchange) -> dict[str, Any]:
    """All that REST tells."""
    status = exchange.status()
    return {
        "account": exchange.get("/v2/account"),
        "equity": exchange.get("/v2/account/portfolio/history", period="1W", timeframe="1Min"),
        "faults": exchange.control("faults"),
        "orders": exchange.get("/v2/orders", status="all", limit=500),
        "positions": exchange.get("/v2/positions"),
        "activities": exchange.get("/v2/account/activities", direction="asc"),
        "bars": exchange.get("/v2/stocks/bars", symbols="AAPL,MSFT", timeframe="1Min", start="2020-01-01"),
        "status": {key: value for key, value in status.items() if not key.endswith("wall_ns") and "clients" not in key},
    }


def test_two_runs_with_orders_arriving_in_another_order_are_equal() -> None:
    first, second = play(arrival_seed=1), play(arrival_seed=2)
    assert len(first["events"]) > 200
    assert any(event["data"]["event"] == "partial_fill" for event in first["events"])
    kinds = {event["data"]["event"] for event in first["events"]}
    assert kinds >= {"canceled", "rejected", "pending_cancel", "order_cancel_rejected"}
    assert {order["order_class"] for order in first["orders"]} == {"", "bracket"}
    assert any(order["type"] == "trailing_stop" and order["status"] == "filled" for order in first["orders"])
    assert any(frame[0]["T"] == "u" for frame in first["stream"])
    assert first == second


def test_another_seed_gives_another_run() -> None:
    first, second = play(arrival_seed=1, minutes=3), play(arrival_seed=1, seed=6, minutes=3)
    assert first["bars"] != second["bars"]
    assert {order["id"] for order in first["orders"]}.isdisjoint({order["id"] for order in second["orders"]})


@pytest.mark.soak
def test_two_hash_seeds_give_equal_runs() -> None:
    program = (
        "import json; from tests.exchange.test_determinism import play; "
        "print(json.dumps(play(arrival_seed=3, minutes=8), sort_keys=True, default=str))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
            stdout=subprocess.PIPE,
        )
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    first, second = (run.communicate(timeout=50)[0] for run in runs)
    assert json.loads(first)["events"]
    assert first == second


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "symbols", "lifetime", "count"),
    [
        ("us_equity_1min_20131004_20131011.parquet", ("AIG", "BAC", "IBM", "SPY"), "day", 13_429),
        ("crypto_1min_20180404_20180406.parquet", ("BTC/USD",), "gtc", 3_887),
    ],
)
def test_real_bars_all_come_out_once_and_orders_fill_inside_them(
    name: str, symbols: tuple[str, ...], lifetime: str, count: int
) -> None:
    venue = Venue(ExchangeConfig(bars=data_folder() / name, speed="max"))
    seen: list[tuple[int, str]] = []
    fills = dict[str, int]()
    while not venue.is_finished:
        events = venue.begin_minute()
        by_symbol = {bar.symbol: bar for bar in venue.minute}
        for event in events:
            if event.execution is not None:
                bar = by_symbol[event.symbol]
                assert to_decimal(bar.low) <= event.execution.price <= to_decimal(bar.high)
                assert lifetime == "gtc" or venue.calendar.is_regular(bar.open_ns)
                fills[event.symbol] = fills.get(event.symbol, 0) + 1
        _, bars = venue.end_minute()
        seen += [(bar.open_ns, bar.symbol) for bar in bars]
        if len(seen) % 40 == 0:
            symbol = symbols[len(seen) // 40 % len(symbols)]
            qty = Decimal("0.01") if lifetime == "gtc" else Decimal(1)
            venue.book.submit(OrderRequest(symbol, qty, None, "buy", "market", lifetime), venue.now_ns)
    assert (len(seen), len(set(seen)), seen) == (count, count, sorted(seen))
    assert set(fills) == set(symbols)
    assert sum(fills.values()) == venue.book.ledger.executions > 40


@pytest.mark.data
def test_a_real_day_comes_over_the_sockets_once_in_order() -> None:
    path = data_folder() / "crypto_1min_20180404_20180406.parquet"
    start_ns = int(datetime(2018, 4, 6, tzinfo=UTC).timestamp()) * 10**9
    count = read_bars(path, start_ns=start_ns).height
    seen: list[tuple[int, str]] = []
    config = ExchangeConfig(bars=path, speed="max", start_ns=start_ns)
    with running(config) as exchange, exchange.market("/v1beta3/crypto/us") as market:
        market.ask(action="subscribe", bars=["*"])
        answer = {"finished": False}
        while not answer["finished"]:
            answer = exchange.step()
            seen += [(bar["t"].to_unix_nano(), bar["S"]) for bar in market.receive()]
            if len(seen) % 300 == 0:
                exchange.order(symbol="BTC/USD", qty="0.01", time_in_force="gtc")
        status = exchange.status()
    assert count > 1000
    assert (len(seen), status["bars_emitted"], status["state"]) == (count, count, "finished")
    assert seen == sorted(set(seen))
    assert status["executions"] == status["orders_terminal"] == count // 300
