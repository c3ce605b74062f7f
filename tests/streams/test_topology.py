from __future__ import annotations

import asyncio

import msgspec
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, PersistMode, RetentionPolicy, StorageType

from streams.connection import connect
from streams.publisher import Publisher
from streams.server import NatsServer
from streams.topology import Topology, ensure
from tests.streams.wire import outgoing, stored, topology_of, until


async def test_the_streams_are_made_as_declared(js: JetStreamContext, topology: Topology) -> None:
    market = (await js.stream_info(topology.market)).config
    assert market.persist_mode == PersistMode.ASYNC
    assert (market.discard, market.retention, market.storage) == (
        DiscardPolicy.OLD, RetentionPolicy.LIMITS, StorageType.FILE,
    )  # fmt: skip
    assert (market.max_age, market.max_bytes, market.duplicate_window) == (3600, 64 * 1024**2, 60)
    trading = (await js.stream_info(topology.trading)).config
    # Money: synchronous, never discarded, all or nothing.
    assert trading.persist_mode in (None, PersistMode.DEFAULT)
    assert (trading.discard, trading.retention, trading.storage) == (
        DiscardPolicy.NEW, RetentionPolicy.LIMITS, StorageType.FILE,
    )  # fmt: skip
    assert trading.allow_atomic
    assert not trading.max_age
    assert trading.max_msgs in (None, -1)


async def test_an_update_keeps_the_messages(nc: Client, js: JetStreamContext, topology: Topology) -> None:
    publisher = Publisher(nc, topology.trading, "test")
    await publisher.atomic([outgoing(topology, number) for number in range(20)])
    wider = msgspec.structs.replace(topology, trading_bytes_max=96 * 1024**2, duplicate_window_s=90.0)
    await ensure(js, wider)
    config = (await js.stream_info(topology.trading)).config
    assert (config.max_bytes, config.duplicate_window) == (96 * 1024**2, 90)
    assert await stored(js, topology.trading) == list(range(20))
    await ensure(js, wider)
    assert await stored(js, topology.trading) == list(range(20))


async def test_roles_that_start_side_by_side_all_succeed(shared_server: NatsServer, prefix: str) -> None:
    clients = [await connect(shared_server.url, f"role{number}") for number in range(6)]
    made = topology_of(prefix)
    await asyncio.gather(*(ensure(client.jetstream(timeout=5), made) for client in clients))
    info = await clients[0].jetstream().stream_info(made.trading)
    assert info.config.allow_atomic
    for client in clients:
        await client.close()


async def test_a_full_trading_stream_lets_wait_instead_of_forgetting(
    nc: Client, js: JetStreamContext, prefix: str
) -> None:
    """tests/durability/test_room.py: until somebody raises the limit."""
    small = msgspec.structs.replace(topology_of(prefix), trading_bytes_max=20_000)
    await ensure(js, small)
    publisher = Publisher(nc, small.trading, "test")

    async def publish() -> None:
        for number in range(100):
            await publisher.one(outgoing(small, number, size=1_000))

    publishing = asyncio.create_task(publish())
    await until(lambda: "size limit" in publisher.trouble, "it is full")
    publishing.cancel()
    kept = await stored(js, small.trading)
    assert kept == list(range(len(kept)))
    assert 5 < len(kept) < 30
