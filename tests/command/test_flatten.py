"""Flattening a real account at the local exchange by REST: faults, kills at every point, another's account, no venue.

The kill tests here stop the work in this process; tests/system/test_flatten.py does it with a real kill -9.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.exchange.config import ExchangeConfig
from config.settings import AlpacaSettings, FlattenSettings, Settings
from engine.errors import ConfigError, UnreachableError
from streams.owner import note_account
from streams.role import NoPoints
from tapeline.fence.access import open_access
from tapeline.fence.act import act
from tapeline.halt import HaltOptions
from tests.exchange.harness import OPEN, Exchange, running, until, write_csv

LATCH = "0123456789abcdef0123456789abcdef"
HELD = {"AAPL": Decimal("10.5"), "TSLA": Decimal(-4), "BTC/USD": Decimal("0.2")}
PX = {"AAPL": 150, "TSLA": 200, "BTC/USD": 30_000}
MINUTES = 380


@contextmanager
def trading(
    tmp_path: Path, minutes: int = MINUTES, days: int = 1, speed: float | str = 1200, **config: Any
) -> Iterator[Exchange]:
    """A market of some days; at 1200 times real time a day is 19 s."""
    rows = [
        (symbol, OPEN + timedelta(days=day, minutes=i), *(px + d for d in (0.0, 0.5, -0.5, 0.25 * (i % 2))), 1000.0)
        for symbol, px in PX.items() for day in range(days) for i in range(minutes)
    ]  # fmt: skip
    bars = write_csv(tmp_path / "bars.csv", rows)
    with running(ExchangeConfig(bars=bars, speed=speed, **config)) as exchange:
        yield exchange


def positions(exchange: Exchange) -> dict[str, Decimal]:
    found = exchange.get("/v2/positions")
    return {p["symbol"].replace("BTCUSD", "BTC/USD"): Decimal(p["qty"]) for p in found}


def hold(exchange: Exchange) -> dict[str, Decimal]:
    """Give the account its positions, and an open order in each symbol but one."""
    for symbol, quantity in HELD.items():
        side = "buy" if quantity > 0 else "sell"
        lifetime = "gtc" if "/" in symbol else "day"
        exchange.order(symbol=symbol, qty=str(abs(quantity)), side=side, time_in_force=lifetime)
    until(lambda: set(positions(exchange)) == set(HELD) and not exchange.get("/v2/orders"), "the positions")
    for symbol in ("AAPL", "BTC/USD"):
        lifetime = "gtc" if "/" in symbol else "day"
        exchange.order(symbol=symbol, qty="1", type="limit", limit_price="10", time_in_force=lifetime)
    exchange.order(
        symbol="TSLA", qty="4", type="limit", side="buy", order_class="oco",
        take_profit={"limit_price": "10"}, stop_loss={"stop_price": "900"},
    )  # fmt: skip
    return positions(exchange)


def data_dir(tmp_path: Path, exchange: Exchange, **flatten: Any) -> Path:
    """A data directory of a daemon that trades this account and is not there any more."""
    folder = tmp_path / "data"
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "run" / "executor.lock").touch()
    urls = exchange.urls
    settings = Settings(
        data_dir=str(folder), venue_clock_url=urls["control"],
        alpaca=AlpacaSettings(rest_url=urls["rest"], data_url=urls["data_rest"], read_timeout_s=2.0),
        flatten=FlattenSettings(**({"confirm_s": 0.1, "wait_s_max": 15.0} | flatten)),
    )  # fmt: skip
    (folder / "run" / "settings.json").write_bytes(msgspec.json.encode(settings))
    note_account(folder, exchange.get("/v2/account")["account_number"])
    return folder


def flatten(folder: Path, points: Any = None, **options: Any) -> int:
    return act(folder, LATCH, HaltOptions(**({"flatten": True} | options)), points or NoPoints())


def closed(exchange: Exchange) -> dict[str, list[dict[str, Any]]]:
    """Orders of the flattening by symbol, oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for order in exchange.get("/v2/orders", status="all", limit=500, direction="asc"):
        if order["client_order_id"].startswith(f"flatten-{LATCH[:16]}-"):
            found.setdefault(order["symbol"], []).append(order)
    return found


def assert_closed_once(exchange: Exchange, before: dict[str, Decimal]) -> None:
    assert positions(exchange) == {}
    assert exchange.get("/v2/orders", status="open") == []
    for symbol, orders in closed(exchange).items():
        sides = {order["side"] for order in orders}
        assert sides == {"sell" if before[symbol] > 0 else "buy"}, symbol
        assert sum(Decimal(order["filled_qty"]) for order in orders) == abs(before[symbol]), symbol
    assert set(closed(exchange)) == set(before)


def faults(exchange: Exchange, *rules: dict[str, Any]) -> None:
    answer = exchange.http.post(f"{exchange.urls['control']}/faults", json={"rules": list(rules)}, timeout=10)
    assert answer.status_code == 200, answer.text


def hits(exchange: Exchange) -> list[int]:
    return [rule["hits"] for rule in exchange.control("faults")["rules"]]


# --- the straight way ----------------------------------------------------------------------------------------------------


def test_it_cancels_closes_verifies_and_says_each_step(tmp_path, capsys):
    with trading(tmp_path) as exchange:
        before = hold(exchange)
        folder = data_dir(tmp_path, exchange)
        assert flatten(folder) == 0
        assert_closed_once(exchange, before)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"account {exchange.get('/v2/account')['account_number']}"
        assert "cancel asked for 4 open orders" in lines
        assert sum(" at market (flatten-" in line and line.endswith("sent") for line in lines) == 3
        assert lines[-1] == "the account is flat: no order is open, no position is held"
        count = len(exchange.get("/v2/orders", status="all", limit=500))
        assert flatten(folder) == 0, "run again on a flat account"
        assert len(exchange.get("/v2/orders", status="all", limit=500)) == count


@pytest.mark.soak
def test_fills_in_parts(tmp_path):
    with trading(tmp_path, partial_fill_probability=0.9, seed=3) as exchange:
        before = hold(exchange)
        assert flatten(data_dir(tmp_path, exchange)) == 0
        assert_closed_once(exchange, before)


# --- a venue that misbehaves ---------------------------------------------------------------------------------------------

POST = {"method": "POST", "path": "/v2/orders"}
STALE = {"fault": "stale_positions", "minutes": 20, "path": "/v2/positions"}
LAG_S = 21 * 60.0
"""A second of ours, so that the looks after an order do see the position before it."""
FAULTS = {
    "accepted but 504": [{"fault": "http_504", "when": "after", "times": 2, **POST}],
    "reset before": [{"fault": "reset", "times": 2, **POST}],
    "rate": [{"fault": "http_429", "times": 2, "delay_s": 0, **POST}],
    "cancel lost": [{"fault": "http_500", "times": 1, "method": "DELETE"}],
    "cancel slow at the venue": [{"fault": "stuck_pending_cancel", "minutes": 3, "times": 2}],
    "fill after cancel": [{"fault": "fill_after_cancel", "times": 2}],
    "positions lag": [STALE],
    "rejected afterwards": [{"fault": "reject_after_200", "times": 2}],
    "reading fails": [{"fault": "html", "nth": [2, 3, 5], "method": "GET"}],
}


IN_THE_DEFAULT_RUN = ("accepted but 504", "positions lag", "cancel lost")


@pytest.mark.parametrize(
    "what", [what if what in IN_THE_DEFAULT_RUN else pytest.param(what, marks=pytest.mark.soak) for what in FAULTS]
)
def test_faults_of_the_venue(what, tmp_path):
    with trading(tmp_path) as exchange:
        hold(exchange)
        folder = data_dir(tmp_path, exchange, positions_lag_s=LAG_S if what == "positions lag" else 150.0)
        faults(exchange, *FAULTS[what])
        code = flatten(folder)
        assert all(hits(exchange)), "the fault never happened"
        faults(exchange)
        assert code == 0
        assert positions(exchange) == {}
        assert exchange.get("/v2/orders", status="open") == []
        for symbol, orders in closed(exchange).items():
            assert len({order["side"] for order in orders}) == 1, f"{symbol} went through zero"


def test_what_the_venue_refuses_for_good_is_said_and_the_rest_is_closed(tmp_path, capsys):
    with trading(tmp_path) as exchange:
        hold(exchange)
        folder = data_dir(tmp_path, exchange)
        faults(exchange, {"fault": "reject_after_200", "symbol": "TSLA"})
        assert flatten(folder) == 1
        assert set(positions(exchange)) == {"TSLA"}
        said = capsys.readouterr().out
        assert "TSLA is not flat" in said
        assert "run the same command again" in said
        faults(exchange)
        assert flatten(folder) == 0
        assert positions(exchange) == {}


def test_no_venue_is_said_in_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        folder = tmp_path / "data"
        (folder / "run").mkdir(parents=True)
        settings = Settings(data_dir=str(folder), alpaca=AlpacaSettings(rest_url=url))
        settings = msgspec.structs.replace(
            settings, flatten=FlattenSettings(wait_s_max=0.1), feed=msgspec.structs.replace(settings.feed, backfill_attempts_max=1)
        )  # fmt: skip
        (folder / "run" / "settings.json").write_bytes(msgspec.json.encode(settings))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ALPACA_API_KEY", "k")
            patch.setenv("ALPACA_SECRET_KEY", "s")
            with pytest.raises(UnreachableError, match="no answer"):
                flatten(folder)
            patch.delenv("ALPACA_API_KEY")
            with pytest.raises(ConfigError, match="ALPACA_API_KEY not set"):
                flatten(folder)


# --- whose account -------------------------------------------------------------------------------------------------------


def test_another_account_is_not_touched(tmp_path):
    with trading(tmp_path) as exchange:
        before = hold(exchange)
        folder = data_dir(tmp_path, exchange)
        note_account(folder, "PA-OTHER")
        with pytest.raises(ConfigError, match="trades account PA-OTHER"):
            flatten(folder, suspend=True)
        (folder / "account").unlink()
        with pytest.raises(ConfigError, match="no daemon ever traded"):
            flatten(folder, suspend=True)
        assert positions(exchange) == before
        assert len(exchange.get("/v2/orders", status="open")) == 4
        assert exchange.get("/v2/account/configurations")["suspend_trade"] is False


# --- the session ---------------------------------------------------------------------------------------------------------


def test_after_the_close_it_is_queued_once_and_said(tmp_path, capsys):
    with trading(tmp_path, minutes=3, speed="max") as exchange:
        exchange.order(symbol="AAPL", qty="10")
        while not exchange.step()["finished"]:
            pass
        assert positions(exchange) == {"AAPL": 10}
        folder = data_dir(tmp_path, exchange, wait_s_max=3.0)
        settings = msgspec.json.decode((folder / "run" / "settings.json").read_bytes(), type=Settings)
        access = open_access(settings)
        evening = int((OPEN + timedelta(hours=10)).timestamp()) * 1_000_000_000
        access = msgspec.structs.replace(access, now_ns=lambda: evening)
        for _ in range(2):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("tapeline.fence.act.open_access", lambda _: access)
                assert flatten(folder) == 1
            assert "AAPL is not flat: its closing order waits for the session" in capsys.readouterr().out
            assert [order["symbol"] for order in exchange.get("/v2/orders", status="open")] == ["AAPL"]


# --- suspending ----------------------------------------------------------------------------------------------------------


def test_suspending_comes_last_and_keeps_everything_out(tmp_path, capsys):
    with trading(tmp_path) as exchange:
        hold(exchange)
        folder = data_dir(tmp_path, exchange)
        assert flatten(folder, suspend=True) == 0
        assert positions(exchange) == {}
        assert exchange.post_order(symbol="AAPL", qty="1").status_code == 403
        assert flatten(folder, suspend=False) == 0
        hold(exchange)
        assert flatten(folder, flatten=False, suspend=True) == 0, "cancels and suspends, and leaves positions"
        assert exchange.get("/v2/orders", status="open") == []
        before = positions(exchange)
        assert set(before) == set(HELD)
        assert flatten(folder) == 1
        assert positions(exchange) == before
        assert "add --no-suspend" in capsys.readouterr().out
        assert flatten(folder, suspend=False) == 0
        assert positions(exchange) == {}


# --- killed anywhere -----------------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """Stands for a kill: nothing of ours catches it."""


class StopAt:
    def __init__(self, name: str, nth: int) -> None:
        self.name, self.left = name, nth

    def hit(self, name: str) -> None:
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                raise Stopped


POINTS = [
    ("flatten.latched", 1), ("flatten.begun", 1), ("flatten.before_cancel", 1), ("flatten.after_cancel", 1),
    ("flatten.before_post", 1), ("flatten.after_post", 1), ("flatten.after_post", 2), ("flatten.after_post", 3),
]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("lag", [False, True], ids=["prompt", "positions lag"])
def test_stopped_at_every_point_and_run_again(lag, tmp_path):
    """One account after another, stopped once at each point, then run to the end: closed exactly once."""
    with trading(tmp_path, days=5, partial_fill_probability=0.5) as exchange:
        folder = data_dir(tmp_path, exchange, positions_lag_s=LAG_S if lag else 150.0)
        for number, point in enumerate(POINTS):
            before = hold(exchange)
            if lag:
                faults(exchange, STALE)
            latch = f"{number:016x}{LATCH[16:]}"
            with pytest.raises(Stopped):
                act(folder, latch, HaltOptions(flatten=True), StopAt(*point))
            # A day may end meanwhile: what waits for the opening needs another run.
            assert any(act(folder, latch, HaltOptions(flatten=True), NoPoints()) == 0 for _ in range(3))
            faults(exchange)
            assert positions(exchange) == {}, point
            sold: dict[str, Decimal] = {}
            for order in exchange.get("/v2/orders", status="all", limit=500):
                if order["client_order_id"].startswith(f"flatten-{latch[:16]}-"):
                    sign = 1 if order["side"] == "sell" else -1
                    assert sign * before[order["symbol"]] > 0, f"{order['symbol']} was sold short after {point}"
                    sold[order["symbol"]] = sold.get(order["symbol"], Decimal(0)) + sign * Decimal(order["filled_qty"])
            assert sold == before, point


def test_two_at_once_close_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with trading(tmp_path, partial_fill_probability=0.5) as exchange:
        before = hold(exchange)
        folder = data_dir(tmp_path, exchange)
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda _: flatten(folder), range(2))) == [0, 0]
        assert_closed_once(exchange, before)
