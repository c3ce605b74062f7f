"""The database as the archive of the trading stream: whole messages back by their sequence, and their rows made anew.

Each row of the trading stream's tables knows its sequence and all of its message but the nanoseconds of `ts_init` and
`ts_recv`. Called while nobody has the file open, by whoever mends a stream that lost messages.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from engine.errors import BrokenPromiseError, TapelineError
from engine.messages import Head
from storage.dedupe import Numbered
from storage.instance import one_line
from storage.tables import TABLES, Table, body_of
from storage.writer import Writer

_NUMBERED = tuple(table for table in TABLES if table.is_numbered)
_MOMENTS = "epoch_ns(ts_init), coalesce(epoch_ns(ts_recv), 0), trace"


class Archive:
    """An open database file. Use `open_archive`."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @property
    def last_seq(self) -> int:
        """Highest sequence of any row; 0 for none."""
        with self._reading() as cursor:
            found = [cursor.execute(f"SELECT max(seq) FROM {t.name}").fetchall()[0][0] for t in _NUMBERED]  # noqa: S608
        return max((seq for seq in found if seq is not None), default=0)

    def messages(self, first: int, last: int) -> list[Numbered]:
        """Give the messages that were recorded with these sequences, in their order; some may be missing."""
        found: list[Numbered] = []
        with self._reading() as cursor:
            for table in _NUMBERED:
                found.extend(_rows(cursor, table, first, last))
        return sorted(found, key=lambda message: message.seq)

    def forget(self, stream: str, after: int) -> None:
        """Drop the rows of a stream after a sequence: it is another one from there on, and is recorded again."""
        with self._reading() as cursor:
            cursor.execute("BEGIN")
            for table in _NUMBERED:
                cursor.execute(f"DELETE FROM {table.name} WHERE seq > $1", [after])  # noqa: S608
            cursor.execute(
                "UPDATE recorder_positions SET seq = least(seq, $2), stored_ns = NULL, digest = NULL WHERE stream = $1",
                [stream, after],
            )
            cursor.execute("COMMIT")
        self._writer.checkpoint()

    @contextmanager
    def _reading(self) -> Generator[duckdb.DuckDBPyConnection]:
        try:
            with self._writer.instance.reading() as cursor:
                yield cursor
        except duckdb.Error as error:
            msg = f"database {self._writer.instance.path} cannot be read or written: {one_line(error)}"
            raise BrokenPromiseError(msg) from error


@contextmanager
def open_archive(path: Path, *, memory_limit_mb: int) -> Generator[Archive | None]:
    """Open a file that nobody has open; None where there is none that can be read, which is not an error here."""
    if not path.is_file():
        yield None
        return
    try:
        writer = Writer.open(path, memory_limit_mb=memory_limit_mb, threads=1)
    except TapelineError:
        yield None
        return
    with writer:
        yield Archive(writer)


def _rows(cursor: duckdb.DuckDBPyConnection, table: Table, first: int, last: int) -> Iterator[Numbered]:
    names = ", ".join(f'"{name}"' for name in (*table.exact_columns, *table.refs))
    query = f"SELECT seq, {_MOMENTS}, {names} FROM {table.name} WHERE seq BETWEEN $1 AND $2"  # noqa: S608
    width = len(table.exact_columns)
    for seq, ts_init, ts_recv, trace, *values in cursor.execute(query, [first, last]).fetchall():
        refs = {name: value for name, value in zip(table.refs, values[width:], strict=True) if value}
        head = Head(int(ts_init), int(ts_recv), trace, refs=refs)
        yield Numbered(head, body_of(table, values[:width]), seq)
