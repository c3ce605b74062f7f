"""A whole daemon on the local exchange, in this process's hands: stopped, killed, its files damaged, started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from config.settings import Settings
from storage.sql import open_read_only
from streams.connection import connect
from streams.keys import OPERATOR, identity
from streams.probe import Probe
from streams.role import Status, topology_of
from streams.sql_ask import ask
from tapeline import demo
from tapeline.role_main import ROLES
from tapeline.supervisor import Supervisor
from tests.system.harness import logs


def get(url: str, method: str = "GET") -> Any:
    """Ask the exchange."""
    keys = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s", "Content-Type": "application/json"}
    data = b"{}" if method == "POST" else None
    with urllib.request.urlopen(urllib.request.Request(url, data, keys, method=method), timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())


ENVIRONMENT = {"ALPACA_API_KEY": "k", "ALPACA_SECRET_KEY": "s"}


class Daemon:
    """A supervisor on a data directory, again and again, against one exchange."""

    def __init__(self, folder: Path, settings: Settings, exchange: demo.ExchangeProcess) -> None:
        self.folder = folder
        self.exchange = exchange
        self._settings = settings
        self.supervisor: Supervisor | None = None

    @property
    def running(self) -> Supervisor:
        assert self.supervisor is not None
        return self.supervisor

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TAPELINE_")} | ENVIRONMENT
        self.supervisor = Supervisor(self._settings, ROLES, environment=environment, quiet=True)
        self.supervisor.start()

    def stop(self) -> None:
        if self.supervisor is not None:
            self.supervisor.stop()

    def kill(self, *names: str) -> None:
        """End processes with -9, all of them when none is named."""
        pids = self.running.pids
        for name in names or tuple(pids):
            os.kill(pids[name], signal.SIGKILL)
        gone = set(names or pids)
        wait(lambda: not gone & set(self.running.pids), 10, f"{gone} are gone")
        if not names:
            self.stop()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
        """Look after the processes until something holds."""

        def look() -> bool:
            self.running.poll()
            self.exchange.check()
            return condition()

        try:
            wait(look, seconds, what)
        except AssertionError as err:
            conflicts = self.sql("FROM conflicts")
            raise AssertionError(f"{err}\n{self.statuses()}\n{conflicts}\n{logs(self.folder)}") from None

    def statuses(self) -> dict[str, Status]:
        async def probe() -> dict[str, Status]:
            settings = self.running.settings
            with contextlib.suppress(Exception):
                nc = await connect(
                    settings.nats.url, "test", identity=identity(settings.nats.nkey_file, OPERATOR), first_timeout_s=1
                )
                try:
                    return await Probe(nc, topology_of(settings)).statuses(ROLES, timeout_s=1.0)
                finally:
                    await nc.close()
            return {}

        return asyncio.run(probe())

    def is_up(self, *, problems: str = "") -> bool:
        """Whether every role is ready, and has no problems but, where given, the executor one with these words."""
        found = self.statuses()
        if set(found) != set(ROLES) or any(status.state != "ready" for status in found.values()):
            return False
        said = [problem for status in found.values() for problem in status.problems]
        return all(problems in one for one in said) and bool(said) == bool(problems)

    def sql(self, query: str) -> list[tuple]:
        """Ask the recorder; nothing while it does not answer."""

        async def one() -> list[tuple]:
            settings = self.running.settings
            with contextlib.suppress(Exception):
                nc = await connect(
                    settings.nats.url, "test", identity=identity(settings.nats.nkey_file, OPERATOR), first_timeout_s=1
                )
                try:
                    frame, _ = await ask(nc, settings.nats.prefix, query, 100_000, 5)
                    return frame.rows()
                finally:
                    await nc.close()
            return []

        return asyncio.run(one())

    def count(self, table: str) -> int:
        return next((n for (n,) in self.sql(f"SELECT count(*) FROM {table}")), -1)

    # --- the venue ---------------------------------------------------------------------------------------------------

    def orders(self, status: str = "all") -> list[dict]:
        return get(f"{self.exchange.urls['rest']}/v2/orders?status={status}&limit=500&direction=desc")

    def settle(self) -> None:
        """Wait until no order is open at the venue and the database has every execution of it."""

        def settled() -> bool:
            filled = sum(order["status"] in ("filled", "partially_filled") for order in self.orders())
            return not self.orders("open") and self.count("(SELECT DISTINCT client_order_id FROM fills)") == filled

        self.until(settled, "every fill of the venue is recorded")

    def agrees_with_the_venue(self) -> None:
        """After `stop`: every order of the venue and every share of it is in the record, once."""
        filled: Counter[str] = Counter()
        with open_read_only(self.folder / "tapeline.duckdb") as sql:
            query = "SELECT client_order_id, last_qty FROM fills"
            for order_id, quantity in sql.query(query, row_limit=100_000).frame().rows():
                filled[order_id] += quantity
            keys = "SELECT count(*), count(DISTINCT (venue_order_id, cum_qty)) FROM fills"
            assert len(set(sql.query(keys).frame().rows()[0])) == 1, "a fill is there twice"
            terminal = (
                "SELECT client_order_id, count(*) AS n FROM order_events WHERE event NOT IN ('OrderSubmitted', "
                "'OrderAccepted') GROUP BY ALL HAVING n <> 1"
            )
            assert sql.query(terminal).frame().rows() == [], "an order ended more than once"
            positions = "SELECT symbol, sum(signed_qty) FROM latest_positions GROUP BY ALL HAVING sum(signed_qty) <> 0"
            held = dict(sql.query(positions).frame().rows())
        theirs = {order["client_order_id"]: Decimal(order["filled_qty"]) for order in self.orders()}
        assert {key: quantity for key, quantity in theirs.items() if quantity} == dict(filled)
        venue = get(f"{self.exchange.urls['rest']}/v2/positions")
        assert held == {p["symbol"]: Decimal(p["qty"]) for p in venue}


def wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.3)


@contextlib.contextmanager
def trading(tmp_path: Path, more: dict[str, object] | None = None, speed: float = 300) -> Iterator[Daemon]:
    """A daemon that trades ten made-up symbols, with some fills already."""
    options = demo.DemoOptions(speed=speed, seed=3)
    bots = demo.choose_bots(options)
    folder = tmp_path / "data"
    exchange = demo.ExchangeProcess(demo.exchange_arguments(options, bots[0].symbols), tmp_path / "exchange.log")
    daemon: Daemon | None = None
    try:
        exchange.wait_ready(60)
        settings = demo.build_settings(bots, folder, exchange.urls, "run1", more or {})
        daemon = Daemon(folder, msgspec.structs.replace(settings, run_id="run1"), exchange)
        daemon.start()
        daemon.until(daemon.is_up, "the daemon is up")
        get(f"{exchange.urls['control']}/start", method="POST")
        daemon.until(lambda: daemon.count("fills") > 8, "some fills")
        yield daemon
    finally:
        if daemon is not None:
            daemon.stop()
        exchange.stop()
