"""feed marks what is held by its bars: learned from the trading stream, at the start and while it runs."""

from __future__ import annotations

from engine.messages import BarMarks, Head, Mark, Position, encode
from streams.connection import Inflow
from streams.topology import Topology
from tests.engine.build import D, bar, minute
from tests.streams.feeding import StillClock, Wired, running
from tests.streams.wire import until


async def _hold(wired: Wired, quantity: str, symbol: str = "MSFT", bot: str = "b") -> None:
    """Store a position as risk does, and wait until feed knows it."""
    body = Position(bot, symbol, D(quantity), D(1), D(0), f"cause-{quantity}-{bot}", 1)
    ack = await wired.context.js.publish(
        f"{wired.context.topology.prefix}.positions.{bot}.{symbol}", encode(Head(1), body)
    )
    await until(lambda: wired.feed.status().counters["positions_seq"] >= ack.seq, "feed knows the position")


async def _bars(wired: Wired, number: int) -> list[Mark]:
    """Let a minute pass; give its marks."""
    at = minute(number)
    wired.clock.ns = at  # type: ignore[attr-defined]
    wired.venue.on_bars([bar(10.0 + number, number), bar(20.0, number, "MSFT"), bar(30.0, number, "BTC/USD")], at)
    await until(lambda: wired.feed.status().counters["bars"] == 3 * number, "the bars are stored")
    return await _marks(wired, at)


async def _marks(wired: Wired, at: int) -> list[Mark]:
    bodies = [body for body in await wired.stored("trading") if isinstance(body, BarMarks) and body.ts_event == at]
    return [mark for body in bodies for mark in body.marks()]


async def test_what_is_held_is_marked_with_its_bars(nc: Inflow, topology: Topology) -> None:
    async with running(nc, topology, StillClock()) as wired:
        wired.venue.on_connected(("AAPL", "BTC/USD", "MSFT"), ("AAPL", "BTC/USD"))
        assert await _bars(wired, 1) == [], "nothing is held"
        await _hold(wired, "5")
        await _hold(wired, "5", "AAPL", "a")
        [mark] = await _bars(wired, 2)
        assert mark == Mark("MSFT", minute(1), minute(2), D("20.0"), D("20.0"), D("20.0")), "AAPL's trades are followed"
        await _hold(wired, "-3", bot="c")
        await _hold(wired, "0")
        assert len(await _bars(wired, 3)) == 1, "c holds it still"
        await _hold(wired, "0", bot="c")
        assert await _bars(wired, 4) == []
        await _hold(wired, "7")
    async with running(nc, topology, StillClock(), is_new=False) as again:
        again.venue.on_connected(("AAPL", "BTC/USD", "MSFT"), ("AAPL", "BTC/USD"))
        at = minute(5)
        again.clock.ns = at  # type: ignore[attr-defined]
        again.venue.on_bars([bar(21.0, 5, "MSFT")], at)
        await until(lambda: again.feed.status().counters["bars"] == 1, "the bar is stored")
        assert [mark.symbol for mark in await _marks(again, at)] == ["MSFT"]
