"""Bars that late trades have changed, as the venue sends them."""

from __future__ import annotations

import msgspec

from engine.values import PAST_SYMBOLS_MAX
from tests.alpaca.test_bars import running
from tests.alpaca.wire import Wire, bar_record, until


async def test_corrections_are_asked_for_and_told_apart(wire: Wire) -> None:
    async with running(wire) as run:
        await run.connected()
        assert {"updatedBars": ["SPY", "QQQ"], "action": "subscribe"} in wire.sockets[0].received
        first, changed = bar_record("SPY"), bar_record("SPY") | {"T": "u", "c": bar_record("SPY")["c"] + 0.25}
        wire.sockets[0].send([first, changed])
        await until(lambda: run.ear.bars)
    [bar] = run.ear.bars
    [([correction], _)] = run.ear.of("corrections")
    assert correction == msgspec.structs.replace(bar, close=bar.close + 0.25)


async def test_of_thousands_of_symbols_no_corrections_are_asked_for(wire: Wire) -> None:
    async with running(wire, [f"S{number}" for number in range(PAST_SYMBOLS_MAX + 1)]) as run:
        await run.connected()
        assert not [asked for asked in wire.sockets[0].received if "updatedBars" in asked]
