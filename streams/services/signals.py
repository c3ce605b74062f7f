"""signals: bars of the market stream to signals on the trading stream. Decisions are engine.signals'.

Checkpoint: the strategies' whole state and the market position it was applied to, pickled (a file only we write, with a
checksum, in the data directory). Outputs are acknowledged before the position moves past their cause. A later life
decides the bars from there on again and does what was done beside them at its place (engine.former); what is stored of
all that is not emitted again.

It also answers wishes about bots (engine.roster): between two bars, so that an answer says from which bar on it counts,
and it is stored before anything that follows from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog
from nats.errors import Error as NatsError

from engine.bots import BotStatus
from engine.ids import make_id
from engine.messages import (
    Alert,
    Bar,
    BotDefined,
    DerivedBar,
    FillTold,
    IndicatorValues,
    PastBars,
    Sessions,
    Signal,
    Split,
    Ticks,
    Timer,
    decode,
    decode_market,
)
from engine.roster import Roster, failed_text, faulty
from engine.signals import SignalEngine
from engine.values import NS_PER_S
from streams.asking import facts_of
from streams.checkpoint import CheckpointStore
from streams.fills import FillReader
from streams.history import bars_until
from streams.keeping import encoded, restored
from streams.pipeline import Pipeline
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader, Stored, read
from streams.role import Context, Status, last_per_subject
from streams.rostering import Rostering
from streams.saying import said

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_BATCH_MAX = 250
_AGAIN_S = 1.0
_LAST = 1 << 62
_TOLD = "sessions.>", "splits.>", "changes.>", "bots.>", "refusals.>", "timers.>", "told.>", "alerts.>"
_LOOK_S = 0.2
"""How often the clock is looked at while a moment may come without a bar."""


class Signals:
    """The signals service."""

    def __init__(self, context: Context, store: Callable[[str], CheckpointStore]) -> None:
        self._context = context
        self._open_store = store
        self._publisher = Publisher(context.nc, context.topology.trading, "signals")
        self._engine: SignalEngine | None = None
        self._roster = Roster()
        self._pipeline: Pipeline | None = None
        self._told: Reader | None = None
        self._is_calendar_known = False
        self._moved = 0
        self._end_at_start = 0
        self._moving = asyncio.Lock()
        self._is_asked = asyncio.Event()
        self._is_due = asyncio.Event()
        self._has_caught_up = asyncio.Event()  # whether every bar that a former life decided is decided again
        self._fills = FillReader(context)
        self._reader: Reader | None = None
        self._problem = ""
        self._stuck: dict[str, str] = {}

    async def start(self) -> None:
        """Take the newest checkpoint, learn what was said already, go on reading after it."""
        context = self._context
        topology = context.topology
        await context.identify()
        store = self._open_store(f"{context.account}/{context.run}")
        engine = self._engine = SignalEngine(context.account, context.run, (), context.settings.signals.bar_wait_ms)
        self._rostering = Rostering(context, engine, self._roster)
        checkpoint = store.newest()
        context.stores.append(store)
        position = 0
        if checkpoint is not None and restored(engine, self._rostering, checkpoint.payload):
            position = checkpoint.header.positions[topology.market]
        await self._publisher.sync()
        self._end_at_start = await context.end(topology.market)
        self._moved = position
        await self._hear()
        for data in await last_per_subject(context, topology.trading, f"{topology.prefix}.signals.>"):
            last = decode(data).body
            if isinstance(last, Signal):
                engine.on_own_signal(last)
        for data in await last_per_subject(context, topology.trading, f"{topology.prefix}.indicators.>"):
            shown = decode(data).body
            if isinstance(shown, IndicatorValues):
                engine.on_own_values(shown)
        for kind in ("derived", "derived_updates"):
            for data in await last_per_subject(context, topology.trading, f"{topology.prefix}.{kind}.>"):
                made = decode(data).body
                if isinstance(made, DerivedBar):
                    engine.on_own_frame(made)
        if unsaid := engine.forget_unsaid():
            log.error("the trading stream lost signals; their targets are said again", bots_and_symbols=unsaid)
        await self._publisher.atomic(await self._catch_up(engine))
        await self._read_files(engine)
        self._reader = reader = context.reader(topology.market, position, since=checkpoint if position else None)
        await reader.start()
        every = (context.settings.signals.checkpoint_messages, context.settings.signals.checkpoint_s)
        self._pipeline = Pipeline(
            context, self._publisher, reader, store=store, encode=lambda: encoded(engine), every=every
        )

    async def _hear(self) -> None:
        """Know the calendar, and every split and bot that is stored by now, before the first bar."""
        context, topology = self._context, self._context.topology
        subjects = [f"{topology.prefix}.{kind}" for kind in _TOLD]
        last: set[bytes] = set()
        for subject in subjects:
            last |= {*await last_per_subject(context, topology.trading, subject)}
        self._told = context.reader(topology.trading, 0, subjects)
        await self._told.start()
        while last or not self._is_calendar_known:
            batch = await self._told.batch(100)
            await self._take_told(batch)
            last -= {item.data for item in batch}

    async def _read_files(self, engine: SignalEngine) -> None:
        """Wish what bot files say; answer that and whatever waits, unless a former life decided bars after this one."""
        context, roster = self._context, self._roster
        now = await context.clock.now_ns()
        for wish in roster.of_files(context.settings.bots, f"{context.account}|{context.run}", now):
            await self._publisher.one(context.outgoing(wish, wish.id))
            roster.apply(wish)
        while roster.waiting and self._moved >= self._end_at_start:
            wish = next(iter(roster.waiting.values()))
            if wish.definition is not None and not wish.definition.symbols:
                break  # executor may not be there yet: answered beside the bars
            facts = await facts_of(context, wish, roster.bots)
            followed = await self._rostering.answer(wish, facts, self._moved)
            outgoing = [said(self._context, body) for body in followed]
            await self._publisher.atomic(outgoing + self._followed(engine, [], self._moved))
            self._fills.follow(*engine.filling.wanted())

    async def run(self) -> None:
        """Move strategies bar by bar while what followed from earlier bars is being published."""
        assert self._pipeline is not None  # noqa: S101  (start came first)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._move_on(self._pipeline))
            group.create_task(self._listen())
            group.create_task(self._answer_on(self._pipeline))
            group.create_task(self._keep_time(self._pipeline))
            group.create_task(self._tell_fills(self._pipeline))
            group.create_task(self._pipeline.publish(self._announce))

    async def _move_on(self, pipeline: Pipeline) -> None:
        engine = self._engine
        assert engine is not None  # noqa: S101  (start came first)
        while True:
            async with self._moving:
                await pipeline.checkpoint_when_idle()
            await pipeline.wait()
            async with self._moving:
                batch = pipeline.take(_BATCH_MAX)
                outgoing = await self._move(engine, batch)
                self._moved = batch[-1].seq
                outgoing += await self._catch_up(engine)
                await pipeline.put([*outgoing, *await self._losses()])
            if self._roster.waiting:
                self._is_asked.set()
            if engine.due_ns:
                self._is_due.set()

    async def _catch_up(self, engine: SignalEngine) -> list[Outgoing]:
        """Where all is decided that a former life decided, do again whatever else it did; give what follows."""
        if self._has_caught_up.is_set() or self._moved < self._end_at_start:
            return []
        signals = await self._rostering.come_to(_LAST)
        engine.caught_up()
        self._fills.follow(*engine.filling.wanted())
        self._has_caught_up.set()
        return self._followed(engine, signals, self._moved)

    async def _listen(self) -> None:
        """Take in the calendar, splits and wishes about bots as they are stored."""
        assert self._told is not None  # noqa: S101  (start came first)
        while True:
            await self._take_told(await self._told.batch(100))
            self._is_asked.set()
            self._is_due.set()
            await self._announce()

    async def _keep_time(self, pipeline: Pipeline) -> None:
        """Say what is due at moments without a bar, when all is known that a former life said of them.

        In lock-step time is what bars say: there the clock is not asked.
        """
        engine, clock = self._engine, self._context.clock
        assert engine is not None  # noqa: S101  (start came first)
        await clock.now_ns()
        self._is_due.set()
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            look_s = clock.look_s(_LOOK_S)
            if not (self._has_caught_up.is_set() and look_s and engine.due_ns):
                continue
            now = await clock.now_ns()
            async with self._moving:
                outgoing = self._followed(engine, engine.on_clock(now), self._moved)
                if outgoing:
                    await pipeline.put_aside(outgoing)
            if engine.due_ns:
                await asyncio.sleep(min(look_s, max(_LOOK_S / 10, (engine.due_ns - now) / NS_PER_S)))
                self._is_due.set()

    async def _tell_fills(self, pipeline: Pipeline) -> None:
        """Tell strategies of fills, when all is known that a former life told them."""
        engine, fills = self._engine, self._fills
        assert engine is not None  # noqa: S101  (start came first)
        await self._has_caught_up.wait()
        while True:
            bodies = await fills.batch()
            async with self._moving:
                for body in bodies:
                    engine.filling.take(body)
                outgoing = [said(self._context, told) for told in engine.filling.take_news(self._moved)]
                outgoing += self._beside(engine, self._moved)
                if outgoing:
                    await pipeline.put_aside(outgoing)
            await self._announce()

    async def _answer_on(self, pipeline: Pipeline) -> None:
        """Answer every wish: between two bars, and never before bars that were decided in a former life."""
        engine = self._engine
        assert engine is not None  # noqa: S101  (start came first)
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            while (wish := self._roster.first_wish(self._stuck)) and self._moved >= self._end_at_start:
                try:  # bars go on meanwhile
                    facts = await facts_of(self._context, wish, self._roster.bots)
                except (NatsError, OSError, TimeoutError, msgspec.DecodeError) as err:
                    reason = str(err) or type(err).__name__
                    log.warning("a wish about a bot waits", bot=wish.bot, reason=reason)
                    self._stuck[wish.id] = (
                        f"a wish about bot {wish.bot} waits for the venue's list of symbols: {reason}"
                    )
                    await asyncio.sleep(_AGAIN_S)
                    continue
                self._stuck.pop(wish.id, None)
                async with self._moving:
                    followed = await self._rostering.answer(wish, facts, self._moved)
                    outgoing = [said(self._context, body) for body in followed]
                    await pipeline.put_aside(outgoing + self._followed(engine, [], self._moved))
                    self._fills.follow(*engine.filling.wanted())
                self._is_due.set()

    async def _losses(self) -> list[Outgoing]:
        """Say what the market stream lost: no indicator runs over a hole that nobody was told of."""
        context, reader = self._context, self._reader
        alerts: list[Outgoing] = []
        while reader is not None and reader.losses:
            what = f"{reader.losses.pop(0)}: bars not seen before are missing from indicators"
            self._problem = what
            alerts.append(self._alert(what, await context.clock.now_ns()))
        return alerts

    def _alert(self, what: str, ts_ns: int) -> Outgoing:
        alert_id = make_id(self._context.account, self._context.run, "signals", what, ts_ns)
        return self._context.outgoing(Alert(alert_id, "error", "signals", what, ts_ns), alert_id)

    async def _announce(self) -> None:
        await self._context.announce(self.status())

    async def stop(self) -> None:
        """Write the state down, unless outputs are still owed: then the last checkpoint stands."""
        if self._pipeline is not None:
            self._pipeline.checkpoint()

    def status(self) -> Status:
        """Say how it is."""
        counters: dict[str, int] = {}
        if self._engine is not None:
            c = self._engine.counters
            counters = {"bars": c.bars, "refused": c.refused, "evaluated": c.evaluated, "signals": c.signals}
            counters |= {"splits": len(self._engine.splits.known), "faults": c.faults}
            counters |= {} if self._fills.seq is None else {"fills_seq": self._fills.seq}
            counters["expected"] = int(self._engine.is_expecting)
            counters["bots"] = sum(bot.status is BotStatus.RUNNING for bot in self._roster.bots.values())
        counters["revisions"] = sum(bot.revision for bot in self._roster.bots.values())
        topology = self._context.topology
        published = {topology.trading: self._publisher.last_seq}
        position = 0 if self._pipeline is None else self._pipeline.position
        problems = [*([self._problem] if self._problem else []), *self._stuck.values()]
        problems += [failed_text(bot) for bot in self._roster.bots.values() if bot.status is BotStatus.ERROR]
        return Status("signals", 0, "", {topology.market: position}, published, 0, counters, problems)

    async def _take_told(self, stored: list[Stored]) -> None:
        """Take in the calendar, splits, what is known of bots, and what a former life did without a bar."""
        engine = self._engine
        assert engine is not None  # noqa: S101  (start came first)
        for item in stored:
            body = read(item, self._context.topology.trading, decode).body
            if isinstance(body, Sessions):
                engine.on_sessions(body)
                self._is_calendar_known = True
            elif isinstance(body, Timer | FillTold):
                engine.expect(body)
            elif isinstance(body, Alert):
                engine.on_own_alert(body)
            elif isinstance(body, Split) and body.id not in engine.splits.known:
                await self._take_split(engine, body)
            else:
                self._roster.apply(body)
                if isinstance(body, BotDefined):
                    engine.expect(body)

    async def _take_split(self, engine: SignalEngine, split: Split) -> None:
        """Take in a split where nothing is under way, and keep what it made of strategies.

        A later life that hears of it sooner would make them anew from less: only so many bars and fills are kept.
        """
        async with self._moving:
            pipeline = self._pipeline
            if pipeline is not None:
                await pipeline.settle()
            history = await bars_until(self._context, {split.symbol, split.new_symbol}, self._moved)
            engine.on_split(split, history.bars)
            if pipeline is not None:
                await pipeline.put_aside(self._followed(engine, [], self._moved))
                await pipeline.settle()
                pipeline.checkpoint()

    async def _move(self, engine: SignalEngine, batch: list[Stored]) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        market = self._context.topology.market
        for item in batch:
            if engine.is_expecting:
                signals = await self._rostering.come_to(item.seq - 1)
                outgoing += self._followed(engine, signals, item.seq - 1)
            message = read(item, market, decode_market)
            body = message.body
            if isinstance(body, PastBars):
                engine.on_past(body)
            if isinstance(body, Ticks):
                signals = engine.on_ticks(body)
            elif isinstance(body, Bar):
                signals = engine.come_before(body)
                needed = engine.needs_past(body)
                history = await bars_until(self._context, needed, item.seq) if needed else None
                signals += engine.on_bar(body, () if history is None else history.bars)
            else:
                continue
            outgoing += self._followed(engine, signals, item.seq, message.head.ts_recv)
        return outgoing

    def _followed(self, engine: SignalEngine, signals: list[Signal], seq: int, ts_recv: int = 0) -> list[Outgoing]:
        """Give what follows from a step at a position, in order; a bot that is given up looks at no further bar."""
        context = self._context
        outgoing = [said(context, body) for body in (*engine.timers(seq), *engine.frames())]
        outgoing += [context.outgoing(one, one.id, ts_recv=ts_recv, trace=one.bar) for one in signals]
        return outgoing + self._beside(engine, seq)

    def _beside(self, engine: SignalEngine, seq: int) -> list[Outgoing]:
        """Give what strategies saw, and what became of those that raise."""
        outgoing = [said(self._context, body) for body in (*engine.shown(), *engine.alerts())]
        for name, reason in engine.failed().items():
            known = self._roster.bots[name]
            if known.status not in (BotStatus.RUNNING, BotStatus.PAUSED) or known.revision > engine.revision(name):
                continue  # a former life stopped it, or changed it since
            stopped = faulty(known, reason, engine.newest_ns, seq)
            self._roster.apply(stopped)
            engine.define(stopped)
            self._fills.follow(*engine.filling.wanted())
            outgoing += [self._alert(failed_text(stopped), stopped.ts_event), said(self._context, stopped)]
        return outgoing
