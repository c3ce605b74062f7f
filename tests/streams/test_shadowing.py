"""Shadows beside risk: stored once over every restart; what goes wrong with them leaves risk as it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from nats.js import JetStreamContext

from adapters.clock import WallClock
from adapters.simulated import SimulatedVenue, shadow_venue
from config.settings import Settings
from engine.bots import BotStatus, RiskLimits
from engine.ids import make_id
from engine.messages import (
    Alert,
    AnyBody,
    BotDefined,
    DerivedBar,
    OrderIntent,
    RiskDenied,
    Shadowed,
    Signal,
    decode,
)
from engine.shadows import MakeVenue, Shadows
from engine.values import Direction
from streams.checkpoint import CheckpointStore
from streams.connection import Inflow
from streams.publisher import Publisher
from streams.role import Context, NoPoints
from streams.services.risk import Risk
from streams.topology import Topology
from tests.engine.build import T0, always_open, bot, lent, minute, opened, signal
from tests.streams.wire import until

SHADOW = bot(name="beta", shadow_of="alpha")
DEFINED = BotDefined("beta", 1, SHADOW, BotStatus.RUNNING, T0, "me", "wish-1", T0)


def _minute(number: int) -> DerivedBar:
    price = 100.0 + number % 7
    return DerivedBar("AAPL", "1m", minute(number), price, price, price, price, 10_000.0)


def _said(number: int) -> Signal:
    direction = Direction.LONG if number % 2 else Direction.FLAT
    return signal(direction, number=number, bot="beta", price=100.0 + number % 7, id=f"s{number}")


BEGIN: list[AnyBody] = [opened(), always_open(), *lent("AAPL"), DEFINED]
DAY: list[AnyBody] = [each for number in range(1, 20) for each in (_minute(number), _said(number))]


def _expected(bodies: Sequence[AnyBody]) -> list[Shadowed]:
    shadows = Shadows(Settings().limits, shadow_venue)
    return [said for body in bodies for said in shadows.apply(body)]


class _Account:
    """A trading stream, and risk in one life after another."""

    def __init__(self, nc: Inflow, js: JetStreamContext, topology: Topology, folder: Path) -> None:
        self._nc, self._js, self._topology, self._folder = nc, js, topology, folder
        self._said = 0

    async def say(self, bodies: Sequence[AnyBody]) -> None:
        context = self._context()
        publisher = Publisher(self._nc, self._topology.trading, "test")
        await publisher.atomic([context.outgoing(body, f"test-{self._said + n}") for n, body in enumerate(bodies)])
        self._said += len(bodies)

    async def stored[T](self, kind: type[T]) -> list[T]:
        name = self._topology.trading
        last = (await self._js.stream_info(name)).state.last_seq
        found = [decode((await self._js.get_msg(name, seq)).data or b"").body for seq in range(1, last + 1)]
        return [body for body in found if isinstance(body, kind)]

    async def there_are(self, count: int) -> list[Shadowed]:
        async def is_so() -> bool:
            return len(await self.stored(Shadowed)) >= count

        await until(is_so, f"{count} messages of shadows")
        return await self.stored(Shadowed)

    @contextlib.asynccontextmanager
    async def life(self, make_venue: MakeVenue = shadow_venue) -> AsyncIterator[Risk]:
        context = self._context()
        risk = Risk(context, lambda _: CheckpointStore(self._folder, "risk", "code", "config"), make_venue)
        await risk.start()
        running = asyncio.create_task(risk.run())
        try:
            yield risk
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            for reader in context.readers:
                await reader.stop()

    def _context(self) -> Context:
        settings = Settings(bots=(bot(),), limits=RiskLimits())
        return Context(
            "risk", settings, self._topology, self._nc, self._nc, self._js, WallClock(), lambda: T0, NoPoints(), []
        )  # fmt: skip


@pytest.fixture
def account(nc: Inflow, js: JetStreamContext, topology: Topology, tmp_path: Path) -> _Account:
    return _Account(nc, js, topology, tmp_path)


async def test_what_follows_is_stored_once_whoever_dies_when(account: _Account) -> None:
    """A life that ends before anything, one in between, one that had stored only a part, and one that finds all there."""
    whole = _expected([*BEGIN, *DAY])
    assert len(whole) > 50
    await account.say(BEGIN)
    async with account.life():
        pass
    await account.say(DAY[:10])
    async with account.life() as risk:
        some = await account.there_are(len(_expected([*BEGIN, *DAY[:10]])))
        assert risk.status().counters["shadows"] == 1
    await account.say(DAY[10:])
    rest = whole[len(some) :][:7]  # a life that was killed while it published
    context = account._context()
    publisher = Publisher(context.nc, context.topology.trading, "test")
    await context.identify()
    for said in rest:
        name = make_id(context.account, context.run, "shadow", said.life, said.ordinal)
        await publisher.one(context.outgoing(said, name))
    async with account.life():
        assert await account.there_are(len(whole)) == whole
    async with account.life() as risk:
        await until(lambda: risk.status().positions == risk.status().published, "it has read what it stored")
    assert await account.stored(Shadowed) == whole
    assert not await account.stored(OrderIntent)


async def test_a_shadow_that_comes_later_is_followed_from_its_definition_on(account: _Account) -> None:
    await account.say(BEGIN[:-1])
    async with account.life() as risk:
        assert risk.status().counters["shadows"] == 0
        await account.say([_minute(1), DEFINED, *DAY[2:]])
        expected = _expected([*BEGIN[:-1], _minute(1), DEFINED, *DAY[2:]])
        assert await account.there_are(len(expected)) == expected


async def test_what_goes_wrong_with_shadows_is_told_and_risk_goes_on(account: _Account) -> None:
    class _Broken(SimulatedVenue):
        def submit(self, *_: object) -> None:  # type: ignore[override]
            msg = "no venue"
            raise RuntimeError(msg)

    def broken(cash: Decimal, name: str) -> SimulatedVenue:
        good = shadow_venue(cash, name)
        good.__class__ = _Broken
        return good

    await account.say([*BEGIN, *DAY[:4]])
    async with account.life(broken) as risk:
        await until(lambda: bool(risk.status().problems), "it is told")
        [problem] = risk.status().problems
        assert problem.startswith("shadow beta stands still (RuntimeError: no venue): remove it")
        await account.say([signal(number=30)])

        async def is_decided() -> bool:
            return len(await account.stored(RiskDenied)) == 1  # its bar is years old

        await until(is_decided, "risk decided for the bot that trades")
        assert [alert.what for alert in await account.stored(Alert)] == [problem]
        trading = account._topology.trading
        assert risk.status().positions[trading] > 4
    async with account.life():
        expected = _expected([*BEGIN, *DAY[:4]])
        assert await account.there_are(len(expected)) == expected


async def test_a_removed_shadow_whose_end_is_not_stored_is_read_all_the_same(account: _Account) -> None:
    """It was removed while risk was away."""
    gone = msgspec.structs.replace(DEFINED, revision=2, status=BotStatus.REMOVED, cause="wish-2")
    await account.say([*BEGIN, *DAY[:10], gone])
    async with account.life():
        expected = _expected([*BEGIN, *DAY[:10]])
        assert await account.there_are(len(expected)) == expected


async def test_a_past_that_comes_out_otherwise_is_told_and_not_stored_again(account: _Account) -> None:
    """Another version of Tapeline, or other limits."""
    await account.say([*BEGIN, *DAY[:10]])
    async with account.life():
        expected = await account.there_are(len(_expected([*BEGIN, *DAY[:10]])))

    def other(_cash: Decimal, name: str) -> SimulatedVenue:
        return shadow_venue(Decimal(1), name)

    async with account.life(other):

        async def is_told() -> bool:
            return len(await account.stored(Alert)) == 1

        await until(is_told, "it is told")
        [alert] = await account.stored(Alert)
        assert alert.what.startswith("what shadow beta did comes out otherwise than it is stored")
    assert (await account.stored(Shadowed))[: len(expected)] == expected
