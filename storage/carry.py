"""Compares a file made anew from the streams with the one before, and carries over what the streams no longer hold.

The streams stand: a row of the old file is carried over only when no message has its key and it is older than the
stream's first message. Everything else that differs is counted, never merged. Called by tapeline.rebuild, while nobody
has the files open.

    1. Carried rows come before those of the streams: the order of rows is the order of recording.
    2. The old file is only read.
"""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import polars as pl

from engine.errors import BrokenPromiseError, ConfigError
from storage import schema
from storage.dedupe import key_hash
from storage.instance import one_line, open_read_write, quoted
from storage.tables import TABLES, Kind, Table

_AT_ONCE = 10_000
_TOLERANCE_US = 60_000_000
"""Messages of one stream are made by several processes: each one's `ts_init` grows, the stream's only nearly does."""


@dataclass(frozen=True, slots=True)
class TableChange:
    """What became of a table.

    Attributes:
        rows: In the new file.
        first: Earliest moment of what the rows are about, as text; None for no rows.
        last: Latest.
        before: Rows of the old file; None without one.
        carried: Rows of the old file that the streams no longer hold, now in the new one.
        left: Rows of the old file that are in no stream though they are not older than it; not in the new file.
        changed: Rows of the old file with other content than the streams have; the streams' stand.
    """

    name: str
    rows: int
    first: str | None = None
    last: str | None = None
    before: int | None = None
    carried: int = 0
    left: int = 0
    changed: int = 0


def close_log(path: Path, *, memory_limit_mb: int) -> str:
    """Bring the old file's log into it by opening and closing it, and say why it cannot be read; empty when it can.

    Raises:
        BusyError: A process has it open.
        ConfigError: A newer version wrote it.
    """
    try:
        instance, connection = open_read_write(
            path, memory_limit_mb=memory_limit_mb, threads=1, temp_limit_mb=4096, snapshot_dir=None
        )
    except ConfigError as error:
        return str(error)
    try:
        version = schema.check(connection, path)
    except duckdb.Error as error:
        return f"database {path} cannot be read: {one_line(error)}"
    finally:
        connection.close()
        instance.close()
    return "" if version else f"database {path} holds no tables of tapeline"


def look(new: Path, old: Path | None, firsts: Mapping[str, int | None]) -> list[TableChange]:
    """Compare the tables of two files.

    Args:
        new: The file made from the streams.
        old: The file before, readable; None for none.
        firsts: By table, when its stream's first message was made, ns UTC; None where the stream holds none.

    Raises:
        BrokenPromiseError: A file cannot be read.
    """
    with _attached(new=new, old=old) as connection:
        there = _columns(connection, "old") if old is not None else {}
        return [_look(connection, table, there, firsts.get(table.name)) for table in TABLES]


def carry(into: Path, new: Path, old: Path, firsts: Mapping[str, int | None]) -> None:
    """Fill an empty file of this version: first what is carried over from `old`, then all of `new`.

    Raises:
        BrokenPromiseError: A file cannot be read or written.
    """
    with _attached(new=new, old=old, whole=into) as connection:
        there = _columns(connection, "old")
        connection.execute("BEGIN")
        for table in TABLES:
            known = there.get(table.name, set())
            if set(table.key_columns) <= known:
                names = ", ".join(f'"{name}"' for name in _columns(connection, "whole")[table.name] if name in known)
                rest = f"{_unknown(table)} AND {_older(firsts.get(table.name))} ORDER BY o.rowid"
                connection.execute(f"INSERT INTO whole.{table.name} BY NAME SELECT {names} {rest}")
            connection.execute(f"INSERT INTO whole.{table.name} BY NAME FROM new.{table.name}")
        if "conflicts" in there:
            for table in TABLES:
                connection.execute(
                    "INSERT INTO whole.conflicts BY NAME FROM old.conflicts o ANTI JOIN new.conflicts n "
                    f"USING (table_name, key, incoming) WHERE table_name = {quoted(table.name)} "
                    f"AND {_older(firsts.get(table.name), 'seen')}"
                )
        for name in ("row_keys", "recorder_positions", "conflicts"):
            connection.execute(f"INSERT INTO whole.{name} BY NAME FROM new.{name}")
        connection.execute("COMMIT")
        for table in TABLES:
            if table.name != "bars" and set(table.key_columns) <= there.get(table.name, set()):
                _add_keys(connection, table, firsts.get(table.name))
        connection.execute("CHECKPOINT whole")


def _add_keys(connection: duckdb.DuckDBPyConnection, table: Table, first: int | None) -> None:
    keys = ", ".join(f'o."{name}"' for name in table.key_columns)
    hashes = array("q")
    found = connection.execute(f"SELECT {keys} {_unknown(table)} AND {_older(first)}")
    while rows := found.fetchmany(_AT_ONCE):
        hashes.extend(key_hash(table, row) for row in rows)
    if hashes:
        connection.register("incoming", pl.DataFrame({"key_hash": pl.Series(hashes, dtype=pl.Int64)}))
        connection.execute("INSERT INTO whole.row_keys SELECT key_hash FROM incoming")
        connection.unregister("incoming")


@contextmanager
def _attached(**files: Path | None) -> Generator[duckdb.DuckDBPyConnection]:
    """Open files side by side, all but `whole` for reading only."""
    there = {name: path for name, path in files.items() if path is not None}
    spill = there["new"].with_name(there["new"].name + ".tmp")  # the next rebuild removes it after a kill
    with duckdb.connect(":memory:", config={"memory_limit": "512MiB", "threads": "2"}) as connection:
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"SET temp_directory = {quoted(spill)}")
            for name, path in there.items():
                connection.execute(f"ATTACH {quoted(path)} AS {name}{'' if name == 'whole' else ' (READ_ONLY)'}")
            yield connection
        except duckdb.Error as error:
            names = ", ".join(map(str, there.values()))
            msg = f"cannot put together {names}: {one_line(error)}; to do without the old file, move it away"
            raise BrokenPromiseError(msg) from error
    shutil.rmtree(spill, ignore_errors=True)


def _columns(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, set[str]]:
    rows = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = $1", [database]
    ).fetchall()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found


def _unknown(table: Table) -> str:
    """Rows of the old file whose key no message of the streams has, as the end of a SELECT."""
    on = " AND ".join(f'o."{name}" = n."{name}"' for name in table.key_columns)
    return f"FROM old.{table.name} o ANTI JOIN new.{table.name} n ON {on} WHERE true"


def _older(first_ns: int | None, column: str = "ts_init") -> str:
    return "true" if first_ns is None else f"o.{column} < make_timestamptz({first_ns // 1000 + _TOLERANCE_US})"


def _look(
    connection: duckdb.DuckDBPyConnection, table: Table, there: Mapping[str, set[str]], first: int | None
) -> TableChange:
    name = table.name
    ((rows, earliest, latest),) = connection.execute(f"SELECT count(*), {_span(table)} FROM new.{name}").fetchall()  # noqa: S608
    change = TableChange(name, rows, earliest, latest)
    known = there.get(name)
    if known is None or not set(table.key_columns) <= known:
        return replace(change, before=0) if there else change
    unknown = _count(connection, _unknown(table))
    carried = _count(connection, f"{_unknown(table)} AND {_older(first)}")
    same = ", ".join(f'"{column}"' for column in table.exact_columns if column in known)
    other = _count(
        connection,
        f"FROM (SELECT {same} FROM old.{name} EXCEPT ALL SELECT {same} FROM new.{name})",  # noqa: S608
    )
    before = _count(connection, f"FROM old.{name}")
    return replace(change, before=before, carried=carried, left=unknown - carried, changed=other - unknown)


def _span(table: Table) -> str:
    moment = next((column for column in table.columns if column.kind is Kind.MOMENT), None)
    name = "ts_init" if moment is None else moment.select.rpartition(" AS ")[2]
    return f"strftime(min({name}), '%Y-%m-%d %H:%M:%S'), strftime(max({name}), '%Y-%m-%d %H:%M:%S')"


def _count(connection: duckdb.DuckDBPyConnection, rest: str) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) {rest}").fetchall()
    return int(count)
