"""executor: approved intents to the venue, what the venue says back to the trading stream. One per account.

Per intent: (1) check valid_until, (2) store OrderSubmitted, (3) POST once, (4) store the result. After a restart with 2
and without 4 the order is looked up by its client_order_id; not found, it is asked for again after a wait, and only
then the same id is posted again. Nothing is sent while trade_updates is down or orders are being caught up with.
Conclusions are engine.execution's.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable

import msgspec
import structlog
from nats.js.errors import NotFoundError

from engine.errors import ConfigError, UnreachableError
from engine.execution import Conclusion, ExecState, ExecutionCore
from engine.ids import fill_key, make_id
from engine.messages import (
    AccountOpened,
    AnyBody,
    Fee,
    Fill,
    OrderExpired,
    OrderIntent,
    Sessions,
    decode,
)
from engine.ports import (
    Accepted,
    LookupOutcome,
    NotFound,
    RateLimited,
    Rejected,
    SubmitOutcome,
    Unknown,
    UpdateStream,
    Venue,
    VenueActivity,
    VenueExecution,
    VenueOrder,
    VenueUpdate,
)
from engine.values import NS_PER_S, AssetClass, asset_class_of, plain
from streams.checkpoint import CheckpointStore
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader, read
from streams.rest import RestLane
from streams.role import Context, Status

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_DAY_NS = 24 * 3600 * NS_PER_S
_BATCH_MAX = 5_000
_GATHER_ABOVE, _GATHER_S = 8, 0.005
"""With many requests open, answers of a few milliseconds are stored together: a batch costs one fsync."""
_AHEAD_MAX = 32
"""Orders stored as submitted and not answered yet; after a kill each of them is looked up."""


class _Outcome(msgspec.Struct, frozen=True):
    intent: OrderIntent
    outcome: SubmitOutcome


class _CaughtUp(msgspec.Struct, frozen=True):
    """What a round of questions brought: orders by our id, and executions since the last one known."""

    lookups: dict[str, LookupOutcome]
    executions: list[VenueExecution]
    activities: list[VenueActivity]
    failure: str = ""
    whole: bool = False


class _Link(msgspec.Struct, frozen=True):
    up: bool


class Executor:
    """The executor service; a VenueListener of the update stream."""

    def __init__(
        self, context: Context, store: Callable[[str], CheckpointStore], venue: Venue, updates: UpdateStream
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
        self._to_send: deque[OrderIntent] = deque()
        self._resend: set[str] = set()
        self._asked: dict[str, int] = {}
        self._catching_up = 0
        self._posting = 0
        self._working = 0
        self._is_up = False
        self._is_synced = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._refs: dict[str, dict[str, str]] = {}
        self._counters = {"submitted": 0, "rejected": 0, "expired": 0}
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
        await self._open_ledger()
        self._store = self._open_store(f"{context.account}/{context.run}")
        checkpoint = self._store.newest()
        if checkpoint is not None:
            self._core = ExecutionCore(msgspec.msgpack.decode(checkpoint.payload, type=ExecState))
            self._position = checkpoint.header.positions[context.topology.trading]
        info = await context.js.stream_info(context.topology.trading)
        self._reader = context.reader(context.topology.trading, self._position)
        await self._reader.start()
        while self._position < info.state.last_seq:
            batch = await self._reader.batch(_BATCH_MAX)
            for item in batch:
                self._core.apply(read(item, context.topology.trading, decode).body)
            self._position = batch[-1].seq
        await self._ensure_sessions()
        self._to_send.extend(self._core.unsent())
        self._checkpointed, self._checkpointed_at = self._position, time.monotonic()
        self._spawn(self._updates.run(self))

    async def run(self) -> None:
        """Take what comes from the stream and the venue; store what follows; then send."""
        self._spawn(self._pump())
        self._spawn(self._tick())
        while True:
            items = [await self._inbox.get()]
            if self._posting > _GATHER_ABOVE:
                await asyncio.sleep(_GATHER_S)
            while not self._inbox.empty():
                items.append(self._inbox.get_nowait())
            self._working = 1
            now = await self._now(items)
            events: list[AnyBody] = []
            asks: set[str] = set()
            for item in items:
                events.extend(self._take(item, asks, now))
            await self._publish(events)
            if asks or any(isinstance(e, Fill) and asset_class_of(e.symbol) is AssetClass.CRYPTO for e in events):
                self._ask(asks)
            await self._send()
            self._checkpoint_if_due()
            self._working = 0
            if self._inbox.empty():
                await self._context.announce(self.status())

    async def stop(self) -> None:
        """Stop listening and write the state down."""
        await self._updates.stop()
        for task in self._tasks:
            task.cancel()
        self._lane.close()
        self._checkpoint()

    def status(self) -> Status:
        """Say how it is; busy while anything is unsent, unanswered or being asked."""
        state = self._core.state
        counters = self._counters | {
            "fills": state.fills,
            "fees": len(state.fees),
            "orders": len(state.orders),
            "open": len(state.open_ids),
            "ended": state.ended,
            "foreign": state.foreign,
            "connected": int(self._is_up),
        }
        busy = self._working + self._inbox.qsize() + len(self._to_send) + self._posting + self._catching_up
        problems = [] if self._is_up and self._is_synced else ["trade_updates is down or being caught up with"]
        trading = self._context.topology.trading
        published = {trading: self._publisher.last_seq}
        return Status("executor", 0, "", {trading: self._position}, published, busy, counters, problems)

    # --- start -------------------------------------------------------------------------------------------------------

    async def _open_ledger(self) -> None:
        context = self._context
        account = await self._lane.call("account", self._venue.account)
        wanted = context.settings.alpaca.account_number
        if wanted and wanted != account.account_number:
            msg = (
                f"alpaca.account_number is {wanted}, but the keys are of account {account.account_number}: "
                "set the one or use the keys of the other"
            )
            raise ConfigError(msg)
        try:
            await context.js.get_last_msg(context.topology.trading, f"{context.topology.prefix}.opened")
        except NotFoundError:
            now = await context.clock.now_ns()
            run = context.settings.run_id
            opened = AccountOpened("ALPACA", account.account_number, run, account.cash, now, account.positions)
            await self._publisher.one(context.outgoing(opened, make_id(account.account_number, run, "opened")))
        known = await context.identify()
        if known.account_number != account.account_number:
            msg = (
                f"this data directory belongs to account {known.account_number}, the keys are of "
                f"{account.account_number}: use that account's keys, or another --data-dir"
            )
            raise ConfigError(msg)

    async def _ensure_sessions(self) -> None:
        """Store the venue's calendar for the next weeks, if what is stored ends too soon."""
        now = await self._context.clock.now_ns()
        if self._core.state.sessions_until > now + 7 * _DAY_NS:
            return
        first, last = now - 7 * _DAY_NS, now + 45 * _DAY_NS
        spans = await self._lane.call("calendar", lambda: self._venue.sessions(first, last))
        body = Sessions(AssetClass.US_EQUITY, tuple(spans), now)
        await self._publish([body])

    # --- taking ------------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        reader = self._reader
        assert reader is not None  # noqa: S101  (start came first)
        while True:
            batch = await reader.batch(_BATCH_MAX)
            bodies = [read(item, self._context.topology.trading, decode).body for item in batch]
            await self._inbox.put((bodies, batch[-1].seq))

    async def _tick(self) -> None:
        """Ask for fees and other activities now and then, and keep the calendar ahead."""
        while True:
            await asyncio.sleep(self._settings.activities_every_s)
            if self._is_synced:
                self._ask(set())
                await self._ensure_sessions()

    def _take(self, item: object, asks: set[str], now: int) -> list[AnyBody]:
        match item:
            case (list() as bodies, int() as seq):
                self._fold(bodies)
                self._position = seq
                return []
            case VenueUpdate():
                return self._conclude(self._core.on_update(item), item.order.client_order_id, asks, item)
            case _Outcome():
                return self._take_outcome(item, asks, now)
            case _CaughtUp():
                return self._take_caught_up(item, asks, now)
            case _Link():
                self._is_up, self._is_synced = item.up, False
                if item.up:
                    self._ask(set(self._core.open_at_venue()) | set(self._core.unresolved()), whole=True)
                return []
            case BaseException():
                raise item
            case _:
                log.error("unknown item", item=repr(item))
                return []

    def _fold(self, bodies: Iterable[AnyBody]) -> None:
        for body in bodies:
            if isinstance(body, OrderIntent) and body.id not in self._core.state.orders:
                self._to_send.append(body)
            self._core.apply(body)

    def _conclude(
        self, conclusion: Conclusion, client_order_id: str, asks: set[str], update: VenueUpdate | None = None
    ) -> list[AnyBody]:
        if update is not None and update.execution is not None:
            self._remember(update.execution, via="trade_updates")
        for event in conclusion.events:
            self._core.apply(event)
        if conclusion.needs_executions:
            asks.add(client_order_id)
        return list(conclusion.events)

    def _take_outcome(self, item: _Outcome, asks: set[str], now: int) -> list[AnyBody]:
        intent, outcome = item.intent, item.outcome
        self._posting -= 1
        match outcome:
            case Accepted() | Rejected():
                self._counters["rejected"] += isinstance(outcome, Rejected)
                return self._conclude(self._core.on_outcome(intent.id, outcome, now), intent.id, asks)
            case RateLimited():
                self._posting += 1
                self._spawn(self._send_later(intent, outcome.retry_after_s))
            case Unknown():
                log.warning("outcome unknown, looking the order up", client_order_id=intent.id, reason=outcome.reason)
                asks.add(intent.id)
        return []

    def _take_caught_up(self, item: _CaughtUp, asks: set[str], now: int) -> list[AnyBody]:
        self._catching_up -= 1
        if item.failure:
            log.warning("venue did not answer, asking again", reason=item.failure)
            self._ask_after_a_while(set(item.lookups), whole=item.whole)
            return []
        events: list[AnyBody] = []
        found = [order for order in item.lookups.values() if isinstance(order, VenueOrder)]
        behind: set[str] = set()
        for order in found:
            events += self._conclude(self._core.on_order(order), order.client_order_id, behind)
        for execution in item.executions:
            self._remember(execution, via="activities")
        events += self._conclude(self._core.on_executions(item.executions), "", set())
        for order in found:
            events += self._conclude(self._core.on_order(order), order.client_order_id, asks)
        events += self._conclude(self._core.on_activities(item.activities), "", set())
        for client_order_id, outcome in item.lookups.items():
            if not isinstance(outcome, VenueOrder):
                events += self._take_missing(client_order_id, outcome, asks, now)
        if item.whole:
            self._is_synced = True
        return events

    def _take_missing(self, client_order_id: str, outcome: LookupOutcome, asks: set[str], now: int) -> list[AnyBody]:
        """An order that was submitted and is not found: ask again after a wait, then post the same id again."""
        order = self._core.state.orders.get(client_order_id)
        if order is None or not order.is_open:
            return []
        if not isinstance(outcome, NotFound):
            self._ask_after_a_while({client_order_id})
            return []
        asked = self._asked[client_order_id] = self._asked.get(client_order_id, 0) + 1
        if asked < 2:
            self._ask_after_a_while({client_order_id})
            return []
        del self._asked[client_order_id]
        intent = order.intent
        if now > intent.valid_until:
            expired = OrderExpired(intent.id, intent.bot, intent.symbol, "not_sent", now)
            return self._conclude(Conclusion((expired,)), intent.id, asks)
        self._resend.add(intent.id)
        self._to_send.appendleft(intent)
        return []

    def _remember(self, execution: VenueExecution, via: str) -> None:
        key = fill_key(execution.venue_order_id, plain(execution.cum_qty))
        refs = {"execution_id": execution.execution_id, "activity_id": execution.activity_id, "via": via}
        self._refs.setdefault(key, refs)

    # --- storing -----------------------------------------------------------------------------------------------------

    async def _publish(self, events: list[AnyBody]) -> None:
        if not events:
            return
        self._context.points.hit("executor.before_publish")
        await self._publisher.atomic([self._outgoing(event) for event in events])
        self._context.points.hit("executor.after_publish")
        self._refs.clear()

    def _outgoing(self, body: AnyBody) -> Outgoing:
        context = self._context
        match body:
            case Fill():
                key = fill_key(body.venue_order_id, plain(body.cum_qty))
                msg_id = make_id(context.account, context.run, "fill", key)
                return context.outgoing(body, msg_id, trace=body.client_order_id, refs=self._refs.get(key))
            case Fee():
                return context.outgoing(body, make_id(context.account, context.run, "fee", body.id))
            case Sessions():
                key = "|".join(str(opening) for opening, _ in body.spans)
                return context.outgoing(body, make_id(context.account, context.run, "sessions", key))
            case _:
                order_id = str(getattr(body, "client_order_id", ""))
                msg_id = make_id(context.account, context.run, "order", type(body).__name__, order_id)
                return context.outgoing(body, msg_id, trace=order_id)

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _now(self, items: list[object]) -> int:
        """Ask the clock only where an event is dated by it: a refusal, or an order that never arrived."""
        if any(
            isinstance(i, _CaughtUp) or (isinstance(i, _Outcome) and isinstance(i.outcome, Rejected)) for i in items
        ):
            return await self._context.clock.now_ns()
        return 0

    async def _send(self) -> None:
        if not (self._is_up and self._is_synced and self._to_send) or self._posting > _AHEAD_MAX // 2:
            return
        now = await self._context.clock.now_ns()
        ready: list[OrderIntent] = []
        events: list[AnyBody] = []
        while self._to_send and self._posting + len(ready) < _AHEAD_MAX:
            intent = self._to_send.popleft()
            order = self._core.state.orders.get(intent.id)
            if order is None or not order.is_open:
                continue
            if intent.id in self._resend:
                self._resend.discard(intent.id)
                ready.append(intent)
                continue
            event = self._core.submit(intent, now)
            self._core.apply(event)
            events.append(event)
            if isinstance(event, OrderExpired):
                self._counters["expired"] += 1
            else:
                ready.append(intent)
        await self._publish(events)
        for intent in ready:
            self._counters["submitted"] += 1
            self._posting += 1
            self._spawn(self._post(intent))

    async def _post(self, intent: OrderIntent) -> None:
        points = self._context.points

        def post() -> SubmitOutcome:
            points.hit("executor.before_post")
            outcome = self._venue.submit(intent)
            points.hit("executor.after_post")
            return outcome

        try:
            outcome = await self._lane.call(intent.symbol, post)
        except UnreachableError as err:
            outcome = Unknown(str(err))
        self._inbox.put_nowait(_Outcome(intent, outcome))

    async def _send_later(self, intent: OrderIntent, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        self._resend.add(intent.id)
        self._posting -= 1
        self._to_send.append(intent)
        self._inbox.put_nowait(([], self._position))

    # --- asking ------------------------------------------------------------------------------------------------------

    def _ask(self, ids: set[str], *, whole: bool = False) -> None:
        self._catching_up += 1
        self._spawn(self._catch_up(ids, whole=whole))

    def _ask_after_a_while(self, ids: set[str], *, whole: bool = False) -> None:
        self._catching_up += 1
        self._spawn(self._ask_later(ids, whole=whole))

    async def _ask_later(self, ids: set[str], *, whole: bool = False) -> None:
        await asyncio.sleep(self._settings.lookup_wait_s)
        await self._catch_up(ids, whole=whole)

    async def _catch_up(self, ids: set[str], *, whole: bool) -> None:
        """Ask for orders, then executions, then activities; a state seen is never older than what is asked next."""
        state = self._core.state
        since_execution = max(state.last_execution_ns, state.opened_ns)
        since_activity = max(state.last_activity_ns, state.opened_ns)
        lookups: dict[str, LookupOutcome] = {}
        try:
            for client_order_id in sorted(ids):
                lookups[client_order_id] = await self._lane.call(
                    "ask", lambda key=client_order_id: self._venue.lookup(key)
                )
            executions: list[VenueExecution] = []
            if ids or whole:
                executions = list(await self._lane.call("ask", lambda: self._venue.executions(since_execution)))
            activities = list(await self._lane.call("ask", lambda: self._venue.activities(since_activity)))
        except UnreachableError as err:
            missing = {key: lookups.get(key, Unknown(str(err))) for key in ids}
            self._inbox.put_nowait(_CaughtUp(missing, [], [], failure=str(err), whole=whole))
            return
        self._inbox.put_nowait(_CaughtUp(lookups, executions, activities, whole=whole))

    # --- small parts -------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._inbox.put_nowait(task.exception())

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
        self._store.write({self._context.topology.trading: self._position}, payload)
        self._context.points.hit("executor.after_checkpoint")
        self._checkpointed, self._checkpointed_at = self._position, time.monotonic()
