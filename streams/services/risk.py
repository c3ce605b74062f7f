"""risk: signals, order events and fills of the trading stream to verdicts, positions and the account. One per account.

It drains what is pending, lets all of it change the ledger, answers every waiting signal in stream order, publishes one
batch, and only then lets its position follow. Recovery is the same: read from the checkpoint's position to the end
before answering anything; verdicts found on the way are applied instead of made again. Decisions are engine.risk's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from engine.ids import make_id
from engine.messages import Account, AnyBody, Position, Signal, decode
from engine.risk import RiskCore, RiskState
from streams.checkpoint import CheckpointStore
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader, Stored, read
from streams.role import Context, Status

_BATCH_MAX = 1_000


class Risk:
    """The risk service."""

    def __init__(self, context: Context, store: Callable[[str], CheckpointStore]) -> None:
        self._context = context
        self._open_store = store
        self._publisher = Publisher(context.nc, context.topology.trading, "risk")
        self._store: CheckpointStore | None = None
        self._core: RiskCore | None = None
        self._reader: Reader | None = None
        self._position = 0
        self._end_at_start = 0
        self._due: dict[str, AnyBody] = {}
        self._received: dict[str, tuple[int, str]] = {}
        self._counters = {"signals": 0, "intents": 0, "denials": 0, "reached": 0, "fills": 0}
        self._checkpointed = 0
        self._checkpointed_at = 0.0

    async def start(self) -> None:
        """Take the newest checkpoint and go on reading after it, silent up to the stream's present end."""
        context = self._context
        await context.identify()
        self._store = self._open_store(f"{context.account}/{context.run}")
        checkpoint = self._store.newest()
        state = None
        if checkpoint is not None:
            state = msgspec.msgpack.decode(checkpoint.payload, type=RiskState)
            self._position = checkpoint.header.positions[context.topology.trading]
        self._core = RiskCore(context.settings.bots, context.settings.limits, state)
        info = await context.js.stream_info(context.topology.trading)
        self._end_at_start = info.state.last_seq
        self._reader = context.reader(context.topology.trading, self._position)
        await self._reader.start()
        self._checkpointed, self._checkpointed_at = self._position, time.monotonic()

    async def run(self) -> None:
        """Drain, decide, publish, move."""
        reader, core = self._reader, self._core
        assert reader is not None  # noqa: S101  (start came first)
        assert core is not None  # noqa: S101
        if self._position >= self._end_at_start:
            await self._answer(core)
        while True:
            batch = await reader.batch(_BATCH_MAX)
            for item in batch:
                self._apply(core, item)
            if batch[-1].seq >= self._end_at_start:
                await self._answer(core)
            self._position = batch[-1].seq
            self._checkpoint_if_due()
            await self._context.announce(self.status())

    async def stop(self) -> None:
        """Write the state down, unless outputs are still owed: then the last checkpoint stands."""
        if not self._due:
            self._checkpoint()

    def status(self) -> Status:
        """Say how it is."""
        counters = dict(self._counters)
        if self._core is not None:
            counters["waiting"] = len(self._core.state.waiting)
            counters["reservations"] = len(self._core.state.portfolio.reservations)
        trading = self._context.topology.trading
        published = {trading: self._publisher.last_seq}
        return Status("risk", 0, "", {trading: self._position}, published, len(self._due), counters)

    def _apply(self, core: RiskCore, item: Stored) -> None:
        message = read(item, self._context.topology.trading, decode)
        body = message.body
        if isinstance(body, Position | Account):
            self._due.pop(self._id(body), None)
            return
        if isinstance(body, Signal):
            self._received[body.id] = (message.head.ts_recv, message.head.trace)
        for ledger in core.apply(body):
            self._due[self._id(ledger)] = ledger

    def _id(self, body: Position | Account | AnyBody) -> str:
        kind = type(body).__name__
        cause = body.cause if isinstance(body, Position | Account) else ""
        return make_id(self._context.account, self._context.run, "risk", kind, cause)

    async def _answer(self, core: RiskCore) -> None:
        """Publish the ledger messages that are due and a verdict for every waiting signal, as one batch."""
        context = self._context
        outgoing: list[Outgoing] = [context.outgoing(body, msg_id) for msg_id, body in self._due.items()]
        if core.state.waiting:
            now = await context.clock.now_ns()
            for verdict in core.decide_waiting(now):
                ts_recv, trace = self._received.pop(verdict.signal_id, (0, verdict.signal_id))
                outgoing.append(context.outgoing(verdict, verdict.id, ts_recv=ts_recv, trace=trace))
                self._count(type(verdict).__name__)
        self._received.clear()
        if outgoing:
            context.points.hit("risk.before_publish")
            await self._publisher.atomic(outgoing)
            context.points.hit("risk.after_publish")
        self._due.clear()

    def _count(self, kind: str) -> None:
        self._counters["signals"] += 1
        name = {"OrderIntent": "intents", "RiskDenied": "denials", "TargetReached": "reached"}[kind]
        self._counters[name] += 1

    def _checkpoint_if_due(self) -> None:
        settings = self._context.settings.risk
        moved = self._position - self._checkpointed
        waited = time.monotonic() - self._checkpointed_at
        if moved and not self._due and (moved >= settings.checkpoint_messages or waited >= settings.checkpoint_s):
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self._store is None or self._core is None:
            return
        self._context.points.hit("risk.before_checkpoint")
        payload = msgspec.msgpack.encode(self._core.state)
        self._store.write({self._context.topology.trading: self._position}, payload)
        self._context.points.hit("risk.after_checkpoint")
        self._checkpointed, self._checkpointed_at = self._position, time.monotonic()
