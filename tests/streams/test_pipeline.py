"""Positions of a role that starts: they say what was applied, not what came in, and how far a former process got."""

from __future__ import annotations

from pathlib import Path

from adapters.simulated import shadow_venue
from engine.messages import AnyBody
from streams.checkpoint import CheckpointStore
from streams.connection import Inflow
from streams.pipeline import Pipeline
from streams.publisher import Publisher
from streams.reader import Reader
from streams.role import Context
from streams.services.risk import Risk
from streams.topology import Topology
from tests.engine.build import opened, signal
from tests.streams.test_role import context as _context
from tests.streams.wire import outgoing, until

context = _context


async def test_a_position_is_not_ahead_of_what_was_taken(
    nc: Inflow, topology: Topology, context: Context, tmp_path: Path
) -> None:
    """Messages come in as soon as the consumer is made; a checkpoint of now would skip them for ever."""
    await Publisher(nc, topology.trading, "test").atomic([outgoing(topology, number) for number in range(100)])
    reader = Reader(nc, topology.trading, 10)
    await reader.start()
    await until(lambda: reader.received == 100, "all came in")
    store = CheckpointStore(tmp_path, "test", "code", "config")
    pipeline = Pipeline(
        context, Publisher(nc, topology.trading, "test"), reader, store=store, encode=lambda: b"state", every=(1, 1.0)
    )
    assert pipeline.position == 10
    pipeline.checkpoint()
    found = store.newest()
    assert found is not None
    assert found.header.positions == {topology.trading: 10}
    assert [item.seq for item in await pipeline.batch(500)] == list(range(11, 101))
    await reader.stop()


async def test_what_waits_to_be_taken_keeps_no_checkpoint_away(
    nc: Inflow, topology: Topology, context: Context, tmp_path: Path
) -> None:
    """A split is kept at once, also where messages come in meanwhile."""
    await Publisher(nc, topology.trading, "test").atomic([outgoing(topology, number) for number in range(3)])
    reader = Reader(nc, topology.trading, 0)
    await reader.start()
    store = CheckpointStore(tmp_path, "test", "code", "config")
    publisher = Publisher(nc, topology.trading, "test")
    pipeline = Pipeline(context, publisher, reader, store=store, encode=lambda: b"state", every=(1, 1.0))
    await pipeline.wait()
    pipeline.checkpoint()
    assert (kept := store.newest()) is not None
    assert kept.header.positions == {topology.trading: 0}
    assert [item.seq for item in pipeline.take(2)] == [1, 2]
    pipeline.checkpoint()  # decided in part
    assert (kept := store.newest()) is not None
    assert kept.header.positions == {topology.trading: 0}
    await reader.stop()


async def test_what_a_former_process_stored_counts_as_published(context: Context, tmp_path: Path) -> None:
    """It may have died before it said so: lock-step must not take a stream's end for applied that nobody announced."""
    publisher = Publisher(context.nc, context.topology.trading, "risk")
    bodies: list[AnyBody] = [opened(), signal(number=1), signal(number=2)]
    await publisher.atomic([context.outgoing(body, f"{number}") for number, body in enumerate(bodies)])
    risk = Risk(context, lambda _: CheckpointStore(tmp_path, "risk", "code", "config"), shadow_venue)
    await risk.start()
    status = risk.status()
    assert status.published == {context.topology.trading: 3}
    assert status.positions == {context.topology.trading: 0}
    for reader in context.readers:
        await reader.stop()
