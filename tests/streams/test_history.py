"""Bars read back from the market stream: of each the revision that counts, and what counts from the next bar on."""

from __future__ import annotations

import msgspec
from nats.js import JetStreamContext

from config.settings import Settings
from engine.messages import Bar
from streams.connection import Inflow
from streams.history import bars_until
from streams.publisher import Publisher
from streams.role import Context, NoPoints
from streams.topology import Topology
from tests.engine.build import T0, bar
from tests.streams.feeding import StillClock


async def test_a_correction_counts_from_the_next_bar_of_its_symbol_on(
    nc: Inflow, js: JetStreamContext, topology: Topology
) -> None:
    context = Context(
        "signals", Settings(), topology, nc, nc, js, StillClock(), lambda: T0, NoPoints(), []
    )  # fmt: skip
    first, second, third = (bar(100.0 + number, number) for number in (1, 2, 3))
    other = bar(50.0, 3, symbol="MSFT")
    mended = msgspec.structs.replace(first, close=77.0, revision=1)
    again = msgspec.structs.replace(first, close=78.0, revision=2)
    late = msgspec.structs.replace(first, ts_event=first.ts_event - 1)
    publisher = Publisher(nc, topology.market, "test")
    stored: list[Bar] = [first, second, mended, other, late, again, third]
    for number, body in enumerate(stored):
        await publisher.one(context.outgoing(body, f"m{number}"))
    seen = {seq: await bars_until(context, ["AAPL"], seq) for seq in range(2, 8)}
    assert (seen[2].bars, seen[2].pending) == ([first, second], [])
    assert (seen[3].bars, seen[3].pending) == ([first, second], [mended])
    assert seen[4] == seen[3]  # another symbol's bar
    assert (seen[5].bars, seen[5].pending) == ([late, first, second], [mended])  # one that comes late is no next one
    assert (seen[6].bars, seen[6].pending) == ([late, first, second], [mended, again])
    assert (seen[7].bars, seen[7].pending) == ([late, again, second, third], [])
    both = await bars_until(context, ["AAPL", "MSFT"], 6)
    assert (both.bars, both.pending) == ([late, first, second, other], [mended, again])
