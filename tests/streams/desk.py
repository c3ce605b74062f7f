"""Executor and risk on a real nats-server, with the local exchange behind the Alpaca adapter, stepped by hand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import requests
from nats.js import JetStreamContext

from adapters.alpaca.connect import connect_trading
from adapters.clock import VenueClock, wall_ns
from adapters.simulated import shadow_venue
from config.settings import ExecutorSettings, Settings
from engine.bots import Bot, RiskLimits
from engine.messages import AnyBody, OrderIntent, decode
from engine.values import OrderType, Side, TimeInForce
from streams.checkpoint import CheckpointStore
from streams.connection import Inflow
from streams.latch import Latch
from streams.publisher import Publisher
from streams.role import Context, NoPoints
from streams.services.executor import Executor
from streams.services.risk import Risk
from streams.topology import Topology
from tests.alpaca.local import Exchange
from tests.engine.build import D

HEADERS = {"APCA-API-KEY-ID": "K", "APCA-API-SECRET-KEY": "S"}
FAST = ExecutorSettings(
    activities_every_s=0.2,
    reconcile_every_s=0.2,
    lookup_wait_s=0.02,
    difference_s_min=0.1,
    requests_per_min_max=60_000,
)


class Desk:
    """Both roles and the exchange behind them."""

    def __init__(self, exchange: Exchange, executor: Executor, risk: Risk, context: Context) -> None:
        self.exchange, self.executor, self.risk = exchange, executor, risk
        self._context = context
        self._publisher = Publisher(context.nc, context.topology.trading, "test")
        self.failure: BaseException | None = None

    async def wish(self, id: str, bot: str, side: Side, quantity: str, **more: Any) -> OrderIntent:
        """Store an approved intent, as risk does."""
        now = await self._context.clock.now_ns()
        fields: dict[str, Any] = {
            "id": id, "signal_id": f"s-{id}", "bot": bot, "symbol": "AAPL", "side": side, "quantity": D(quantity),
            "order_type": OrderType.MARKET, "time_in_force": TimeInForce.DAY, "ref_px": D(100), "reserved": D(0),
            "decided_ns": now, "valid_until": now + 3_600_000_000_000,
        }  # fmt: skip
        intent = OrderIntent(**(fields | more))
        await self._publisher.one(self._context.outgoing(intent, id))
        orders = self.executor._core.state.orders
        await self.until(
            lambda: id in orders and (orders[id].venue_order_id or not orders[id].is_open), f"{id} is sent"
        )
        await self.quiet()
        return intent

    async def post(self, path: str, **body: Any) -> Any:
        """Something done at the venue by hand."""
        url = self.exchange.urls["rest"]
        answer = await asyncio.to_thread(requests.post, url + path, json=body, headers=HEADERS, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, path: str, url: str = "rest", **query: Any) -> Any:
        answer = await asyncio.to_thread(
            requests.get, self.exchange.urls[url] + path, params=query, headers=HEADERS, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def step(self, count: int = 1) -> None:
        """Minutes of venue time; each phase waits until all is quiet."""
        for _ in range(count):
            for phase in ("events", "bars"):
                await asyncio.to_thread(self.exchange.step, phase)
                await self.quiet()

    async def quiet(self) -> None:
        """Wait until executor and risk know all the exchange did, and owe nothing."""
        deadline = time.monotonic() + 15
        while (missing := await self._missing()) != "":
            assert time.monotonic() < deadline, f"not quiet: {missing}"
            if self.failure is not None:
                raise self.failure
            await asyncio.sleep(0.01)

    async def _missing(self) -> str:
        venue, status = await self.get("/status", "control"), self.executor.status()
        counters = status.counters
        pairs = (
            ("busy", status.busy, 0),
            ("fills", counters["fills"], venue["executions"]),
            ("fees", counters["fees"], venue["activities"]),
            ("ended", counters["ended"], venue["orders_terminal"]),
            ("open", counters["open"], venue["orders_open"]),
            ("a due split", int(0 < counters["due_ns"] <= venue["venue_ns"]), 0),
            ("paused", int(self.executor._reconciler.is_paused or not self.executor._is_synced), 0),
        )
        for what, ours, theirs in pairs:
            if ours != theirs:
                return f"{what}: {ours}, not {theirs}"
        last = (await self._context.js.stream_info(self._context.topology.trading)).state.last_seq
        behind = [name for name, of in (("executor", self.executor), ("risk", self.risk)) if _position(of) < last]
        return f"{behind} behind {last}" if behind else ""

    async def until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, f"still not: {what}"
            if self.failure is not None:
                raise self.failure
            await asyncio.sleep(0.01)

    async def stored(self) -> list[AnyBody]:
        """Everything in the trading stream."""
        js: JetStreamContext = self._context.js
        name = self._context.topology.trading
        last = (await js.stream_info(name)).state.last_seq
        return [decode((await js.get_msg(name, seq, direct=True)).data or b"").body for seq in range(1, last + 1)]

    async def net(self) -> dict[str, Decimal]:
        """What the venue says is held."""
        return {row["symbol"]: Decimal(row["qty"]) for row in await self.get("/v2/positions")}


def _position(service: Executor | Risk) -> int:
    return next(iter(service.status().positions.values()))


@contextlib.asynccontextmanager
async def running(
    nc: Inflow, topology: Topology, exchange: Exchange, folder: Path, bots: tuple[Bot, ...], **more: Any
) -> AsyncIterator[Desk]:
    """Run both roles; leaving the block ends them as kill -9 would."""
    limits = RiskLimits(opposite_sides=True, shortable_known=False)
    settings = Settings(bots=bots, limits=limits, executor=FAST, **more)
    settings = msgspec.structs.replace(settings, nats=msgspec.structs.replace(settings.nats, prefix=topology.prefix))
    clock = VenueClock(exchange.urls["control"])
    js = nc.jetstream(timeout=5)
    contexts = [
        Context(role, settings, topology, nc, nc, js, clock, wall_ns, NoPoints(), []) for role in ("executor", "risk")
    ]
    venue, updates = connect_trading(exchange.config(), lambda _level, _what: None)
    executor = Executor(
        contexts[0], lambda _: CheckpointStore(folder / "e", "executor", "c", "f"), venue, updates, Latch(folder)
    )
    risk = Risk(contexts[1], lambda _: CheckpointStore(folder / "r", "risk", "c", "f"), shadow_venue)
    desk = Desk(exchange, executor, risk, contexts[1])
    tasks: list[asyncio.Task[None]] = []
    try:
        for service in (executor, risk):
            await service.start()
            tasks.append(asyncio.create_task(service.run()))
            tasks[-1].add_done_callback(lambda task: _note(desk, task))
        await desk.quiet()
        yield desk
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await asyncio.gather(*tasks)
        await updates.stop()
        executor._tasks.cancel()
        executor._lane.close()
        executor._canceler.close()
        for context in contexts:
            for reader in context.readers:
                await reader.stop()
        await clock.close()


def _note(desk: Desk, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        desk.failure = task.exception()
