"""Risk looks at what is due by the clock, also when no message comes; in lock-step only messages cause anything."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from nats.js import JetStreamContext

import streams.services.risk
from adapters.simulated import shadow_venue
from config.settings import Settings
from engine.messages import AnyBody, Head, OrderFilled, OrderIntent, OrderRejected, decode, encode
from engine.risk import RiskCore
from engine.values import NS_PER_S, Direction
from streams.checkpoint import CheckpointStore
from streams.connection import Inflow
from streams.publisher import Publisher
from streams.role import Context, NoPoints
from streams.seals import Stored
from streams.services.risk import Risk
from streams.topology import Topology
from tests.engine.build import T0, D, always_open, bot, fill, lent, minute, opened, signal
from tests.streams.wire import until


class _HandClock:
    """A venue whose time a test moves."""

    def __init__(self) -> None:
        self.ns = minute(1)
        self.stands_still = False

    def look_s(self, every_s: float) -> float | None:
        return None if self.stands_still else every_s

    async def now_ns(self) -> int:
        return self.ns

    def estimate_ns(self) -> int:
        return self.ns

    def observe(self, ts_event: int) -> None:
        return

    async def close(self) -> None:
        return


async def test_a_refused_exit_leaves_again_when_its_time_comes_and_nothing_else_happens(
    nc: Inflow, js: JetStreamContext, topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams.services.risk, "_LOOK_S", 0.02)
    clock = _HandClock()
    context = Context(
        "risk", Settings(bots=(bot(),)), topology, nc, nc, js, clock, lambda: T0, NoPoints(), []
    )  # fmt: skip
    publisher = Publisher(nc, topology.trading, "test")

    async def say(*bodies: AnyBody) -> None:
        for number, body in enumerate(bodies):
            await publisher.sync()
            await publisher.one(context.outgoing(body, f"{type(body).__name__} {clock.ns} {number}"))

    async def intents() -> list[OrderIntent]:
        last = (await js.stream_info(topology.trading)).state.last_seq
        found = [decode((await js.get_msg(topology.trading, seq)).data or b"").body for seq in range(1, last + 1)]
        return [body for body in found if isinstance(body, OrderIntent)]

    async def there_are(count: int) -> list[OrderIntent]:
        async def is_so() -> bool:
            return len(await intents()) == count

        await until(is_so, f"{count} intents")
        return await intents()

    await say(opened(), always_open(), *lent("AAPL"), signal())
    risk = Risk(context, lambda _: CheckpointStore(tmp_path, "risk", "code", "config"), shadow_venue)
    await risk.start()
    running = asyncio.create_task(risk.run())
    try:
        [entry] = await there_are(1)
        await say(
            fill(entry, entry.quantity, entry.quantity),
            OrderFilled(entry.id, "alpha", "AAPL", "v", entry.quantity, D(100), T0),
            signal(Direction.FLAT, number=2),
        )
        _, exit_ = await there_are(2)
        await say(OrderRejected(exit_.id, "alpha", "AAPL", "403", "no", clock.ns))
        await until(lambda: risk._core is not None and risk._core.has_work, "it stands")
        clock.ns += 3 * NS_PER_S
        _, _, again = await there_are(3)
        assert (again.signal_id, again.quantity, again.decided_ns) == (exit_.signal_id, exit_.quantity, clock.ns)
        await say(OrderRejected(again.id, "alpha", "AAPL", "403", "no", clock.ns))
        assert risk._core is not None
        await until(lambda: risk._core is not None and risk._core.has_work, "it stands again")
        assert risk._look_s(risk._core) == 0.02
        clock.stands_still = True
        assert risk._look_s(risk._core) is None
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        for reader in context.readers:
            await reader.stop()


@pytest.mark.parametrize("together", [1, 2, 3, 100])
async def test_what_is_decided_does_not_depend_on_what_came_together(
    nc: Inflow, js: JetStreamContext, topology: Topology, tmp_path: Path, together: int
) -> None:
    """A long and the flat after it: the entry leaves, though risk could have read both before it decided."""
    settings = Settings(bots=(bot(symbols=("AAPL", "MSFT")),))
    clock = _HandClock()
    context = Context(
        "risk", settings, topology, nc, nc, js, clock, lambda: T0, NoPoints(), [], account="ACC1", run="run1"
    )
    risk = Risk(context, lambda _: CheckpointStore(tmp_path, "risk", "code", "config"), shadow_venue)
    core = RiskCore(settings.bots, settings.limits)
    told: list[AnyBody] = [
        opened(), always_open(), *lent("AAPL", "MSFT"),
        signal(), signal(symbol="MSFT"), signal(Direction.FLAT, number=2), signal(Direction.FLAT, number=2, symbol="MSFT"),
    ]  # fmt: skip
    stored = [Stored(number, encode(Head(0), body)) for number, body in enumerate(told)]
    answers: list[AnyBody] = []
    for begin in range(0, len(stored), together):
        answers += [decode(one.data).body for one in await risk._decide(core, stored[begin : begin + together])]
    said = [(type(answer).__name__, getattr(answer, "symbol", "")) for answer in answers]
    assert said == [("OrderIntent", "AAPL"), ("OrderIntent", "MSFT")]
