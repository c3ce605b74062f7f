"""feed: bars from the venue's socket to the market stream, once and in order, gaps closed by history or declared.

It holds the one connection per endpoint. Its state is the stream itself: the last bar of each symbol. Decisions are
engine.ingest's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from nats.js.errors import NotFoundError

from engine.errors import UnreachableError
from engine.ids import bar_key, make_id
from engine.ingest import IngestCore, Span
from engine.messages import Alert, Bar, Gap, MarketBody, Sessions, decode, decode_market
from engine.ports import BarHistory, BarStream
from engine.sessions import SessionTable
from engine.values import AssetClass, asset_class_of
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader
from streams.role import Context, Status, last_per_subject
from streams.tasks import Tasks

log: structlog.stdlib.BoundLogger = structlog.get_logger()


_REMEMBERED_MAX = 50_000
"""Bars kept for publishing again when nats-server lost its newest ones; more than four minutes of the whole market."""
IsOpen = Callable[[AssetClass], bool]


class _NatsBack:
    """The connection to NATS came back."""


class Feed:
    """The feed service; a BarListener of its stream."""

    def __init__(self, context: Context, connect: Callable[[IsOpen], tuple[BarStream, BarHistory]]) -> None:
        self._context = context
        self._sessions = SessionTable()
        self._stream, self._history = connect(self._is_open)
        self._publisher = Publisher(context.nc, context.topology.market, "feed")
        self._alerts = Publisher(context.nc, context.topology.trading, "feed")
        self._core: IngestCore | None = None
        self._inbox: asyncio.Queue[object] = asyncio.Queue()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="history")
        self._fetching = 0
        self._working = 0
        self._published = 0
        self._received = 0
        self._is_suspicious = False
        self._recent: deque[tuple[int, Outgoing]] = deque(maxlen=_REMEMBERED_MAX)
        self._connected: set[str] = set()
        self._problems: dict[str, str] = {}
        self._tasks = Tasks(self._inbox.put_nowait)
        self._calendar: Reader | None = None

    # --- listener (never blocks, never raises) -----------------------------------------------------------------------

    def on_connected(self, symbols: Sequence[str]) -> None:
        """Ask for the history of the time away."""
        self._connected.update(symbols)
        self._inbox.put_nowait(tuple(symbols))

    def on_disconnected(self) -> None:
        """Note that nothing comes in."""
        self._connected.clear()

    def on_bars(self, bars: Sequence[Bar], ts_recv: int) -> None:
        """Queue the bars of a frame."""
        self._received += len(bars)
        self._inbox.put_nowait((bars, ts_recv))

    def on_problem(self, level: str, what: str) -> None:
        """Queue an alert."""
        self._problems[level] = what
        self._inbox.put_nowait(Alert("", level, "feed", what, 0))

    # --- service -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn what was published, then subscribe."""
        context = self._context
        settings = context.settings
        await context.identify()
        await self._publisher.sync()
        subject = f"{context.topology.prefix}.bars.{settings.feed.timeframe}.>"
        known: dict[str, int] = {}
        for data in await last_per_subject(context, context.topology.market, subject):
            body = decode_market(data).body
            if isinstance(body, Bar):
                known[body.symbol] = body.ts_event
        self._core = IngestCore(
            settings.feed.timeframe,
            known,
            context.opened_ns,
            settings.limits.bar_age_ms_max,
            settings.feed.backfill_s_max * 1000,
        )
        context.reconnected.append(self.on_nats_back)
        topology = context.topology
        self._calendar = context.reader(topology.trading, 0, [f"{topology.prefix}.sessions.>"])
        await self._calendar.start()
        self._tasks.spawn(self._stream.run(settings.symbols, self))

    async def run(self) -> None:
        """Publish what comes in, in order."""
        while True:
            self._working = 0
            if self._inbox.empty():
                await self._context.announce(self.status())
            item = await self._inbox.get()
            self._working = 1
            self._take_sessions()
            match item:
                case (list() | tuple() as bars, int() as ts_recv):
                    await self._publish(self._known_core().on_bars(bars), ts_recv)
                case Alert():
                    await self._alert(item)
                case (Span() as span, list() as bars):
                    self._fetching -= 1
                    now = await self._context.clock.now_ns()
                    await self._publish(self._known_core().on_history(span, bars, now), self._context.wall_ns())
                case (Span() as span, str() as reason):
                    self._fetching -= 1
                    await self._publish(self._known_core().on_history_failed(span, reason), self._context.wall_ns())
                case BaseException():
                    raise item
                case _NatsBack():
                    if self._is_suspicious:
                        await self._republish()
                case tuple() as symbols:
                    await self._reconnected([str(symbol) for symbol in symbols])
                case _:
                    log.error("unknown item", item=repr(item))

    async def stop(self) -> None:
        """Disconnect; nothing else is to be kept."""
        await self._stream.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def status(self) -> Status:
        """Say how it is; busy while history is fetched or bars wait behind it."""
        counters = {"bars": self._published, "received": self._received, "connected": len(self._connected)}
        if self._core is not None:
            counters |= {"waiting": self._core.waiting, "repeated": self._core.repeated}
        busy = self._working + self._fetching + self._inbox.qsize()
        problems = [] if self._connected else ["not connected to the venue's market data"]
        problems += [f"{level}: {what}" for level, what in self._problems.items() if level in ("error", "critical")]
        published = {self._context.topology.market: self._publisher.last_seq}
        published[self._context.topology.trading] = self._alerts.last_seq
        return Status("feed", 0, "", {}, published, busy, counters, problems)

    # --- parts -------------------------------------------------------------------------------------------------------

    def _known_core(self) -> IngestCore:
        assert self._core is not None  # noqa: S101  (set before the stream starts)
        return self._core

    async def _publish(self, bodies: Sequence[MarketBody], ts_recv: int) -> None:
        if not bodies:
            return
        context = self._context
        outgoing: list[Outgoing] = []
        for body in bodies:
            if isinstance(body, Gap):
                key = f"gap|{body.symbol}|{body.timeframe}|{body.ts_from}|{body.ts_to}"
            else:
                key = bar_key(body.symbol, body.timeframe, body.ts_event, body.revision)
            outgoing.append(context.outgoing(body, key, ts_recv=ts_recv))
        if self._is_suspicious:
            await self._republish()
        context.points.hit("feed.before_publish")
        await self._publisher.burst(outgoing)
        first = self._publisher.last_seq - len(outgoing) + 1
        self._recent.extend(enumerate(outgoing, first))
        context.points.hit("feed.after_publish")
        self._published += len(outgoing)

    def on_nats_back(self) -> None:
        """Note that the server may have lost its newest messages: looked at before anything else is published."""
        self._is_suspicious = True
        self._inbox.put_nowait(_NatsBack())

    async def _republish(self) -> None:
        """Publish again what nats-server acknowledged and lost: an async stream may lose its newest messages.

        Losses are a tail, so the last message that is still where it was stored is found by bisection.
        """
        self._is_suspicious = False
        recent = list(self._recent)
        intact = 0
        unknown = len(recent)
        while intact < unknown:
            middle = (intact + unknown) // 2
            if await self._is_stored(*recent[middle]):
                intact = middle + 1
            else:
                unknown = middle
        lost = [outgoing for _, outgoing in recent[intact:]]
        if not lost:
            return
        log.error("nats-server lost acknowledged bars, publishing them again", lost=len(lost))
        for _ in lost:
            self._recent.pop()
        for outgoing in lost:
            self._recent.append((await self._publisher.one(outgoing), outgoing))
        await self._publisher.sync()
        what = f"nats-server lost {len(lost)} acknowledged messages; they were published again"
        await self._alert(Alert("", "error", "feed", what, 0))

    async def _is_stored(self, seq: int, outgoing: Outgoing) -> bool:
        try:
            found = await self._context.js.get_msg(self._context.topology.market, seq)
        except NotFoundError:
            return False
        return found.data == outgoing.data

    async def _reconnected(self, symbols: list[str]) -> None:
        now = await self._context.clock.now_ns()
        spans, gaps = self._known_core().on_connected(symbols, now)
        await self._publish(gaps, self._context.wall_ns())
        for span in spans:
            for asset_class in AssetClass:
                wanted = tuple(s for s in span.symbols if asset_class_of(s) is asset_class)
                if wanted:
                    self._fetching += 1
                    self._tasks.spawn(self._fetch(asset_class, Span(wanted, span.from_ns, span.to_ns)))

    async def _fetch(self, asset_class: AssetClass, span: Span) -> None:
        timeframe = self._context.settings.feed.timeframe
        loop = asyncio.get_running_loop()
        try:
            bars = await loop.run_in_executor(
                self._pool, self._history.bars, asset_class, span.symbols, timeframe, span.from_ns, span.to_ns
            )
        except UnreachableError as err:
            self._inbox.put_nowait((span, str(err)))
        else:
            self._inbox.put_nowait((span, list(bars)))

    async def _alert(self, alert: Alert) -> None:
        now = await self._context.clock.now_ns()
        alert_id = make_id(self._context.account, self._context.run, "feed", alert.level, alert.what, now)
        body = Alert(alert_id, alert.level, "feed", alert.what, now)
        await self._alerts.one(self._context.outgoing(body, alert_id))

    def _is_open(self, asset_class: AssetClass) -> bool:
        return self._sessions.is_open(asset_class, self._context.clock.estimate_ns())

    def _take_sessions(self) -> None:
        for item in self._calendar.take(100) if self._calendar else []:
            body = decode(item.data).body
            if isinstance(body, Sessions):
                self._sessions.add(body)
