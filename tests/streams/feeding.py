"""A feed on a real nats-server, fed by hand: for tests of what it stores, and of what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from config.settings import Settings, parse
from engine.errors import ConfigError, UnreachableError
from engine.messages import AnyBody, Bar, Head, Sessions, decode, encode
from engine.ports import BarListener, Clock, Quote, Trade, VenueTime
from engine.values import NS_PER_MINUTE, AssetClass
from streams.connection import Inflow
from streams.role import Context, NoPoints, Points
from streams.services.feed import Feed
from streams.topology import Topology
from tests.engine.build import T0, opened
from tests.streams.wire import until

SYMBOLS = ("AAPL", "BTC/USD", "MSFT")


class StillClock:
    """Venue time that a test moves."""

    def __init__(self) -> None:
        self.ns = T0

    async def now_ns(self) -> int:
        return self.ns

    def look_s(self, every_s: float) -> float | None:
        return every_s

    def estimate_ns(self) -> int:
        return self.ns

    def observe(self, ts_event: int) -> None:
        return

    async def close(self) -> None:
        return


class Source:
    """A bar source by hand: the test is the venue; history holds what the test puts into it."""

    def __init__(self) -> None:
        self.listener: BarListener | None = None
        self.asked: tuple[Sequence[str], Sequence[str]] | None = None
        self.history: list[Bar] = []
        self.past: list[Trade | Quote] | None = []
        self.past_fault = ""
        self.refused = ""
        self.past_waits: threading.Event | None = None
        self.questions: list[tuple[tuple[str, ...], str, int, int]] = []
        self._stopped = asyncio.Event()

    async def run(self, symbols: Sequence[str], marked: Sequence[str], listener: BarListener) -> None:
        self.asked, self.listener = (symbols, marked), listener
        await self._stopped.wait()

    async def follow(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        self.asked = symbols, marked

    async def stop(self) -> None:
        self._stopped.set()

    def bars(
        self,
        asset_class: AssetClass,
        symbols: Sequence[str],
        timeframe: str,
        from_ns: int,
        to_ns: int,
        *,
        is_adjusted: bool = False,
    ) -> Sequence[Bar]:
        if self.past_fault and is_adjusted:
            raise UnreachableError(self.past_fault)
        if is_adjusted and self.past_waits is not None:
            self.past_waits.wait(10)
        if is_adjusted and self.refused in symbols:
            msg = "no such symbol"
            raise ConfigError(msg)
        self.questions.append((tuple(symbols), timeframe, from_ns, to_ns))
        every = (bar for bar in self.history if bar.symbol in symbols and bar.timeframe == timeframe)
        return [bar for bar in every if from_ns < bar.ts_event <= to_ns]

    def ticks(
        self, asset_class: AssetClass, symbols: Sequence[str], from_ns: int, to_ns: int
    ) -> Sequence[Trade | Quote]:
        if self.past is None:
            msg = "by hand"
            raise UnreachableError(msg)
        found = [tick for tick in self.past if tick.symbol in symbols and from_ns < tick.ts_event <= to_ns]
        return sorted(found, key=lambda tick: (tick.ts_event, tick.symbol, isinstance(tick, Trade)))


class Wired:
    """One life of a feed."""

    def __init__(self, feed: Feed, source: Source, clock: Clock, context: Context) -> None:
        self.feed, self.source, self.clock, self.context = feed, source, clock, context
        self.failure: BaseException | None = None

    @property
    def venue(self) -> BarListener:
        assert self.source.listener is not None
        return self.source.listener

    async def idle(self) -> None:
        """Wait until all that was told is stored."""
        await until(lambda: self.feed.status().busy == 0 or self.failure is not None, "feed is idle")
        if self.failure is not None:
            raise self.failure

    async def stored(self, stream: str) -> list[AnyBody]:
        """Every body of a stream but what the test put there."""
        js, name = self.context.js, getattr(self.context.topology, stream)
        last = (await js.stream_info(name)).state.last_seq
        found = [decode((await js.get_msg(name, seq, direct=True)).data or b"").body for seq in range(1, last + 1)]
        return [body for body in found if type(body).__name__ not in ("AccountOpened", "Sessions")]


def settings_of(topology: Topology, **more: Any) -> Settings:
    """Three symbols, of which AAPL and BTC/USD have stops and so marks."""
    bots = [
        {"name": "a", "strategy": "rsi", "symbols": ["AAPL", "BTC/USD"], "capital": "1", "stops": {"stop_loss": 0.1}},
        {"name": "b", "strategy": "rsi", "symbols": ["MSFT"], "capital": "1"},
    ]
    settings = parse({"bots": bots, **more})
    return msgspec.structs.replace(settings, nats=msgspec.structs.replace(settings.nats, prefix=topology.prefix))


async def open_ledger(context: Context, opened_ns: int) -> None:
    """Store whose stream it is, and that the market is open for 400 minutes."""
    prefix, js = context.topology.prefix, context.js
    await js.publish(f"{prefix}.opened", encode(Head(1), msgspec.structs.replace(opened(), ts_event=opened_ns)))
    sessions = Sessions(AssetClass.US_EQUITY, ((opened_ns, opened_ns + 400 * NS_PER_MINUTE),), opened_ns)
    await js.publish(f"{prefix}.sessions.us_equity", encode(Head(1), sessions))


@contextlib.asynccontextmanager
async def running(
    nc: Inflow,
    topology: Topology,
    clock: Clock,
    *,
    points: Points | None = None,
    venue_time: VenueTime | None = None,
    is_new: bool = True,
    opened_ns: int = T0,
    make: Callable[[Context], Feed] | None = None,
    **more: Any,
) -> AsyncIterator[Wired]:
    """Run a feed; leaving the block ends it as kill -9 would: nothing is written down."""
    js = nc.jetstream(timeout=5)
    settings = settings_of(topology, **more)
    context = Context("feed", settings, topology, nc, nc, js, clock, lambda: T0, points or NoPoints(), [])
    if is_new:
        await open_ledger(context, opened_ns)
    source = Source()
    feed = make(context) if make else Feed(context, lambda _is_open: (source, source), venue_time)
    wired = Wired(feed, source, clock, context)
    await feed.start()
    worker = asyncio.create_task(feed.run())

    def ended(task: asyncio.Task[None]) -> None:
        wired.failure = None if task.cancelled() else task.exception()

    worker.add_done_callback(ended)
    try:
        if make is None:
            await until(lambda: source.listener is not None, "subscribed")
        yield wired
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseException):
            await worker
        feed._tasks.cancel()
        for reader in context.readers:
            await reader.stop()
