"""Symbols that are wanted later join the connections there are; who listens hears of them alone."""

from __future__ import annotations

import asyncio

from tests.alpaca.test_bars import running
from tests.alpaca.wire import Wire, bar_record, until


async def test_what_is_new_joins_the_connection_and_is_told_alone(wire: Wire) -> None:
    async with running(wire, ["SPY"]) as run:
        await run.connected()
        await run.bars.follow(["SPY", "QQQ", "AAPL"], [])
        await run.connected(2)
        await run.bars.follow(["SPY", "QQQ", "AAPL"], [])  # nothing new
        await run.bars.follow(["QQQ"], [])  # what is not wanted any more stays
        wire.sockets[0].send([bar_record("QQQ"), bar_record("SPY")])
        await until(lambda: len(run.ear.bars) == 2)
    assert len(wire.sockets) == 1
    asked = [message["bars"] for message in wire.sockets[0].received if "bars" in message]
    assert asked == [["SPY"], ["QQQ", "AAPL"]]
    halts = [message["statuses"] for message in wire.sockets[0].received if "statuses" in message]
    assert halts == [["SPY"], ["QQQ", "AAPL"]]
    assert run.ear.of("connected") == [(("SPY",), ()), (("QQQ", "AAPL"), ())]


async def test_a_symbol_that_is_followed_already_may_get_trades_and_quotes(wire: Wire) -> None:
    async with running(wire, ["SPY", "QQQ"]) as run:
        await run.connected()
        await run.bars.follow(["SPY", "QQQ", "AAPL"], ["QQQ", "AAPL"])
        await until(lambda: sum(len(marked) for _, marked in run.ear.of("connected")) == 2)
    told = run.ear.of("connected")
    assert told[0] == (("SPY", "QQQ"), ())
    assert (("AAPL",), ()) in told  # its bars do not wait for its trades
    assert sorted(symbol for symbols, _ in told[1:] for symbol in symbols) == ["AAPL"]
    assert sorted(symbol for _, marked in told[1:] for symbol in marked) == ["AAPL", "QQQ"]


async def test_a_class_that_had_no_connection_gets_one(wire: Wire) -> None:
    async with running(wire, ["SPY"]) as run:
        await run.connected()
        await run.bars.follow(["SPY", "BTC/USD"], [])
        await run.connected(2)
        assert run.ear.of("connected")[1] == (("BTC/USD",), ())
        assert len(wire.sockets) == 2
        await run.bars.stop()
        await asyncio.wait_for(run.task, 5)


async def test_after_a_lost_connection_everything_is_subscribed_at_once(wire: Wire) -> None:
    async with running(wire, ["SPY"]) as run:
        await run.connected()
        await run.bars.follow(["SPY", "QQQ"], [])
        await run.connected(2)
        wire.sockets[0].close(1011)
        await run.connected(3)
    assert run.ear.of("connected")[2] == (("SPY", "QQQ"), ())


async def test_what_the_venue_does_not_acknowledge_is_not_told(wire: Wire) -> None:
    async with running(wire, ["SPY"]) as run:
        await run.connected()
        wire.subscribe_answer = lambda _: [{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]
        wire.more_answer = lambda _: None
        await run.bars.follow(["SPY", "QQQ"], [])
        await run.problem("symbol limit exceeded")
        wire.sockets[0].send([bar_record("SPY")])
        await until(lambda: len(run.ear.bars) == 1)
        assert run.ear.of("connected") == [(("SPY",), ())]


async def test_a_symbol_beyond_the_plan_takes_nothing_along_at_the_next_connection(wire: Wire) -> None:
    def limited(symbols: list[str]) -> list[dict[str, object]]:
        if "QQQ" in symbols:
            return [{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]
        return [{"T": "subscription", "bars": symbols}]

    wire.subscribe_answer = limited
    async with running(wire, ["SPY"]) as run:
        await run.connected()
        await run.bars.follow(["SPY", "QQQ"], [])
        await run.problem("symbol limit exceeded")
        wire.sockets[0].close(1011)
        await run.connected(2)
        wire.sockets[1].send([bar_record("SPY")])
        await until(lambda: len(run.ear.bars) == 1)
    assert run.ear.of("connected") == [(("SPY",), ())] * 2
    assert len(wire.sockets) == 2


async def test_what_is_wanted_while_the_connection_is_made_is_asked_for_then(wire: Wire) -> None:
    wire.more_answer = lambda _: None  # halts and bands are never acknowledged: the handshake takes its time
    async with running(wire, ["SPY"]) as run:
        await until(lambda: wire.sockets and any("statuses" in message for message in wire.sockets[0].received))
        assert not run.ear.of("connected")
        await run.bars.follow(["SPY", "QQQ"], [])
        await run.connected(2)
    assert run.ear.of("connected") == [(("SPY",), ()), (("QQQ",), ())]
