"""signals: bars of the market stream to signals on the trading stream. Decisions are engine.signals'.

Checkpoint: the strategies' whole state and the market position it was applied to, pickled (a file only we write, with a
checksum, in the data directory). Outputs are acknowledged before the position moves past their cause, and at or before
the last signal in the stream nothing is emitted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections.abc import Callable

from engine.messages import Bar, Sessions, Signal, decode, decode_market
from engine.signals import SignalEngine
from streams.checkpoint import CheckpointStore
from streams.publisher import Outgoing, Publisher
from streams.reader import Reader, Stored, read
from streams.role import Context, Status, last_per_subject

_BATCH_MAX = 2_000
_MOVED_MAX = 16
_IDLE_S = 0.05
_OVERDUE = 4.0


class Signals:
    """The signals service."""

    def __init__(self, context: Context, store: Callable[[str], CheckpointStore]) -> None:
        self._context = context
        self._open_store = store
        self._publisher = Publisher(context.nc, context.topology.trading, "signals")
        self._engine: SignalEngine | None = None
        self._store: CheckpointStore | None = None
        self._reader: Reader | None = None
        self._sessions: Reader | None = None
        self._moved: asyncio.Queue[tuple[list[Outgoing], int]] = asyncio.Queue(_MOVED_MAX)
        self._position = 0
        self._read = 0
        self._checkpointed = 0
        self._checkpointed_at = 0.0

    async def start(self) -> None:
        """Take the newest checkpoint, learn what was said already, go on reading after it."""
        context = self._context
        topology = context.topology
        await context.identify()
        self._store = self._open_store(f"{context.account}/{context.run}")
        engine = SignalEngine(context.account, context.run, context.settings.bots)
        checkpoint = self._store.newest()
        if checkpoint is not None:
            engine.restore(pickle.loads(checkpoint.payload))  # noqa: S301  (our own file, checksummed)
            self._position = checkpoint.header.positions[topology.market]
        for data in await last_per_subject(context, topology.trading, f"{topology.prefix}.signals.>"):
            said = decode(data).body
            if isinstance(said, Signal):
                engine.on_own_signal(said)
        self._engine = engine
        self._sessions = context.reader(topology.trading, 0, [f"{topology.prefix}.sessions.>"])
        await self._sessions.start()
        while not self._take_sessions(await self._sessions.batch(100)):
            continue
        self._reader = context.reader(topology.market, self._position)
        await self._reader.start()
        self._read = self._checkpointed = self._position
        self._checkpointed_at = time.monotonic()

    async def run(self) -> None:
        """Move strategies bar by bar while what followed from earlier bars is being published."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._move_on())
            group.create_task(self._publish_on())

    async def _move_on(self) -> None:
        reader, engine = self._reader, self._engine
        assert reader is not None  # noqa: S101  (start came first)
        assert engine is not None  # noqa: S101
        assert self._sessions is not None  # noqa: S101
        while True:
            await self._checkpoint_when_idle(reader)
            batch = await reader.batch(_BATCH_MAX)
            self._take_sessions(self._sessions.take(100))
            self._read = batch[-1].seq
            await self._moved.put((self._move(engine, batch), self._read))

    async def _publish_on(self) -> None:
        """Publish in order; the position follows what is stored."""
        while True:
            taken = [await self._moved.get()]
            while not self._moved.empty():
                taken.append(self._moved.get_nowait())
            outgoing = [message for messages, _ in taken for message in messages]
            if outgoing:
                self._context.points.hit("signals.before_publish")
                await self._publisher.atomic(outgoing)
                self._context.points.hit("signals.after_publish")
            self._position = taken[-1][1]
            for _ in taken:
                self._moved.task_done()
            await self._context.announce(self.status())

    async def stop(self) -> None:
        """Write the state down, unless outputs are still owed: then the last checkpoint stands."""
        if self._position == self._read:
            self._checkpoint()

    def status(self) -> Status:
        """Say how it is."""
        counters: dict[str, int] = {}
        if self._engine is not None:
            c = self._engine.counters
            counters = {"bars": c.bars, "refused": c.refused, "evaluated": c.evaluated, "signals": c.signals}
        topology = self._context.topology
        published = {topology.trading: self._publisher.last_seq}
        return Status("signals", 0, "", {topology.market: self._position}, published, 0, counters)

    def _take_sessions(self, stored: list[Stored]) -> bool:
        """Take in calendar messages; whether any came."""
        for item in stored:
            body = decode(item.data).body
            if isinstance(body, Sessions) and self._engine is not None:
                self._engine.on_sessions(body)
        return bool(stored)

    def _move(self, engine: SignalEngine, batch: list[Stored]) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        market = self._context.topology.market
        for item in batch:
            message = read(item, market, decode_market)
            body = message.body
            if not isinstance(body, Bar):
                continue
            for signal in engine.on_bar(body):
                outgoing.append(  # noqa: PERF401  (the inner list is empty nearly always)
                    self._context.outgoing(signal, signal.id, ts_recv=message.head.ts_recv, trace=signal.bar)
                )
        return outgoing

    async def _checkpoint_when_idle(self, reader: Reader) -> None:
        """Write the state down when it is due and no bar waits: whole-market state takes as long as a minute's bars."""
        settings = self._context.settings.signals
        share = max(
            (self._position - self._checkpointed) / settings.checkpoint_messages,
            (time.monotonic() - self._checkpointed_at) / settings.checkpoint_s,
        )
        if share < 1 or self._position == self._checkpointed:
            return
        if share < _OVERDUE:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.wait(), _IDLE_S)
                return
        await self._moved.join()
        self._checkpoint()

    def _checkpoint(self) -> None:
        if self._store is None or self._engine is None:
            return
        self._context.points.hit("signals.before_checkpoint")
        payload = pickle.dumps(self._engine.state(), protocol=5)
        self._store.write({self._context.topology.market: self._position}, payload)
        self._context.points.hit("signals.after_checkpoint")
        self._checkpointed, self._checkpointed_at = self._position, time.monotonic()
