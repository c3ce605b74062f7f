"""Answers SQL from outside while the writer writes, or from a file when no daemon runs.

Decides which text runs, how long, and how much of its answer travels. Never writes; never blocks the writer: readers
see the last commit and wait for nobody. Called by the recorder service (in a daemon) and by `tapeline sql` (on a file).

    1. A text runs only if storage.guard lets it through, in a read-only transaction, on a cursor of its own.
    2. At most `workers` queries run and `waiting_max` wait; one more is refused at once.
    3. Every query ends: at its end, at its row or byte limit, at its time limit, or when the writer needs the memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self

import duckdb
import polars as pl
import pyarrow as pa

from engine.errors import BusyError, ConfigError
from storage import ipc, schema
from storage.arrow import ArrowTable
from storage.guard import SqlRefusedError, check, joined
from storage.instance import Instance, is_damage, one_line
from storage.instance import open_read_only as open_instance
from storage.writer import Writer

ROW_LIMIT = 10_000
TIME_LIMIT_S = 10.0
BYTES_MAX = 64 * 1024 * 1024
_BATCH_ROWS = 2048
_INTERRUPT_EVERY_S = 0.1
"""An interrupt that meets the engine between two calls is lost, so it is repeated."""
_CLOSING = "stopped: the database is being closed"
_MEMORY_HINT = "refused: the query needs more memory than the limit; select less, or aggregate"


@dataclass(frozen=True, slots=True)
class QueryResult:
    """An answer.

    Attributes:
        table: The rows, at most `row_limit`; column names are unique.
        truncated: There were more rows, or more bytes, than the limits allow.
        elapsed_ms: Time on the worker.
    """

    table: ArrowTable
    truncated: bool
    elapsed_ms: float

    def frame(self) -> pl.DataFrame:
        """Give the rows as a polars frame: Decimals and time zones kept."""
        return ipc.to_frame(self.table)

    def to_ipc(self) -> bytes:
        """Give the rows as an Arrow IPC stream."""
        return ipc.table_to_ipc(self.table)


class SqlService:
    """Guarded queries on one open file, on a small pool of threads."""

    def __init__(self, instance: Instance, *, workers: int = 2, waiting_max: int = 32) -> None:
        """Serve queries.

        Args:
            instance: An open file: `Writer.instance` in a daemon.
            workers: Queries that run at the same time.
            waiting_max: Queries that may wait for a worker.
        """
        self._instance = instance
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="sql")
        self._places = threading.BoundedSemaphore(workers + waiting_max)
        self._running: dict[int, _Query] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._owned: Callable[[], None] | None = None
        self.damage = ""
        """Set when a query met a part of the file that cannot be read."""

    @classmethod
    def beside(cls, writer: Writer, *, workers: int = 2, waiting_max: int = 32) -> Self:
        """Serve queries on the file a writer holds; when the writer finds no memory, queries make way."""
        service = cls(writer.instance, workers=workers, waiting_max=waiting_max)
        writer.on_memory_pressure(service.interrupt_all)
        return service

    def query(self, sql: str, *, row_limit: int = ROW_LIMIT, time_limit_s: float = TIME_LIMIT_S) -> QueryResult:
        """Run one SELECT and wait for it. Arguments and errors as `submit`."""
        return self.submit(sql, row_limit=row_limit, time_limit_s=time_limit_s).result()

    def submit(
        self, sql: str, *, row_limit: int = ROW_LIMIT, time_limit_s: float = TIME_LIMIT_S
    ) -> Future[QueryResult]:
        """Run one SELECT on a worker; the future raises `SqlRefusedError` when it is refused or stopped.

        Args:
            sql: One statement that reads.
            row_limit: Rows beyond it are cut off and `truncated` is set; >= 1.
            time_limit_s: Counted from here, waiting included; > 0.

        Raises:
            BusyError: Too many queries wait already.
        """
        if not self._places.acquire(blocking=False):
            msg = "too many SQL queries wait already: ask again later"
            raise BusyError(msg)
        query = _Query(sql, max(row_limit, 1), monotonic() + time_limit_s, time_limit_s)
        try:
            future = self._pool.submit(self._run, query)
        except RuntimeError as error:
            self._places.release()
            msg = f"database {self._instance.path} is closed"
            raise BusyError(msg) from error
        future.add_done_callback(lambda _: self._places.release())
        return future

    def interrupt_all(self, reason: str = "the writer needs the memory", *, wait_s: float = 5.0) -> None:
        """Stop every running query and wait until they are gone, at most `wait_s`. Safe from any thread."""
        until = monotonic() + wait_s
        with self._changed:
            while self._running and monotonic() < until:
                for query in self._running.values():
                    query.stop(reason)
                self._changed.wait(_INTERRUPT_EVERY_S)

    def close(self) -> None:
        """Stop what runs, drop what waits. Idempotent."""
        with self._changed:
            self._closing = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.interrupt_all(_CLOSING)
        self._pool.shutdown(wait=True)
        if self._owned is not None:
            self._owned()
            self._owned = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def own(self, close: Callable[[], None]) -> Self:
        """Call `close` when this service closes."""
        self._owned = close
        return self

    def _run(self, query: _Query) -> QueryResult:
        with self._instance.reading() as cursor:
            return self._run_on(cursor, query)

    def _run_on(self, cursor: duckdb.DuckDBPyConnection, query: _Query) -> QueryResult:
        started = monotonic()
        query.cursor = cursor
        timer = threading.Thread(target=query.keep_time, name="sql-time", daemon=True)
        timer.start()
        try:
            with self._changed:
                if self._closing:
                    raise SqlRefusedError(_CLOSING)
                self._running[id(query)] = query
            table, truncated = _fetch(cursor, query)
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise SqlRefusedError(query.stopped or _MEMORY_HINT) from error
        except (duckdb.Error, OSError, pa.ArrowException) as error:
            if is_damage(error):
                self.damage = f"database {self._instance.path} cannot be read: {one_line(error)}"
            # OSError: how pyarrow passes on an error of the engine in the middle of a stream.
            raise SqlRefusedError(query.stopped or _reason(error)) from error
        finally:
            query.finish()
            timer.join()
            with self._changed:
                self._running.pop(id(query), None)
                self._changed.notify_all()
        return QueryResult(table, truncated, (monotonic() - started) * 1000)


class _Query:
    """A text on its way, and the one way to stop it. A cursor is interrupted only while it is ours."""

    def __init__(self, sql: str, row_limit: int, deadline: float, time_limit_s: float) -> None:
        self.sql = sql
        self.row_limit = row_limit
        self.deadline = deadline
        self.over_time = f"stopped: it ran longer than {time_limit_s:g} s"
        self.cursor: duckdb.DuckDBPyConnection | None = None
        self.stopped = ""
        self._lock = threading.Lock()
        self._finished = threading.Event()

    def keep_time(self) -> None:
        """Run beside the query: stop it at its deadline, and again until it has ended."""
        wait_s = max(self.deadline - monotonic(), 0.0)
        while not self._finished.wait(wait_s):
            self.stop(self.over_time)
            wait_s = _INTERRUPT_EVERY_S

    def stop(self, reason: str) -> None:
        """Interrupt the query if it is running; its caller sees `reason`."""
        with self._lock:
            if self.cursor is not None:
                self.stopped = reason if reason.startswith("stopped") else f"stopped: {reason}"
                self.cursor.interrupt()

    def finish(self) -> None:
        """Give the cursor back; a later `stop` does nothing."""
        self._finished.set()
        with self._lock:
            self.cursor = None


def _fetch(cursor: duckdb.DuckDBPyConnection, query: _Query) -> tuple[ArrowTable, bool]:
    is_plan = check(cursor, query.sql)
    if query.stopped:
        raise SqlRefusedError(query.stopped)
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    if is_plan:
        lines = cursor.execute(query.sql).fetchall()
        frame = pl.DataFrame(lines, schema={"explain_key": pl.String, "explain_value": pl.String}, orient="row")
        return frame.to_arrow(compat_level=pl.CompatLevel.oldest()), False
    reader = cursor.sql(query.sql).to_arrow_reader(_BATCH_ROWS)
    try:
        ipc.check_types(reader.schema)
        batches: list[ArrowTable] = []
        rows, size, truncated = 0, 0, False
        for batch in reader:
            if query.stopped:
                raise SqlRefusedError(query.stopped)
            by_bytes = batch.num_rows * (BYTES_MAX - size) // max(batch.nbytes, 1)
            fits = min(batch.num_rows, query.row_limit - rows, by_bytes)
            batches.append(batch.slice(0, fits))
            rows, size, truncated = rows + fits, size + batch.nbytes, fits < batch.num_rows
            if truncated:
                break
        return ipc.unique_names(pa.Table.from_batches(batches, reader.schema)), truncated
    finally:
        reader.close()


def _reason(error: Exception) -> str:
    text = joined(str(error))
    if "Out of Memory" in text or "failed to allocate" in text:
        return _MEMORY_HINT
    return f"refused: {text}"


def open_read_only(
    path: Path | str, *, memory_limit_mb: int = 512, threads: int = 2, temp_limit_mb: int = 4096
) -> SqlService:
    """Open a file for queries when no daemon runs; closing the service closes the file.

    Raises:
        BusyError: A daemon has the file: ask it.
        ConfigError: Missing, not a database of Tapeline, or from a newer version.
    """
    instance = open_instance(Path(path), memory_limit_mb=memory_limit_mb, threads=threads, temp_limit_mb=temp_limit_mb)
    cursor = instance.cursor()
    try:
        version = schema.check(cursor, instance.path)
    except BaseException:
        instance.close()
        raise
    finally:
        with suppress(duckdb.Error):
            cursor.close()
    if version == 0:
        instance.close()
        msg = f"database {instance.path} holds no tables of tapeline: name another file"
        raise ConfigError(msg)
    return SqlService(instance).own(instance.close)
