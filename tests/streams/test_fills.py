"""The signals role tells strategies of fills on a real nats-server: live, over restarts, and to who comes later."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.bots import BotStatus
from engine.ids import fill_key
from engine.messages import BotDefined, ChangeBot, Fill, FillTold, IndicatorValues, Position
from engine.values import Side, plain
from streams.connection import Inflow
from streams.services.signals import Signals
from streams.topology import Topology
from tests.engine.build import OWNER, D, bar, bot, fill, intent, minute
from tests.streams.test_bots import World
from tests.streams.wire import until

OWN = bot(name="own", strategy="owner.py:Owner", code=OWNER, publish_indicators=True)
SHIPPED = bot(name="own", params={"fast": 1, "slow": 2})


@pytest.fixture
async def world(nc: Inflow, topology: Topology, tmp_path: Path) -> World:
    made = World(nc, topology, tmp_path)
    await made.open()
    return made


def filled(number: int, side: Side, position: str) -> tuple[Fill, Position]:
    of = fill(intent(f"o{number}", side, bot="own"), "10", "10", f"10.{number}", ts_event=minute(number))
    held = D(position)
    key = fill_key(of.venue_order_id, plain(of.cum_qty))
    return of, Position("own", "AAPL", held, of.last_px if held else D(0), D(0), key, minute(number))


async def told(world: World) -> list[tuple[int, str, int]]:
    return [(one.number, one.order_id, one.bar_ts) for one in await world.stored() if isinstance(one, FillTold)]


async def heard(world: World) -> dict[int, float]:
    """By bar, how many fills the strategy had heard of."""
    shown = [one for one in await world.stored() if isinstance(one, IndicatorValues)]
    return {one.ts_event: one.values["heard"] for one in shown}


async def wait_told(world: World, count: int) -> None:
    async def enough() -> bool:
        return len(await told(world)) >= count

    for _ in range(400):
        if await enough():
            return
    raise AssertionError(await told(world))


async def moved(service: Signals, bars: int) -> None:
    await until(lambda: service._pipeline is not None and service._pipeline.position >= bars, f"{bars} bars")


@pytest.mark.parametrize("in_order", [True, False])
async def test_each_fill_is_told_once_over_a_restart(world: World, in_order: bool) -> None:
    async with world.running(OWN, in_order=in_order) as service:
        await world.store(bar(10.0, 1), bar(10.1, 2))
        await moved(service, 2)
        await world.store(*filled(1, Side.BUY, "10"))
        await wait_told(world, 1)
        await world.store(bar(10.1, 3))
        await moved(service, 3)
    await world.store(*filled(2, Side.SELL, "0"), bar(10.2, 4))  # while the role is away
    async with world.running(OWN) as service:
        await moved(service, 4)
        await wait_told(world, 2)
        await world.store(*filled(3, Side.BUY, "10"), bar(10.1, 5))
        await moved(service, 5)
        await wait_told(world, 3)
        assert service.status().counters["fills_seq"] > 0
    names = await told(world)
    assert names[:2] == [(1, "o1", minute(2)), (2, "o2", minute(4))]
    assert [order for _, order, _ in names] == ["o1", "o2", "o3"]
    known = await heard(world)
    assert [known[minute(number)] for number in (1, 2, 3, 4)] == [0.0, 0.0, 1.0, 1.0]


async def test_a_bot_that_gets_such_a_strategy_later_is_told_of_what_was_filled_before(world: World) -> None:
    async with world.running(SHIPPED) as service:
        await world.store(bar(10.0, 1), *filled(1, Side.BUY, "10"), bar(10.1, 2))
        await moved(service, 2)
        assert "fills_seq" not in service.status().counters
    later = msgspec.structs.replace(OWN, warm_up_bars=0)
    async with world.running(later) as service:
        await moved(service, 2)
        await wait_told(world, 1)
        await world.store(bar(10.1, 3))
        await moved(service, 3)
    assert await told(world) == [(1, "o1", minute(2))]
    assert (await heard(world))[minute(3)] == 1.0


async def test_one_that_was_stopped_is_told_when_it_is_started_again(world: World) -> None:
    def wish(revision: int, status: BotStatus) -> ChangeBot:
        return ChangeBot(f"w{revision}", "own", revision, "me", minute(revision), status=status)

    await world.store(BotDefined("own", 1, OWN, BotStatus.RUNNING, 0, "me", "c1", 0), bar(10.0, 1))
    async with world.running() as service:
        await moved(service, 1)
        await world.store(wish(1, BotStatus.STOPPED))
        await until(lambda: service._roster.bots["own"].revision == 2, "the bot to be stopped")
        await world.store(bar(10.1, 2))
        await moved(service, 2)
        await world.store(*filled(1, Side.BUY, "10"), bar(10.1, 3))
        await moved(service, 3)
        assert await told(world) == []
        await world.store(wish(2, BotStatus.RUNNING), bar(10.1, 4))
        await moved(service, 4)
        await wait_told(world, 1)
    assert [order for _, order, _ in await told(world)] == ["o1"]
