"""What every service shares, as far as it needs no service: the last message of each subject, and whose stream it is."""

from __future__ import annotations

import asyncio

import pytest
from nats.js import JetStreamContext

from config.settings import Settings
from engine.errors import BrokenPromiseError
from engine.messages import Head, Signal, decode, encode
from streams.connection import Inflow
from streams.publisher import Outgoing, Publisher
from streams.role import Context, NoPoints, last_per_subject, topology_of
from streams.topology import Topology
from tests.engine.build import T0, bar, opened, signal


class _StoppedClock:
    """A venue where it is always the same moment."""

    async def now_ns(self) -> int:
        return T0

    def look_s(self, every_s: float) -> float | None:
        return every_s

    def estimate_ns(self) -> int:
        return T0

    def observe(self, ts_event: int) -> None:
        return

    async def close(self) -> None:
        return


@pytest.fixture
def context(nc: Inflow, js: JetStreamContext, topology: Topology) -> Context:
    return Context("test", Settings(), topology, nc, nc, js, _StoppedClock(), lambda: T0, NoPoints(), [])


async def test_the_last_message_of_every_subject_in_stream_order(context: Context) -> None:
    publisher = Publisher(context.nc, context.topology.trading, "test")
    symbols = [f"S{number}" for number in range(300)] + ["BRK.B", "BTC/USD"]
    said = [signal(number=number, symbol=symbol) for number in (1, 2, 3) for symbol in symbols]
    await publisher.atomic([context.outgoing(body, body.id) for body in said])
    found = await last_per_subject(context, context.topology.trading, f"{context.topology.prefix}.signals.>")
    assert [decode(data).body for data in found] == said[-len(symbols) :]
    one = await last_per_subject(context, context.topology.trading, f"{context.topology.prefix}.signals.alpha.BRK%2EB")
    assert [decode(data).body for data in one] == [signal(number=3, symbol="BRK.B")]


async def test_nothing_stored_is_an_empty_answer_at_once(context: Context) -> None:
    async with asyncio.timeout(5):
        assert await last_per_subject(context, context.topology.trading, f"{context.topology.prefix}.signals.>") == []


async def test_what_comes_while_asking_does_not_confuse_the_answer(context: Context) -> None:
    publisher = Publisher(context.nc, context.topology.trading, "test")
    first = [signal(number=1, symbol=f"S{number}") for number in range(500)]
    await publisher.atomic([context.outgoing(body, body.id) for body in first])

    async def go_on() -> None:
        for number in range(2, 12):
            for body in (signal(number=number, symbol="S3"), signal(number=number, symbol=f"N{number}")):
                await publisher.one(context.outgoing(body, body.id))

    going = asyncio.create_task(go_on())
    for _ in range(5):
        found = await last_per_subject(context, context.topology.trading, f"{context.topology.prefix}.signals.>")
        bodies = [decode(data).body for data in found]
        assert all(isinstance(body, Signal) for body in bodies)
        assert {f"S{number}" for number in range(500)} <= {body.symbol for body in bodies}  # type: ignore[union-attr]
    await going


async def test_the_questions_leave_no_consumers_behind(context: Context) -> None:
    publisher = Publisher(context.nc, context.topology.trading, "test")
    await publisher.one(context.outgoing(signal(), "s"))
    subscriptions = len(context.nc._subs)
    for _ in range(3):
        await last_per_subject(context, context.topology.trading, f"{context.topology.prefix}.signals.>")
    assert len(context.nc._subs) == subscriptions


async def test_a_role_waits_until_it_knows_whose_stream_it_is(context: Context) -> None:
    waiting = asyncio.create_task(context.identify())
    publisher = Publisher(context.nc, context.topology.trading, "test")
    await asyncio.sleep(0)
    assert not waiting.done()
    await publisher.one(context.outgoing(opened("5000"), "o"))
    assert await asyncio.wait_for(waiting, 5) == opened("5000")
    assert (context.account, context.run, context.opened_ns) == ("ACC1", "run1", T0)


async def test_another_message_in_its_place_is_a_broken_promise(context: Context) -> None:
    publisher = Publisher(context.nc, context.topology.trading, "test")
    wrong = Outgoing(f"{context.topology.prefix}.opened", encode(Head(1), signal()), "wrong")
    await publisher.one(wrong)
    with pytest.raises(BrokenPromiseError, match="Signal, not AccountOpened"):
        await asyncio.wait_for(context.identify(), 5)


def test_heads_hold_how_a_message_travelled_and_leave_out_what_is_empty(context: Context) -> None:
    made = context.outgoing(bar(100.0), "id", ts_recv=5, trace="t", refs={"via": "rest", "execution_id": ""})
    head = decode(made.data).head
    assert head == Head(T0, 5, "t", refs={"via": "rest"})
    assert (made.subject, made.id) == (f"{context.topology.prefix}.bars.1m.AAPL", "id")


def test_the_topology_takes_its_limits_from_the_settings() -> None:
    settings = Settings()
    made = topology_of(settings)
    assert (made.prefix, made.market_age_s_max, made.trading_bytes_max, made.duplicate_window_s) == (
        "tape",
        settings.nats.market_age_s_max,
        settings.nats.trading_bytes_max,
        settings.nats.duplicate_window_s,
    )
