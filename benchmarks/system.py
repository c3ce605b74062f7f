"""Starts the whole system on a local exchange for a benchmark, and stops it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path

import msgspec
from nats.aio.client import Client

from engine.bots import Bot, RiskLimits
from engine.errors import ConfigError
from streams.connection import connect
from streams.keys import OPERATOR, file_of, identity, make
from streams.probe import Probe
from streams.role import topology_of
from streams.server import NatsServer
from tapeline.demo import ExchangeProcess, build_settings, wait_ready
from tapeline.lockstep import Control, Quiet
from tapeline.role_main import ROLES
from tapeline.supervisor import Supervisor

QUIET_S_MAX = 300.0
_HIGH = 10**11


def every_rule_on(symbols: Sequence[str]) -> dict[str, object]:
    """Give settings with which every rule has a limit to judge by, and none of them refuses.

    Raises:
        ConfigError: There is a limit of which this is not said here.
    """
    limits: dict[str, object] = {
        "order_notional_usd_max": _HIGH,
        "order_quantity_max": _HIGH,
        "position_fraction_max": 1.0,
        "symbol_exposure_usd_max": _HIGH,
        "bot_exposure_fraction_max": 1000.0,
        "gross_exposure_usd_max": _HIGH,
        "net_exposure_usd_max": _HIGH,
        "positions_max": _HIGH,
        "bot_positions_max": _HIGH,
        "open_orders_max": _HIGH,
        "orders_per_min_max": _HIGH,
        "bot_orders_per_min_max": _HIGH,
        "bot_orders_per_day_max": _HIGH,
        "repeats_max": _HIGH,
        "repeats_window_s": 600,
        "daily_loss_usd_max": _HIGH,
        "bot_daily_loss_fraction_max": 1000.0,
        "drawdown_usd_max": _HIGH,
        "bot_drawdown_fraction_max": 1000.0,
        "price_move_fraction_max": 1000.0,
        "opposite_sides": False,
        "restricted_symbols": ["RESTRICTED"],
        "allowed_symbols": list(symbols),
        "bar_age_ms_max": 10**9,
        "price_buffer_fraction": 0.02,
        "intent_valid_ms": 10**9,
        "overnight_move_fraction_max": 1000.0,
        "rounding_fraction_max": 1.0,
        "cooldown_s": 1,
        "shortable_known": True,
        "collar_fraction_max": 1000.0,
        "quote_age_ms_max": 10**9,
        "mark_age_ms_max": 10**9,
        "short_margin_fraction": 0.5,
        "short_equity_usd_min": 2_000,
        "exit_attempts_max": 20,
        "exit_wait_s_max": 600,
        "bots": {},
        "symbols": {},
    }
    if unsaid := [name for name in RiskLimits.__struct_fields__ if name not in limits]:
        msg = (
            f"a benchmark with every rule on must say values for {', '.join(unsaid)}: add them to benchmarks/system.py"
        )
        raise ConfigError(msg)
    return {f"limits.{name}": limit for name, limit in limits.items()}


class System(msgspec.Struct):
    """A running system and the ways to look at it."""

    supervisor: Supervisor
    exchange: ExchangeProcess
    nc: Client
    probe: Probe
    control: Control
    quiet: Quiet

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds of each process of the system so far, from /proc; empty where there is none."""
        found: dict[str, float] = {}
        for name, pid in [*self.supervisor.pids.items(), ("exchange", self.exchange.pid)]:
            stat = Path(f"/proc/{pid}/stat")
            if stat.exists():
                fields = stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()
                found[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return found


@contextlib.contextmanager
def bare_server() -> Generator[str]:
    """Run another nats-server, without users or rights, for a ceiling; gives its URL."""
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


@contextlib.contextmanager
def keyed_server(user: str, subjects: str) -> Generator[tuple[str, str]]:
    """Run another nats-server with one user, who has a key and rights; gives its URL and the file of the key."""
    with tempfile.TemporaryDirectory() as folder:
        public = make(Path(folder) / "keys", (user,))[user].public
        allowed = f'{{allow: ["{subjects}", "$JS.API.>", "_INBOX.>"]}}'
        rights = f"{{publish: {allowed}, subscribe: {allowed}}}"
        accounts = f"accounts {{ BARE {{ jetstream: enabled, users: [{{nkey: {public}, permissions: {rights}}}] }} }}\n"
        server = NatsServer(Path(folder) / "server", accounts)
        server.start()
        try:
            yield server.url, str(file_of(Path(folder) / "keys", user))
        finally:
            server.stop()


@contextlib.asynccontextmanager
async def running(arguments: Sequence[str], bots: tuple[Bot, ...], more: dict[str, object]) -> AsyncGenerator[System]:
    """Run exchange, nats-server and every role; all of it is stopped and deleted at the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        exchange = ExchangeProcess(["--port", "0", "--hold", *arguments], path / "logs" / "exchange.log")
        supervisor: Supervisor | None = None
        try:
            exchange.wait_ready(120)
            # Every rule judges; counts and losses that a whole market in one account passes at once are set high.
            limits: dict[str, object] = {
                "executor.requests_per_min_max": 10_000_000,
                "limits.open_orders_max": 10**6,
                "limits.orders_per_min_max": 10**6,
                "limits.bot_orders_per_min_max": 10**6,
                "limits.bot_orders_per_day_max": 10**9,
            }
            settings = build_settings(bots, path, exchange.urls, "benchmark", limits | more)
            keys = {"ALPACA_API_KEY": "bench", "ALPACA_SECRET_KEY": "bench"}
            supervisor = Supervisor(settings, ROLES, environment=dict(os.environ) | keys, quiet=True)
            supervisor.start()
            nats = supervisor.settings.nats
            nc = await connect(nats.url, "benchmark", identity=identity(nats.nkey_file, OPERATOR))
            probe, control = Probe(nc, topology_of(settings)), Control(exchange.urls["control"])
            await wait_ready(probe, supervisor, exchange)
            keeper = supervisor

            async def look() -> None:
                keeper.poll()

            quiet = Quiet(probe, control, QUIET_S_MAX, look)
            await quiet.start()
            try:
                yield System(supervisor, exchange, nc, probe, control, quiet)
            finally:
                await control.close()
                await nc.close()
        finally:
            if supervisor is not None:
                supervisor.stop()
            exchange.stop()
