"""The single writer: batches of messages and the new positions of their streams in one transaction.

Computes no money and decides nothing about trading. Called by the recorder service, from one thread at a time.

    1. Rows and positions are in the same transaction: after kill -9 the file holds both or none.
    2. No two rows of a table have the same key. A message whose key is there with equal content is a duplicate; with
       other content it is a conflict: kept out, written to `conflicts`, counted.
    3. Position says what the caller has applied; it may go back (a stream that lost its end): 2. holds regardless.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import duckdb
import polars as pl

from engine.errors import TapelineError
from engine.messages import AnyBody, Head, body_json
from storage import schema
from storage.dedupe import Conflict, Group, Numbered, Row, Sorted, Watermarks, group, known_hashes, sort_bars, sort_rows
from storage.instance import Instance, failure, open_read_write
from storage.snapshot import remove_leftovers
from storage.tables import BARS, TABLE_OF, Table, columns_of, frame_of

Seal = tuple[int, str]
"""What a message in a stream is known by: when it was stored, ns UTC, and a digest of its bytes."""

MEMORY_RETRIES_MAX = 3
TRIM_EVERY_ROWS = 32_768
TRIM_TO_MB = 16
"""DuckDB's cache after a trim. Rows that no checkpoint has moved yet (up to 16 MB of WAL) count too."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What one batch did: rows inserted, messages already there, messages that contradict what is there."""

    rows: int = 0
    duplicates: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """What came from one stream.

    Attributes:
        stream: Its name.
        last_seq: Sequence of the last message of the batch; may move without messages.
        messages: In stream order; may hold duplicates, also of each other.
        seal: What stands at `last_seq`; None where nobody will ask.
    """

    stream: str
    last_seq: int
    messages: Sequence[Row]
    seal: Seal | None = None

    def groups(self) -> list[Group]:
        """Give the messages by the table that they go to."""
        tables: dict[Table, list[Row]] = {}
        for message in self.messages:
            tables.setdefault(TABLE_OF[type(message.body)], []).append(message)
        return [group(table, rows) for table, rows in tables.items()]


class Writer:
    """The one that writes. Use `Writer.open`."""

    def __init__(self, instance: Instance, connection: duckdb.DuckDBPyConnection) -> None:
        self.instance = instance
        self._connection = connection
        self._watermarks = Watermarks()
        self._watermarks.load(connection)
        rows = connection.execute("SELECT stream, seq, stored_ns, digest FROM recorder_positions").fetchall()
        self._positions: dict[str, int] = {stream: seq for stream, seq, _, _ in rows}
        self._seals: dict[str, Seal] = {
            stream: (stored_ns, digest) for stream, _, stored_ns, digest in rows if stored_ns is not None
        }
        self._relieve: Callable[[], None] | None = None
        self._rows_since_trim = 0

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        memory_limit_mb: int = 512,
        threads: int = 2,
        snapshot_dir: Path | None = None,
        temp_limit_mb: int = 4096,
    ) -> Self:
        """Open or create the file, bring it to this version, hold it until `close`.

        Args:
            path: The database file; its folder must exist.
            memory_limit_mb: DuckDB's own limit for buffers and queries together.
            threads: DuckDB's threads, for queries too.
            snapshot_dir: The only folder that SQL inside the daemon may touch; None: no snapshots.
            temp_limit_mb: Largest size of `<path>.tmp`, where large queries spill.

        Raises:
            BusyError: Another process holds the file.
            ConfigError: Not a DuckDB file, a newer version's file, or the folder is missing.
            DamagedFileError: Not a DuckDB file, or one that cannot be read.
            DiskFullError, StoppedFileError: There is no room for it.
        """
        instance, connection = open_read_write(
            Path(path),
            memory_limit_mb=memory_limit_mb,
            threads=threads,
            temp_limit_mb=temp_limit_mb,
            snapshot_dir=snapshot_dir,
        )
        try:
            if instance.snapshot_dir is not None:
                remove_leftovers(instance.snapshot_dir)
            schema.migrate(connection, instance.path)
            _warm_up(connection)
            return cls(instance, connection)
        except BaseException as error:
            connection.close()
            instance.close()
            if isinstance(error, duckdb.Error):
                raise failure(f"database {instance.path} cannot be opened", error) from error
            raise

    def positions(self) -> dict[str, int]:
        """Give the applied sequence per stream, as committed."""
        return dict(self._positions)

    def seals(self) -> dict[str, Seal]:
        """Give what stood at these positions, per stream; nothing where the writer was not told."""
        return dict(self._seals)

    def on_memory_pressure(self, relieve: Callable[[], None]) -> None:
        """Call `relieve` when a batch found no memory, before it is tried again: queries share the limit."""
        self._relieve = relieve

    def write(self, stream: str, last_seq: int, messages: Sequence[Row], seal: Seal | None = None) -> WriteResult:
        """Store one batch; see `write_all` and `Batch`."""
        return self.write_all([Batch(stream, last_seq, messages, seal)])

    def write_all(self, batches: Sequence[Batch]) -> WriteResult:
        """Store batches and their positions in one transaction; on return it is on disk.

        Raises:
            BrokenPromiseError: A value has no place in its column, or the database failed. Nothing was stored.
            DiskFullError: There is no room; the same batches can be tried again.
            StoppedFileError: There is none either, and the file has to be opened again first.
            DamagedFileError: The file cannot be read any more.
        """
        grouped = [(batch, batch.groups()) for batch in batches]
        for attempt in range(MEMORY_RETRIES_MAX + 1):
            try:
                result = self._transaction(grouped)
            except duckdb.Error as error:
                if not _lacks_memory(error) or attempt == MEMORY_RETRIES_MAX:
                    raise self._broken(error) from error
                if self._relieve is not None:
                    self._relieve()
            else:
                for batch in batches:
                    self._positions[batch.stream] = batch.last_seq
                    self._seals.pop(batch.stream, None)
                    if batch.seal is not None:
                        self._seals[batch.stream] = batch.seal
                self._trim(result.rows)
                return result
        raise AssertionError

    def checkpoint(self) -> None:
        """Move what was committed from the WAL into the file.

        Raises:
            BrokenPromiseError: The database failed (disk full, damaged); what was committed is still in the WAL.
        """
        try:
            self._connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()
        self.instance.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _trim(self, rows: int) -> None:
        self._rows_since_trim += rows
        if self._rows_since_trim >= TRIM_EVERY_ROWS and self.instance.trim(TRIM_TO_MB):
            self._rows_since_trim = 0

    def _broken(self, error: duckdb.Error) -> TapelineError:
        return failure(f"database {self.instance.path} did not write", error)

    def _transaction(self, batches: Sequence[tuple[Batch, list[Group]]]) -> WriteResult:
        connection = self._connection
        try:
            connection.execute("BEGIN")
            result, hashes = WriteResult(), list[int]()
            known = known_hashes(connection, (one for _, groups in batches for one in groups))
            for batch, groups in batches:
                for one in groups:
                    found = (
                        sort_bars(connection, self._watermarks, one.rows)
                        if one.table is BARS
                        else sort_rows(connection, one, known)
                    )
                    self._store(batch.stream, one.table, found)
                    hashes += found.key_hashes
                    result = replace(
                        result,
                        rows=result.rows + len(found.new),
                        duplicates=result.duplicates + found.duplicates,
                        conflicts=result.conflicts + len(found.conflicts),
                    )
                self._move(batch)
            if hashes:
                _insert_frame(connection, "row_keys", _hashes(hashes), "key_hash")
            connection.execute("COMMIT")
        except BaseException:
            self._watermarks.rollback()
            self._roll_back()
            raise
        self._watermarks.commit()
        return result

    def _roll_back(self) -> None:
        """Leave the failed connection for a new one.

        A connection that ran out of memory may refuse ROLLBACK, and keeps frames registered in the aborted transaction;
        closing it ends both. Seen on 2.0.0: the next BEGIN failed with "Current transaction is aborted".
        """
        with suppress(duckdb.Error):
            self._connection.execute("ROLLBACK")
        with suppress(duckdb.Error):
            self._connection.close()
        self._connection = self.instance.cursor()

    def _store(self, stream: str, table: Table, found: Sorted) -> None:
        if found.new:
            _insert(self._connection, table, found.new)
        if found.conflicts:
            _insert_conflicts(self._connection, stream, found.conflicts)

    def _move(self, batch: Batch) -> None:
        known = batch.stream in self._positions
        updated = max((message.head.ts_init for message in batch.messages), default=0)
        self._connection.execute(
            "UPDATE recorder_positions SET seq = $2, updated = greatest(updated, make_timestamptz($3 // 1000)), "
            "stored_ns = $4, digest = $5 WHERE stream = $1"
            if known
            else "INSERT INTO recorder_positions VALUES ($1, $2, make_timestamptz($3 // 1000), $4, $5)",
            [batch.stream, batch.last_seq, updated, *(batch.seal or (None, None))],
        )


def _lacks_memory(error: duckdb.Error) -> bool:
    """Tell a lack of memory, which passes, from the rest. A COMMIT reports it as a TransactionException."""
    text = str(error)
    return isinstance(error, duckdb.OutOfMemoryException) or "could not allocate" in text or "failed to pin" in text


def _warm_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Pay for the lazy imports of the first frame (0.2 s) at boot, not in the first batch."""
    _insert_frame(connection, "row_keys", _hashes([]), "key_hash")


def _hashes(values: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame({"key_hash": pl.Series(values, dtype=pl.Int64)})


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Row]) -> None:
    heads: list[Head] = [row.head for row in rows]
    bodies: list[AnyBody] = [row.body for row in rows]
    frame = frame_of(table, columns_of(table, bodies)).with_columns(
        pl.Series("ts_init", [head.ts_init for head in heads], dtype=pl.Int64),
        pl.Series("ts_recv", [head.ts_recv or None for head in heads], dtype=pl.Int64),
        pl.Series("trace", [head.trace for head in heads], dtype=pl.String),
        *(pl.Series(ref, [head.refs.get(ref) for head in heads], dtype=pl.String) for ref in table.refs),
    )
    if table.is_numbered:
        frame = frame.with_columns(pl.Series("seq", list(map(_seq_of, rows)), dtype=pl.Int64))
    _insert_frame(connection, table.name, frame, _select_list(table))


def _select_list(table: Table) -> str:
    moments = [f"make_timestamptz({name} // 1000) AS {name}" for name in ("ts_init", "ts_recv")]
    seq = ("seq",) if table.is_numbered else ()
    return ", ".join([*(column.select for column in table.columns), *moments, "trace", *table.refs, *seq])


def _seq_of(row: Row) -> int | None:
    return row.seq if isinstance(row, Numbered) else None


def _insert_conflicts(connection: duckdb.DuckDBPyConnection, stream: str, conflicts: Sequence[Conflict]) -> None:
    """Write each contradiction once, however often it is delivered: the table stays bounded by what differs."""
    texts = {
        "table_name": [c.table for c in conflicts],
        "key": [c.key for c in conflicts],
        "existing": [body_json(c.existing).decode() for c in conflicts],
        "incoming": [body_json(c.incoming).decode() for c in conflicts],
        "stream": [stream] * len(conflicts),
    }
    frame = pl.DataFrame(texts).with_columns(pl.Series("seen_ns", [c.head.ts_init for c in conflicts], dtype=pl.Int64))
    _insert_frame(
        connection,
        "conflicts",
        frame,
        "table_name, key, existing, incoming, stream, make_timestamptz(seen_ns // 1000) AS seen",
        "ANTI JOIN conflicts c USING (table_name, key, incoming) "
        "QUALIFY row_number() OVER (PARTITION BY table_name, key, incoming ORDER BY seen_ns) = 1",
    )


def _insert_frame(
    connection: duckdb.DuckDBPyConnection, into: str, frame: pl.DataFrame, select: str, rest: str = ""
) -> None:
    connection.register("incoming", frame)
    connection.execute(f"INSERT INTO {into} BY NAME SELECT {select} FROM incoming {rest}")  # noqa: S608
    connection.unregister("incoming")
