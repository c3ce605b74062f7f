"""recorder: both streams to DuckDB, and SQL over them by request-reply. The only process that opens the file.

Batches; one transaction with the applied positions; the position in the file is the acknowledgement. It computes no
money. Queries run beside the writing on their own cursors (storage.sql); answers are Arrow IPC in chunks.

A file that was deleted, replaced or damaged is brought back or begun anew (storage.keeper); what it lacks is read again
from the streams, while SQL answers from what is there. A full disk is waited for, the batch in hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import structlog
from nats.errors import Error as NatsError

from engine.errors import TapelineError
from engine.ids import make_id
from engine.messages import Alert, decode, decode_market
from storage.instance import DamagedFileError, DiskFullError, StoppedFileError
from storage.keeper import Keeper
from storage.snapshot import take
from storage.sql import SqlService
from storage.writer import Batch, Writer, WriteResult
from streams.publisher import Publisher
from streams.reader import Reader
from streams.refill import rows_of
from streams.role import Context, Status
from streams.seals import Seal, Stored, seal_of
from streams.sql_rpc import SqlResponder
from streams.tasks import Tasks

log: structlog.stdlib.BoundLogger = structlog.get_logger()


_AGAIN_S = 1.0
_LOOK_S = 1.0
"""How soon a file that is gone is noticed, where nothing is written."""
_DRAIN_S_MAX = 5.0
_DAMAGES_MAX = 6


class Recorder:
    """The recorder service."""

    def __init__(self, context: Context, database: Path, snapshots: Path) -> None:
        self._context = context
        settings = context.settings.recorder

        def open_writer() -> Writer:
            return Writer.open(
                database, memory_limit_mb=settings.memory_mb_max, threads=settings.threads, snapshot_dir=snapshots
            )

        self._database = database
        self._keeper = Keeper(database, snapshots / "rescue.duckdb", open_writer, self._stamp)
        self._damages = 0
        self._sql: SqlResponder | None = None
        self._queries: SqlService | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="duckdb")
        self._tasks = Tasks(lambda failure: log.error("alert not stored", error=str(failure)))
        self._readers: dict[str, Reader] = {}
        self._positions: dict[str, int] = {}
        self._behind: dict[str, int] = {}  # up to where a file begun anew must come
        self._is_in_hand = False
        self._trouble = ""
        self._counters = {"rows": 0, "duplicates": 0, "conflicts": 0, "commits": 0, "snapshots": 0}
        self._snapshot_at = time.monotonic()

    async def start(self) -> None:
        """Open the file and read on after the positions it holds."""
        context = self._context
        settings = context.settings.recorder
        is_lost = not self._database.exists() and context.guard is not None and context.guard.seen.read() is not None
        said = await self._with_room(self._keeper.open)
        if is_lost:
            said = f"database {self._database} was gone; a new one is made from the streams"
        await self._read_on(said)
        self._queries = SqlService.beside(self._keeper.writer)
        self._sql = SqlResponder(
            context.nc,
            context.topology.prefix,
            self._queries,
            self._snapshot_now,
            settings,
            identity=context.identity,
        )
        await self._sql.start()

    async def run(self) -> None:
        """Write what has come; what comes within batch_ms of the first is one commit."""
        settings = self._context.settings.recorder
        full = False
        while True:
            await self._wait()
            if not full:  # what gathers now is the same batch; a commit costs more than its rows
                await asyncio.sleep(settings.batch_ms / 1000)
            if not self._keeper.is_in_place():
                await self._exchange(self._keeper.bring_back)
            elif self._queries is not None and (why := self._queries.damage):
                await self._exchange(lambda why=why: self._keeper.check(why))
            if written := await self._write_all():
                await self._context.announce(self.status())
            full = written >= settings.batch_rows_max
            await self._snapshot_if_due()

    async def stop(self) -> None:
        """Write what is stored and not yet recorded, then close the file."""
        with contextlib.suppress(TimeoutError, TapelineError, NatsError, OSError):
            await asyncio.wait_for(self._drain(), _DRAIN_S_MAX)
        self._tasks.cancel()
        if self._sql is not None:
            with contextlib.suppress(NatsError):  # it is just reconnecting
                await self._sql.stop()
        await self._off_loop(self._keeper.close)
        self._thread.shutdown()

    def status(self) -> Status:
        """Say how it is."""
        problems = [self._trouble] if self._trouble else []
        if self._counters["conflicts"]:
            problems += [f"{self._counters['conflicts']} messages contradict stored ones: look at the table conflicts"]
        for stream, end in self._behind.items():
            problems.append(f"the database is made anew from {stream}: {self._positions.get(stream, 0)} of {end}")
        return Status("recorder", 0, "", dict(self._positions), {}, 0, dict(self._counters), problems)

    # --- reading and writing -----------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Wait until one of the streams has something, or for a moment. Raises HoleError when trading lost messages."""
        waits = [asyncio.ensure_future(reader.wait()) for reader in self._readers.values()]
        try:
            done, _ = await asyncio.wait(waits, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in waits:
                one.cancel()

    async def _write_all(self) -> int:
        """Write what has come of both streams, in one commit; give the size of the larger batch."""
        rows_max, topology = self._context.settings.recorder.batch_rows_max, self._context.topology
        taken = {stream: self._readers[stream].take(rows_max) for stream in (topology.market, topology.trading)}
        batches = {stream: batch for stream, batch in taken.items() if batch}
        if batches:
            self._is_in_hand = True
            await self._write(batches)
            self._is_in_hand = False
        return max(map(len, batches.values()), default=0)

    async def _write(self, batches: dict[str, list[Stored]]) -> None:
        def write() -> WriteResult:
            decoded = [self._decoded(stream, batch) for stream, batch in batches.items()]
            self._context.points.hit("recorder.before_commit")
            result = self._keeper.writer.write_all(decoded)
            self._context.points.hit("recorder.after_commit")
            return result

        try:
            result = await self._with_room(write, (DiskFullError,))
        except (DamagedFileError, StoppedFileError) as err:
            for stream in batches:
                del self._positions[stream]  # what is in hand is read again, after what the file then holds
            await self._exchange(self._keeper.reopen if isinstance(err, StoppedFileError) else self._mended(err))
            return
        self._counters["rows"] += result.rows
        self._counters["duplicates"] += result.duplicates
        self._counters["conflicts"] += result.conflicts
        self._counters["commits"] += 1
        for stream, batch in batches.items():
            self._positions[stream] = batch[-1].seq
            if self._behind.get(stream, 0) <= batch[-1].seq:
                self._behind.pop(stream, None)

    def _decoded(self, stream: str, batch: list[Stored]) -> Batch:
        decoder = decode_market if stream == self._context.topology.market else decode
        seal = seal_of(batch[-1])
        return Batch(stream, seal.seq, rows_of(batch, stream, decoder), (seal.stored_ns, seal.digest))

    async def _drain(self) -> None:
        while not self._is_in_hand and self._readers:  # else a batch that was taken is missing before what comes
            await self._write_all()
            topology = self._context.topology
            ends = {stream: await self._context.end(stream) for stream in (topology.market, topology.trading)}
            if all(self._positions[stream] >= end for stream, end in ends.items()):
                return
            await self._wait()

    # --- the file ----------------------------------------------------------------------------------------------------

    async def _with_room[T](
        self, work: Callable[[], T], no_room: tuple[type[TapelineError], ...] = (DiskFullError, StoppedFileError)
    ) -> T:
        """Do it; while the disk is full, again and again."""
        while True:
            try:
                done = await self._off_loop(work)
            except no_room as err:
                self._trouble = f"{err}: free some space; it is tried again every {_AGAIN_S:g} s and nothing is lost"
                log.warning("database not written, trying again", error=str(err))
                await asyncio.sleep(_AGAIN_S)
            else:
                self._trouble = ""
                return done

    def _mended(self, err: DamagedFileError) -> Callable[[], str]:
        """Say how the file is helped that an error is about: read through, if that did not help set aside.

        Raises:
            DamagedFileError: Nothing helps for long: a person looks.
        """
        self._damages += 1
        if self._damages > _DAMAGES_MAX:
            raise err
        how = self._keeper.set_aside if self._damages % 2 == 0 else self._keeper.check
        return lambda: how(str(err))

    async def _exchange(self, how: Callable[[], str]) -> None:
        """Have another file under the name, and answer and read on from it."""
        before = self._queries
        if before is not None:
            await asyncio.to_thread(before.close)
        said = [await self._with_room(how), await self._with_room(self._keeper.open)]
        self._queries = SqlService.beside(self._keeper.writer)
        if self._sql is not None:
            self._sql.use(self._queries)
        await self._read_on("; ".join(filter(None, said)))

    async def _read_on(self, said: str) -> None:
        """Read after the file's positions; where it is behind, everything since then comes again."""
        topology, context = self._context.topology, self._context
        writer = self._keeper.writer
        positions, seals = writer.positions(), writer.seals()
        for stream in (topology.market, topology.trading):
            position = positions.get(stream, 0)
            reader = self._readers.get(stream)
            if reader is not None and self._positions.get(stream) == position:
                continue
            if reader is not None:
                await reader.stop()
                context.readers.remove(reader)
            self._positions[stream] = position
            seal = Seal(position, *seals[stream]) if stream in seals else None
            self._readers[stream] = context.reader(stream, position, since=seal)
            await self._readers[stream].start()
            if said and (end := await context.end(stream)) > position:
                self._behind[stream] = end
        if said:
            log.error("the database file was not as it was left", what=said)
            self._tasks.spawn(self._alert(said))

    async def _alert(self, what: str) -> None:
        context = self._context
        await context.identify()
        now = await context.clock.now_ns()
        body = Alert(make_id(context.account, context.run, "recorder", what, now), "error", "recorder", what, now)
        await Publisher(context.nc, context.topology.trading, "recorder").one(context.outgoing(body, body.id))

    def _stamp(self) -> str:
        return f"{datetime.fromtimestamp(self._context.wall_ns() // 1_000_000_000, UTC):%Y%m%dT%H%M%SZ}"

    # --- snapshots ---------------------------------------------------------------------------------------------------

    async def _snapshot_if_due(self) -> None:
        every = self._context.settings.recorder.snapshot_every_s
        if every > 0 and time.monotonic() - self._snapshot_at >= every:
            try:
                await self._snapshot_now()
            except (TapelineError, OSError) as err:
                log.warning("no snapshot this time", error=str(err))

    async def _snapshot_now(self) -> Path:
        self._snapshot_at = time.monotonic()
        self._context.points.hit("recorder.before_snapshot")
        made = await self._off_loop(lambda: take(self._keeper.writer.instance))
        self._context.points.hit("recorder.after_snapshot")
        self._counters["snapshots"] += 1
        return made.path

    async def _off_loop[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
