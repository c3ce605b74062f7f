"""Starts the whole system on a local exchange for a benchmark, and stops it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path

import msgspec
from nats.aio.client import Client

from engine.bots import Bot
from streams.connection import connect
from streams.keys import OPERATOR, identity
from streams.probe import Probe
from streams.role import topology_of
from streams.server import NatsServer
from tapeline.demo import ExchangeProcess, build_settings, wait_ready
from tapeline.lockstep import Control, Quiet
from tapeline.role_main import ROLES
from tapeline.supervisor import Supervisor

QUIET_S_MAX = 300.0


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
            yield System(supervisor, exchange, nc, probe, control, quiet)
            await control.close()
            await nc.close()
        finally:
            if supervisor is not None:
                supervisor.stop()
            exchange.stop()
