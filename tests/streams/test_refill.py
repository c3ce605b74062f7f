"""Reading whole streams into a new file: also where they begin late, lost their end, hold nothing or are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from nats.js import JetStreamContext

from engine.errors import BrokenPromiseError
from engine.messages import Head, encode
from storage.writer import Writer
from streams.connection import Inflow
from streams.refill import Refilled, refill
from streams.role import NoPoints
from streams.server import NatsServer
from streams.subjects import subject_of
from streams.topology import Topology
from tests.storage.samples import T0, bars, fill
from tests.streams.wire import topology_of

BODIES = bars(0, 25, symbols=3)


async def _publish(js: JetStreamContext, topology: Topology) -> None:
    for number, body in enumerate([*BODIES, fill("v1"), fill("v1"), fill("v2")]):
        await js.publish(subject_of(topology.prefix, body), encode(Head(T0 + number), body))


async def _refill(server: NatsServer, topology: Topology, path: Path) -> tuple[list[Refilled], dict[str, int]]:
    with Writer.open(path / "t.duckdb", memory_limit_mb=64, threads=1) as writer:
        return await refill(server.url, topology, writer, 10, NoPoints()), writer.positions()


async def test_everything_is_written_once_and_the_position_is_the_last_sequence(
    shared_server: NatsServer, js: JetStreamContext, topology: Topology, tmp_path: Path
) -> None:
    await _publish(js, topology)
    (market, trading), positions = await _refill(shared_server, topology, tmp_path)
    assert market == Refilled(
        stream=topology.market, first_seq=1, last_seq=25, first_ns=T0, messages=25, rows=25, duplicates=0
    )
    assert (trading.messages, trading.rows, trading.duplicates, trading.first_ns) == (3, 2, 1, T0 + 25)
    assert positions == {topology.market: 25, topology.trading: 3}


async def test_a_stream_that_begins_late_and_lost_its_end(
    shared_server: NatsServer, js: JetStreamContext, topology: Topology, tmp_path: Path
) -> None:
    await _publish(js, topology)
    await js.purge_stream(topology.market, seq=8)
    await js.delete_msg(topology.market, 25)
    await js.delete_msg(topology.market, 24)
    (market, _), positions = await _refill(shared_server, topology, tmp_path)
    assert (market.first_seq, market.last_seq, market.messages, market.first_ns) == (8, 25, 16, T0 + 7)
    assert positions[topology.market] == 25


async def test_a_stream_that_holds_nothing_any_more(
    shared_server: NatsServer, js: JetStreamContext, topology: Topology, tmp_path: Path
) -> None:
    await _publish(js, topology)
    await js.purge_stream(topology.market)
    (market, _), positions = await _refill(shared_server, topology, tmp_path)
    assert (market.first_seq, market.last_seq, market.messages, market.first_ns) == (26, 25, 0, None)
    assert positions[topology.market] == 25


async def test_empty_and_missing_streams(shared_server: NatsServer, topology: Topology, tmp_path: Path) -> None:
    (market, trading), positions = await _refill(shared_server, topology, tmp_path)
    assert (market.is_there, market.last_seq, trading.is_there) == (True, 0, True)
    assert positions == {}
    found, _ = await _refill(shared_server, topology_of("nobody"), tmp_path)
    assert [stream.is_there for stream in found] == [False, False]


async def test_a_message_that_cannot_be_read_stops_it_with_its_number(
    shared_server: NatsServer, nc: Inflow, js: JetStreamContext, topology: Topology, tmp_path: Path
) -> None:
    await _publish(js, topology)
    await js.publish(f"{topology.prefix}.bars.1m.AAPL", b"junk")
    with pytest.raises(BrokenPromiseError, match="message 26 of stream"):
        await _refill(shared_server, topology, tmp_path)
