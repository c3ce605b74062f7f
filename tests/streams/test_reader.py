from __future__ import annotations

import asyncio
import os
import signal

import pytest
from nats.js import JetStreamContext

from streams.connection import Inflow, connect
from streams.publisher import Publisher
from streams.reader import Reader
from streams.seals import Seal, last_until
from streams.server import NatsServer
from streams.topology import Topology, ensure
from tests.streams.wire import numbers, outgoing, read, topology_of, until


async def _publish(nc: Inflow, topology: Topology, first: int, last: int, *, size: int = 0) -> None:
    publisher = Publisher(nc, topology.market, "test")
    await publisher.sync()
    await publisher.burst([outgoing(topology, n, stream="market", size=size) for n in range(first, last)])


async def _reader(nc: Inflow, topology: Topology, after: int = 0, subjects: list[str] | None = None) -> Reader:
    reader = Reader(nc, topology.market, after, subjects)
    await reader.start()
    return reader


async def test_messages_come_in_order_with_their_sequences(nc: Inflow, topology: Topology) -> None:
    reader = await _reader(nc, topology)
    await _publish(nc, topology, 0, 500)
    found = await read(reader, 500)
    assert numbers(found) == list(range(500))
    assert [item.seq for item in found] == list(range(1, 501))
    assert reader.take(10) == []
    await _publish(nc, topology, 500, 510)
    assert numbers(await read(reader, 10)) == list(range(500, 510))
    await reader.stop()


@pytest.mark.parametrize("after", [0, 1, 57, 99, 100])
async def test_reading_goes_on_after_a_position(nc: Inflow, topology: Topology, after: int) -> None:
    await _publish(nc, topology, 0, 100)
    reader = await _reader(nc, topology, after)
    await _publish(nc, topology, 100, 120)
    found = await read(reader, 120 - after)
    assert [item.seq for item in found] == list(range(after + 1, 121))
    assert reader.received == 120
    await reader.stop()


async def test_a_filter_leaves_the_rest_out_and_keeps_the_sequences(nc: Inflow, topology: Topology) -> None:
    await _publish(nc, topology, 0, 100)
    wanted = [f"{topology.prefix}.bars.1m.S1", f"{topology.prefix}.bars.1m.S3"]
    reader = await _reader(nc, topology, 10, wanted)
    found = await read(reader, 36)
    assert numbers(found) == [n for n in range(10, 100) if n % 5 in (1, 3)]
    assert [item.seq - 1 for item in found] == numbers(found)
    await reader.stop()


async def test_waiting_for_nothing_can_be_canceled(nc: Inflow, topology: Topology) -> None:
    reader = await _reader(nc, topology)
    waiting = asyncio.create_task(reader.batch(10))
    await _publish(nc, topology, 0, 1)
    assert len(await waiting) == 1
    waiting = asyncio.create_task(reader.batch(10))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await _publish(nc, topology, 1, 2)
    assert numbers(await reader.batch(10)) == [1]
    await reader.stop()


async def test_a_slow_reader_loses_nothing_and_its_buffer_stays_bounded(
    nc: Inflow, js: JetStreamContext, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.reader._BUFFER_MAX", 2_000)
    reader = await _reader(nc, topology)
    total = 30_000
    await _publish(nc, topology, 0, total, size=1_000)
    # Nothing is taken until the server has stopped sending: it waits for our answer to its flow control.
    await until(lambda: bool(reader._flow_reply), "the server waits")
    held = len(reader._buffer)
    assert 2_000 <= held < total
    largest = held
    found: list[int] = []
    async with asyncio.timeout(30):
        while len(found) < total:
            found += numbers(await reader.batch(700))
            largest = max(largest, len(reader._buffer))
            await asyncio.sleep(0)
    assert found == list(range(total))
    assert largest < total
    assert (await js.stream_info(topology.market)).state.consumer_count == 1
    await reader.stop()


async def test_a_consumer_deleted_under_the_reader_is_made_again(
    nc: Inflow, js: JetStreamContext, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.reader._HEARTBEAT_S", 0.2)
    monkeypatch.setattr("streams.reader._SILENT_S_MAX", 0.5)
    reader = await _reader(nc, topology)
    await _publish(nc, topology, 0, 50)
    assert len(await read(reader, 30)) == 30  # the rest stays in the buffer
    await js.delete_consumer(topology.market, reader._consumer)
    await _publish(nc, topology, 50, 100)
    assert numbers(await read(reader, 70)) == list(range(30, 100))
    await reader.stop()


async def test_resync_in_the_middle_of_reading_repeats_and_loses_nothing(nc: Inflow, topology: Topology) -> None:
    reader = await _reader(nc, topology)
    publishing = asyncio.create_task(_publish(nc, topology, 0, 5_000))
    found: list[int] = []
    async with asyncio.timeout(20):
        while len(found) < 5_000:
            found += numbers(await reader.batch(300))
            reader.resync()
    await publishing
    assert found == list(range(5_000))
    assert reader.rewinds == 0
    await reader.stop()


async def test_a_lost_message_is_noticed_and_read_again(nc: Inflow, topology: Topology) -> None:
    """The connection drops one delivery: the numbers of the consumer show the hole."""
    reader = await _reader(nc, topology)
    (sid, real), count = next(iter(nc._lanes.items())), 0

    def lossy(reply: bytes, data: bytes) -> None:
        nonlocal count
        count += 1
        if count != 20:
            real(reply, data)

    nc._lanes[sid] = lossy
    await _publish(nc, topology, 0, 100)
    assert numbers(await read(reader, 100)) == list(range(100))
    assert count >= 20
    await reader.stop()


async def test_a_lost_last_message_is_noticed_by_the_heartbeat(
    nc: Inflow, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.reader._HEARTBEAT_S", 0.2)
    reader = await _reader(nc, topology)
    sid, real = next(iter(nc._lanes.items()))

    def deaf(reply: bytes, data: bytes) -> None:
        if not data.startswith(b"9"):
            real(reply, data)

    nc._lanes[sid] = deaf
    await _publish(nc, topology, 0, 10)
    assert numbers(await read(reader, 10)) == list(range(10))
    await reader.stop()


async def test_a_stopped_reader_leaves_no_consumer_behind(nc: Inflow, js: JetStreamContext, topology: Topology) -> None:
    reader = await _reader(nc, topology)
    assert (await js.stream_info(topology.market)).state.consumer_count == 1
    await reader.stop()
    assert (await js.stream_info(topology.market)).state.consumer_count == 0


@pytest.mark.kill
async def test_a_server_restarted_under_the_reader(own_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.publisher._ACK_S_MAX", 1.0)
    readers: list[Reader] = []

    async def resync() -> None:
        for reader in readers:
            reader.resync()

    nc = await connect(own_server.url, "test", kind=Inflow, on_reconnected=resync)
    js = nc.jetstream(timeout=5)
    topology = topology_of("tape")
    await ensure(js, topology)
    publisher = Publisher(nc, topology.trading, "test")
    reader = Reader(nc, topology.trading, 0)
    readers.append(reader)
    await reader.start()
    await publisher.atomic([outgoing(topology, number) for number in range(300)])
    found = numbers(await read(reader, 100))
    for stop in ("kill", "term"):
        if stop == "kill":
            os.kill(own_server.pid, signal.SIGKILL)
            await until(lambda: not own_server.is_running, "nats-server is dead")
        else:
            own_server.stop()
        own_server.start()
        await until(lambda: nc.is_connected, "connected again")
        first = 300 if stop == "kill" else 400
        await publisher.atomic([outgoing(topology, number) for number in range(first, first + 100)])
    found += numbers(await read(reader, 400))
    assert found == list(range(500))
    await reader.stop()
    await nc.close()


@pytest.mark.kill
async def test_a_reader_that_is_to_begin_anew_without_a_connection_starves_nobody(own_server: NatsServer) -> None:
    """As when the server dies again right after it came back: the role hung for ever, and its process lived on."""
    nc = await connect(own_server.url, "test", kind=Inflow)
    topology = topology_of("tape")
    await ensure(nc.jetstream(timeout=5), topology)
    reader = await _reader(nc, topology)
    os.kill(own_server.pid, signal.SIGKILL)
    await until(lambda: not own_server.is_running and not nc.is_connected, "nats-server is dead, and we know")
    starved = []

    def free(*_: object) -> None:
        starved.append(True)
        reader._broken.clear()

    before = signal.signal(signal.SIGALRM, free)
    signal.alarm(5)
    reader.resync()
    for _ in range(50):
        await asyncio.sleep(0.01)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not starved, "nothing else ran for 5 s"
    own_server.start()
    await until(lambda: nc.is_connected, "connected again")
    await _publish(nc, topology, 0, 10)
    assert numbers(await read(reader, 10)) == list(range(10))
    await reader.stop()
    await nc.close()


# --- a stream that lost its end ------------------------------------------------------------------------------------------
# A killed server takes the last messages of an async stream with it, acknowledged or not, and uses their sequences again
# (seen: 16 to 150 of them, in most rounds). Here the reader is made to remember messages that the stream has not.


async def _remembering(nc: Inflow, topology: Topology, lost: int) -> Reader:
    """A reader that has read 100 messages which are there and `lost` more that are not."""
    await _publish(nc, topology, 0, 100)
    reader = await _reader(nc, topology)
    await read(reader, 100)
    await reader._drop()  # the connection is away
    reader.received += lost
    if lost:
        assert reader._at is not None
        reader._at = Seal(reader.received, reader._at.stored_ns + 1, "of one that is not there")
    return reader


@pytest.mark.parametrize(("lost", "again"), [(1, 0), (30, 0), (30, 10), (30, 30), (30, 200), (1, 1), (0, 50)])
async def test_sequences_used_again_are_read_again(nc: Inflow, topology: Topology, lost: int, again: int) -> None:
    """Whether fewer, as many or more messages came since: none is taken for one that was read."""
    reader = await _remembering(nc, topology, lost)
    await _publish(nc, topology, 100, 100 + again)
    reader.resync()
    await until(lambda: bool(reader._consumer), "made again")
    await _publish(nc, topology, 100 + again, 105 + again)
    assert numbers(await read(reader, 5 + again)) == list(range(100, 105 + again))
    assert reader.rewinds == (1 if lost else 0)
    await reader.stop()


async def test_a_position_from_a_checkpoint_beyond_the_end_goes_on_at_the_end(nc: Inflow, topology: Topology) -> None:
    await _publish(nc, topology, 0, 100)
    reader = await _reader(nc, topology, 130)
    assert (reader.rewinds, reader.received) == (1, 100)
    await _publish(nc, topology, 100, 110)
    assert numbers(await read(reader, 10)) == list(range(100, 110))
    await reader.stop()


async def test_messages_that_aged_out_were_not_lost(nc: Inflow, js: JetStreamContext, topology: Topology) -> None:
    reader = await _remembering(nc, topology, 0)
    for keep in (0, 5):  # everything aged out, and everything but the newest
        first = 100 + 20 * bool(keep)
        await _publish(nc, topology, first, first + 5)
        await js.purge_stream(topology.market, keep=keep)
        reader.resync()
        await until(lambda: bool(reader._consumer), "made again")
        await _publish(nc, topology, first + 5, first + 10)
        left = 5 + keep
        assert numbers(await read(reader, left)) == list(range(first + 10 - left, first + 10))
        assert reader.rewinds == 0
        await reader._drop()
    again = await _reader(nc, topology, 50)
    assert again.rewinds == 0
    await again.stop()
    await reader.stop()


@pytest.mark.kill
async def test_what_comes_after_a_killed_server_lost_the_end_is_read(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.publisher._ACK_S_MAX", 1.0)
    readers: list[Reader] = []

    async def resync() -> None:
        for reader in readers:
            reader.resync()

    nc = await connect(own_server.url, "test", kind=Inflow, on_reconnected=resync)
    js = nc.jetstream(timeout=5)
    topology = topology_of("tape")
    await ensure(js, topology)
    reader = await _reader(nc, topology)
    readers.append(reader)
    for number in (1, 2):
        publisher = Publisher(nc, topology.market, "test")
        for start in range(0, 660, 11):
            ids = [outgoing(topology, start + n, stream="market", id=f"{number}-{start + n}") for n in range(11)]
            await publisher.sync()
            await publisher.burst(ids)
        await until(lambda: reader.received == publisher.last_seq, "all is read")  # noqa: B023
        reader.take(10_000)
        os.kill(own_server.pid, signal.SIGKILL)
        await until(lambda: not own_server.is_running, "nats-server is dead")
        own_server.start()
        await until(lambda: nc.is_connected, "connected again")
        publisher = Publisher(nc, topology.market, "test")
        await publisher.sync()
        new = [outgoing(topology, 1_000 * number + n, stream="market", id=f"new-{number}-{n}") for n in range(10)]
        await publisher.burst(new)
        found: list[int] = []
        async with asyncio.timeout(20):
            while len(found) < 10:
                found += [value for value in numbers(await reader.batch(100)) if value >= 1_000 * number]
        assert found == list(range(1_000 * number, 1_000 * number + 10))
    await reader.stop()
    await nc.close()


@pytest.mark.parametrize("again", [0, 20, 60])
async def test_a_checkpoint_knows_its_message_again(nc: Inflow, topology: Topology, again: int) -> None:
    """Its position is of a message that was lost; whatever has its sequence now is read, nothing before it is."""
    await _publish(nc, topology, 0, 100)
    reader = await _reader(nc, topology)
    last = (await read(reader, 100))[-1]
    await reader.stop()
    await _publish(nc, topology, 100, 100 + again)
    lost = Seal(130, last.stored_ns + 1, "of a message that is gone")
    resumed = Reader(nc, topology.market, 130, seal=lost)
    await resumed.start()
    await _publish(nc, topology, 100 + again, 150)
    assert numbers(await read(resumed, 50)) == list(range(100, 150))
    await resumed.stop()
    assert resumed.rewinds == 1


async def test_what_a_stream_left_out_is_told(nc: Inflow, js: JetStreamContext, topology: Topology) -> None:
    await _publish(nc, topology, 0, 20)
    for seq in (7, 8, 15):
        await js.delete_msg(topology.market, seq)
    reader = await _reader(nc, topology)
    assert numbers(await read(reader, 17)) == [n for n in range(20) if n not in (6, 7, 14)]
    assert reader.skipped == 3
    assert [loss.split(", ")[0] for loss in reader.losses] == [
        f"stream {topology.market} lost messages 7 to 8", f"stream {topology.market} lost message 15",
    ]  # fmt: skip
    await reader.stop()


async def test_a_stream_that_lost_everything_is_read_from_its_beginning(nc: Inflow, topology: Topology) -> None:
    """Killed before anything of it was on disk, nats-server has the stream empty, with 0 as its first sequence."""
    js = nc.jetstream()
    state = (await js.stream_info(topology.market)).state
    assert (state.first_seq, state.last_seq) == (0, 0)
    assert await last_until(js, topology.market, state.first_seq, state.last_seq, 10**18) == 0  # it was -1
