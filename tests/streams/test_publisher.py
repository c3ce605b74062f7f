"""What returned is stored, in order, once: also after a batch that half exists, and with the server killed under it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError

from streams.connection import connect
from streams.publisher import Outgoing, Publisher
from streams.server import NatsServer
from streams.topology import Topology, ensure
from tests.streams.wire import outgoing, stored, topology_of, until


async def test_one_message_has_a_sequence_and_is_there(nc: Client, js: JetStreamContext, topology: Topology) -> None:
    publisher = Publisher(nc, topology.trading, "test")
    assert await publisher.one(outgoing(topology, 0)) == 1
    assert await publisher.one(outgoing(topology, 1)) == 2
    assert publisher.last_seq == 2
    assert await stored(js, topology.trading) == [0, 1]
    first = await js.get_msg(topology.trading, 1)
    assert (first.headers or {})["Nats-Msg-Id"] == "trading-0"


async def test_the_same_id_twice_is_stored_once_and_is_success(
    nc: Client, js: JetStreamContext, topology: Topology
) -> None:
    publisher = Publisher(nc, topology.trading, "test")
    assert await publisher.one(outgoing(topology, 0)) == await publisher.one(outgoing(topology, 0)) == 1
    assert await stored(js, topology.trading) == [0]


@pytest.mark.parametrize("count", [1, 2, 6, 7, 999, 1_000, 1_001, 2_500])
async def test_batches_of_any_size_come_whole_and_in_order(
    nc: Client, js: JetStreamContext, topology: Topology, count: int
) -> None:
    publisher = Publisher(nc, topology.trading, "test")
    await publisher.atomic([outgoing(topology, number) for number in range(count)])
    assert publisher.last_seq == count
    assert await stored(js, topology.trading) == list(range(count))


@pytest.mark.parametrize(("count", "batches"), [(2, 0), (6, 0), (7, 1), (30, 1)])
async def test_many_are_one_batch_and_a_few_are_single_messages(
    nc: Client, js: JetStreamContext, topology: Topology, count: int, batches: int
) -> None:
    """Guard: both ways give the same result, so it must be seen which was taken."""
    await Publisher(nc, topology.trading, "test").atomic([outgoing(topology, number) for number in range(count)])
    headers = [(await js.get_msg(topology.trading, seq)).headers or {} for seq in range(1, count + 1)]
    numbers = [header.get("Nats-Batch-Sequence") for header in headers]
    assert numbers == [str(number) for number in range(1, count + 1)] if batches else [None] * count
    assert len({header.get("Nats-Batch-Id") for header in headers} - {None}) == batches


async def test_of_a_few_messages_none_is_sent_before_the_one_before_it_is_stored(
    nc: Client, js: JetStreamContext, topology: Topology
) -> None:
    """So a role that is killed in between leaves a first part, as if it had been killed between two passes."""
    publisher = Publisher(nc, topology.trading, "test")
    real, sent = publisher._js.publish, 0

    async def dies(*args: object, **kwargs: object) -> object:
        nonlocal sent
        sent += 1
        assert await stored(js, topology.trading) == list(range(sent - 1))
        if sent == 4:
            raise asyncio.CancelledError
        return await real(*args, **kwargs)  # type: ignore[arg-type]

    publisher._js.publish = dies  # type: ignore[method-assign,assignment]
    with pytest.raises(asyncio.CancelledError):
        await publisher.atomic([outgoing(topology, number) for number in range(6)])
    assert await stored(js, topology.trading) == [0, 1, 2]
    await Publisher(nc, topology.trading, "test").atomic([outgoing(topology, number) for number in range(6)])
    assert await stored(js, topology.trading) == [0, 1, 2, 3, 4, 5]


async def test_a_batch_without_its_end_is_not_there(nc: Client, js: JetStreamContext, topology: Topology) -> None:
    """The promise the publisher rests on: what is not committed does not exist, and does not stand in the way."""
    for number in (1, 2):
        headers = {"Nats-Batch-Id": "torn-1", "Nats-Batch-Sequence": str(number), "Nats-Msg-Id": f"trading-{number}"}
        await nc.publish(f"{topology.prefix}.fills.bot.S1", b"9", headers=headers)
    await nc.flush()
    await Publisher(nc, topology.trading, "torn").atomic([outgoing(topology, number) for number in range(10)])
    assert await stored(js, topology.trading) == list(range(10))


async def test_a_restarted_role_does_not_continue_the_torn_batch_of_its_former_self(
    nc: Client, js: JetStreamContext, topology: Topology
) -> None:
    """Killed in the middle of a batch and back within the 10 s the server waits for its end."""
    former = await connect(str(nc.connected_url.geturl() if nc.connected_url else ""), "former")
    publisher = Publisher(former, topology.trading, "risk")
    sent = 0
    real = former.publish

    async def torn(*args: object, **kwargs: object) -> None:
        nonlocal sent
        sent += 1
        if sent > 2:
            raise asyncio.CancelledError
        await real(*args, **kwargs)  # type: ignore[arg-type]

    former.publish = torn  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await publisher.atomic([outgoing(topology, number) for number in range(10)])
    former.publish = real  # type: ignore[method-assign]
    await former.flush()
    await former.close()
    assert sent == 3
    await Publisher(nc, topology.trading, "risk").atomic([outgoing(topology, number) for number in range(10)])
    assert await stored(js, topology.trading) == list(range(10))


@pytest.mark.parametrize("known", [[0], [4], [9], [2, 3, 4], list(range(10))])
async def test_a_batch_with_known_ids_is_sent_singly_and_only_what_is_missing_is_stored(
    nc: Client, js: JetStreamContext, topology: Topology, known: list[int]
) -> None:
    """nats-server refuses such a batch whole (error 10201); an identical resend of a stored batch too."""
    publisher = Publisher(nc, topology.trading, "test")
    await publisher.atomic([outgoing(topology, number) for number in known])
    await publisher.atomic([outgoing(topology, number) for number in range(10)])
    found = await stored(js, topology.trading)
    assert found == known + [number for number in range(10) if number not in known]


async def test_bursts_keep_the_order(nc: Client, js: JetStreamContext, topology: Topology) -> None:
    publisher = Publisher(nc, topology.market, "test")
    await publisher.sync()
    await publisher.burst([outgoing(topology, number, stream="market") for number in range(4_500)])
    await publisher.burst([outgoing(topology, 4_500, stream="market")])
    await publisher.burst([])
    assert publisher.last_seq == 4_501
    assert await stored(js, topology.market) == list(range(4_501))


@pytest.mark.parametrize("stored_first", [0, 1, 17, 30])
async def test_a_burst_whose_acknowledgement_was_lost_is_completed(
    nc: Client, js: JetStreamContext, topology: Topology, stored_first: int
) -> None:
    """Of 30 messages the first few came in, then the connection's end was lost with the acknowledgement."""
    publisher = Publisher(nc, topology.market, "test")
    await publisher.burst([outgoing(topology, number, stream="market") for number in range(10)])
    real, count = nc.publish, 0

    async def cut(*args: object, **kwargs: object) -> None:
        nonlocal count
        count += 1
        if count <= stored_first:
            await real(*args, **kwargs)  # type: ignore[arg-type]

    async def fails(*_: object, **__: object) -> None:
        nc.publish, publisher._js.publish = real, real_js  # type: ignore[method-assign]
        raise TimeoutError

    nc.publish = cut  # type: ignore[method-assign]
    real_js, publisher._js.publish = publisher._js.publish, fails  # type: ignore[method-assign,assignment]
    await publisher.burst([outgoing(topology, number, stream="market") for number in range(10, 40)])
    assert publisher.last_seq == 40
    assert await stored(js, topology.market) == list(range(40))
    await publisher.burst([outgoing(topology, number, stream="market") for number in range(40, 60)])
    assert await stored(js, topology.market) == list(range(60))


async def test_two_publishers_of_one_stream_keep_each_their_order(
    nc: Client, js: JetStreamContext, topology: Topology
) -> None:
    async def publish(first: int) -> None:
        publisher = Publisher(nc, topology.trading, f"p{first}")
        for start in range(first, first + 100, 10):
            await publisher.atomic([outgoing(topology, number) for number in range(start, start + 10)])

    await asyncio.gather(publish(0), publish(1_000))
    found = await stored(js, topology.trading)
    assert [number for number in found if number < 1_000] == list(range(100))
    assert [number for number in found if number >= 1_000] == list(range(1_000, 1_100))
    for start in range(0, 200, 10):  # a batch is not torn apart by another's
        assert found[start + 9] - found[start] == 9


async def test_what_can_never_be_stored_is_an_error_and_not_an_endless_loop(nc: Client, topology: Topology) -> None:
    too_large = Outgoing(f"{topology.prefix}.fills.bot.S1", b"1" * (2 * 1024**2), "large")
    with pytest.raises(Exception, match=r"(?i)payload|maximum"):
        await asyncio.wait_for(Publisher(nc, topology.trading, "test").one(too_large), 3)
    wrong_stream = Outgoing(f"{topology.prefix}.bars.1m.S1", b"1", "wrong")
    with pytest.raises(APIError, match="stream"):
        await asyncio.wait_for(Publisher(nc, topology.trading, "test").one(wrong_stream), 3)


@pytest.mark.kill
async def test_a_server_killed_while_publishing_loses_and_doubles_nothing_on_the_trading_stream(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.publisher._ACK_S_MAX", 1.0)
    nc = await connect(own_server.url, "test")
    js = nc.jetstream(timeout=5)
    topology = topology_of("tape")
    await ensure(js, topology)
    publisher = Publisher(nc, topology.trading, "test")
    acknowledged = 0
    stopping = False

    async def work() -> None:
        nonlocal acknowledged
        while not stopping:
            size = 1 + acknowledged % 13  # a few and batches
            await publisher.atomic([outgoing(topology, acknowledged + n) for n in range(size)])
            acknowledged += size

    worker = asyncio.create_task(work())
    for _ in range(3):
        here = acknowledged
        await until(lambda here=here: acknowledged > here + 20, "publishing goes on")  # type: ignore[misc]
        os.kill(own_server.pid, signal.SIGKILL)
        await until(lambda: not own_server.is_running, "nats-server is dead")
        own_server.start()
        await until(lambda: nc.is_connected, "connected again")
    here = acknowledged
    await until(lambda: acknowledged > here + 20, "publishing goes on")
    stopping = True
    await asyncio.wait_for(worker, 20)
    assert acknowledged > 80
    assert await stored(js, topology.trading) == list(range(acknowledged))
    await nc.close()


async def test_a_burst_of_which_a_message_was_lost_on_the_way_is_completed(
    nc: Client, js: JetStreamContext, topology: Topology
) -> None:
    """Only the last of a burst is acknowledged; its sequence shows that one before it is missing."""
    publisher = Publisher(nc, topology.market, "test")
    real, count = nc.publish, 0

    async def lossy(*args: object, **kwargs: object) -> None:
        nonlocal count
        count += 1
        if count != 7:
            await real(*args, **kwargs)  # type: ignore[arg-type]

    nc.publish = lossy  # type: ignore[method-assign]
    await publisher.burst([outgoing(topology, number, stream="market") for number in range(50)])
    nc.publish = real  # type: ignore[method-assign]
    found = await stored(js, topology.market)
    assert sorted(found) == list(range(50))
    assert found[-1] == 6  # stored last: a reader that keeps bars in order will refuse it
    assert publisher.last_seq == 50


@pytest.mark.parametrize(("count", "batches"), [(1, 0), (16, 0), (17, 1), (1_001, 1)])
async def test_what_may_stand_alone_is_stored_once_a_few_of_it_without_a_batch(
    nc: Client, js: JetStreamContext, topology: Topology, count: int, batches: int
) -> None:
    publisher = Publisher(nc, topology.trading, "test")
    messages = [outgoing(topology, number) for number in range(count)]
    await publisher.apart(messages)
    assert sorted(await stored(js, topology.trading)) == list(range(count))
    headers = (await js.get_msg(topology.trading, 1)).headers or {}
    assert ("Nats-Batch-Id" in headers) == bool(batches)
    await publisher.apart(messages)
    assert len(await stored(js, topology.trading)) == count


async def test_what_may_stand_alone_is_all_sent_before_the_first_is_acknowledged(
    nc: Client, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(nc, topology.trading, "test")
    real, open_now, most = publisher._js.publish, 0, 0

    async def counted(*args: object, **kwargs: object) -> object:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            return await real(*args, **kwargs)  # type: ignore[arg-type]
        finally:
            open_now -= 1

    monkeypatch.setattr(publisher._js, "publish", counted)
    await publisher.apart([outgoing(topology, number) for number in range(16)])
    assert most == 16


async def test_one_that_can_never_be_stored_is_its_own_error(nc: Client, topology: Topology) -> None:
    """Not a group of errors, which says nothing in one line."""
    publisher = Publisher(nc, topology.trading, "test")
    with pytest.raises(APIError):
        await publisher.apart([outgoing(topology, 0), Outgoing(f"{topology.prefix}.bars.1m.AAPL", b"x", "wrong")])
