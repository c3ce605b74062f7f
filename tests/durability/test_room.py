"""The trading stream at its size limit, and the watch that makes trading REDUCING before."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from config.settings import DaemonSettings, NatsSettings, Settings
from engine.messages import Command, TradingState, decode
from engine.values import TradingMode
from streams.connection import Inflow, connect
from streams.halting import halt
from streams.latch import Latch
from streams.loss import Hole, Holes
from streams.publisher import Publisher, troubles_on
from streams.role import Context, NoPoints, topology_of
from streams.room import RoomWatch
from streams.server import NatsServer
from streams.subjects import state_subject
from streams.topology import Topology, ensure
from tests.engine.build import T0
from tests.streams.test_role import _StoppedClock
from tests.streams.wire import outgoing, stored, until


async def test_a_full_stream_is_waited_for_and_discards_nothing(server: NatsServer) -> None:
    """Until somebody raises the limit; then everything is there once."""
    nc = await connect(server.url, "test")
    js = nc.jetstream(timeout=5)
    small = Topology("tape", 3600, 1024**2, 200_000, 60.0)
    await ensure(js, small)
    publisher = Publisher(nc, small.trading, "test")
    publishing = asyncio.create_task(publisher.atomic([outgoing(small, n, size=500) for n in range(1_000)]))
    await until(lambda: bool(troubles_on(nc)), "it is said that the stream is full")
    assert "at its size limit" in troubles_on(nc)[0]
    assert "trading_bytes_max" in troubles_on(nc)[0]
    before = await stored(js, small.trading)
    assert before == list(range(len(before)))
    assert not publishing.done()
    await ensure(js, msgspec.structs.replace(small, trading_bytes_max=64 * 1024**2))
    await asyncio.wait_for(publishing, 20)
    assert await stored(js, small.trading) == list(range(1_000))
    assert troubles_on(nc) == []
    await nc.close()


class _Watched:
    """A room watch on a real server, and a risk that says the mode."""

    def __init__(self, nc: Inflow, js: JetStreamContext, settings: Settings) -> None:
        topology = topology_of(settings)
        self.js, self.topology = js, topology
        context = Context("executor", settings, topology, nc, nc, js, _StoppedClock(), lambda: T0, NoPoints(), [])
        context.account, context.run = "ACC1", "run1"
        self.watch = RoomWatch(context)
        self.nc = nc
        self.mode = TradingMode.ACTIVE

    @contextlib.asynccontextmanager
    async def running(self):
        async def say() -> None:
            while True:
                body = TradingState(self.mode, "", "", 0)
                await self.nc.publish(state_subject(self.topology.prefix), msgspec.json.encode(body))
                await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(say()), asyncio.create_task(self.watch.run())]
        try:
            yield
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def commands(self) -> list[Command]:
        state = (await self.js.stream_info(self.topology.trading)).state
        found = []
        for seq in range(1, state.last_seq + 1):
            raw = await self.js.get_msg(self.topology.trading, seq, direct=True)
            if raw.subject == f"{self.topology.prefix}.commands":
                found.append(decode(raw.data or b"").body)
        return found


async def test_below_the_free_bytes_trading_becomes_reducing_and_is_not_made_laxer(server: NatsServer) -> None:
    nc = await connect(server.url, "test", kind=Inflow)
    js = nc.jetstream(timeout=5)
    daemon = DaemonSettings(disk_free_bytes_min=2**50, disk_look_s=0.05)
    settings = Settings(data_dir=str(server._folder), daemon=daemon)
    await ensure(js, topology_of(settings))
    watched = _Watched(nc, js, settings)

    async def commanded() -> bool:
        return len(await watched.commands()) == 1

    async with watched.running():
        await until(commanded, "it is commanded")
        (command,) = await watched.commands()
        assert (command.mode, command.by) == (TradingMode.REDUCING, "executor")
        assert "disk_free_bytes_min" in command.reason
        assert command.reason == watched.watch.problem
        watched.mode = TradingMode.HALTED
        looked = asyncio.get_running_loop().time() + 0.5
        await until(lambda: asyncio.get_running_loop().time() > looked, "it looked again several times")
        assert len(await watched.commands()) == 1, "it neither repeats itself nor ends a halt"
    await nc.close()


async def test_roles_that_halt_for_a_hole_say_the_same_command(server: NatsServer) -> None:
    """That of the latch: another one under its id would contradict it in the record."""
    nc = await connect(server.url, "test", kind=Inflow)
    js = nc.jetstream(timeout=5)
    settings = Settings(data_dir=str(server._folder.parent))
    topology = topology_of(settings)
    await ensure(js, topology)
    said: list[bytes] = []

    async def take(msg: Msg) -> None:
        said.append(msg.data)

    await nc.subscribe(f"{topology.prefix}.commands", cb=take)
    hole = Hole(topology.trading, 7, 9, "end")
    for number, role in enumerate(("executor", "risk")):
        now = T0 + number
        context = Context(role, settings, topology, nc, nc, js, _StoppedClock(), lambda now=now: now, NoPoints(), [])
        await halt(context, hole)
    await until(lambda: len(said) == 2, "both said it")
    first, second = (decode(data).body for data in said)
    note = Latch(settings.data_path).read()
    assert note is not None
    assert first == second == Command(note.id, TradingMode.HALTED, str(hole), "executor", T0)
    assert Holes(settings.data_path).read() == [hole, hole]
    await nc.close()


async def test_a_stream_that_fills_makes_trading_reducing_too(server: NatsServer) -> None:
    nc = await connect(server.url, "test", kind=Inflow)
    js = nc.jetstream(timeout=5)
    settings = Settings(
        data_dir=str(server._folder),
        nats=NatsSettings(trading_bytes_max=200_000, trading_fill_fraction_max=0.5),
        daemon=DaemonSettings(disk_free_bytes_min=1024, disk_look_s=0.05),
    )
    topology = topology_of(settings)
    await ensure(js, topology)
    watched = _Watched(nc, js, settings)
    async with watched.running():
        publisher = Publisher(nc, topology.trading, "test")
        await publisher.atomic([outgoing(topology, n, size=500) for n in range(100)])
        looked = asyncio.get_running_loop().time() + 0.3
        await until(lambda: asyncio.get_running_loop().time() > looked, "it looked")
        assert watched.watch.problem == ""
        await publisher.atomic([outgoing(topology, n, size=500) for n in range(100, 220)])
        await until(lambda: "trading_bytes_max" in watched.watch.problem, "it is noticed")

        async def commanded() -> bool:
            return [command.mode for command in await watched.commands()] == [TradingMode.REDUCING]

        await until(commanded, "it is commanded")
    await nc.close()
