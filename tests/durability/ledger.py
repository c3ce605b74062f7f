"""A data directory with a trading stream, its database and what a role has seen of it, made without a daemon."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from pathlib import Path

from config.settings import NatsSettings, Settings
from engine.messages import AnyBody, Head, decode, encode
from engine.values import Side
from storage.sql import open_read_only
from storage.writer import Writer
from streams.connection import Inflow, connect
from streams.loss import Guard
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader
from streams.refill import refill
from streams.role import NoPoints, topology_of
from streams.seals import Stored
from streams.server import NatsServer
from streams.subjects import subject_of
from streams.topology import ensure
from tests.engine.build import T0, always_open, fill, intent, opened
from tests.engine.build import signal as made_signal
from tests.storage.samples import accepted, submitted

MESSAGES = 602
_BULK = "x" * 30_000
"""In each head of a large ledger: blocks are of 8 MB, and there are to be three of them."""


def settings_of(folder: Path) -> Settings:
    return Settings(data_dir=str(folder), nats=NatsSettings(is_own=True))


def bodies() -> list[AnyBody]:
    """A day: the opening, the calendar, and 100 signals with an order of two fills each."""
    made: list[AnyBody] = [opened(), always_open()]
    for number in range(100):
        order = intent(f"i{number}", side=Side.BUY if number % 2 == 0 else Side.SELL)
        said = made_signal(number=number + 1)
        made += [said, order, submitted(order.id, T0 + number), accepted(order.id, f"venue-{order.id}", T0 + number)]
        made += [
            fill(order, "4", "4", "100.25", ts_event=T0 + number),
            fill(order, "6", "10", "100.5", ts_event=T0 + number),
        ]
    return made


async def publish(url: str, settings: Settings, found: list[AnyBody], *, first: int = 1, bulk: str = "") -> None:
    nc = await connect(url, "test", kind=Inflow)
    topology = topology_of(settings)
    await ensure(nc.jetstream(timeout=5), topology)
    messages = [
        Outgoing(subject_of(topology.prefix, body), encode(Head(T0 + n * 1_000, trace=bulk), body), f"m{n}")
        for n, body in enumerate(found, first)
    ]
    publisher = Publisher(nc, topology.trading, "test")
    for batch in itertools.batched(messages, 50):  # a batch is never split into two blocks
        await publisher.atomic(batch)
    await nc.close()


async def read_all(url: str, settings: Settings) -> list[Stored]:
    """Read the whole trading stream; fails where it has a hole."""
    nc = await connect(url, "test", kind=Inflow)
    stream = topology_of(settings).trading
    last = (await nc.jetstream(timeout=5).stream_info(stream)).state.last_seq
    reader = Reader(nc, stream, 0)
    await reader.start()
    found: list[Stored] = []
    while len(found) < last:
        found += await reader.batch(10_000)
    assert [item.seq for item in found] == list(range(1, last + 1))
    assert reader.skipped == 0
    await reader.stop()
    await nc.close()
    return found


def plain(found: list[Stored]) -> list[AnyBody]:
    return [decode(item.data).body for item in found]


async def see(url: str, settings: Settings, role: str) -> None:
    """Read the trading stream as a role does, so that what it has seen is written down."""
    nc = await connect(url, "test", kind=Inflow)
    stream = topology_of(settings).trading
    last = (await nc.jetstream(timeout=5).stream_info(stream)).state.last_seq
    reader = Reader(nc, stream, 0, guard=Guard(settings.data_path, role))
    try:
        await reader.start()
        seq = 0
        while seq < last:
            seq = (await reader.batch(10_000))[-1].seq
    finally:
        await reader.stop()
        await nc.close()


async def record(url: str, settings: Settings) -> None:
    path = settings.data_path / "tapeline.duckdb"
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        await refill(url, topology_of(settings), writer, 10_000, NoPoints())


async def make(folder: Path, *, killed: bool, large: bool = False) -> None:
    """Fill a data directory and end its nats-server, in order or with -9; `large`: in three blocks, not one."""
    settings = settings_of(folder)
    server = NatsServer(folder / "nats")
    server.start()
    try:
        await publish(server.url, settings, bodies(), bulk=_BULK if large else "")
        await see(server.url, settings, "executor")
        await record(server.url, settings)
        if killed:
            os.kill(server.pid, signal.SIGKILL)
    finally:
        server.stop()


def copied(made: Path, to: Path) -> Settings:
    """Copy a data directory for a test of its own."""
    shutil.copytree(made, to)
    (to / "nats" / "port").unlink()
    return settings_of(to)


def recorded(folder: Path) -> list[tuple[int, str]]:
    """Sequences and ids of the fills in the database."""
    with open_read_only(folder / "tapeline.duckdb") as sql:
        return sql.query("SELECT seq, venue_order_id || '|' || cum_qty FROM fills ORDER BY seq").frame().rows()
