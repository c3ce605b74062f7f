"""Reads a whole stream again, from its first message, into a new database file. While no daemon runs: nobody publishes.

Decides nothing: what a message means to the tables is the writer's. Called by tapeline.rebuild.

    1. It ends when the stream holds nothing later, also where its end was removed or ages out meanwhile.
    2. Afterwards the file's position is the stream's last sequence: a recorder goes on there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from engine.errors import UnreachableError
from engine.messages import MarketMessage, Message, decode, decode_market
from storage.dedupe import Numbered, Row
from storage.writer import Writer
from streams.connection import Inflow, connect
from streams.keys import Identity
from streams.reader import Reader, Stored, read
from streams.role import Points
from streams.seals import seal_of
from streams.topology import Topology

_LOOK_S = 1.0
_SILENT_S_MAX = 30.0


def rows_of(batch: Sequence[Stored], stream: str, decoder: Callable[[bytes], Message | MarketMessage]) -> list[Row]:
    """Decode messages for the writer; those of the trading stream with their sequences."""
    rows: list[Row] = []
    for item in batch:
        message = read(item, stream, decoder)
        rows.append(Numbered(message.head, message.body, item.seq) if isinstance(message, Message) else message)
    return rows


class Refilled(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream held and what became of it.

    Attributes:
        is_there: Whether the store has this stream.
        first_seq: Sequence of its first message; above 1 when earlier ones aged out.
        last_seq: Last sequence it ever gave, 0 for none.
        first_ns: When its first message was made, ns UTC (`ts_init`); None when it holds none.
        duplicates: Messages that were there already.
        conflicts: Messages that contradict an earlier one; they stand in the table conflicts.
    """

    stream: str
    is_there: bool = True
    first_seq: int = 0
    last_seq: int = 0
    first_ns: int | None = None
    messages: int = 0
    rows: int = 0
    duplicates: int = 0
    conflicts: int = 0


async def refill(
    url: str,
    topology: Topology,
    writer: Writer,
    batch_rows_max: int,
    points: Points,
    *,
    identity: Identity | None = None,
) -> list[Refilled]:
    """Write everything both streams hold, market first.

    Args:
        url: A nats-server on the store.
        topology: Names of the streams.
        writer: On a new file.
        batch_rows_max: Most messages of one transaction.
        points: Hook for tests.
        identity: Who reads; None where no key is asked for.

    Raises:
        BrokenPromiseError: A message cannot be read, or the file did not write.
        UnreachableError: nats-server stopped delivering.
    """
    inflow = await connect(url, "tapeline-rebuild", identity=identity, kind=Inflow)
    try:
        return [
            await _refill(inflow, topology.market, decode_market, writer, rows_max=batch_rows_max, points=points),
            await _refill(inflow, topology.trading, decode, writer, rows_max=batch_rows_max, points=points),
        ]
    finally:
        await inflow.close()


async def _refill(
    inflow: Inflow,
    stream: str,
    decoder: Callable[[bytes], Message | MarketMessage],
    writer: Writer,
    *,
    rows_max: int,
    points: Points,
) -> Refilled:
    js = inflow.jetstream(timeout=5)
    try:
        state = (await js.stream_info(stream)).state
    except NotFoundError:
        return Refilled(stream=stream, is_there=False)
    done = Refilled(stream=stream, first_seq=state.first_seq, last_seq=state.last_seq)
    reader = Reader(inflow, stream, 0)
    await reader.start()
    try:
        seq = 0
        while seq < state.last_seq and await comes_next(reader, js, seq):
            batch = reader.take(rows_max)
            seq = batch[-1].seq
            messages = rows_of(batch, stream, decoder)
            seal = seal_of(batch[-1])
            result = writer.write(stream, seq, messages, (seal.stored_ns, seal.digest))
            points.hit("rebuild.after_commit")
            done = msgspec.structs.replace(
                done,
                first_ns=messages[0].head.ts_init if done.first_ns is None else done.first_ns,
                messages=done.messages + len(batch),
                rows=done.rows + result.rows,
                duplicates=done.duplicates + result.duplicates,
                conflicts=done.conflicts + result.conflicts,
            )
        if seq < state.last_seq:
            writer.write(stream, state.last_seq, [])
    finally:
        await reader.stop()
    return done


async def comes_next(reader: Reader, js: JetStreamContext, after: int) -> bool:
    """Wait for the next messages; False when there are none later than `after`.

    Raises:
        UnreachableError: There are, and nats-server does not deliver them.
    """
    silent_s = 0.0
    while True:
        try:
            await asyncio.wait_for(reader.wait(), _LOOK_S)
        except TimeoutError:
            silent_s += _LOOK_S
        else:
            return True
        try:
            await js.get_msg(reader.stream, after + 1, subject=">", direct=True, next=True)
        except NotFoundError:
            return False
        if silent_s >= _SILENT_S_MAX:
            msg = (
                f"stream {reader.stream} holds messages after {after} and delivered none for {silent_s:g} s: try again"
            )
            raise UnreachableError(msg)
