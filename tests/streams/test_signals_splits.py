"""The signals role and a split overnight, on a real nats-server: heard live, before a restart, and while it was down."""

from __future__ import annotations

import asyncio
import contextlib
import io
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.js import JetStreamContext

from config.settings import Settings
from engine.bots import Bot
from engine.messages import AnyBody, Bar, DerivedBar, Head, Signal, Split, body_json, decode, encode
from engine.signals import SignalEngine
from streams.checkpoint import CheckpointStore
from streams.connection import Inflow
from streams.role import Context, NoPoints
from streams.services.signals import Signals
from streams.subjects import subject_of
from streams.topology import Topology
from tests.engine.build import T0, D, always_open, bar, bot, minute
from tests.engine.test_signals_splits import AT, SPLIT, market
from tests.streams.feeding import StillClock, open_ledger
from tests.streams.wire import until

RENAMED = msgspec.structs.replace(SPLIT, id="ca2", symbol="AAPL", new_symbol="AAPX", ratio=D(1), ts_event=minute(6))
LONGER = bot(symbols=("AAPL", "AAPX"), params={"fast": 1, "slow": 2}, session="any", timeframe="2m")
BOT = bot(symbols=("AAPL", "MSFT"), params={"fast": 3, "slow": 8, "allow_short": True}, session="any")


def everything() -> list[Bar]:
    """The split symbol and another one beside it, interleaved."""
    return [each for one in market() for each in (one, bar(one.close, (one.ts_event - T0) // 60_000_000_000, "MSFT"))]


async def store(js: JetStreamContext, topology: Topology, *bodies: AnyBody) -> None:
    for body in bodies:
        await js.publish(subject_of(topology.prefix, body), encode(Head(1), body))


@contextlib.asynccontextmanager
async def running(nc: Inflow, topology: Topology, folder: Path, of: Bot = BOT) -> AsyncIterator[Signals]:
    """Run it; leaving the block stops it in order."""
    settings = Settings(bots=(of,))
    settings = msgspec.structs.replace(settings, nats=msgspec.structs.replace(settings.nats, prefix=topology.prefix))
    js = nc.jetstream(timeout=5)
    context = Context("signals", settings, topology, nc, nc, js, StillClock(), lambda: T0, NoPoints(), [])
    service = Signals(context, lambda _: CheckpointStore(folder, "signals", "c", "f"))
    await service.start()
    worker = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
        await service.stop()
        for reader in context.readers:
            await reader.stop()


async def counted(service: Signals, **wanted: int) -> None:
    await until(lambda: wanted.items() <= service.status().counters.items(), f"{wanted}")


async def stored[T: AnyBody](js: JetStreamContext, topology: Topology, kind: type[T]) -> list[T]:
    last = (await js.stream_info(topology.trading)).state.last_seq
    found = [
        decode((await js.get_msg(topology.trading, seq, direct=True)).data or b"").body for seq in range(1, last + 1)
    ]
    return [body for body in found if isinstance(body, kind)]


def kept(topology: Topology, folder: Path) -> tuple[int, int] | None:
    """Position of the newest checkpoint, and how many splits its state knows."""
    found = CheckpointStore(folder, "signals", "c", "f").newest()
    if found is None:
        return None
    file, engine = io.BytesIO(found.payload), SignalEngine("ACC1", "run1", ())
    assert pickle.load(file) == []
    engine.restore(pickle.load(file))
    return found.header.positions[topology.market], len(engine.splits.known)


def calm(bars: list[Bar]) -> tuple[list[bytes], list[Any]]:
    """Signals and state of an engine that heard of the split after AT bars of each symbol."""
    engine = SignalEngine("ACC1", "run1", [BOT])
    engine.on_sessions(always_open())
    signals: list[Signal] = []
    for number, each in enumerate(bars, 1):
        signals += engine.on_bar(each)
        if number == 2 * AT:
            engine.on_split(SPLIT, bars[:number])
    return [body_json(signal) for signal in signals], [*engine.snapshots(), len(engine.splits.known)]


@pytest.mark.parametrize("heard", ["live", "while down"])
async def test_a_split_overnight(nc: Inflow, topology: Topology, tmp_path: Path, heard: str) -> None:
    js, bars = nc.jetstream(timeout=5), everything()
    context = Context("test", Settings(), topology, nc, nc, js, StillClock(), lambda: T0, NoPoints(), [])
    await open_ledger(context, T0)
    async with running(nc, topology, tmp_path) as service:
        await store(js, topology, *bars[: 2 * AT])
        await counted(service, bars=2 * AT)
        await until(lambda: service._pipeline is not None and service._pipeline.position == 2 * AT, "published")
        if heard == "live":
            await store(js, topology, SPLIT)
            await counted(service, splits=1)
            await until(lambda: kept(topology, tmp_path) == (2 * AT, 1), "a checkpoint")
    if heard == "while down":
        await store(js, topology, SPLIT)
    async with running(nc, topology, tmp_path) as service:
        await counted(service, splits=1)
        await store(js, topology, *bars[2 * AT :])
        await until(lambda: service._engine is not None and service._engine.counters.bars >= len(bars) - 2 * AT, "bars")
        await until(lambda: service._pipeline is not None and service._pipeline.position == len(bars), "published")
        assert service._engine is not None
        shown = [*service._engine.snapshots(), len(service._engine.splits.known)]
    signals, state = calm(bars)
    assert [body_json(signal) for signal in await stored(js, topology, Signal)] == signals
    assert shown == state


async def test_a_split_of_a_symbol_without_bars_holds_nobody_up(nc: Inflow, topology: Topology, tmp_path: Path) -> None:
    js = nc.jetstream(timeout=5)
    context = Context("test", Settings(), topology, nc, nc, js, StillClock(), lambda: T0, NoPoints(), [])
    await open_ledger(context, T0)
    async with running(nc, topology, tmp_path) as service:
        other = Split("ca9", "BRK.B", "BRK.B", SPLIT.ratio, T0)
        await store(js, topology, other, *everything()[:3])
        await counted(service, splits=1, bars=3)


async def test_longer_bars_that_a_change_of_name_makes_are_stored_before_the_checkpoint_that_follows(
    nc: Inflow, topology: Topology, tmp_path: Path
) -> None:
    js = nc.jetstream(timeout=5)
    context = Context("test", Settings(), topology, nc, nc, js, StillClock(), lambda: T0, NoPoints(), [])
    await open_ledger(context, T0)
    await store(js, topology, always_open())
    async with running(nc, topology, tmp_path, LONGER) as service:
        await store(js, topology, *(bar(10.0 + number, number) for number in range(1, 6)))
        await counted(service, bars=5)
        await until(lambda: service._pipeline is not None and service._pipeline.position == 5, "published")
        await store(js, topology, RENAMED)
        await counted(service, splits=1)
        await until(lambda: kept(topology, tmp_path) == (5, 1), "a checkpoint")
        made = [(one.symbol, one.ts_event) for one in await stored(js, topology, DerivedBar)]
    assert [end for symbol, end in made if symbol == "AAPL"] == [end for symbol, end in made if symbol == "AAPX"] != []
