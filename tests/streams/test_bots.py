"""The signals role answers wishes about bots on a real nats-server: live, after a restart, and in the right place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from nats.js import JetStreamContext

from config.settings import Settings, SignalsSettings
from engine.bots import Bot, BotStatus
from engine.messages import (
    Alert,
    AnyBody,
    BotDefined,
    BotRefused,
    ChangeBot,
    Head,
    OrderExpired,
    Position,
    Signal,
    SymbolStatus,
    body_json,
    decode,
    encode,
)
from engine.signals import SignalEngine
from streams.checkpoint import CheckpointStore
from streams.commanding import definitions
from streams.connection import Inflow
from streams.keeping import encoded
from streams.role import Context, NoPoints
from streams.services.signals import Signals
from streams.subjects import subject_of
from streams.topology import Topology
from tests.engine.build import T0, D, always_open, bar, bot, intent, minute
from tests.streams.feeding import StillClock, open_ledger
from tests.streams.wire import until

ALPHA = bot(params={"fast": 1, "slow": 2})
SLOW = msgspec.structs.replace(ALPHA, params={"fast": 2, "slow": 3})
CLOSES = (10.0, 11.0, 9.0, 12.0, 8.0, 13.0, 9.0, 14.0, 7.0, 15.0)
BARS = [bar(close, number) for number, close in enumerate(CLOSES, 1)]


def _wish(name: str, revision: int, **more: object) -> ChangeBot:
    return ChangeBot(name, str(more.pop("bot", "alpha")), revision, "me", T0, **more)  # type: ignore[arg-type]


class World:
    """A data directory with its streams."""

    def __init__(self, nc: Inflow, topology: Topology, folder: Path) -> None:
        self.nc, self.topology, self.folder = nc, topology, folder
        self.js: JetStreamContext = nc.jetstream(timeout=5)

    async def open(self) -> None:
        context = Context(
            "t", Settings(), self.topology, self.nc, self.nc, self.js, StillClock(), lambda: T0, NoPoints(), []
        )
        await open_ledger(context, T0)
        await self.store(always_open())

    async def store(self, *bodies: AnyBody) -> None:
        for body in bodies:
            await self.js.publish(subject_of(self.topology.prefix, body), encode(Head(1), body))

    async def stored(self) -> list[AnyBody]:
        last = (await self.js.stream_info(self.topology.trading)).state.last_seq
        return [
            decode((await self.js.get_msg(self.topology.trading, seq, direct=True)).data or b"").body
            for seq in range(1, last + 1)
        ]

    async def answer(self, wish: str) -> BotDefined | BotRefused:
        """Wait for the answer to a wish."""
        found: list[BotDefined | BotRefused] = []

        async def look() -> bool:
            found[:] = [b for b in await self.stored() if isinstance(b, BotDefined | BotRefused) and b.cause == wish]
            return bool(found)

        for _ in range(400):
            if await look():
                return found[0]
            await asyncio.sleep(0.02)
        msg = f"no answer to {wish}"
        raise AssertionError(msg)

    @contextlib.asynccontextmanager
    async def running(self, *bots: Bot, in_order: bool = True, own_code: bool = True) -> AsyncIterator[Signals]:
        """Run the role; leaving the block stops it, in order or as a kill does."""
        settings = Settings(bots=bots, signals=SignalsSettings(own_code=own_code))
        nats = msgspec.structs.replace(settings.nats, prefix=self.topology.prefix)
        settings = msgspec.structs.replace(settings, nats=nats)
        context = Context(
            "signals", settings, self.topology, self.nc, self.nc, self.js, StillClock(), lambda: T0, NoPoints(), []
        )
        service = Signals(context, lambda _: CheckpointStore(self.folder, "signals", "c", "f"))
        await service.start()
        worker = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
            if in_order:
                await service.stop()
            for reader in context.readers:
                await reader.stop()


@pytest.fixture
async def world(nc: Inflow, topology: Topology, tmp_path: Path) -> World:
    made = World(nc, topology, tmp_path)
    await made.open()
    return made


async def _moved(service: Signals, bars: int) -> None:
    await until(lambda: service._pipeline is not None and service._pipeline.position >= bars, f"{bars} bars")


def _signals(bodies: list[AnyBody]) -> list[bytes]:
    return [body_json(body) for body in bodies if isinstance(body, Signal)]


def _undisturbed(bodies: list[AnyBody], count: int) -> list[bytes]:
    """What bots say that know every definition from the beginning."""
    engine = SignalEngine("ACC1", "run1", ())
    engine.on_sessions(always_open())
    for body in bodies:
        if isinstance(body, BotDefined):
            engine.define(body)
    return [body_json(said) for each in BARS[:count] for said in engine.on_bar(each)]


async def test_bots_of_the_settings_are_defined_at_the_first_start_and_once(world: World) -> None:
    for _ in range(2):
        async with world.running(ALPHA):
            pass
    defined = [body for body in await world.stored() if isinstance(body, BotDefined)]
    assert defined == [
        BotDefined(
            "alpha", 1, ALPHA, BotStatus.RUNNING, 0, "file", defined[0].cause, T0, "its bot file says so", past_bars=25
        )
    ]
    assert await definitions(world.nc, world.topology) == defined


@pytest.mark.parametrize("in_order", [True, False])
async def test_a_change_live_and_one_while_nobody_was_there(world: World, *, in_order: bool) -> None:
    async with world.running(ALPHA, in_order=in_order) as service:
        await world.store(*BARS[:4])
        await _moved(service, 4)
        await world.store(_wish("w1", 1, definition=SLOW))
        live = await world.answer("w1")
        await world.store(*BARS[4:6])
        await _moved(service, 6)
    await world.store(_wish("w2", 2, status=BotStatus.PAUSED), _wish("w3", 3, status=BotStatus.RUNNING))
    async with world.running(ALPHA) as service:
        later = [await world.answer(name) for name in ("w2", "w3")]
        await world.store(*BARS[6:])
        await _moved(service, 10)
    assert isinstance(live, BotDefined)
    assert (live.revision, live.from_ts) == (2, minute(4))
    shown = [(one.revision, one.status, one.from_ts) for one in later if isinstance(one, BotDefined)]
    assert shown == [(3, "paused", minute(6)), (4, "running", minute(6))]
    bodies = await world.stored()
    assert _signals(bodies) == _undisturbed(bodies, 10)
    assert len(_signals(bodies)) > 5


async def test_of_two_that_looked_at_the_same_revision_one_is_refused(world: World) -> None:
    async with world.running(ALPHA):
        await world.store(_wish("w1", 1, status=BotStatus.PAUSED), _wish("w2", 1, definition=SLOW))
        answers = [await world.answer(name) for name in ("w1", "w2")]
    assert isinstance(answers[0], BotDefined)
    assert isinstance(answers[1], BotRefused)
    assert "revision of bot alpha is 2, the change was made for 1" in answers[1].reason


async def test_what_is_held_keeps_its_owner(world: World) -> None:
    async with world.running(ALPHA):
        await world.store(Position("alpha", "AAPL", D(3), D(10), D(0), "f1", T0))
        await world.store(_wish("w0", 1, status=BotStatus.STOPPED), _wish("w1", 2, status=BotStatus.REMOVED))
        refused = await world.answer("w1")
        await world.store(Position("alpha", "AAPL", D(0), D(0), D(0), "f2", T0), intent("i1", bot="alpha"))
        await world.store(_wish("w2", 2, status=BotStatus.REMOVED))
        under_way = await world.answer("w2")
        await world.store(OrderExpired("i1", "alpha", "AAPL", "not_sent", T0))
        await world.store(_wish("w3", 2, status=BotStatus.REMOVED))
        granted = await world.answer("w3")
    assert isinstance(under_way, BotRefused)
    assert "an order in AAPL works" in under_way.reason
    assert isinstance(refused, BotRefused)
    assert "holds 3 AAPL" in refused.reason
    assert isinstance(granted, BotDefined)


async def test_a_stop_that_closes_says_flat_before_the_next_bar(world: World) -> None:
    async with world.running(ALPHA) as service:
        await world.store(*BARS[:2])
        await _moved(service, 2)
        await world.store(_wish("w1", 1, status=BotStatus.STOPPED, flatten=True))
        await world.answer("w1")
        await world.store(*BARS[2:])
        await _moved(service, 10)
    said = [body for body in await world.stored() if isinstance(body, Signal)]
    assert [(one.direction, one.ts_event) for one in said] == [("long", minute(2)), ("flat", minute(2))]


async def test_a_bot_file_that_cannot_count_is_told_and_stops_nobody_else(world: World) -> None:
    await world.store(SymbolStatus("NOPE", "assets", "the venue does not know it", T0, is_tradable=False))
    async with world.running(ALPHA, bot(name="beta", symbols=("NOPE",))) as service:
        await world.store(*BARS[:4])
        await _moved(service, 4)
    bodies = await world.stored()
    assert [body.bot for body in bodies if isinstance(body, BotDefined)] == ["alpha"]
    told = [body.what for body in bodies if isinstance(body, Alert)]
    why = "symbols: the venue takes no orders in NOPE (the venue does not know it): leave it out"
    assert told == [f"the bot file of beta does not count: {why}"]
    assert _signals(bodies) == _undisturbed(bodies, 4) != []


RAISING = """
class Raising:
    def on_bar(self, bar):
        return bar.close / 0

    def snapshot(self):
        return {}


class Unkept:
    def __init__(self):
        self.rule = lambda bar: None

    def on_bar(self, bar):
        return self.rule(bar)

    def snapshot(self):
        return {}
"""


async def test_a_strategy_that_raises_stops_its_bot_for_good_and_harms_no_other(world: World) -> None:
    bad = bot(name="bad", strategy="x.py:Raising", code=RAISING)
    bars = [*BARS, *(bar(10.0 + number % 3, number) for number in range(11, 16))]
    async with world.running(ALPHA) as service:
        await world.store(_wish("w1", 0, bot="bad", definition=bad))
        assert isinstance(await world.answer("w1"), BotDefined)
        await world.store(*bars)
        await _moved(service, 15)
        assert [problem for problem in service.status().problems if "bad" in problem]
    async with world.running(ALPHA) as service:
        await until(lambda: service.status().counters["bots"] == 1, "one bot runs")
    bodies = await world.stored()
    defined = [body for body in bodies if isinstance(body, BotDefined) and body.bot == "bad"]
    assert [(one.revision, one.status) for one in defined] == [(1, "running"), (2, "error")]
    assert defined[1].reason == (
        "strategy x.py:Raising, AAPL: ZeroDivisionError: float division by zero; it raised 10 times"
    )
    alerts = [body.what for body in bodies if isinstance(body, Alert)]
    assert len(alerts) == 11  # at each bar, and that it is in error
    assert alerts[-1].startswith("bot bad is in error: strategy x.py:Raising, AAPL: ZeroDivisionError")
    engine = SignalEngine("ACC1", "run1", [ALPHA])
    engine.on_sessions(always_open())
    assert _signals(bodies) == [body_json(said) for each in bars for said in engine.on_bar(each)]


async def test_code_that_cannot_run_is_refused_by_the_role_itself(world: World) -> None:
    bad = bot(name="bad", strategy="x.py:Raising", code="import nosuchmodule")
    async with world.running(ALPHA):
        await world.store(_wish("w1", 0, bot="bad", definition=bad))
        refused = await world.answer("w1")
    assert isinstance(refused, BotRefused)
    assert refused.reason == "strategy x.py:Raising: line 1: ModuleNotFoundError: No module named 'nosuchmodule'"


def _encoded(service: Signals) -> bytes | None:
    assert service._engine is not None
    return encoded(service._engine)


async def test_a_state_that_cannot_be_kept_stops_its_bot_and_not_the_checkpoints(world: World) -> None:
    bad = bot(name="bad", strategy="x.py:Unkept", code=RAISING)
    async with world.running(ALPHA) as service:
        await world.store(_wish("w1", 0, bot="bad", definition=bad))
        await world.answer("w1")
        await world.store(*BARS[:4])
        await _moved(service, 4)
        assert _encoded(service) is None
        await world.store(*BARS[4:6])
        await _moved(service, 6)
        await world.store(*BARS[6:8])
        await _moved(service, 8)
        assert _encoded(service) is not None
    defined = [body for body in await world.stored() if isinstance(body, BotDefined) and body.bot == "bad"]
    assert defined[-1].status is BotStatus.ERROR
    assert "strategy x.py:Unkept cannot be kept over a restart" in defined[-1].reason


async def test_own_code_goes_on_over_a_restart_where_it_was(world: World) -> None:
    code = """
from tapeline.api import Direction, Target

class Counts:
    def __init__(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        return Target(Direction.LONG if self.bars % 4 < 2 else Direction.FLAT, 1.0, f"bar {self.bars}")

    def snapshot(self):
        return {"bars": float(self.bars)}
"""
    counts = bot(name="counts", strategy="c.py:Counts", code=code)
    for first, last in ((0, 5), (5, 10)):
        async with world.running(counts) as service:
            await world.store(*BARS[first:last])
            await _moved(service, last)
    said = [body for body in await world.stored() if isinstance(body, Signal)]
    assert [one.reason for one in said] == ["bar 1", "bar 2", "bar 4", "bar 6", "bar 8", "bar 10"]


async def test_where_code_of_users_is_switched_off_it_is_refused_and_what_ran_is_stopped(world: World) -> None:
    bad = bot(name="bad", strategy="off.py:Unkept", code=RAISING)
    async with world.running(ALPHA):
        await world.store(_wish("w1", 0, bot="bad", definition=bad))
        assert isinstance(await world.answer("w1"), BotDefined)
        await world.store(BARS[0])
    async with world.running(ALPHA, own_code=False) as service:
        await world.store(*BARS[1:5])
        await _moved(service, 5)
        await world.store(_wish("w2", 0, bot="other", definition=msgspec.structs.replace(bad, name="other")))
        refused = await world.answer("w2")
    assert isinstance(refused, BotRefused)
    assert "signals.own_code is off" in refused.reason
    bodies = await world.stored()
    assert [body for body in bodies if isinstance(body, BotDefined)][-1].status is BotStatus.ERROR
    assert _signals(bodies) == _undisturbed([b for b in bodies if isinstance(b, BotDefined) and b.bot == "alpha"], 5)


async def test_a_bot_whose_code_is_not_run_any_more_is_told_once_and_what_it_was_before_harms_nobody(
    world: World,
) -> None:
    bad = bot(name="bad", strategy="old.py:Unkept", code=RAISING)
    kept = msgspec.structs.replace(ALPHA, name="kept")
    async with world.running(ALPHA):
        await world.store(_wish("w1", 0, bot="bad", definition=bad))
        await world.store(_wish("w2", 0, bot="kept", definition=msgspec.structs.replace(bad, name="kept")))
        await world.store(_wish("w3", 1, bot="kept", definition=kept))
        await world.store(_wish("w4", 0, bot="gone", definition=msgspec.structs.replace(bad, name="gone")))
        await world.store(_wish("w5", 1, bot="gone", status=BotStatus.STOPPED))
        await world.store(_wish("w6", 2, bot="gone", status=BotStatus.REMOVED))
        assert isinstance(await world.answer("w6"), BotDefined)
    for first, last in ((0, 5), (5, 10)):
        async with world.running(ALPHA, own_code=False) as service:
            for one in BARS[first:last]:
                await world.store(one)
                await asyncio.sleep(0.01)
            await _moved(service, last)
    last_of = {body.bot: body for body in await world.stored() if isinstance(body, BotDefined)}
    shown = {name: (body.revision, str(body.status)) for name, body in last_of.items()}
    assert shown == {"alpha": (1, "running"), "bad": (2, "error"), "kept": (2, "running"), "gone": (3, "removed")}


async def test_a_name_that_fits_no_subject_is_refused_and_harms_nobody(world: World) -> None:
    async with world.running(ALPHA):
        wish = ChangeBot("w1", "x" * 5_000, 0, "me", T0, definition=ALPHA)
        await world.js.publish(f"{world.topology.prefix}.changes.x", encode(Head(1), wish))
        refused = await world.answer("w1")
    assert isinstance(refused, BotRefused)
    assert "name must be 1..32" in refused.reason
