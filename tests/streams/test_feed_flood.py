"""feed when more comes in than can be stored one frame at a time: nothing waits for ever, and the order stays."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count

from nats.js import JetStreamContext

from engine.messages import Bar, Mark
from engine.ports import Quote, Trade
from engine.values import NS_PER_S
from streams.connection import Inflow
from streams.feeding.telling import Teller
from streams.services.feed import Feed
from streams.topology import Topology, ensure
from tests.engine.build import T0, D, bar, minute
from tests.streams.feeding import StillClock, Wired, running
from tests.streams.wire import topology_of, until

MINUTES = 40


async def test_a_flood_of_words_does_not_keep_back_who_waits_for_those_before_it(
    nc: Inflow, topology: Topology
) -> None:
    async with running(nc, topology, StillClock()) as wired:
        teller, numbers = Teller(wired.context, lambda: None), count(1)

        def tell() -> int:
            number = next(numbers)
            teller.tell([Mark("AAPL", T0 + number - 1, T0 + number, D(100))])
            return number

        async def flood() -> None:
            while True:
                tell()
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(teller.run()), asyncio.create_task(flood())]
        try:
            last = tell()
            await asyncio.wait_for(teller.flushed(), 10)
            assert teller.open, "there was no flood"
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        marks = [body.ts_event - T0 for body in await wired.stored("trading") if isinstance(body, Mark)]
        assert last in marks
        assert marks == list(range(1, len(marks) + 1))


class _Progress:
    """At each publish of bars: marks stored before it, and bars stored with it."""

    def __init__(self) -> None:
        self.feed: Feed | None = None
        self.marks = 0
        self.seen: list[tuple[int, int]] = []
        self.tells = 0

    def hit(self, name: str) -> None:
        if self.feed is None:  # still starting
            return
        if name == "feed.before_tell":
            self.tells += 1
        if name == "feed.before_publish":
            self.marks = self.feed._teller.marks
        if name == "feed.after_publish":
            self.seen.append((self.marks, self.feed._market.last_seq))


def _ticks(number: int) -> list[Trade | Quote]:
    """Two marks of the minute before the close `number`."""
    begin = minute(number - 1)
    return [
        Quote("AAPL", begin, 99.0, 101.0),
        Trade("AAPL", begin, 100.0),
        Trade("AAPL", begin + 30 * NS_PER_S, 101.0 + number),
    ]


async def _day(wired: Wired, clock: StillClock, *, at_once: bool) -> tuple[list[Mark], list[int]]:
    wired.venue.on_connected(("AAPL", "MSFT"), ("AAPL",))
    wired.venue.on_connected(("BTC/USD",), ("BTC/USD",))
    await wired.idle()
    clock.ns = minute(MINUTES)
    for number in range(1, MINUTES + 1):
        wired.venue.on_ticks(_ticks(number), T0 + number)
        wired.venue.on_bars([bar(100.5, number)], T0 + number)
        if not at_once:
            await wired.idle()
    await until(lambda: wired.feed.status().counters["bars"] == MINUTES, "the bars are stored")
    await wired.idle()
    marks = [body for body in await wired.stored("trading") if isinstance(body, Mark)]
    return marks, [body.ts_event for body in await wired.stored("market") if isinstance(body, Bar)]


async def test_frames_that_wait_are_stored_together_and_in_order(
    nc: Inflow, js: JetStreamContext, topology: Topology
) -> None:
    """Two batches a frame would be slower than frames come; the streams hold the same as if they had come slowly."""
    clock, progress = StillClock(), _Progress()
    async with running(nc, topology, clock, points=progress) as wired:
        progress.feed = wired.feed
        at_once = await _day(wired, clock, at_once=True)
    assert at_once[1] == [minute(number) for number in range(1, MINUTES + 1)]
    assert progress.tells <= MINUTES // 4
    assert len(progress.seen) <= MINUTES // 4
    for marks, bars in progress.seen:
        assert marks >= 2 * bars, "a bar was stored before a mark of its minute"
    slow = topology_of(f"{topology.prefix}-slow")
    await ensure(js, slow)
    clock.ns = T0
    async with running(nc, slow, clock) as wired:
        assert await _day(wired, clock, at_once=False) == at_once
