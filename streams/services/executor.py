"""executor: approved intents to the venue, what the venue says back to the trading stream. One per account.

Per intent: (1) check valid_until, trading mode and latch, (2) store OrderSubmitted, (3) POST, (4) store the result.
After a restart with 2 and without 4 the order is looked up by its client_order_id; not found, it is asked for again
after a wait, and only then the same id is posted again. Nothing is sent while trade_updates is down, orders are being
caught up with, or the account was not compared with the venue's since. Sending, asking, canceling and reconciling have
a file each; conclusions are engine.execution's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import msgspec
import structlog
from nats.aio.msg import Msg

from engine.errors import UnreachableError
from engine.execution import Conclusion, ExecState, ExecutionCore
from engine.messages import (
    AnyBody,
    BotDefined,
    CancelOrder,
    Fill,
    OrderIntent,
    TradingState,
    decode,
)
from engine.ports import (
    Accepted,
    RateLimited,
    Rejected,
    Unknown,
    UpdateStream,
    Venue,
    VenueOrder,
    VenueUpdate,
)
from engine.values import AssetClass, TradingMode, asset_class_of
from streams.checkpoint import CheckpointStore
from streams.executing.asking import Asker, CaughtUp, flattened
from streams.executing.canceling import Canceler, Stuck
from streams.executing.latching import Latcher
from streams.executing.listing import Lister
from streams.executing.opening import coming_sessions, open_ledger
from streams.executing.reconciling import Looked, Reconciler
from streams.executing.sending import Latched, Outcome, Sender, TooLate
from streams.executing.storing import Names
from streams.latch import Latch
from streams.publisher import Publisher
from streams.reader import Reader, read
from streams.rest import RestLane
from streams.role import Context, Status
from streams.subjects import state_subject
from streams.tasks import Tasks

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_BATCH_MAX = 5_000
_SYNC_LOOK_S = 0.5
_GATHER_ABOVE, _GATHER_S = 8, 0.005
"""With many requests open, answers of a few milliseconds are stored together: a batch costs one fsync."""


class _Link(msgspec.Struct, frozen=True):
    up: bool


class _Asks(msgspec.Struct):
    """What must be asked after a round: orders by our id, and whether the venue's whole list."""

    ids: set[str] = msgspec.field(default_factory=set[str])
    sweep: bool = False


class Executor:
    """The executor service; a VenueListener of the update stream."""

    def __init__(
        self,
        context: Context,
        store: Callable[[str], CheckpointStore],
        venue: Venue,
        updates: UpdateStream,
        latch: Latch,
    ) -> None:
        self._context = context
        self._settings = context.settings.executor
        self._open_store = store
        self._venue = venue
        self._updates = updates
        self._publisher = Publisher(context.nc, context.topology.trading, "executor")
        self._lane = RestLane(self._settings.rest_workers, self._settings.requests_per_min_max)
        self._core = ExecutionCore()
        self._store: CheckpointStore | None = None
        self._reader: Reader | None = None
        self._position = 0
        self._inbox: asyncio.Queue[object] = asyncio.Queue()
        self._tasks = Tasks(self._inbox.put_nowait)
        self._latch = latch
        self._latcher = Latcher(context, self._publisher, latch, self._inbox.put_nowait)
        self._sender = Sender(context, venue, self._lane, tasks=self._tasks, latch=latch, answer=self._inbox.put_nowait)
        self._asker = Asker(
            lambda: self._core,
            venue,
            self._lane,
            tasks=self._tasks,
            answer=self._inbox.put_nowait,
            now_ns=context.clock.now_ns,
            wait_s=self._settings.lookup_wait_s,
        )
        self._lister = Lister(context, venue, self._lane, lambda: self._core.state)
        self._is_asked_for = asyncio.Event()
        self._reconciler = Reconciler(
            lambda: self._core,
            venue,
            self._lane,
            tasks=self._tasks,
            answer=self._inbox.put_nowait,
            now_ns=context.clock.now_ns,
            settings=self._settings,
            limits=context.settings.limits,
            symbols=self._lister.symbols,
        )
        self._canceler = Canceler(venue, self._settings, self._unwanted, self._inbox.put_nowait)
        self._working = 0
        self._is_up = False
        self._is_synced = False
        self._names = Names(context)
        self._rejected = 0
        self._checkpointed = 0
        self._checkpointed_at = 0.0

    # --- listener (never blocks, never raises) -----------------------------------------------------------------------

    def on_connected(self) -> None:
        """Catch up with what happened while nobody listened."""
        self._inbox.put_nowait(_Link(up=True))

    def on_disconnected(self) -> None:
        """Send nothing until it is back."""
        self._inbox.put_nowait(_Link(up=False))

    def on_update(self, update: VenueUpdate) -> None:
        """Queue an event."""
        self._inbox.put_nowait(update)

    # --- service -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make sure whose account it is, recover the orders, then listen to the venue."""
        context = self._context
        await open_ledger(context, self._venue, self._lane, self._publisher)
        self._store = self._open_store(f"{context.account}/{context.run}")
        checkpoint = await context.recall(self._store)
        trading = context.topology.trading
        if checkpoint is not None:
            self._core = ExecutionCore(msgspec.msgpack.decode(checkpoint.payload, type=ExecState))
            self._position = checkpoint.header.positions[trading]
        await self._publisher.sync()
        end = await context.end(trading)
        self._reader = context.reader(trading, self._position, since=checkpoint)
        self._reader.on_steady = lambda: self._inbox.put_nowait(None)
        await self._reader.start()
        while self._position < end:
            batch = await self._reader.batch(_BATCH_MAX)
            for item in batch:
                self._core.apply(read(item, context.topology.trading, decode).body)
            self._position = batch[-1].seq
        await self._ask_the_venue()
        for intent in self._core.unsent():
            self._sender.add(intent)
        self._checkpointed, self._checkpointed_at = self._position, time.monotonic()
        await context.nc.subscribe(state_subject(context.topology.prefix), cb=self._on_state)
        await self._lister.listen()
        self._tasks.spawn(self._updates.run(self))
        self._tasks.spawn(self._canceler.run())
        self._tasks.spawn(self._latcher.watch())

    async def run(self) -> None:
        """Take what comes from the stream and the venue; store what follows; then send."""
        self._tasks.spawn(self._pump())
        self._tasks.spawn(self._tick())
        self._tasks.spawn(self._reconciler.run())
        while True:
            items = [await self._inbox.get()]
            if self._sender.posting > _GATHER_ABOVE:
                await asyncio.sleep(_GATHER_S)
            while not self._inbox.empty():
                items.append(self._inbox.get_nowait())
            self._working = 1
            now = await self._now(items)
            events: list[AnyBody] = []
            asks = _Asks()
            for item in items:
                events.extend(self._take(item, asks, now))
            await self._publish(events)
            has_fees = any(isinstance(e, Fill) and asset_class_of(e.symbol) is AssetClass.CRYPTO for e in events)
            if asks.ids or asks.sweep or has_fees:
                self._asker.ask(asks.ids, sweep=asks.sweep)
            if self._is_up and self._is_synced and self._reader is not None and self._reader.is_steady:
                await self._sender.send(self._core, self._publish, only_reducing=self._reconciler.is_paused)
            self._checkpoint_if_due()
            self._working = 0
            if self._inbox.empty():
                await self._context.announce(self.status())

    async def stop(self) -> None:
        """Stop listening and write the state down."""
        await self._updates.stop()
        self._tasks.cancel()
        self._lane.close()
        self._canceler.close()
        if not self._working:  # else the state may hold events that are not stored: the last checkpoint stands
            self._checkpoint()

    def status(self) -> Status:
        """Say how it is; busy while anything is unsent, unanswered or being asked."""
        state = self._core.state
        counters = {
            "submitted": self._sender.submitted,
            "rejected": self._rejected,
            "expired": self._sender.not_sent,
            "cancels": self._canceler.requested,
            "fills": state.fills,
            "fees": len(state.fees),
            "orders": len(state.orders),
            "open": len(state.open_ids),
            "ended": state.ended,
            "foreign": state.foreign,
            "unwanted": len(self._unwanted()),
            "connected": int(self._is_up),
            "splits": len(state.splits),
            "due_ns": self._core.due_ns(),
            "corrections": len(state.book.known),
        }
        parts = (self._sender, self._asker, self._reconciler, self._canceler)
        busy = self._working + self._inbox.qsize() + sum(part.open for part in parts)
        problems = [] if self._is_up and self._is_synced else ["trade_updates is down or being caught up with"]
        problems += self._reconciler.problems() + self._canceler.problems()
        if (note := self._latch.read()) is not None:
            problems.append(f"halted by {note.by}: {note.reason} (end it with: tapeline resume)")
        elif not self._sender.is_confirmed:
            problems.append("risk does not confirm the trading mode: nothing is sent")
        at, last = ({self._context.topology.trading: seq} for seq in (self._position, self._publisher.last_seq))
        return Status("executor", 0, "", at, last, busy, counters, problems)

    async def _ask_the_venue(self) -> None:
        """Store its calendar and what it says of the bots' symbols, where what is stored is old."""
        until = self._core.state.sessions_until
        sessions = await coming_sessions(self._context, self._venue, self._lane, until)
        await self._publish([*filter(None, [sessions]), *await self._lister.changed()])

    # --- halting -----------------------------------------------------------------------------------------------------

    async def _on_state(self, msg: Msg) -> None:
        if msgspec.json.decode(msg.data, type=TradingState).mode is self._core.state.mode:
            self._sender.confirmed()

    def _unwanted(self) -> list[str]:
        return self._core.unwanted(latched=self._latch.is_set())

    # --- taking ------------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        reader = self._reader
        assert reader is not None  # noqa: S101  (start came first)
        while True:
            batch = await reader.batch(_BATCH_MAX)
            bodies = [read(item, self._context.topology.trading, decode).body for item in batch]
            await self._inbox.put((bodies, batch[-1].seq))

    async def _tick(self) -> None:
        """Ask for fees and other activities now and then, keep the calendar ahead, know the symbols of new bots."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_asked_for.wait(), self._settings.activities_every_s)
            if not self._is_synced:
                await asyncio.sleep(_SYNC_LOOK_S)
            else:
                self._is_asked_for.clear()
                self._asker.ask(set())
                try:
                    await self._ask_the_venue()
                except UnreachableError as err:
                    log.warning("venue did not answer, asking again", reason=str(err))

    def _take(self, item: object, asks: _Asks, now: int) -> list[AnyBody]:
        match item:
            case (list() as bodies, int() as seq):
                self._fold(bodies)
                self._position = seq
                return []
            case VenueUpdate():
                split = self._core.splits_before(item.order.symbol, item.ts_event)
                asks.sweep = asks.sweep or bool(split.events)
                events = self._conclude(split, "", asks)
                return [*events, *self._conclude(self._core.on_update(item), item.order.client_order_id, asks, item)]
            case Outcome():
                return self._take_outcome(item, asks, now)
            case CaughtUp():
                return self._take_caught_up(item, asks, now)
            case Looked():
                return self._take_looked(item, asks)
            case _Link():
                self._is_up = item.up
                self._catch_up()
                return []
            case Stuck():
                return [*self._core.stuck(item.client_order_id, now)]
            case BaseException():
                raise item
            case None:  # only a reason to look at what waits to be sent
                return []
            case _:
                log.error("unknown item", item=repr(item))
                return []

    def _catch_up(self) -> None:
        """Let nothing leave until the venue was asked for all that happened."""
        self._is_synced = False
        self._reconciler.reset()
        if self._is_up:
            self._asker.ask(self._open_ids(), whole=True)

    def _open_ids(self) -> set[str]:
        return set(self._core.open_at_venue()) | set(self._core.unresolved())

    def _fold(self, bodies: Iterable[AnyBody]) -> None:
        for body in bodies:
            if isinstance(body, OrderIntent) and body.id not in self._core.state.orders:
                self._sender.add(body)
            if isinstance(body, CancelOrder):
                self._canceler.wake()
            was_halted = self._core.state.mode is TradingMode.HALTED
            self._core.apply(body)
            if was_halted and self._is_up and self._core.state.mode is not TradingMode.HALTED:
                self._catch_up()  # somebody may have closed at the venue what our exits are for
            if isinstance(body, BotDefined):
                self._is_asked_for.set()

    def _conclude(
        self, conclusion: Conclusion, client_order_id: str, asks: _Asks, update: VenueUpdate | None = None
    ) -> list[AnyBody]:
        if update is not None and update.execution is not None:
            self._names.remember(update.execution, via="trade_updates")
        for event in conclusion.events:
            self._core.apply(event)
        if conclusion.needs_executions:
            asks.ids.add(client_order_id)
        asks.sweep = asks.sweep or conclusion.needs_orders
        return list(conclusion.events)

    def _take_outcome(self, item: Outcome, asks: _Asks, now: int) -> list[AnyBody]:
        intent, outcome = item.intent, item.outcome
        self._sender.answered(intent)
        match outcome:
            case Accepted() | Rejected():
                self._rejected += isinstance(outcome, Rejected)
                return self._conclude(self._core.on_outcome(intent.id, outcome, now), intent.id, asks)
            case RateLimited():
                self._sender.again_later(intent, outcome.retry_after_s)
            case Latched() | TooLate():
                self._sender.not_sent += 1
                return self._conclude(self._core.not_sent(intent.id, now), intent.id, asks)
            case Unknown():
                log.warning("outcome unknown, looking the order up", client_order_id=intent.id, reason=outcome.reason)
                asks.ids.add(intent.id)
        return []

    def _take_caught_up(self, item: CaughtUp, asks: _Asks, now: int) -> list[AnyBody]:
        """Adopt what is not known, then conclude from states, executions, and states again: a fill comes first."""
        self._asker.taken()
        if item.failure:
            log.warning("venue did not answer, asking again", reason=item.failure)
            self._asker.ask(set(item.lookups), sweep=item.orders is not None, whole=item.is_whole, later=True)
            return []
        core = self._core
        events: list[AnyBody] = []
        found = [order for order in item.lookups.values() if isinstance(order, VenueOrder)]
        asks.sweep = asks.sweep or (item.orders is None and any(map(core.lacks_legs, found)))
        if item.orders is not None:
            adopted = core.on_orders(item.orders, item.executions, foreign=self._settings.foreign_orders)
            events += self._conclude(adopted, "", asks)
            if adopted.intruders:
                self._tasks.spawn(self._latcher.halt_for(adopted.intruders[0]))
            found += [order for order in flattened(item.orders) if order.client_order_id in core.state.orders]
        behind = _Asks()
        for order in found:
            events += self._conclude(core.on_order(order), order.client_order_id, behind)
        for execution in item.executions:
            self._names.remember(execution, via="activities")
        for splits, part in core.around_splits(item.executions):
            events += self._conclude(splits, "", asks)
            events += self._conclude(core.on_executions(part), "", _Asks())
        for order in found:
            events += self._conclude(core.on_order(order), order.client_order_id, asks)
        events += self._conclude(core.on_activities(item.activities, now), "", _Asks())
        for client_order_id, outcome in item.lookups.items():
            if not isinstance(outcome, VenueOrder) and not self._sender.is_in_flight(client_order_id):
                missing = core.on_missing(client_order_id, outcome, now)
                events += self._conclude(missing, client_order_id, asks)
                if missing.ask_again:
                    self._asker.ask({client_order_id}, later=True)
                if missing.send_again is not None:
                    self._sender.again(missing.send_again)
        core.swept(item.swept_ns)
        if item.is_whole:
            self._reconciler.look()
        elif not (asks.ids or asks.sweep):
            self._reconciler.swept()
        return events

    def _take_looked(self, item: Looked, asks: _Asks) -> list[AnyBody]:
        """Compare ledger and account; the first comparison after catching up lets orders leave."""
        is_idle = not (self._sender.posting or self._asker.open)
        taken = self._reconciler.take(item, is_idle=is_idle, latched=self._latch.is_set())
        if taken.needs_sweep:
            asks.ids |= self._open_ids()
            asks.sweep = True
        self._is_synced = self._is_up and self._reconciler.is_agreed
        return list(taken.events)

    # --- storing -----------------------------------------------------------------------------------------------------

    async def _publish(self, events: list[AnyBody]) -> None:
        if not events:
            return
        self._context.points.hit("executor.before_publish")
        await self._publisher.atomic([self._names.outgoing(event) for event in events])
        self._context.points.hit("executor.after_publish")
        self._names.forget()

    async def _now(self, items: list[object]) -> int:
        """Ask the clock only where an event is dated by it: a refusal, an order that never arrived or never ends."""
        if any(
            isinstance(i, CaughtUp | Stuck)
            or (isinstance(i, Outcome) and isinstance(i.outcome, Rejected | Latched | TooLate))
            for i in items
        ):
            return await self._context.clock.now_ns()
        return 0

    # --- small parts -------------------------------------------------------------------------------------------------

    def _checkpoint_if_due(self) -> None:
        moved = self._position - self._checkpointed
        waited = time.monotonic() - self._checkpointed_at
        if moved and (moved >= self._settings.checkpoint_messages or waited >= self._settings.checkpoint_s):
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self._store is None:
            return
        self._context.points.hit("executor.before_checkpoint")
        payload = msgspec.msgpack.encode(self._core.state)
        seals = {} if self._reader is None else self._reader.seals_at(self._position)
        self._store.write({self._context.topology.trading: self._position}, payload, seals)
        self._context.points.hit("executor.after_checkpoint")
        self._checkpointed, self._checkpointed_at = self._position, time.monotonic()
