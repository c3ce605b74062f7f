"""Symbols that signals asks executor about: those nobody knows yet, and what a universe consists of."""

from __future__ import annotations

import msgspec
import pytest
from nats.aio.msg import Msg

from engine.messages import BotDefined, BotRefused, ChangeBot, Signal, SymbolStatus
from streams.asking import assets_subject
from tests.engine.build import T0, bot
from tests.streams import test_bots
from tests.streams.test_bots import ALPHA, BARS, World, _moved, _wish

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
        traded.append("SPY")
        await world.store(_wish("w2", 1, bot="beta", definition=everything))
        wider = await world.answer("w2")
        traded.clear()
        await world.store(_wish("w3", 2, bot="beta", definition=everything))
        refused = await world.answer("w3")
    async with world.running(*([everything] if by == "file" else [])):  # the file says what it said
        pass
    assert isinstance(granted, BotDefined)
    assert isinstance(wider, BotDefined)
    assert granted.definition == msgspec.structs.replace(everything, symbols=("AAPL", "MSFT"))
    assert wider.definition.symbols == ("AAPL", "MSFT", "SPY")
    assert isinstance(refused, BotRefused)
    assert refused.reason == "symbols: the venue trades nothing of universe '*': name them"
    stored = await world.stored()
    assert [body.symbol for body in stored if isinstance(body, Signal)]
    assert len([body for body in stored if isinstance(body, BotDefined)]) == 2
