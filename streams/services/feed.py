"""feed: what the venue's sockets say to the streams. Bars and gaps to market, marks and halts to trading.

It holds the one connection per endpoint. Its state is the streams themselves: the last bar, mark and status of each
symbol. Decisions are engine.ingest's (bars, gaps), engine.marks' and engine.halts'; storing is streams.feeding's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from engine.halts import BANDS, HALTS, HaltCore
from engine.ids import make_id
from engine.ingest import IngestCore
from engine.liveness import few
from engine.marks import MarkCore
from engine.messages import Alert, Bar, BarMarks, Mark, MarketBody, SymbolStatus, decode, decode_market
from engine.ports import BarHistory, BarStream, Quote, Trade, VenueTime
from engine.sessions import SessionTable
from engine.ticking import TickCore
from engine.values import NS_PER_S, AssetClass, asset_class_of
from streams.feeding.calendar import Calendar
from streams.feeding.fetching import FetchedBars, FetchedPast, FetchedTicks, Fetcher
from streams.feeding.following import Following
from streams.feeding.health import Health
from streams.feeding.holding import Holdings
from streams.feeding.items import Bars, Defined, Down, NatsBack, Statuses, Ticked, Told, Up, Updates
from streams.feeding.market import MarketStore
from streams.feeding.telling import Teller
from streams.feeding.warming import Warming, failure
from streams.feeding.watching import ClockWatch
from streams.role import Context, Status, last_per_subject
from streams.tasks import Tasks

log: structlog.stdlib.BoundLogger = structlog.get_logger()

IsOpen = Callable[[AssetClass], bool]
_AHEAD_NS_MAX = 60 * NS_PER_S
"""A trade or quote from farther in the future is junk, and would hold up marks until then."""
_TOGETHER_MAX = 100
"""Frames whose marks are stored together when they come faster than marks can be stored one frame at a time."""


class Feed:
    """The feed service; a BarListener of its stream.

    Args:
        context: The role's.
        connect: Makes socket and history; gets whether a market is open now.
        venue_time: The clock that ours is compared with; None where the venue's time is virtual.
    """

    def __init__(
        self,
        context: Context,
        connect: Callable[[IsOpen], tuple[BarStream, BarHistory]],
        venue_time: VenueTime | None = None,
    ) -> None:
        self._context = context
        self._sessions = SessionTable()
        self._health = Health(context.settings, context.clock, self._sessions)
        self._inbox: asyncio.Queue[object] = asyncio.Queue()
        self._tasks = Tasks(self._inbox.put_nowait)
        self._stream, history = connect(self._health.is_open)
        self._fetcher = Fetcher(history, context.settings.feed.timeframe, self._tasks, self._inbox.put_nowait)
        self._warming = Warming(context, self._fetcher, self._sessions)
        self._market = MarketStore(context)
        self._teller = Teller(context, lambda: self._inbox.put_nowait(Told()))
        self._watch = ClockWatch(context, venue_time, self._alert_soon) if venue_time is not None else None
        self._core: IngestCore | None = None
        self._marks = MarkCore((), 1, 1.0, {})
        self._trades = TickCore()
        self._halts = HaltCore(context.settings.feed.timeframe, ())
        self._working = 0
        self._received = 0
        self._ready: list[tuple[Sequence[MarketBody], int]] = []
        self._calendar = Calendar(context, self._sessions)
        self._holdings = Holdings(context, lambda: self._inbox.put_nowait(Told()))
        self._following = Following(context, lambda: self._inbox.put_nowait(Defined()))

    # --- listener (never blocks, never raises) -----------------------------------------------------------------------

    def on_connected(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        """Ask for the history of the time away."""
        self._health.up(symbols, marked)
        self._inbox.put_nowait(Up(tuple(symbols), tuple(marked)))

    def on_disconnected(self, symbols: Sequence[str]) -> None:
        """Note that nothing comes in."""
        self._health.down(symbols)
        self._inbox.put_nowait(Down(tuple(symbols)))

    def on_bars(self, bars: Sequence[Bar], ts_recv: int) -> None:
        """Queue the bars of a frame."""
        self._received += len(bars)
        self._health.heard(bars[0].symbol)
        self._inbox.put_nowait(Bars(bars, ts_recv))

    def on_updates(self, bars: Sequence[Bar], ts_recv: int) -> None:
        """Queue bars that late trades have changed."""
        self._inbox.put_nowait(Updates(bars, ts_recv))

    def on_ticks(self, ticks: Sequence[Trade | Quote], ts_recv: int) -> None:
        """Queue the trades and quotes of a frame."""
        self._health.heard(ticks[0].symbol)
        self._inbox.put_nowait(Ticked(ticks, ts_recv))

    def on_statuses(self, statuses: Sequence[SymbolStatus], ts_recv: int) -> None:
        """Queue the halts, resumptions and bands of a frame."""
        self._inbox.put_nowait(Statuses(statuses, ts_recv))

    def on_problem(self, level: str, what: str) -> None:
        """Show it, and queue an alert."""
        self._health.say(level, what)
        self._alert_soon(level, what)

    def _alert_soon(self, level: str, what: str) -> None:
        self._inbox.put_nowait(Alert("", level, "feed", what, 0))

    # --- service -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn what was stored, then subscribe."""
        context = self._context
        settings, topology = context.settings, context.topology
        opened = await context.identify()
        await self._market.start()
        self._trades = TickCore(await self._market.last_ticks())
        last: dict[str, list[Bar]] = {}
        for kind in ("bars", "updates"):
            subject = f"{topology.prefix}.{kind}.{settings.feed.timeframe}.>"
            bodies = [decode_market(data).body for data in await last_per_subject(context, topology.market, subject)]
            last[kind] = [body for body in bodies if isinstance(body, Bar)]
        await self._following.start()
        self._trades.follow(self._following.ticked, self._following.quoted)
        self._health.follow(self._following.symbols, self._following.marked)
        await self._holdings.start(opened, await self._learn_told())
        await self._calendar.start()
        self._core = IngestCore(
            settings.feed.timeframe,
            {bar.symbol: bar.ts_event for bar in last["bars"]},
            context.opened_ns,
            settings.limits.bar_age_ms_max,
            settings.feed.backfill_s_max * 1000,
            sessions=self._sessions,
        )
        for bar in (*last["bars"], *last["updates"]):
            self._core.remember(bar)
        await self._warming.start()
        context.reconnected.append(self.on_nats_back)
        self._tasks.spawn(self._teller.run())
        self._tasks.spawn(self._holdings.listen())
        self._tasks.spawn(self._following.listen())
        self._tasks.spawn(self._stream.run(self._following.symbols, self._following.marked, self))
        if self._watch is not None:
            self._tasks.spawn(self._watch.run())

    async def _learn_told(self) -> Mapping[str, Mark]:
        """Read the last mark and status of each symbol: nothing at or before them is said again. Give the marks."""
        context, prefix = self._context, self._context.topology.prefix
        feed, now = context.settings.feed, await context.clock.now_ns()
        known: dict[str, Mark] = {}
        statuses: list[SymbolStatus] = []
        for kind in ("marks.>", "barmarks", f"status.{HALTS}.>", f"status.{BANDS}.>"):
            for data in await last_per_subject(context, context.topology.trading, f"{prefix}.{kind}"):
                match decode(data).body:
                    case Mark() as mark:
                        known[mark.symbol] = msgspec.structs.replace(mark, ts_event=min(mark.ts_event, now))
                    case BarMarks() as last:
                        for mark in last.marks():
                            told = msgspec.structs.replace(mark, ts_event=min(mark.ts_event, now))
                            if mark.symbol not in known or known[mark.symbol].ts_event < told.ts_event:
                                known[mark.symbol] = told
                    case SymbolStatus() as status:
                        statuses.append(status)
                    case _:
                        pass
        marked = self._following.marked
        self._marks = MarkCore(
            marked, feed.mark_every_ms, feed.mark_move_fraction, known, missed_ms_max=feed.mark_backfill_s_max * 1000
        )
        self._halts = HaltCore(feed.timeframe, statuses)
        return known

    async def run(self) -> None:
        """Store what comes in, in order."""
        is_news = True
        while True:
            self._working = 0
            if is_news and self._inbox.empty():
                await self._context.announce(self._progress())
                is_news = False
            items = [await self._inbox.get()]
            self._working = 1
            has_marks = bool(self._health.marked) or self._holdings.is_any
            while has_marks and not self._inbox.empty() and len(items) < _TOGETHER_MAX:
                items.append(self._inbox.get_nowait())
            if self._calendar.take():
                await self._warm_up()
            for item in items:
                if not isinstance(item, Bars | Ticked):
                    await self._store_ready()
                is_news = await self._take(item) or is_news
            await self._store_ready()

    async def _take(self, item: object) -> bool:
        """Do what an item asks for; give whether others should hear how far we are now."""
        match item:
            case Ticked():
                await self._take_ticks(item)
                return False  # what is told says so when it is stored
            case Bars():
                self._take_bars(item)
            case Updates():
                await self._take_updates(item)
            case Statuses():
                news = [told for status in item.statuses if (told := self._halts.on_status(status)) is not None]
                self._teller.tell(news, item.ts_recv)
            case FetchedBars():
                await self._take_history(item)
            case FetchedPast():
                await self._take_past(item)
            case Up():
                await self._reconnected(item)
            case FetchedTicks():
                self._take_missed(item)
            case Down():
                self._teller.tell(self._marks.on_lost(item.symbols))
            case Defined():
                symbols, marked = self._following.symbols, self._following.marked
                self._health.follow(symbols, marked)
                self._marks.follow(marked)
                self._trades.follow(self._following.ticked, self._following.quoted)
                await self._stream.follow(symbols, marked)
                await self._warm_up()
            case NatsBack():
                await self._mended(await self._market.mend())
            case Alert():
                await self._alert(item)
            case BaseException():
                raise item
            case Told():
                pass
            case _:
                log.error("unknown item", item=repr(item))
        return True

    async def stop(self) -> None:
        """Disconnect; nothing else is to be kept."""
        await self._stream.stop()
        self._fetcher.close()
        if self._watch is not None:
            self._watch.close()

    def on_nats_back(self) -> None:
        """Note that the server may have lost its newest messages: looked at before anything else is stored."""
        self._market.suspect()
        self._inbox.put_nowait(NatsBack())

    # --- taking ------------------------------------------------------------------------------------------------------

    def _take_bars(self, item: Bars) -> None:
        """Tell the marks that the bars complete; the bars are stored after them: the order in the streams too."""
        if self._health.marked:
            stream, newest = asset_class_of(item.bars[0].symbol), max(bar.ts_event for bar in item.bars)
            self._teller.tell(self._marks.on_time(stream, newest), item.ts_recv)
        self._make_ready(self._known_core().on_bars(item.bars), item.ts_recv)

    async def _take_updates(self, item: Updates) -> None:
        """Store corrections; they are no news of prices, so no mark is made of them."""
        corrected, unknown = self._known_core().on_updates(item.bars)
        self._ready.append((corrected, item.ts_recv))
        await self._store_ready()
        if unknown:
            names = few(sorted({bar.symbol for bar in unknown}))
            self.on_problem(
                "warning", f"corrections of bars that are not known any more came: {names}; they stay as they were"
            )

    async def _take_ticks(self, item: Ticked) -> None:
        ticks = item.ticks
        latest = self._context.clock.estimate_ns() + _AHEAD_NS_MAX
        if any(tick.ts_event > latest for tick in ticks):
            latest = await self._context.clock.now_ns() + _AHEAD_NS_MAX
            ticks = [tick for tick in ticks if tick.ts_event <= latest]
            if len(ticks) < len(item.ticks):
                ahead = next(tick for tick in item.ticks if tick.ts_event > latest)
                self.on_problem("error", f"a trade or quote of {ahead.symbol} is of the future ({ahead.ts_event} ns)")
        for tick in ticks:
            self._teller.tell(self._marks.on_tick(tick), item.ts_recv)
        if traded := self._trades.on_ticks(ticks):
            self._ready.append((traded, item.ts_recv))

    def _take_missed(self, item: FetchedTicks) -> None:
        ticks = None if isinstance(item.ticks, str) else item.ticks
        if ticks is None:
            self.on_problem("warning", f"trades and quotes of the time away did not come: {item.ticks}")
        self._teller.tell(self._marks.on_missed(item.missed, ticks), self._context.wall_ns())

    async def _take_history(self, item: FetchedBars) -> None:
        core = self._known_core()
        if isinstance(item.bars, str):
            bodies = core.on_history_failed(item.span, item.bars)
        else:
            bodies = core.on_history(item.span, item.bars, await self._context.clock.now_ns())
        await self._store(bodies, self._context.wall_ns())

    async def _take_past(self, item: FetchedPast) -> None:
        if (alert := failure(item)) is not None:
            await self._alert(alert)
        self._ready.append((await self._warming.taken(item), self._context.wall_ns()))
        await self._store_ready()

    async def _warm_up(self) -> None:
        """Ask for bars from before the first that there is, where bots want more of them."""
        await self._warming.look(self._following.past, self._health.connected)

    def _make_ready(self, bodies: Sequence[MarketBody], ts_recv: int) -> None:
        marks = self._holdings.marks(bodies, self._health.marked, self._marks.told_ns)
        for mark in marks:
            for symbol, (price, _, _) in mark.prices.items():
                self._marks.told_of_bars(symbol, mark.ts_event, price)
        self._teller.tell(marks, ts_recv)
        self._teller.tell(self._halts.on_bars(body for body in bodies if isinstance(body, Bar)), ts_recv)
        self._ready.append((bodies, ts_recv))

    async def _store_ready(self) -> None:
        """Store what is ready, after everything that was told before it."""
        ready, self._ready = self._ready, []
        if ready:
            await self._teller.flushed()
            await self._mended(await self._market.store(ready))

    async def _store(self, bodies: Sequence[MarketBody], ts_recv: int) -> None:
        self._make_ready(bodies, ts_recv)
        await self._store_ready()

    async def _mended(self, lost: int) -> None:
        if lost:
            what = f"nats-server lost {lost} acknowledged messages; they were published again"
            await self._alert(Alert("", "error", "feed", what, 0))

    async def _reconnected(self, up: Up) -> None:
        now = await self._context.clock.now_ns()
        spans, gaps = self._known_core().on_connected(up.symbols, now)
        await self._store(gaps, self._context.wall_ns())
        self._fetcher.ask(self._marks.on_connected(up.marked, now), spans)
        await self._warm_up()

    async def _alert(self, alert: Alert) -> None:
        now = await self._context.clock.now_ns()
        alert_id = make_id(self._context.account, self._context.run, "feed", alert.level, alert.what, now)
        self._teller.tell([Alert(alert_id, alert.level, "feed", alert.what, now)])

    # --- how it is ---------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Say how it is, with what a person may want to know."""
        notes: list[str] = []
        if self._core is not None:
            notes = self._health.notes(self._core.last, self._context.opened_ns)
        if halted := self._halts.halted:
            notes.append(f"halted: {few(halted)}")
        if self._watch is not None and self._watch.note:
            notes.append(self._watch.note)
        if self._warming.note:
            notes.append(self._warming.note)
        return msgspec.structs.replace(self._progress(), notes=notes)

    def _progress(self) -> Status:
        """Say how far it is; busy while history is fetched, bars wait behind it, or words are not stored yet."""
        topology, health = self._context.topology, self._health
        counters = {"bars": self._market.bars, "received": self._received, "connected": len(health.connected)}
        counters |= {
            "marks": self._teller.marks,
            "statuses": self._teller.statuses,
            "gaps": self._market.gaps,
            "pasts": self._market.pasts,
        }
        counters |= {"corrections": self._market.corrections, "ticks": self._market.ticks}
        counters |= {"unmarked": health.unmarked, "positions_seq": self._holdings.seq}
        counters |= {"revisions": self._following.revisions}
        if self._core is not None:
            counters |= {"waiting": self._core.waiting, "repeated": self._core.repeated}
        busy = self._working + self._fetcher.open + self._inbox.qsize() + self._teller.open
        published = {topology.market: self._market.last_seq, topology.trading: self._teller.last_seq}
        problems = health.problems()
        if self._watch is not None and self._watch.problem:
            problems.append(self._watch.problem)
        return Status("feed", 0, "", {}, published, busy, counters, problems)

    # --- parts -------------------------------------------------------------------------------------------------------

    def _known_core(self) -> IngestCore:
        assert self._core is not None  # noqa: S101  (set before the stream starts)
        return self._core
