"""A real nats-server for the whole session; every test gets its own streams on it, behind a prefix of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from streams.connection import Inflow, connect
from streams.keys import identity
from streams.server import NatsServer, guarded_server
from streams.topology import Topology, ensure
from tests.streams.wire import topology_of

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server with keys and rights, as `tapeline run` starts it, and the streams of the prefix `tape`."""
    server = guarded_server(tmp_path_factory.mktemp("guarded"), topology_of("tape"))
    server.start()

    async def make_streams() -> None:
        nc = await connect(server.url, "test", identity=identity(server.nkey_file, "executor"))
        await ensure(nc.jetstream(timeout=5), topology_of("tape"))
        await nc.close()

    asyncio.run(make_streams())
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that a test may kill."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def prefix() -> str:
    return f"t{next(_numbers)}"


@pytest.fixture
async def nc(shared_server: NatsServer) -> AsyncIterator[Inflow]:
    client = await connect(shared_server.url, "test", kind=Inflow)
    yield client
    await client.close()


@pytest.fixture
def js(nc: Client) -> JetStreamContext:
    return nc.jetstream(timeout=5)


@pytest.fixture
async def topology(js: JetStreamContext, prefix: str) -> Topology:
    made = topology_of(prefix)
    await ensure(js, made)
    return made
