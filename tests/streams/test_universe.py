"""Symbols that signals asks executor about: those nobody knows yet, and what a universe consists of."""

from __future__ import annotations

import msgspec
import pytest
from nats.aio.msg import Msg

from engine.bots import BotStatus
from engine.messages import BotDefined, BotRefused, ChangeBot, Position, Signal, SymbolStatus
from streams import asking
from streams.asking import assets_subject
from tests.engine.build import T0, D, bot
from tests.streams import test_bots
from tests.streams.test_bots import ALPHA, BARS, World, _moved, _wish
from tests.streams.wire import until

world = test_bots.world  # the fixture


async def test_a_symbol_that_nobody_knows_is_asked_for(world: World) -> None:
    """The question goes to executor, whose place the test takes here; tests/system has the real one."""

    async def on_question(msg: Msg) -> None:
        wanted = msgspec.json.decode(msg.data, type=list[str])
        said = [SymbolStatus(symbol, "assets", "by hand", T0, is_tradable=symbol != "NOPE") for symbol in wanted]
        await msg.respond(msgspec.json.encode(said))

    await world.nc.subscribe(assets_subject(world.topology.prefix), cb=on_question)
    beta = bot(name="beta", symbols=("MSFT", "NOPE"))
    async with world.running(ALPHA):
        await world.store(_wish("w1", 0, bot="beta", definition=beta))
        refused = await world.answer("w1")
        await world.store(_wish("w2", 0, bot="beta", definition=msgspec.structs.replace(beta, symbols=("MSFT",))))
        granted = await world.answer("w2")
    assert isinstance(refused, BotRefused)
    assert refused.reason == "symbols: the venue takes no orders in NOPE (by hand): leave it out"
    assert isinstance(granted, BotDefined)


@pytest.mark.parametrize("by", ["command", "file"])
async def test_a_universe_is_what_the_venue_says_when_the_bot_is_defined(world: World, by: str) -> None:
    """Executor, whose place the test takes, comes late, and the second time it trades one more."""
    traded = ["AAPL", "MSFT"]
    everything = bot(name="beta", symbols=(), universe="*", params={"fast": 1, "slow": 2})

    async def on_question(msg: Msg) -> None:
        assert msgspec.json.decode(msg.data) == "*"
        await msg.respond(msgspec.json.encode(traded))

    async with world.running(*([everything] if by == "file" else [])) as service:
        if by == "command":
            await world.store(_wish("w1", 0, bot="beta", definition=everything))
        await world.store(*BARS[:2])
        await _moved(service, 2)
        assert not [body for body in await world.stored() if isinstance(body, BotDefined | BotRefused)]
        await world.nc.subscribe(assets_subject(world.topology.prefix), cb=on_question)
        wish = "w1" if by == "command" else next(b.id for b in await world.stored() if isinstance(b, ChangeBot))
        granted = await world.answer(wish)
        await world.store(*BARS[2:])
        await _moved(service, 10)
        await world.store(
            _wish("w1b", 1, bot="beta", definition=msgspec.structs.replace(granted.definition, capital=D(5)))
        )
        kept = await world.answer("w1b")
        traded[:] = ["AAPL", "SPY", "odd", "AAPL250117C00150000"]
        await world.store(Position("beta", "MSFT", D(3), D(10), D(0), "f1", T0))
        await world.store(_wish("w2", 2, bot="beta", definition=everything))
        wider = await world.answer("w2")
        traded.clear()
        await world.store(_wish("w3", 3, bot="beta", definition=everything))
        refused = await world.answer("w3")
    async with world.running(*([everything] if by == "file" else [])):  # the file says what it said
        pass
    assert isinstance(granted, BotDefined)
    assert isinstance(wider, BotDefined)
    assert granted.definition == msgspec.structs.replace(everything, symbols=("AAPL", "MSFT"))
    assert isinstance(kept, BotDefined)
    assert kept.definition.symbols == ("AAPL", "MSFT")  # nobody wished other symbols, and nobody was asked
    assert wider.definition.symbols == ("AAPL", "MSFT", "SPY")  # MSFT is held
    assert isinstance(refused, BotRefused)
    assert refused.reason == "symbols: the venue trades nothing of universe '*': name them"
    stored = await world.stored()
    assert [body.symbol for body in stored if isinstance(body, Signal)]
    assert len([body for body in stored if isinstance(body, BotDefined)]) == 3


@pytest.mark.parametrize("answer", [None, b'{"no": "list"}', b"\xff"])
async def test_a_universe_that_nobody_names_keeps_no_other_bot_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    """Nobody answers, or something strange; the other bot is paused meanwhile, and the wish is told of."""
    monkeypatch.setattr(asking, "_ASK_S_MAX", 0.5)

    async def on_question(msg: Msg) -> None:
        if answer is not None:
            await msg.respond(answer)

    await world.nc.subscribe(assets_subject(world.topology.prefix), cb=on_question)
    everything = bot(name="beta", symbols=(), universe="*")
    async with world.running(ALPHA) as service:
        await world.store(*BARS[:2], _wish("w1", 0, bot="beta", definition=everything))
        await world.store(_wish("w2", 1, status=BotStatus.PAUSED, flatten=True))
        assert isinstance(await world.answer("w2"), BotDefined)
        assert not any(isinstance(body, BotDefined) and body.cause == "w1" for body in await world.stored())
        await until(lambda: service._stuck != {}, "it is told of")
        assert any("a wish about bot beta waits" in problem for problem in service.status().problems)


@pytest.mark.parametrize("timeframe", ["7x", "0m", "", "60m", "1w"])
async def test_a_definition_that_cannot_be_is_refused_before_anything_is_done_with_it(
    world: World, timeframe: str
) -> None:
    async with world.running(ALPHA):
        await world.store(*BARS[:3], _wish("w1", 1, definition=msgspec.structs.replace(ALPHA, timeframe=timeframe)))
        refused = await world.answer("w1")
    assert isinstance(refused, BotRefused)
    assert "timeframe must be" in refused.reason


async def test_a_bot_that_comes_back_under_its_name_knows_the_past(world: World) -> None:
    async with world.running(ALPHA) as service:
        await world.store(*BARS[:4])
        await _moved(service, 4)
        for number, (name, status, of) in enumerate(
            (("w1", BotStatus.STOPPED, None), ("w2", BotStatus.REMOVED, None), ("w3", None, ALPHA)), 1
        ):
            await world.store(_wish(name, number, status=status, definition=of))
            assert isinstance(await world.answer(name), BotDefined)
        assert service._engine is not None
        [(_, _, closed, _, values)] = service._engine.snapshots()
    assert (closed, values) == (BARS[3].ts_event, {"sma(1)": 12.0, "sma(2)": 10.5})
