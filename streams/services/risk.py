"""risk: signals, order events and fills of the trading stream to verdicts, positions and the account. One per account.

It drains what is pending, lets one message after the other change the ledger, answers what it moved before it looks at
the next, and publishes one batch, while it decides the next; its position follows what is stored. Recovery is the same:
read from the checkpoint's position to the end before answering anything; verdicts found on the way are applied instead
of made again. Decisions are engine.risk's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
from nats.errors import Error as NatsError

from engine.errors import BrokenPromiseError
from engine.ids import make_id
from engine.messages import (
    Account,
    Alert,
    AnyBody,
    CancelOrder,
    OrderIntent,
    Position,
    Protection,
    RiskDenied,
    Signal,
    TargetReached,
    TradingState,
    decode,
)
from engine.risk import RiskCore, RiskState
from engine.risk.waiting import moved_by
from engine.shadows import MakeVenue
from engine.values import TradingMode
from streams.checkpoint import CheckpointStore
from streams.pipeline import Pipeline
from streams.publisher import Outgoing, Publisher
from streams.reader import Stored, read
from streams.role import Context, Status
from streams.shadowing import Shadowing
from streams.subjects import state_subject

_BATCH_MAX = 250
_CONFIRM_S = 0.5
_LOOK_S = 1.0


class Risk:
    """The risk service.

    Args:
        context: The role's.
        store: Gives the checkpoints of an account and run.
        make_venue: Gives each shadow of a bot the venue on which its orders are filled.
    """

    def __init__(self, context: Context, store: Callable[[str], CheckpointStore], make_venue: MakeVenue) -> None:
        self._context = context
        self._shadowing = Shadowing(context, make_venue, self._announce)
        self._open_store = store
        self._publisher = Publisher(context.nc, context.topology.trading, "risk")
        self._pipeline: Pipeline | None = None
        self._core: RiskCore | None = None
        self._end_at_start = 0
        self._read_to_end = False
        self._due: dict[str, AnyBody] = {}
        self._received: dict[str, tuple[int, str]] = {}
        self._counters = {"signals": 0, "intents": 0, "denials": 0, "reached": 0, "positions_seq": 0}

    async def start(self) -> None:
        """Take the newest checkpoint and go on reading after it, silent up to the stream's present end."""
        context = self._context
        await context.identify()
        store = self._open_store(f"{context.account}/{context.run}")
        checkpoint = await context.recall(store)
        trading = context.topology.trading
        state, position = None, 0
        if checkpoint is not None:
            state = msgspec.msgpack.decode(checkpoint.payload, type=RiskState)
            position = checkpoint.header.positions[trading]
        self._core = RiskCore(context.settings.bots, context.settings.limits, state)
        await self._publisher.sync()
        self._end_at_start = await context.end(trading)
        reader = context.reader(trading, position, since=checkpoint)
        await reader.start()
        every = (context.settings.risk.checkpoint_messages, context.settings.risk.checkpoint_s)
        self._pipeline = Pipeline(context, self._publisher, reader, store=store, encode=self._encode, every=every)

    async def run(self) -> None:
        """Drain and decide, while what followed from earlier messages is being published."""
        assert self._pipeline is not None  # noqa: S101  (start came first)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._decide_on(self._pipeline))
            group.create_task(self._pipeline.publish(self._announce))
            group.create_task(self._confirm())
            group.create_task(self._shadowing.run())

    async def _decide_on(self, pipeline: Pipeline) -> None:
        core = self._core
        assert core is not None  # noqa: S101  (start came first)
        if pipeline.position >= self._end_at_start:
            self._read_to_end = True
            await pipeline.put(self._answer(core, await self._now_ns(core)))
        while True:
            if not self._due:
                await pipeline.checkpoint_when_idle()
            batch = await pipeline.batch(_BATCH_MAX, self._look_s(core))
            if not batch:
                if outgoing := self._answer(core, await self._now_ns(core)):
                    await pipeline.put(outgoing)
                continue
            await pipeline.put(await self._decide(core, batch))

    async def _decide(self, core: RiskCore, batch: list[Stored]) -> list[Outgoing]:
        """Decide after each message: what is decided does not depend on which of them came together.

        Up to the stream's end at a start it does: all that was stored counts before anything is said.
        """
        outgoing, now_ns = list[Outgoing](), 0
        for item in batch:
            body = self._apply(core, item)
            if item.seq >= self._end_at_start:
                is_first, self._read_to_end = not self._read_to_end, True
                now_ns = now_ns or await self._now_ns(core)
                outgoing += self._answer(core, now_ns, None if is_first else body)
        return outgoing

    async def _now_ns(self, core: RiskCore) -> int:
        """Give venue time where it is needed; else 0."""
        return await self._context.clock.now_ns() if core.has_work else 0

    def _look_s(self, core: RiskCore) -> float | None:
        """Give how long to wait for a message before looking at what is due by the clock; None for as long as it takes.

        An exit that came to nothing leaves at the opening, or after a wait, whether or not anything happens then.
        """
        return self._context.clock.look_s(_LOOK_S) if self._read_to_end and core.has_work else None

    async def _confirm(self) -> None:
        """Say the trading mode again and again: without that executor sends nothing (rule 11)."""
        context, subject = self._context, state_subject(self._context.topology.prefix)
        while True:
            if self._core is not None and self._read_to_end:
                state = self._core.state
                body = TradingState(state.mode, state.mode_reason, "", 0)
                with contextlib.suppress(NatsError, OSError):
                    await context.nc.publish(subject, msgspec.json.encode(body))
            await asyncio.sleep(_CONFIRM_S)

    async def _announce(self) -> None:
        await self._context.announce(self.status())

    async def stop(self) -> None:
        """Write the state down, unless outputs are still owed: then the last checkpoint stands."""
        if self._pipeline is not None and not self._due:
            self._pipeline.checkpoint()

    def _encode(self) -> bytes:
        return b"" if self._core is None else msgspec.msgpack.encode(self._core.state)

    def status(self) -> Status:
        """Say how it is."""
        counters = dict(self._counters)
        if self._core is not None:
            counters["waiting"] = len(self._core.state.waiting)
            counters["reservations"] = len(self._core.state.portfolio.reservations)
        trading = self._context.topology.trading
        shadowing = self._shadowing
        counters |= {"shadows": len(shadowing.names), "shadowed": shadowing.stored}
        published = {trading: max(self._publisher.last_seq, shadowing.last_seq)}
        position = 0 if self._pipeline is None else shadowing.behind(self._pipeline.position)
        problems = [] if self._core is None else list(self._core.protector.bare().values())
        if self._core is not None and self._core.state.mode is TradingMode.REDUCING:
            why = self._core.state.mode_reason
            problems.append(f"trading is reducing, nothing is opened: {why} (end it with: tapeline resume)")
        problems += shadowing.problems
        return Status("risk", 0, "", {trading: position}, published, len(self._due), counters, problems)

    def _apply(self, core: RiskCore, item: Stored) -> AnyBody:
        message = read(item, self._context.topology.trading, decode)
        body = message.body
        if isinstance(body, Position):
            self._counters["positions_seq"] = item.seq
        if isinstance(body, Position | Account | TradingState | Protection):
            self._due.pop(self._id(body), None)
            if not isinstance(body, TradingState):
                return body
        if isinstance(body, Signal | Alert):
            self._due.pop(body.id, None)
        if isinstance(body, Signal):
            self._received[body.id] = (message.head.ts_recv, message.head.trace)
        for ledger in core.apply(body):
            self._due[self._id(ledger)] = ledger
        return body

    def _id(self, body: AnyBody) -> str:
        account, run, kind = self._context.account, self._context.run, type(body).__name__
        match body:
            case Signal() | Alert() | CancelOrder() | OrderIntent() | RiskDenied() | TargetReached():
                return body.id
            case Position() | Protection():
                return make_id(account, run, "risk", kind, body.bot, body.symbol, body.cause)
            case Account() | TradingState():
                return make_id(account, run, "risk", kind, body.cause)
            case _:
                msg = f"risk does not make {kind}"
                raise BrokenPromiseError(msg)

    def _answer(self, core: RiskCore, now_ns: int, body: AnyBody | None = None) -> list[Outgoing]:
        """Give the ledger messages that are due, and the verdicts that a message brings; None: that time brings."""
        context = self._context
        outgoing: list[Outgoing] = [context.outgoing(due, msg_id) for msg_id, due in self._due.items()]
        if core.has_work:
            for answer in core.decide_waiting(now_ns, "" if body is None else moved_by(body)):
                if isinstance(answer, TradingState | CancelOrder | Alert):
                    outgoing.append(context.outgoing(answer, self._id(answer)))
                    continue
                ts_recv, trace = self._received.pop(answer.signal_id, (0, answer.signal_id))
                outgoing.append(context.outgoing(answer, answer.id, ts_recv=ts_recv, trace=trace))
                self._count(type(answer).__name__)
        self._received.clear()
        self._due.clear()
        return outgoing

    def _count(self, kind: str) -> None:
        self._counters["signals"] += 1
        name = {"OrderIntent": "intents", "RiskDenied": "denials", "TargetReached": "reached"}[kind]
        self._counters[name] += 1
