"""recorder: both streams to DuckDB, and SQL over them by request-reply. The only process that opens the file.

Batches; one transaction with the applied positions; the position in the file is the acknowledgement. It computes no
money. Queries run beside the writing on their own cursors (storage.sql); answers are Arrow IPC in chunks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from engine.messages import MarketMessage, Message, decode, decode_market
from storage.instance import cap_process_memory
from storage.snapshot import take
from storage.sql import SqlService
from storage.writer import Writer
from streams.reader import Reader, Stored, read
from streams.role import Context, Status
from streams.sql_rpc import SqlResponder

log: structlog.stdlib.BoundLogger = structlog.get_logger()


_MEMORY_BESIDE_MB = 2048
"""What the process may use beside DuckDB's own limit; a query that wants more is refused, the recorder lives on."""


class Recorder:
    """The recorder service."""

    def __init__(self, context: Context, database: Path, snapshots: Path) -> None:
        self._context = context
        self._database = database
        self._snapshots = snapshots
        self._writer: Writer | None = None
        self._sql: SqlResponder | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="duckdb")
        self._readers: dict[str, Reader] = {}
        self._positions: dict[str, int] = {}
        self._counters = {"rows": 0, "duplicates": 0, "conflicts": 0, "commits": 0, "snapshots": 0}
        self._snapshot_at = time.monotonic()

    async def start(self) -> None:
        """Open the file and read on after the positions it holds."""
        context = self._context
        settings = context.settings.recorder
        topology = context.topology
        cap_process_memory(settings.memory_mb_max + _MEMORY_BESIDE_MB)
        self._writer = await self._off_loop(
            lambda: Writer.open(
                self._database,
                memory_limit_mb=settings.memory_mb_max,
                threads=settings.threads,
                snapshot_dir=self._snapshots,
            )
        )
        positions = self._writer.positions()
        for stream in (topology.market, topology.trading):
            self._positions[stream] = positions.get(stream, 0)
            self._readers[stream] = context.reader(stream, self._positions[stream])
            await self._readers[stream].start()
        self._sql = SqlResponder(
            context.nc,
            topology.prefix,
            SqlService.beside(self._writer),
            self._snapshot_now,
            settings,
            identity=context.identity,
        )
        await self._sql.start()

    async def run(self) -> None:
        """Write what has come, stream by stream; what comes within batch_ms of the first is one commit per stream."""
        settings = self._context.settings.recorder
        market, trading = self._context.topology.market, self._context.topology.trading
        full = False
        while True:
            await asyncio.wait(
                [asyncio.ensure_future(reader.wait()) for reader in self._readers.values()],
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not full:  # what gathers now is the same batch; a commit costs more than its rows
                await asyncio.sleep(settings.batch_ms / 1000)
            full = False
            for stream in (market, trading):
                if batch := self._readers[stream].take(settings.batch_rows_max):
                    await self._write(stream, batch, market)
                    full = full or len(batch) == settings.batch_rows_max
            await self._context.announce(self.status())
            await self._snapshot_if_due()

    async def stop(self) -> None:
        """Close the file."""
        if self._sql is not None:
            await self._sql.stop()
        if self._writer is not None:
            await self._off_loop(self._writer.close)
        self._thread.shutdown()

    def status(self) -> Status:
        """Say how it is."""
        problems = []
        if self._counters["conflicts"]:
            problems = [f"{self._counters['conflicts']} messages contradict stored ones: look at the table conflicts"]
        return Status("recorder", 0, "", dict(self._positions), {}, 0, dict(self._counters), problems)

    async def _write(self, stream: str, batch: list[Stored], market: str) -> None:
        writer = self._writer
        assert writer is not None  # noqa: S101  (start came first)

        def write() -> None:
            decoder = decode_market if stream == market else decode
            messages: list[Message | MarketMessage] = [read(item, stream, decoder) for item in batch]
            self._context.points.hit("recorder.before_commit")
            result = writer.write(stream, batch[-1].seq, messages)
            self._context.points.hit("recorder.after_commit")
            self._counters["rows"] += result.rows
            self._counters["duplicates"] += result.duplicates
            self._counters["conflicts"] += result.conflicts
            self._counters["commits"] += 1

        await self._off_loop(write)
        self._positions[stream] = batch[-1].seq

    async def _snapshot_if_due(self) -> None:
        every = self._context.settings.recorder.snapshot_every_s
        if every > 0 and time.monotonic() - self._snapshot_at >= every:
            with contextlib.suppress(OSError):
                await self._snapshot_now()

    async def _snapshot_now(self) -> Path:
        writer = self._writer
        assert writer is not None  # noqa: S101
        self._snapshot_at = time.monotonic()
        self._context.points.hit("recorder.before_snapshot")
        made = await self._off_loop(lambda: take(writer.instance))
        self._context.points.hit("recorder.after_snapshot")
        self._counters["snapshots"] += 1
        return made.path

    async def _off_loop[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
